"""Images as a differentiable function of what moves and shows, from samples that were drawn: see `kernels.motion`.

A sample is what one ray sees. Colour, depth and coverage of samples and crossings are linear in small changes of

- the clip transforms of the objects,
- the surface points that the samples show, and points of the edges that cross, in their objects' frames: so vertices,
- the samples' colours at their surface points: so textures, colours and light.

`moving_images` has that linear map for its derivative in reverse mode, `change_of_images` is the map itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._scene.camera import Camera
from .._scene.poses import apply_pose_delta
from .._scene.scene import Scene
from .._scene.typing import ColorImage, PoseDeltas, Transform, Transforms
from .rendering import Rendering
from .warp_calls import call, fields, fold_batches, load_kernels

KERNELS = tuple(f"sldiff_jax._gradients.kernels.{name}" for name in ("entry_point", "layers", "compositing", "motion"))
"""Modules of kernels, in the order in which they import each other."""
NOBODY = -1
"""The row of a sample that shows no object."""


class Layers(eqx.Module):
    """What was drawn, H x W samples. Constants to differentiation.

    Attributes:
        row: (H, W) int32, row of the scene whose object is seen, `NOBODY` for none.
        color: (H, W, 3) float32.
        depth: (H, W) float32: clip w of the surface point that is seen, metres.
        slope: (H, W, 2) float32, change of the depth per NDC along x and y on the surface that is seen, or (0, 0, 2)
            where it is not known.
        crossings: (2, H, W, 4) float32, or (2, 0, 0, 4) where outlines are not known: see `kernels.layers`.
    """

    row: Int[Array, "*batch height width"]
    color: Float[Array, "*batch height width 3"]
    depth: Float[Array, "*batch height width"]
    slope: Float[Array, "*batch sloped_height sloped_width 2"]
    crossings: Float[Array, "*batch 2 crossed_height crossed_width 4"]


class Motion(NamedTuple):
    """A first-order motion of a scene.

    Attributes:
        delta: (N, 6) float, of the objects, as in `apply_pose_delta`.
        projection: (4, 4) float, change of the camera's projection.
    """

    delta: PoseDeltas
    projection: Transform

    def of(self, scene: Scene) -> Scene:
        """The scene after it. Not orthonormalised, so that it is linear."""
        moved = apply_pose_delta(scene.T_world_object, self.delta, orthonormalize=False)
        projection = scene.camera.projection + self.projection
        return eqx.tree_at(lambda s: (s.T_world_object, s.camera.projection), scene, (moved, projection))


def motion_of(delta: PoseDeltas, projection: Transform | None) -> Motion:
    """A motion; without a change of the projection, of the objects alone."""
    return Motion(delta, jnp.zeros((4, 4), delta.dtype) if projection is None else projection)


class Moving(eqx.Module):
    """What the images depend on, beside the layers: only its changes matter, apart from `T_clip_object`.

    Attributes:
        T_clip_object: (N, 4, 4) float32.
        point: (H, W, 3) float32, the points that the samples show, in their object's frames; None if they stay.
        edge: (2, 2, H, W, 3) float32, the two points of edges on which each crossing of either axis depends; None if
            they stay. See `beyond`.
        color: (H, W, 3) float32, the samples' colours; None if they stay.
    """

    T_clip_object: Float[Array, "*batch objects 4 4"]
    point: Float[Array, "*batch height width 3"] | None = None
    edge: Float[Array, "*batch 2 2 height width 3"] | None = None
    color: Float[Array, "*batch height width 3"] | None = None


class Images(eqx.Module):
    """Composited samples.

    Attributes:
        color: (H, W, 3) float32.
        cover: (H, W, 2) float32: depth times coverage, and coverage.
        object_masks: (N, H, W) float32, coverage by each object; None if not asked for.
    """

    color: Float[Array, "*batch height width 3"]
    cover: Float[Array, "*batch height width 2"]
    object_masks: Float[Array, "*batch objects height width"] | None


def composite(layers: Layers, objects: int | None) -> Images:
    """The images: samples mixed at outlines. With masks of so many objects, or none."""
    batch = jax.tree.map(lambda x: x[None], layers)
    return jax.tree.map(lambda x: x[0], _composite(objects)(None, batch))


def moving_images(
    moving: Moving, footprint: Float[Array, "2"], layers: Layers, *, object_masks: bool = False
) -> Images:
    """`composite`, differentiable with respect to `moving` in reverse mode.

    Args:
        moving: what the images depend on. What is None has no derivative.
        footprint: (2,) float32, the size of a sample at depth 1 along x and y.
        layers: what was drawn.
        object_masks: (static) also one mask per object.
    """
    return _moving_images(object_masks, moving, footprint, layers)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _moving_images(object_masks: bool, moving: Moving, footprint: Array, layers: Layers) -> Images:
    return composite(layers, moving.T_clip_object.shape[-3] if object_masks else None)


def _moving_images_fwd(object_masks, moving, footprint, layers):
    perturbed = jax.tree.map(lambda leaf: leaf.perturbed, moving, is_leaf=_is_primal)
    moving, footprint, layers = jax.tree.map(lambda leaf: leaf.value, (moving, footprint, layers), is_leaf=_is_primal)
    residuals = (moving.T_clip_object, footprint, layers, _Wanted(perturbed))
    return _moving_images(object_masks, moving, footprint, layers), residuals


class _Wanted(eqx.Module):
    """Which derivatives are asked for: known when the function is traced."""

    moving: Moving = eqx.field(static=True)


def _moving_images_bwd(object_masks, residuals, cotangents):
    T_clip_object, footprint, layers, wanted = residuals
    wanted = wanted.moving
    masks = cotangents.object_masks if object_masks else None
    # An image that the objective does not use costs nothing.
    given = {
        "image": jnp.zeros((0, 0, 3), jnp.float32) if _is_zero(cotangents.color) else cotangents.color,
        "cover": jnp.zeros((0, 0, 2), jnp.float32) if _is_zero(cotangents.cover) else cotangents.cover,
        "object_masks": jnp.zeros((1, 0, 0), jnp.float32) if masks is None or _is_zero(masks) else masks,
    }
    batch = (_views(T_clip_object, footprint), layers, given)
    batch = jax.tree.map(lambda x: x[None], batch)
    sums, by_color, by_point, by_edge = _pull(bool(wanted.color), bool(wanted.point), bool(wanted.edge))(None, batch)
    rows = jnp.sum(sums[0], axis=0)
    wrt_T = jnp.concatenate([rows[:, :2], jnp.zeros_like(rows[:, :1]), rows[:, 2:]], axis=1)

    def in_object(by_clip: Array, row: Array) -> Array:
        """Derivatives by points from those by their clip points, which are zero where there is none."""
        to_clip = T_clip_object[:, (0, 1, 3), :3][jnp.maximum(row, 0)]
        return jnp.sum(by_clip[..., None] * to_clip, axis=-2)

    point = in_object(by_point[0], layers.row) if wanted.point else None
    edge = None
    if wanted.edge:
        edge = in_object(by_edge[0].reshape(2, 2, *by_edge.shape[2:]), crossing_rows(layers)[:, None])
    return Moving(wrt_T, point, edge, by_color[0] if wanted.color else None), None, None


_moving_images.defvjp(_moving_images_fwd, _moving_images_bwd, symbolic_zeros=True)


def change_of_images(
    moving: Moving, footprint: Float[Array, "2"], layers: Layers, change: Moving
) -> tuple[ColorImage, Float[Array, "height width 2"]]:
    """The change of the images' color and cover along that of `moving`: `moving_images` in forward mode."""
    batch = jax.tree.map(lambda x: x[None], (_views(moving.T_clip_object, footprint), layers))
    size = layers.row.shape
    tangents = {
        "T_clip_object": change.T_clip_object[:, (0, 1, 3)],
        "point": jnp.zeros((0, 0, 3), jnp.float32) if change.point is None else change.point,
        "edge": jnp.zeros((0, 0, 3), jnp.float32)
        if change.edge is None
        else change.edge.reshape(4 * size[0], size[1], 3),
        "color": jnp.zeros((0, 0, 3), jnp.float32) if change.color is None else change.color,
    }
    color, cover = _push(batch, jax.tree.map(lambda x: x[None, None], tangents))
    return color[0, 0], cover[0, 0]


def rendering_of(images: Images, supersample: int) -> Rendering:
    """The mean over the samples of each pixel; depth is the mean depth of what is seen."""

    def mean(image: Array, rows: int = 0) -> Array:
        before, (height, width), after = image.shape[:rows], image.shape[rows : rows + 2], image.shape[rows + 2 :]
        blocks = (*before, height // supersample, supersample, width // supersample, supersample, *after)
        return image if supersample == 1 else image.reshape(blocks).mean(axis=(rows + 1, rows + 3))

    depth, mask = jnp.moveaxis(mean(images.cover), -1, 0)
    seen = mask > 0
    return Rendering(
        rgb=mean(images.color),
        depth=jnp.where(seen, depth / jnp.where(seen, mask, 1), 0),
        mask=mask,
        object_masks=None if images.object_masks is None else mean(images.object_masks, 1),
    )


def change_of_rendering(
    moving_at: Callable[[Motion], Moving],
    motion: Motion,
    footprint: Float[Array, "2"],
    layers: Layers,
    supersample: int = 1,
) -> Rendering:
    """The change of `rendering_of` along a motion, if `moving_at` says how what moves depends on it."""
    moving, change = jax.jvp(moving_at, (jax.tree.map(jnp.zeros_like, motion),), (motion,))
    color, cover = change_of_images(moving, footprint, layers, change)
    images, changes = composite(layers, None), Images(color, cover, None)
    return jax.jvp(lambda images: rendering_of(images, supersample), (images,), (changes,))[1]


def footprint(camera: Camera, columns: int, rows: int) -> Float[Array, "2"]:
    """The size of a sample at depth 1, metres, if there are so many in an image."""
    P = jax.lax.stop_gradient(camera.projection)
    return (2 / jnp.abs(jnp.stack([P[0, 0] * columns, P[1, 1] * rows]))).astype(jnp.float32)


def crossing_rows(layers: Layers) -> Int[Array, "2 height width"]:
    """The row of the owner of each crossing; of some sample where there is none."""
    right = jnp.roll(layers.row, -1, axis=1)
    below = jnp.roll(layers.row, -1, axis=0)
    owner_first = layers.crossings[..., 1] > 0
    return jnp.where(owner_first, layers.row, jnp.stack([right, below]))


def beyond(layers: Layers) -> Float[Array, "2 height width"]:
    """How far from a crossing the second point lies on whose motion the outline's slope depends, in pixels across.

    A pixel, towards the camera, where no depth becomes infinite.
    """
    return jnp.where(layers.crossings[..., 3] < 0, -1.0, 1.0)


def surface_points(T_clip_object: Transforms, layers: Layers) -> ColorImage:
    """(H, W, 3) float32: what the samples show, in their object's frames; anything where nothing is seen."""
    height, width = layers.row.shape
    x = ((2 * jnp.arange(width) + 1) / width - 1).astype(jnp.float32)
    y = ((2 * jnp.arange(height)[:, None] + 1) / height - 1).astype(jnp.float32)
    to_object = _views(T_clip_object, jnp.ones(2, jnp.float32))["T_object_clip"][jnp.maximum(layers.row, 0)]
    clip = jnp.stack([x * layers.depth, y * layers.depth, layers.depth], axis=-1)
    return jnp.sum(to_object[..., :3] * clip[..., None, :], axis=-1) + to_object[..., 3]


def _views(T_clip_object: Transforms, footprint: Float[Array, "2"]) -> dict[str, Array]:
    rows = T_clip_object[:, (0, 1, 3)]
    a, b, c = rows[:, 0, :3], rows[:, 1, :3], rows[:, 2, :3]
    # The inverse of three rows has their cross products for columns.
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=-1)
    determinant = jnp.sum(a * columns[..., 0], axis=-1)[:, None, None]
    inverse = columns / jnp.where(determinant == 0, 1, determinant)
    offset = -jnp.sum(inverse * rows[:, None, :, 3], axis=-1)
    return {
        "T_clip_object": rows,
        "T_object_clip": jnp.concatenate([inverse, offset[..., None]], axis=-1),
        "footprint": footprint,
    }


def _kernels():
    return load_kernels(*KERNELS)


def _layer_fields(layers: Layers) -> list[Array]:
    return fields(_kernels()[1].Layers, layers)


def _named(struct: str, values: dict[str, Array]) -> list[Array]:
    """The values in the order of a struct's fields; JAX sorts the keys of a dictionary."""
    return [values[name] for name in getattr(_kernels()[3], struct).cls.__annotations__]


def _composite(objects: int | None):
    @fold_batches
    def run(_, layers: Layers) -> Images:
        scenes, height, width = layers.row.shape
        size = (scenes, height, width)
        masks = (scenes, 1, 0, 0) if objects is None else (scenes, objects, height, width)
        image, cover, object_masks = call(
            _kernels()[2].composite, {"image": size, "cover": size, "object_masks": masks}, *_layer_fields(layers)
        )
        return Images(image, cover, None if objects is None else object_masks)

    return run


def _pull(want_colors: bool, want_points: bool, want_edges: bool):
    @fold_batches
    def run(_, batch):
        views, layers, given = batch
        scenes, height, width = layers.row.shape
        motion = _kernels()[3]
        size = (scenes, height, width)
        bands = height * -(-width // int(motion.CHUNK))
        dims = {
            "sums": (scenes, bands, views["T_clip_object"].shape[1], 3),
            "by_color": size if want_colors else (scenes, 0, 0),
            "by_point": size if want_points else (scenes, 0, 0),
            "by_edge": (scenes, 4, height, width) if want_edges else (scenes, 4, 0, 0),
        }
        return call(
            motion.pull, dims, *_layer_fields(layers), *_named("Views", views), *_named("Cotangents", given),
        )  # fmt: skip

    return run


@jax.custom_batching.custom_vmap
def _push(batch, tangents):
    views, layers = batch
    scenes, height, width = layers.row.shape
    size = (scenes, tangents["T_clip_object"].shape[1], height, width)
    _, _, color, cover = call(
        _kernels()[3].push, {"samples": size, "sample_cover": size, "image": size, "cover": size},
        *_layer_fields(layers), *_named("Views", views), *_named("Tangents", tangents),
    )  # fmt: skip
    return color, cover


@_push.def_vmap
def _push_rule(axis_size, in_batched, batch, tangents):
    batch_batched, tangents_batched = in_batched
    # Changes of the same scenes read the layers once; else there are more scenes.
    axis = 0 if any(jax.tree.leaves(batch_batched)) else 1

    def merged(x: Array, is_batched: bool) -> Array:
        x = x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))
        x = jnp.moveaxis(x, 0, axis)
        return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])

    def parted(x: Array) -> Array:
        x = x.reshape(*x.shape[:axis], axis_size, x.shape[axis] // axis_size, *x.shape[axis + 1 :])
        return jnp.moveaxis(x, axis, 0)

    batch = batch if axis else jax.tree.map(merged, batch, batch_batched)
    color, cover = _push(batch, jax.tree.map(merged, tangents, tangents_batched))
    return (parted(color), parted(cover)), (True, True)


def _is_primal(leaf) -> bool:
    return isinstance(leaf, jax.custom_derivatives.CustomVJPPrimal)


def _is_zero(cotangent) -> bool:
    return isinstance(cotangent, jax.custom_derivatives.SymbolicZero)
