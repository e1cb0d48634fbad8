"""Mipmaps: an image again and again at half its size, each texel the mean of the area that it covers.

Sizes are halved and rounded down, to 1 x 1, as in OpenGL. Where a size is odd, three texels lie in part under each of
the next level, and weigh what is covered of them (Guthe & Heckbert, "Non-power-of-two mipmap creation", 2005): so every
level has the mean of the image. Means are of the values as they are stored, as OpenGL's are for images that it is not
told to be sRGB: the recorded colours of the real stillleben follow that, see the tests.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from jaxtyping import Array

Image = TypeVar("Image", np.ndarray, Array)

BAND = 64  # rows of a level that are computed at a time, for floats take four times the memory of bytes


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """(width, height) of the levels behind the image itself."""
    sizes = []
    while width > 1 or height > 1:
        width, height = max(width // 2, 1), max(height // 2, 1)
        sizes.append((width, height))
    return sizes


def coarser(image: Image) -> Image:
    """The next level (H // 2, W // 2, C) of a floating image (H, W, C)."""
    return _halved(_halved(image, 1), 0)


def coarser_bytes(image: np.ndarray) -> np.ndarray:
    """The next level of an image of bytes, rounded to nearest."""
    height, width = image.shape[0], max(image.shape[1] // 2, 1)
    if height == 1:
        return np.rint(coarser(image.astype(np.float32))).astype(np.uint8)
    level = np.empty((height // 2, width, image.shape[2]), np.uint8)
    for first in range(0, height // 2, BAND):
        last = min(first + BAND, height // 2)
        rows = image[2 * first : 2 * last + height % 2].astype(np.float32)
        narrow = _halved(rows, 1)
        taps = [weight[first:last, None, None] for weight in _weights(height)]
        mean = sum(weight * narrow[k : k + 2 * (last - first) : 2] for k, weight in enumerate(taps))
        level[first:last] = np.rint(mean)
    return level


def _weights(size: int) -> list[np.ndarray]:
    """Of the two or three texels under each of the ``size // 2`` of the next level, one array for each."""
    half = size // 2
    index = np.arange(half, dtype=np.float32)
    if size % 2 == 0:
        return [np.full(half, 0.5, np.float32)] * 2
    return [(half - index) / size, np.full(half, half / size, np.float32), (index + 1) / size]


def _halved(image: Image, axis: int) -> Image:
    """Along one axis."""
    size = image.shape[axis]
    if size == 1:
        return image
    shape = [1] * image.ndim
    shape[axis] = size // 2

    def tap(k: int, weight: np.ndarray) -> Image:
        texels = image[k : k + size - size % 2 : 2] if axis == 0 else image[:, k : k + size - size % 2 : 2]
        return texels * weight.reshape(shape)

    first, *others = (tap(k, weight) for k, weight in enumerate(_weights(size)))
    for other in others:
        first = first + other
    return first
