"""Windows of an image around objects, brought to a few fixed sizes, so that nothing is compiled for one image alone.

All of it is NumPy on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from .._images.observation import Observation
from .._images.resample import average, reduce_color, reduce_depth, reduce_mask
from ._frame import projection

Pose = Float[np.ndarray, "4 4"]


class Photo(NamedTuple):
    """An image as it was read.

    Attributes:
        K: (3, 3) intrinsic matrix, pixels, centres of pixels at whole numbers.
        rgb: optional (H, W, 3) uint8.
        depth: optional (H, W) float, metres, 0 where nothing was measured.
    """

    K: Float[np.ndarray, "3 3"]
    rgb: UInt8[np.ndarray, "height width 3"] | None
    depth: Float[np.ndarray, "height width"] | None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        image = self.depth if self.rgb is None else self.rgb
        assert image is not None
        return image.shape[0], image.shape[1]


class Square(NamedTuple):
    """A square window of an image, pixels; it may reach beyond. It is shown with `shown` x `shown` pixels."""

    left: int
    top: int
    side: int
    shown: int

    def projection(self, K: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4 4"]:
        """(4, 4) float32: that of the camera that sees the window, in which pixels have no size."""
        moved = K - np.array([[0, 0, self.left], [0, 0, self.top], [0, 0, 0]])
        return projection(moved, self.side, self.side)


class Disc(NamedTuple):
    """Where an object is, roughly, pixels."""

    x: float
    y: float
    radius: float


def disc_of(T_camera_object: Pose, K: Float[np.ndarray, "3 3"], diameter: float, centre: np.ndarray) -> Disc | None:
    """The projection of a sphere around an object; None if it is not in front of the camera.

    Args:
        T_camera_object: (4, 4), metres.
        K: (3, 3) intrinsic matrix.
        diameter: of the object, metres.
        centre: (3,) of the object's bounding box, in its frame, metres.
    """
    x, y, z = (T_camera_object @ np.append(centre, 1))[:3]
    if not z > 0.5 * diameter:
        return None
    u, v, _ = K @ [x / z, y / z, 1]
    return Disc(float(u) + 0.5, float(v) + 0.5, 0.5 * diameter / z * math.sqrt(K[0, 0] * K[1, 1]))


def square_around(discs: Sequence[Disc], margin: float, sizes: Sequence[int]) -> Square:
    """The window around some objects.

    Args:
        discs: at least one.
        margin: on each side, in units of the width of what is to be seen.
        sizes: to choose from, ascending. The smallest is taken that shows the window pixel by pixel; a larger
            window is shown at the largest size; a smaller one grows, since more pixels than there are show nothing.
    """
    low = np.min([(d.x - d.radius, d.y - d.radius) for d in discs], axis=0)
    high = np.max([(d.x + d.radius, d.y + d.radius) for d in discs], axis=0)
    side = math.ceil(float((high - low).max()) * (1 + 2 * margin))
    shown = next((size for size in sizes if size >= side), sizes[-1])
    side = max(side, shown)
    left, top = np.rint(0.5 * (low + high) - 0.5 * side).astype(int).tolist()
    return Square(left, top, side, shown)


def cut(
    photo: Photo, mask: Bool[np.ndarray, "height width"] | None, square: Square, scale: float
) -> Observation | None:  # fmt: skip
    """What is seen in a window, or None if that is nothing.

    Args:
        photo: the image.
        mask: optional (H, W) bool, where the object is.
        square: the window.
        scale: resolution in units of the window's.

    Returns:
        The observation; its arrays are NumPy's. Its weight is 0 beyond the image.
    """
    height, width = photo.size
    size = max(1, round(scale * square.shown))
    spans = [_span(first, square.side, limit) for first, limit in ((square.top, height), (square.left, width))]
    (y, y_end, y_pad), (x, x_end, x_pad) = spans
    if y_end <= y or x_end <= x:
        return None

    def part(image: np.ndarray) -> np.ndarray:
        return np.pad(image[y:y_end, x:x_end], [y_pad, x_pad, *[(0, 0)] * (image.ndim - 2)])

    weight = average(part(np.ones((height, width), np.float32)), size, size)
    rgb = None if photo.rgb is None else reduce_color(part(photo.rgb), size, size).astype(np.float32)
    depth = None if photo.depth is None else reduce_depth(part(photo.depth), size, size).astype(np.float32)
    inside = None if mask is None else reduce_mask(part(mask), size, size).astype(np.float32)
    if not weight.any() or (inside is not None and not inside.any()):
        return None
    return Observation(rgb, depth, inside, weight)


def _span(first: int, length: int, limit: int) -> tuple[int, int, tuple[int, int]]:
    """Begin and end of [first, first + length) inside of [0, limit), and how much is missing on both sides."""
    begin, end = min(max(first, 0), limit), max(min(first + length, limit), 0)
    return begin, end, (begin - first, first + length - end)
