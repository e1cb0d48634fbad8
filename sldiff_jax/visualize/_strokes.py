"""Smooth lines, drawn from the distance of every pixel to them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

RIM = (0.1, 0.1, 0.1)


def draw_strokes(
    picture: Float[np.ndarray, "height width 3"],
    distance: Float[np.ndarray, "height width"],
    color: Float[np.ndarray, "3"],
    line_width: float,
) -> Float[np.ndarray, "height width 3"]:
    """Colours what is within half a line width, over a dark rim of one pixel that sets it off from any background.

    Args:
        picture: (H, W, 3) float in [0, 1].
        distance: (H, W) float, of each pixel centre to the line, pixels.
        color: (3,) float in [0, 1].
        line_width: pixels.

    Returns:
        (H, W, 3) float in [0, 1].
    """
    for half_width, shade in ((line_width / 2 + 1, np.asarray(RIM)), (line_width / 2, color)):
        weight = np.clip(half_width + 0.5 - distance, 0, 1)[..., None]
        picture = picture + weight * (shade - picture)
    return picture.astype(np.float32)


def distance_to_segment(
    size: tuple[int, int], start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "height width"]:
    """Distance of every pixel centre to a segment, pixels.

    Args:
        size: (H, W).
        start: (2,) x and y in pixels; (0, 0) is the outer corner of the first pixel.
        end: the same.

    Returns:
        (H, W) float.
    """
    y, x = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    along, (from_x, from_y) = end - start, (x - start[0], y - start[1])
    share = np.clip((from_x * along[0] + from_y * along[1]) / max(float(along @ along), 1e-12), 0, 1)
    return np.hypot(from_x - share * along[0], from_y - share * along[1])
