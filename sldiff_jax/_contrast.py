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
half of the occluder's outline, and drops pixels of the occluded object, texture and all.
`benchmarks/gradient_accuracy.py` measures what that gains.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._accumulator import Pull
from ._camera import Camera
from ._render_result import RenderResult
from ._typing import ColorImage, ObjectRows, ScalarImage

RIM_FACTOR = math.sqrt(0.5) / (math.sqrt(1.5) - math.sqrt(0.5))
RIM_LIMIT = 20.0
"""How far the rim may lie behind the last pixel, in footprints of a pixel: steeper is a step in the surface."""

FIRST = ((slice(None, -1), slice(None)), (slice(None), slice(None, -1)))
SECOND = ((slice(1, None), slice(None)), (slice(None), slice(1, None)))


def contrast_pulls(
    camera: Camera,
    render_result: RenderResult,
    rows: ObjectRows,
    rgb: ColorImage,
    depth: ScalarImage,
    mask: ScalarImage,
    object_masks: Float[Array, "objects height width"] | None,
) -> list[Pull]:
    """Derivative of an objective with respect to the motion of the surfaces, from its derivatives by the images.

    Args:
        camera: the camera, for the footprint of a pixel.
        render_result: the rendered buffers, (H, W).
        rows: (H, W) int, the scene row of each pixel's object, N where there is none.
        rgb: (H, W, 3) float, derivative of the objective with respect to the colour in [0, 1].
        depth: (H, W) float, the same for the depth. An edge against the background is none in depth: where nothing was
            measured there is no depth to compare with.
        mask: (H, W) float, the same for "some object is seen here".
        object_masks: optional (N, H, W) float, the same for "this object is seen here".

    Returns:
        Pulls at the surface points of the pixels, at the rims that face left and right, and at those that face up and
        down. Zero on the background.
    """
    labels, depths = render_result.instance_index, render_result.depth
    colors = [(render_result.color[..., c], rgb[..., c]) for c in range(3)]

    def along(axis: int) -> tuple[ScalarImage, ScalarImage, ScalarImage]:
        first, second = FIRST[axis], SECOND[axis]
        object_1, object_2 = labels[first] != 0, labels[second] != 0
        step = depths[second] - depths[first]
        jumps = [(image[second] - image[first], cotangent) for image, cotangent in colors]
        jumps.append((jnp.where(object_1 & object_2, step, 0), depth))
        jumps.append((object_2.astype(mask.dtype) - object_1.astype(mask.dtype), mask))
        pull_1 = sum(jump * cotangent[first] for jump, cotangent in jumps)
        pull_2 = sum(jump * cotangent[second] for jump, cotangent in jumps)
        if object_masks is not None:
            pull_1 += _mask_jump(object_masks, rows, first, second, first)
            pull_2 += _mask_jump(object_masks, rows, first, second, second)

        same = labels[first] == labels[second]
        nearer_1 = object_1 & (~object_2 | (step > 0))
        to_1, to_2 = ~same & nearer_1, ~same & ~nearer_1
        both = pull_1 + pull_2
        height_or_width = labels.shape[axis]
        scale = -height_or_width / 4
        # A pixel with an outline on one side shows more of its object on the other side, or it has no recession.
        rise = jnp.where(same, step, 0)
        recession = jnp.where(_at_first(to_1, axis), _at_second(rise, axis), 0)
        recession += jnp.where(_at_second(to_2, axis), -_at_first(rise, axis), 0)
        footprint = 2 / (height_or_width * jnp.abs(camera.projection[1 - axis, 1 - axis])) * depths
        recession = jnp.clip(RIM_FACTOR * recession, 0, RIM_LIMIT * footprint)
        inner = _at_first(jnp.where(same, pull_1, 0), axis) + _at_second(jnp.where(same, pull_2, 0), axis)
        outline = _at_first(jnp.where(to_1, both, 0), axis) + _at_second(jnp.where(to_2, both, 0), axis)
        return scale * inner, scale * outline, recession

    inner_x, outline_x, recession_x = along(1)
    inner_y, outline_y, recession_y = along(0)
    return [
        Pull(inner_x, inner_y, depth),
        Pull(outline_x, 0.0, recession=recession_x),
        Pull(0.0, outline_y, recession=recession_y),
    ]


def _at_first(pairs: Array, axis: int) -> Array:
    """Values of pairs of adjacent pixels as an image, each at the first pixel of its pair, zero at the far border."""
    return jnp.pad(pairs, [(0, int(a == axis)) for a in range(2)])


def _at_second(pairs: Array, axis: int) -> Array:
    """Values of pairs of adjacent pixels as an image, each at the second pixel of its pair, zero at the near border."""
    return jnp.pad(pairs, [(int(a == axis), 0) for a in range(2)])


def _mask_jump(
    object_masks: Float[Array, "objects height width"], rows: ObjectRows, first: tuple, second: tuple, at: tuple
) -> Array:
    """Of all masks only those of the two pixels' own objects jump: one falls, one rises."""
    cotangent = jnp.concatenate([object_masks, jnp.zeros_like(object_masks, shape=(1, *rows.shape))])[:, *at]
    rises = jnp.take_along_axis(cotangent, rows[second][None], axis=0)[0]
    falls = jnp.take_along_axis(cotangent, rows[first][None], axis=0)[0]
    return rises - falls
