"""The part of an image that is fitted, and its reduction to fewer pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from .._camera import Camera


class Window(NamedTuple):
    """A rectangle of an image, pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """The rectangle of an (H, W) or (H, W, C) image."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def camera(self, camera: Camera) -> Camera:
        """The camera that sees the rectangle."""
        return camera.cropped(self.left, self.top, self.width, self.height)

    def reduced(self, longer_side: int) -> tuple[int, int]:
        """(width, height) with the given longer side and this shape; never larger than the rectangle itself."""
        factor = min(1.0, longer_side / max(self.width, self.height))
        return max(1, round(factor * self.width)), max(1, round(factor * self.height))


def window_around(region: Bool[np.ndarray, "height width"], margin: float) -> Window:
    """The rectangle around a region, as square as the image allows.

    Args:
        region: (H, W) bool, not empty.
        margin: on each side, in units of the longer side of the region's bounding box.

    Returns:
        The window, inside the image.
    """
    inside = [np.flatnonzero(region.any(axis=axis)) for axis in (0, 1)]
    spans = [(int(indices[0]), int(indices[-1]) + 1) for indices in inside]
    side = max(last - first for first, last in spans) * (1 + 2 * margin)
    (left, width), (top, height) = (_span(*span, side, limit) for span, limit in zip(spans, reversed(region.shape)))
    return Window(left, top, width, height)


def reduce_color(image: UInt8[np.ndarray, "_h _w 3"], width: int, height: int) -> Float[np.ndarray, "height width 3"]:
    """(H, W, 3) uint8 averaged over the area of each new pixel: float32 in [0, 1]."""
    rows, columns = _overlaps(image.shape[0], height), _overlaps(image.shape[1], width)
    return np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float32) / 255, columns, optimize=True).clip(0, 1)


def reduce_mask(mask: Bool[np.ndarray, "_h _w"], width: int, height: int) -> Bool[np.ndarray, "height width"]:
    """(H, W) bool: true where the mask covers at least half of the new pixel."""
    covered = _overlaps(mask.shape[0], height) @ mask.astype(np.float32) @ _overlaps(mask.shape[1], width).T
    return covered >= 0.5


def reduce_depth(depth: Float[np.ndarray, "_h _w"], width: int, height: int) -> Float[np.ndarray, "height width"]:
    """(H, W) depth: a measured value per new pixel, the median of those in it, so that no edge gets a depth between.

    0 where less than half of the new pixel was measured.
    """
    samples = [max(1, -(-old // new)) for old, new in zip(depth.shape, (height, width))]
    rows, columns = (
        ((np.arange(new * count) + 0.5) * old / (new * count)).astype(int)
        for old, new, count in zip(depth.shape, (height, width), samples)
    )
    cells = depth[rows[:, None], columns].reshape(height, samples[0], width, samples[1])
    cells = np.sort(cells.transpose(0, 2, 1, 3).reshape(height, width, -1), axis=-1)
    measured = (cells > 0).sum(axis=-1)
    middle = cells.shape[-1] - (measured + 1) // 2 - (measured == 0)  # zeros come first
    median = np.take_along_axis(cells, middle[..., None], axis=-1)[..., 0]
    return np.where(2 * measured >= cells.shape[-1], median, 0)


def _span(first: int, last: int, length: float, limit: int) -> tuple[int, int]:
    """Begin and length of an interval around [first, last), moved and cut to [0, limit)."""
    length = min(limit, round(length))
    begin = round((first + last - length) / 2)
    return min(max(begin, 0), limit - length), length


def _overlaps(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """How much of each new cell each old cell fills; rows sum to one."""
    edges = np.arange(new + 1) * (old / new)
    begin = np.maximum(edges[:-1, None], np.arange(old))
    end = np.minimum(edges[1:, None], np.arange(1, old + 1))
    return (np.maximum(end - begin, 0) * (new / old)).astype(np.float32)
