"""How images change when objects move, pair of pixels by pair of pixels: the estimator behind `render`.

An image changes where something with contrast moves, and all contrast lies between adjacent pixels. So every pair of
adjacent pixels is asked: who moves this edge, and which point of it? If both pixels show one object, each carries its
half of the contrast along with its own surface point. If not, the edge is the outline of the nearer object, which
carries all of it, and the point that moves is the one on the rim, where the line of sight grazes the surface.

The rim lies behind the last visible pixel centre: seen along a row or column, a smooth surface recedes from its rim
like the square root of the distance d, ``depth(d) = depth(0) - k sqrt(d)``. With pixel centres at d = 1/2 and 3/2 the
rim is ``sqrt(1/2) / (sqrt(3/2) - sqrt(1/2))`` times as far behind the first as this is behind the second. At a sharp
edge this goes less than a pixel's footprint too far, along the line of sight, which matters little. Without it, the
outline of a turning ball would seem to move.

Inside objects these are the central differences of `compute_image_space_gradients`, and at outlines over the background
they agree with its silhouette dilation but for the rim. They part where objects overlap: there the reference counts
half of the occluder's outline, and drops pixels of the occluded object, texture and all. They also part at the border
of the image, where repeating pixels halves the contrast.
`benchmarks/gradient_accuracy.py` measures what that gains.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._scene.camera import Camera
from .._scene.render_result import RenderResult
from .._scene.typing import ColorImage, Labels, Mask, ObjectRows, PaddedScalarImage, ScalarImage
from .accumulator import Motion
from .neighbours import neighbour, with_margin

RIM_FACTOR = math.sqrt(0.5) / (math.sqrt(1.5) - math.sqrt(0.5))
RIM_LIMIT = 20.0
"""How far the rim may lie behind the last pixel, in footprints of a pixel: steeper is a step in the surface."""


class _Planes(NamedTuple):
    """What the estimator compares between a pixel and its neighbours; planes only, XLA does not vectorise channels."""

    label: Labels
    depth: ScalarImage
    color: list[Array]
    wrt_color: list[ScalarImage]
    wrt_depth: ScalarImage | None
    wrt_mask: ScalarImage | None
    row: ObjectRows
    pixel: Int[Array, "height width"]


def contrast_motion(
    camera: Camera,
    render_result: RenderResult,
    rows: ObjectRows,
    rgb: ColorImage | None,
    depth: ScalarImage | None,
    mask: ScalarImage | None,
    object_masks: Float[Array, "objects height width"] | None,
) -> Motion:
    """Derivative of an objective with respect to the motion of the surfaces, from its derivatives by the images.

    Args:
        camera: the camera, for the footprint of a pixel.
        render_result: the rendered buffers, (H, W).
        rows: (H, W) int, the scene row of each pixel's object, N where there is none.
        rgb: optional (H, W, 3) float, derivative of the objective with respect to the colour in [0, 1].
        depth: optional (H, W) float, the same for the depth. An edge against the background is none in depth: where
            nothing was measured there is no depth to compare with.
        mask: optional (H, W) float, the same for "some object is seen here".
        object_masks: optional (N, H, W) float, the same for "this object is seen here".

    Returns:
        The motion's derivatives. What they hold on the background belongs to no object.
    """
    height, width = render_result.instance_index.shape
    dtype = render_result.coord_depth.dtype

    def derivative(plane: ScalarImage) -> PaddedScalarImage:
        # A constant, because XLA would compute what leads to the derivative again for every repeated border.
        return with_margin(plane, 1, fill=0)

    # Repeated border pixels make pairs without contrast.
    planes = _Planes(
        label=with_margin(render_result.instance_index, 1),
        depth=with_margin(render_result.depth, 1),
        color=[] if rgb is None else [with_margin(render_result.rgb[..., c], 1) for c in range(3)],
        wrt_color=[] if rgb is None else [derivative(rgb[..., c]) for c in range(3)],
        wrt_depth=None if depth is None else derivative(depth),
        wrt_mask=None if mask is None else derivative(mask),
        row=with_margin(rows, 1),
        pixel=with_margin(jnp.arange(height * width).reshape(height, width), 1),
    )
    per_level = 1 / 255 if render_result.rgb.dtype == jnp.uint8 else 1.0

    def towards(
        here: _Planes, there: _Planes, opposite: _Planes, at_border: Mask, footprint: Array
    ) -> tuple[ScalarImage, ScalarImage]:
        """What pulls at the pixel through its edge with one neighbour: all of it, and the part due to the rim."""
        seen, other_seen = here.label != 0, there.label != 0
        same = here.label == there.label
        outline = ~same & seen & (~other_seen | (here.depth < there.depth))
        both = outline.astype(dtype)  # the outline takes both halves of the contrast
        pull = jnp.zeros((), dtype)
        for color, other_color, wrt, other_wrt in zip(here.color, there.color, here.wrt_color, there.wrt_color):
            pull += (other_color.astype(dtype) - color.astype(dtype)) * per_level * (wrt + both * other_wrt)
        if here.wrt_depth is not None and there.wrt_depth is not None:
            step = jnp.where(seen & other_seen, there.depth - here.depth, 0)
            pull += step * (here.wrt_depth + both * there.wrt_depth)
        if here.wrt_mask is not None and there.wrt_mask is not None:
            pull += (other_seen.astype(dtype) - seen.astype(dtype)) * (here.wrt_mask + both * there.wrt_mask)
        if object_masks is not None and object_masks.size:
            pull += _object_mask_half(object_masks, here, there, here.pixel)
            pull += both * _object_mask_half(object_masks, here, there, there.pixel)
        # At the border of the image the contrast with the unseen neighbour is taken for that with the opposite one.
        pull *= jnp.where(same, jnp.where(at_border, 2, 1), outline.astype(dtype))
        behind = here.depth - opposite.depth
        smooth = outline & (opposite.label == here.label) & (behind > 0)
        recession = jnp.where(smooth, jnp.minimum(RIM_FACTOR * behind, RIM_LIMIT * footprint * here.depth), 0)
        return pull, pull * (recession / (here.depth + recession))

    def along(axis: tuple[Array, Array, Array, Array]) -> tuple[ScalarImage, ScalarImage]:
        step, scale, footprint, last = axis
        position = step[0] * jnp.arange(height)[:, None] + step[1] * jnp.arange(width)

        def beside(offset: Array) -> _Planes:
            at = (offset[0] + 1, offset[1] + 1)
            return jax.tree.map(lambda plane: jax.lax.dynamic_slice(plane, at, (height, width)), planes)

        here, before, after = jax.tree.map(neighbour, planes), beside(-step), beside(step)
        pull_before, rim_before = towards(here, before, after, position == last, footprint)
        pull_after, rim_after = towards(here, after, before, position == 0, footprint)
        return scale * (pull_before - pull_after), scale * (rim_before - rim_after)

    # A loop over the two axes: XLA computes what enters a loop once, but what enters slices once per slice.
    P = camera.projection
    steps = jnp.array([[0, 1], [1, 0]], dtype=jnp.int32)
    scales = jnp.array([width / 4, height / 4], dtype=dtype)
    footprints = 2 / jnp.abs(jnp.stack([P[0, 0] * width, P[1, 1] * height]))
    last = jnp.array([width - 1, height - 1], dtype=jnp.int32)
    (x, y), (rim_x, rim_y) = jax.lax.map(along, (steps, scales, footprints, last))
    return Motion(x=x, y=y, w=depth, rim_x=rim_x, rim_y=rim_y)


def _object_mask_half(
    object_masks: Float[Array, "objects height width"], here: _Planes, there: _Planes, pixel: Int[Array, "height width"]
) -> ScalarImage:
    """Of all objects' masks only those of the pixel's and of its neighbour's object differ between the two."""
    _, height, width = object_masks.shape
    flat = object_masks.reshape(-1)

    def of_object(row: ObjectRows) -> ScalarImage:
        return flat.at[row * (height * width) + pixel].get(mode="fill", fill_value=0)

    return of_object(there.row) - of_object(here.row)
