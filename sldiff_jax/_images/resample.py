"""Images brought to another number of pixels, with NumPy on the host.

An old pixel counts as a square of one value. So fewer pixels average areas, and more pixels repeat values: nothing is
blurred, nothing is invented, and the view stays the same, as with `Camera.resized`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped


def average(
    image: Float[np.ndarray, "_h _w *channels"], width: int, height: int
) -> Float[np.ndarray, "height width *channels"]:
    """(H, W) or (H, W, C) averaged over the area of each new pixel, in the dtype of the image."""
    rows, columns = (_overlaps(old, new).astype(image.dtype) for old, new in zip(image.shape, (height, width)))
    return np.einsum("ih,hw...,jw->ij...", rows, image, columns, optimize=True)


def reduce_color(image: Real[np.ndarray, "_h _w 3"], width: int, height: int) -> Float[np.ndarray, "height width 3"]:
    """(H, W, 3), uint8 or floating in [0, 1], averaged over the area of each new pixel: floating in [0, 1]."""
    if image.dtype == np.uint8:
        image = image.astype(np.float32) / 255
    return average(image, width, height).clip(0, 1)


def reduce_mask(mask: Shaped[np.ndarray, "_h _w"], width: int, height: int) -> Bool[np.ndarray, "height width"]:
    """(H, W), bool or floating in [0, 1]: true where the mask covers at least half of the new pixel."""
    return average(mask.astype(np.float64), width, height) >= 0.5 - 1e-9


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
    return np.where(2 * measured >= cells.shape[-1], median, 0).astype(depth.dtype)


def _overlaps(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """How much of each new cell each old cell fills; rows sum to one."""
    edges = np.arange(new + 1) * (old / new)
    begin = np.maximum(edges[:-1, None], np.arange(old))
    end = np.minimum(edges[1:, None], np.arange(1, old + 1))
    return np.maximum(end - begin, 0) * (new / old)
