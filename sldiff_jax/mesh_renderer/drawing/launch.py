"""The Warp kernels as JAX functions: eager, jit, and vmap with one launch for a whole batch."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from . import kernels
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


def fold_batches(function):
    """Makes ``function(shared, per_scene)`` batch under vmap by growing the batch axis that it already has.

    Every array of `per_scene` and of the result has a leading batch axis. Under `jax.vmap` the new axis is merged
    into it, so that there is one call for the batch and `shared` stays as it is. If `shared` itself is batched,
    the function runs once per row.
    """
    batched = jax.custom_batching.custom_vmap(function)

    @batched.def_vmap
    def rule(axis_size, in_batched, shared, per_scene):
        shared_batched, per_scene_batched = in_batched
        if any(jax.tree.leaves(shared_batched)):
            args = (shared, per_scene)
            mapped, constant = eqx.partition(args, tuple(in_batched))
            result = jax.lax.map(lambda row: batched(*eqx.combine(row, constant)), mapped)
        else:
            size = per_scene.instance_index.shape[1 if per_scene_batched.instance_index else 0]

            def fold(array, is_batched):
                array = array if is_batched else jnp.broadcast_to(array, (axis_size, *array.shape))
                return array.reshape(axis_size * size, *array.shape[2:])

            result = batched(shared, jax.tree.map(fold, per_scene, per_scene_batched))
            result = jax.tree.map(lambda array: array.reshape(axis_size, size, *array.shape[1:]), result)
        return result, jax.tree.map(lambda _: True, result)

    return batched


@functools.cache
def visibility(height: int, width: int):
    """The function ``(geometry, per_scene) -> (B, H, W) int32``: drawn triangle at each pixel, -1 for none."""

    @jax.jit
    @fold_batches
    def find_visible(geometry: Geometry, per_scene: PerScene):
        scenes = per_scene.instance_index.shape[0]
        dims = {"clip": (scenes, geometry.drawn_vertices), "visible": (scenes, height, width)}
        _, visible = _call("find_visible", dims, *_meshes(geometry), per_scene.T_clip_object, geometry.drawn_faces)
        return jax.lax.bitcast_convert_type(visible[..., 0], jnp.int32)  # the low word; all ones where empty

    return find_visible


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
        outputs = _call(
            "render", temporary | {f"buffers_{name}": dims for name, dims in buffers.items()},
            *_meshes(geometry), *_views(per_scene), background, class_index, geometry.drawn_faces, supersample,
        )  # fmt: skip
        drawn = dict(zip(buffers, outputs[len(temporary) :], strict=True))
        return drawn if all_buffers else {name: drawn[name] for name in BUFFERS}

    return render


def _meshes(geometry: Geometry) -> list[Array]:
    visibility_kernels, _ = _modules()
    return [getattr(geometry, name) for name in visibility_kernels.Meshes.cls.__annotations__]


def _views(per_scene: PerScene) -> list[Array]:
    _, buffer_kernels = _modules()
    return [getattr(per_scene, name) for name in buffer_kernels.Views.cls.__annotations__]


def _call(name: str, output_dims: dict[str, tuple[int, ...]], *args):
    import warp as wp

    function = next(getattr(module, name) for module in _modules() if hasattr(module, name))
    call = wp.jax_callable(function, num_outputs=len(output_dims), vmap_method=None)  # see fold_batches
    return call(*args, output_dims=output_dims)


@functools.cache
def _modules() -> tuple[ModuleType, ModuleType]:
    """The modules of kernels, compiled for the device that JAX uses by default.

    Without Warp's start-up banner and its messages about compiled kernels. Compiling takes a few seconds, once per
    machine: Warp keeps the result.
    """
    import warp as wp

    level = wp.config.log_level
    wp.config.log_level = max(level, wp.LOG_WARNING)
    try:
        _import_source("entry_point")
        modules = _import_source("visibility"), _import_source("buffers")
        device = "cpu" if jax.default_backend() == "cpu" else None
        for module in modules:
            wp.load_module(module, device=device)
    finally:
        wp.config.log_level = level
    return modules


def _import_source(name: str) -> ModuleType:
    """Imports a module of `kernels` exactly as written.

    Warp compiles the source of functions, so import hooks that wrap them (jaxtyping's) must not see the module.
    """
    full_name = f"{kernels.__name__}.{name}"
    if full_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(full_name, Path(kernels.__path__[0]) / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[full_name]
            raise
    return sys.modules[full_name]
