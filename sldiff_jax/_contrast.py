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

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._accumulator import Motion
from ._camera import Camera
from ._neighbours import neighbour, with_margin
from ._render_result import RenderResult
from ._typing import ColorImage, ObjectRows, ScalarImage

RIM_FACTOR = math.sqrt(0.5) / (math.sqrt(1.5) - math.sqrt(0.5))
RIM_LIMIT = 20.0
"""How far the rim may lie behind the last pixel, in footprints of a pixel: steeper is a step in the surface."""


def contrast_motion(
    camera: Camera,
    render_result: RenderResult,
    rows: ObjectRows,
    rgb: ColorImage,
    depth: ScalarImage,
    mask: ScalarImage,
    object_masks: Float[Array, "objects height width"] | None,
) -> Motion:
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
        The motion's derivatives, zero on the background.
    """
    height, width = render_result.instance_index.shape
    # Repeated border pixels make pairs without contrast.
    labels, depths = with_margin(render_result.instance_index, 1), with_margin(render_result.depth, 1)
    colors = with_margin(render_result.rgb, 1)
    row, column = jnp.arange(height)[:, None], jnp.arange(width)
    label, here, seen = neighbour(labels), neighbour(depths), neighbour(labels) != 0
    per_level = 1 / 255 if colors.dtype == jnp.uint8 else 1.0

    def half(dy: int, dx: int) -> ScalarImage:
        """The pixel's own half of the contrast with a neighbour, contracted with the objective's derivatives."""
        other_seen = neighbour(labels, dy, dx) != 0
        step = (neighbour(colors, dy, dx).astype(rgb.dtype) - neighbour(colors).astype(rgb.dtype)) * per_level
        total = sum(step[..., c] * rgb[..., c] for c in range(3))
        total += jnp.where(seen & other_seen, neighbour(depths, dy, dx) - here, 0) * depth
        total += (other_seen.astype(mask.dtype) - seen.astype(mask.dtype)) * mask
        return total if object_masks is None else total + _object_mask_half(object_masks, rows, dy, dx)

    halves = {offset: half(*offset) for offset in ((0, -1), (0, 1), (-1, 0), (1, 0))}

    def towards(dy: int, dx: int) -> tuple[ScalarImage, ScalarImage]:
        """What pulls at the pixel through its edge with one neighbour: all of it, and the part due to the rim."""
        other_label, other_depth = neighbour(labels, dy, dx), neighbour(depths, dy, dx)
        outline = (label != other_label) & seen & ((other_label == 0) | (here < other_depth))
        own_half = halves[dy, dx]
        # Seen from the neighbour the same contrast has the other sign. What rolls over the border is never used.
        other_half = -jnp.roll(halves[-dy, -dx], (-dy, -dx), (0, 1))
        # At the border of the image the contrast with the unseen neighbour is taken for that with the opposite one.
        at_border = (row == (height - 1 if dy < 0 else 0)) if dy else (column == (width - 1 if dx < 0 else 0))
        inner = own_half * jnp.where(at_border, 2, 1)
        pull = jnp.where(label == other_label, inner, jnp.where(outline, own_half + other_half, 0))

        focal = jnp.abs(camera.projection[0, 0] * width if dx else camera.projection[1, 1] * height) / 2
        behind = here - neighbour(depths, -dy, -dx)
        smooth = outline & (neighbour(labels, -dy, -dx) == label) & (behind > 0)
        recession = jnp.where(smooth, jnp.minimum(RIM_FACTOR * behind, RIM_LIMIT * here / focal), 0)
        return pull, pull * recession / (here + recession)

    left, right, up, down = (towards(*offset) for offset in halves)
    return Motion(
        x=(left[0] - right[0]) * (width / 4),
        y=(up[0] - down[0]) * (height / 4),
        w=depth,
        rim_x=(left[1] - right[1]) * (width / 4),
        rim_y=(up[1] - down[1]) * (height / 4),
    )


def _object_mask_half(
    object_masks: Float[Array, "objects height width"], rows: ObjectRows, dy: int, dx: int
) -> ScalarImage:
    """Of all objects' masks only those of the pixel's and of its neighbour's object differ between the two."""
    cotangent = jnp.concatenate([object_masks, jnp.zeros_like(object_masks, shape=(1, *rows.shape))])
    rises = jnp.take_along_axis(cotangent, neighbour(with_margin(rows, 1), dy, dx)[None], axis=0)
    falls = jnp.take_along_axis(cotangent, rows[None], axis=0)
    return (rises - falls)[0]
