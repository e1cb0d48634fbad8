"""Where an object is, if its rotation is known and its box in the image: the translation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

VERTICES = 500
"""Of an object, at most, when its box is looked for."""
NEAR_SURFACE = 0.3
"""Of a diameter: how far behind its visible surface the centre of an object is, about."""
MEASURED = 5
"""Pixels with a measurement, at least, that tell a distance."""


class Box(NamedTuple):
    """A rectangle of an image, pixels from its left and upper edge."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def around(cls, mask: Bool[np.ndarray, "height width"]) -> Box:
        """That of a mask with pixels."""
        (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
        return cls(float(left), float(top), float(right - left + 1), float(bottom - top + 1))

    @property
    def middle(self) -> Float[np.ndarray, "2"]:
        """(2,): column and row."""
        return np.array([self.left + 0.5 * self.width, self.top + 0.5 * self.height])

    def inner(self, share: float, size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of its middle, that share of its sides, in an image of (height, width)."""
        spans = []
        for middle, side, limit in zip(self.middle[::-1], (self.height, self.width), size):
            first = min(max(0, round(middle - 0.5 * share * side)), limit - 1)
            spans.append(slice(first, max(first + 1, min(limit, round(middle + 0.5 * share * side)))))
        return spans[0], spans[1]


def place(
    rotations: Float[np.ndarray, "rotations 3 3"],
    vertices: Float[np.ndarray, "vertices 3"],
    intrinsics: Float[np.ndarray, "4"],
    box: Box,
    *,
    distance: float | None = None,
) -> Float[np.ndarray, "rotations 4 4"]:
    """Poses in given rotations that fill a box of the image.

    Args:
        rotations: (R, 3, 3), object to camera frame.
        vertices: (V, 3) of the object, metres.
        intrinsics: (4,) fx, fy, cx, cy, pixels from the image's edge.
        box: where the object is seen.
        distance: of the objects' centre along the camera's axis, metres, if it is known: then the box tells the place
            in the image alone.

    Returns:
        (R, 4, 4) float64 T_camera_object, metres.
    """
    focal, centre = intrinsics[:2], intrinsics[2:]
    turned = vertices[:: -(-len(vertices) // VERTICES)] @ np.swapaxes(rotations, 1, 2)  # (R, V, 3)
    low, high = turned.min(axis=1), turned.max(axis=1)
    size = high - low
    z = np.sqrt(np.prod(focal) * size[:, 0] * size[:, 1] / (box.width * box.height))
    if distance is not None:
        z = np.full(len(rotations), distance)
    t = z[:, None] * np.append((box.middle - centre) / focal, 1.0) - 0.5 * (low + high)
    # Ends of an object that are nearer look larger: a few rounds bring its projection to the box.
    nearest = 1e-3 * np.linalg.norm(size, axis=1).max()
    for _ in range(3):
        points = turned + t[:, None]
        pixels = points[..., :2] / np.maximum(points[..., 2:], nearest) * focal + centre
        first, last = pixels.min(axis=1), pixels.max(axis=1)
        if distance is None:
            t *= np.sqrt(np.prod(np.maximum(last - first, 1e-3), axis=1) / (box.width * box.height))[:, None]
        t[:, :2] += t[:, 2:] * (box.middle - 0.5 * (first + last)) / focal
    T = np.tile(np.eye(4), (len(rotations), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = rotations, t
    return T


def measured_distance(
    depth: Float[np.ndarray, "height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    box: Box,
    diameter: float,
) -> float | None:
    """That of an object's centre: behind the median depth inside of the mask, or of the middle half of the box.

    None if little was measured there.
    """
    if depth is None:
        return None
    inside = depth[mask] if mask is not None and mask.any() else depth[box.inner(0.5, depth.shape)]
    inside = inside[inside > 0]
    return float(np.median(inside)) + NEAR_SURFACE * diameter if inside.size >= MEASURED else None
