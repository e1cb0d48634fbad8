"""The Warp kernels as JAX functions: eager, jit, and vmap with one launch for a whole batch."""

from __future__ import annotations

import functools
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..._gradients.moving_images import KERNELS, Layers
from ..._gradients.warp_calls import call, fields, fold_batches, load_kernels
from .geometry import Geometry

BUFFERS = ("rgb", "coord_depth", "instance_index")
OPTIONAL_BUFFERS = ("class_index", "normals", "vertex_indices", "barycentric_coeffs", "cam_coordinates")


class PerScene(eqx.Module):
    """What differs from scene to scene, with a leading batch axis.

    Attributes:
        T_clip_object, T_camera_object: (B, N, 4, 4) float32.
        instance_index: (B, N) int32.
        lights: (B, R, 3) float32, see `lighting`; R = 0 without lighting.
    """

    T_clip_object: Float[Array, "batch objects 4 4"]
    T_camera_object: Float[Array, "batch objects 4 4"]
    instance_index: Int[Array, "batch objects"]
    lights: Float[Array, "batch lights 3"]


class MeshDrawing(eqx.Module):
    """What `MeshRenderer.draw` makes of a scene, with supersample x supersample samples per pixel.

    Attributes:
        layers: what the H x W samples show, and where outlines cross.
        edge: (2, H, W) int32, number of the edge that crosses a pair among all that are drawn, -1 for none; or
            (2, 0, 0).
        triangle: (H, W) int32, number of the visible triangle among all that are drawn, -1 for none.
        albedo: (H, W, 3) float32, the colours on which light falls, 0 where nothing is seen; (0, 0, 3) without
            lighting, where they are the layers' colours.
    """

    layers: Layers
    edge: Int[Array, "*batch 2 crossed_height crossed_width"]
    triangle: Int[Array, "*batch height width"]
    albedo: Float[Array, "*batch lit_height lit_width 3"]


@functools.cache
def draw_layers(height: int, width: int, supersample: int, crossings: bool):
    """The function ``((geometry, background), (per_scene, footprint)) -> MeshDrawing`` for so many samples."""

    @jax.jit
    @fold_batches
    def draw(shared, batch) -> MeshDrawing:
        geometry, background = shared
        per_scene, footprint = batch
        scenes = per_scene.instance_index.shape[0]
        image = (scenes, height, width)
        pairs = (scenes, 2, height, width) if crossings else (scenes, 2, 0, 0)
        dims = {
            "clip": (scenes, geometry.drawn_vertices), "visible": image,
            "layers_row": image, "layers_color": image, "layers_depth": image, "layers_slope": image,
            "layers_crossings": pairs, "crossed_edge": pairs,
            "albedo": image if per_scene.lights.shape[1] else (scenes, 0, 0),
        }  # fmt: skip
        _, visible, row, color, depth, slope, crossed, edge, albedo = call(
            _kernels()[2].draw, dims, *_meshes(geometry), *fields(_kernels()[0].Views, per_scene), background,
            footprint, geometry.drawn_faces, geometry.drawn_edges, supersample,
        )  # fmt: skip
        triangle = jax.lax.bitcast_convert_type(visible[..., 0], jnp.int32)  # the low word; all ones where empty
        return MeshDrawing(Layers(row, color, depth, slope, crossed), edge, triangle, albedo)

    return draw


@functools.cache
def fused_buffers(height: int, width: int, supersample: int, all_buffers: bool):
    """The function ``((geometry, background, class_index), per_scene) -> dict``: the buffers of `RenderResult`."""

    @jax.jit
    @fold_batches
    def render(shared, per_scene: PerScene):
        geometry, background, class_index = shared
        scenes = per_scene.instance_index.shape[0]
        image = (scenes, height, width)
        nothing = (scenes, 0, 0)
        temporary = {
            "clip": (scenes, geometry.drawn_vertices),
            "visible": image,
            "visible_samples": nothing if supersample == 1 else (scenes, supersample * height, supersample * width),
        }
        buffers = dict.fromkeys(BUFFERS, image) | dict.fromkeys(OPTIONAL_BUFFERS, image if all_buffers else nothing)
        outputs = call(
            _kernels()[1].render, temporary | {f"buffers_{name}": dims for name, dims in buffers.items()},
            *_meshes(geometry), *fields(_kernels()[0].Views, per_scene), background, class_index,
            geometry.drawn_faces, supersample,
        )  # fmt: skip
        drawn = dict(zip(buffers, outputs[len(temporary) :], strict=True))
        return drawn if all_buffers else {name: drawn[name] for name in BUFFERS}

    return render


def _meshes(geometry: Geometry) -> list[Array]:
    return fields(_kernels()[0].Meshes, geometry)


def _kernels() -> tuple[ModuleType, ...]:
    """With those of the derivative: what is compiled together takes all cores, and what draws is mostly fitted next."""
    package = "sldiff_jax.mesh_renderer.drawing.kernels."
    names = ("visibility", "textures", "shading", "buffers", "outlines")
    return load_kernels(*KERNELS, *(package + name for name in names))[-3:]
