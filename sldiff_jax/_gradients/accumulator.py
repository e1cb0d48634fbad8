"""The pose accumulator: twelve numbers per object, from which every pose gradient follows.

A pixel of object k with homogeneous object coordinates x has the clip point ``c = M_k x``, ``M_k = T_clip_object[k]``.
With ``s`` the objective's derivative with respect to the pixel's motion in NDC,
``dL/dc = (s_x / w, s_y / w, 0, -(s_x c_x + s_y c_y) / w^2)``. Summed over the object's pixels,
``A_k = sum dL/dc x^T`` is the cotangent of ``M_k``; gradients of object poses, camera pose and intrinsics follow from
it by linear algebra.

The code works on planes, (H, W) each: gathering twelve planes and one segment reduction are several times faster on a
CPU than a gather of (4, 4) matrices per pixel, and cost the same for any number of objects.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._scene.render_result import RenderResult
from .._scene.scene import MAX_INSTANCE_INDEX, Scene
from .._scene.transforms import compose
from .._scene.typing import ColorImage, Mask, ObjectRows, PoseDeltas, ScalarImage, Transforms


def object_rows(scene: Scene, render_result: RenderResult) -> ObjectRows:
    """(H, W) int32: the scene row of the object that each pixel shows; N for background and unknown labels."""
    label = render_result.instance_index.astype(jnp.int32)
    objects = scene.T_world_object.shape[0]
    return row_of_label(scene).at[label].get(mode="fill", fill_value=objects, wrap_negative_indices=False)


def row_of_label(scene: Scene) -> Int[Array, " labels"]:
    """(32768,) int32: the scene row of the object of each label; N for background and unknown labels."""
    objects = scene.T_world_object.shape[0]
    nobody = jnp.full(MAX_INSTANCE_INDEX + 1, objects, jnp.int32)
    return nobody.at[scene.instance_index].set(jnp.arange(objects, dtype=jnp.int32))


FEW_OBJECTS = 5


def accumulate(scene: Scene, render_result: RenderResult, s_x: ScalarImage, s_y: ScalarImage) -> Transforms:
    """The cotangent ``A_k`` of every ``T_clip_object[k]``: (N, 4, 4) float, for N objects.

    Row 2 is zero: nothing in an image depends on clip z.

    Args:
        scene: the scene.
        render_result: what shows, (H, W).
        s_x: (H, W) float, derivative of an objective by the motion of what a pixel shows, per unit of NDC along x.
        s_y: the same along y.
    """
    rows = object_rows(scene, render_result)
    x = render_result.coordinates
    c_x, c_y, w, in_front = _clip(_gather_rows(scene.T_clip_object, rows), x)
    # Division comes last: XLA keeps the results of divisions rather than computing them again for each of the twelve
    # products below.
    u, v = jnp.where(in_front, s_x, 0) / w, jnp.where(in_front, s_y, 0) / w
    t = -(u * c_x + v * c_y) / w
    homogeneous = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
    outer = jnp.stack([u, v, t], axis=-1)[..., :, None] * homogeneous[..., None, :]
    A = sum_by_row(outer, rows, scene.T_world_object.shape[0])
    return jnp.concatenate([A[:, :2], jnp.zeros_like(A[:, :1]), A[:, 2:]], axis=1)


def to_pose_deltas(T_clip_object: Transforms, accumulator: Transforms) -> PoseDeltas:
    """Contracts ``A_k`` with ``M_k G_j``, the motion of ``M_k`` under the generator j of `apply_pose_delta`."""
    B = compose(jnp.swapaxes(T_clip_object, -1, -2), accumulator)
    rotation = [B[:, 2, 1] - B[:, 1, 2], B[:, 0, 2] - B[:, 2, 0], B[:, 1, 0] - B[:, 0, 1]]
    return jnp.stack([*rotation, B[:, 0, 3], B[:, 1, 3], B[:, 2, 3]], axis=-1)


def ndc_jacobian(
    T_clip_object: Transforms, rows: ObjectRows, coordinates: ColorImage
) -> tuple[Float[Array, "height width 6"], Float[Array, "height width 6"]]:
    """Derivative of a surface point's NDC x and y with respect to its object's delta, zero where no object is."""
    M = _gather_rows(T_clip_object, rows)
    c_x, c_y, w, in_front = _clip(M, coordinates)

    def with_respect_to_delta(row: list[Array], c: Array) -> Array:
        wrt_point = [jnp.where(in_front, row[j] - c / w * M[2][j], 0) / w for j in range(3)]
        wrt_point = jnp.stack(wrt_point, axis=-1)
        # A rotation moves the point by cross(angles, x), and r . cross(angles, x) = angles . cross(x, r).
        return jnp.concatenate([jnp.cross(coordinates, wrt_point), wrt_point], axis=-1)

    return with_respect_to_delta(M[0], c_x), with_respect_to_delta(M[1], c_y)


def _gather_rows(T_clip_object: Transforms, rows: ObjectRows) -> list[list[ScalarImage]]:
    """Rows 0, 1 and 3 of every pixel's ``M_k`` as twelve planes, zero where no object is."""
    objects = T_clip_object.shape[0]
    table = jnp.concatenate([T_clip_object, jnp.zeros_like(T_clip_object, shape=(1, 4, 4))])

    def plane(i: int, j: int) -> ScalarImage:
        if objects > FEW_OBJECTS:
            return table[:, i, j].at[rows].get(mode="promise_in_bounds")
        # XLA fuses a few selections with what follows; a gather it does not.
        values = jnp.zeros(rows.shape, table.dtype)
        for k in range(objects):
            values = jnp.where(rows == k, table[k, i, j], values)
        return values

    return [[plane(i, j) for j in range(4)] for i in (0, 1, 3)]


def _clip(
    M: list[list[ScalarImage]], x: Float[Array, "height width _"]
) -> tuple[ScalarImage, ScalarImage, ScalarImage, Mask]:
    """Clip x, y and w of the points ``x[..., :3]``, and whether they are in front of the camera. Elsewhere w is 1."""
    c_x, c_y, w = (row[0] * x[..., 0] + row[1] * x[..., 1] + row[2] * x[..., 2] + row[3] for row in M)
    in_front = w > 0
    return c_x, c_y, jnp.where(in_front, w, 1), in_front


def sum_by_row(
    values: Float[Array, "height width *channels"], rows: ObjectRows, objects: int
) -> Float[Array, "objects *channels"]:
    """Sums `values` over the pixels of each object. Pixels of row `objects` are dropped.

    A CPU scatters fastest; on an accelerator thousands of threads would queue for the same few addresses, and a product
    with the one-hot matrix of the rows keeps it busy instead.
    """
    pixels, channels = rows.size, values.shape[2:]
    sums = jax.lax.platform_dependent(
        values.reshape(pixels, -1),
        rows.reshape(pixels),
        cpu=lambda v, r: _sum_by_scatter(v, r, objects),
        default=lambda v, r: _sum_by_dot(v, r, objects),
    )
    return sums.reshape(objects, *channels)


def _sum_by_scatter(values: Float[Array, "pixels channels"], rows: Int[Array, " pixels"], objects: int) -> Array:
    return jax.ops.segment_sum(values, rows, objects + 1)[:objects]


def _sum_by_dot(values: Float[Array, "pixels channels"], rows: Int[Array, " pixels"], objects: int) -> Array:
    one_hot = (jnp.arange(objects)[:, None] == rows).astype(values.dtype)
    return jnp.matmul(one_hot, values, precision=jax.lax.Precision.HIGHEST)
