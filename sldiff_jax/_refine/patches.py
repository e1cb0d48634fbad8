"""Patches of one image, found in another by zero-mean normalised cross-correlation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float

_fft: Any = scipy.fft  # whose types are wrong

PATCHES = 120
"""About how many patches are sought."""
LEAST_CONTRAST = 0.02
"""Standard deviation of the colours inside a patch, of 1, below which it is not sought."""
LEAST_COVER = 0.5
"""The share of a patch that must show the object."""


class Matches(NamedTuple):
    """Patches of a rendering in a photo.

    Attributes:
        places: (M, 2) int, row and column of each patch's middle.
        shifts: (M, 2) float, pixels right and down to where it is found.
        scores: (M,) float, the correlation there, above 0.
    """

    places: np.ndarray
    shifts: np.ndarray
    scores: np.ndarray


def find_patches(
    rendered: Float[np.ndarray, "height width 3"],
    inside: Bool[np.ndarray, "height width"],
    photo: Float[np.ndarray, "height width 3"],
    *,
    radius: int,
    reach: int,
) -> Matches:
    """Looks up square patches of the object in the photo, each around its own place.

    Blind to gain and offset; channels share the gain. Pixels of a patch beside the object do not count.

    Args:
        rendered: the object.
        inside: where it shows, without its outline.
        photo: of the same size.
        radius: of the patches, pixels: 2 radius + 1 on a side.
        reach: how far each is sought, up to this many pixels along rows and columns.

    Returns:
        Those with contrast whose best place is not at the end of the reach.
    """
    height, width = inside.shape
    spacing = max(1, round(np.sqrt(inside.sum() / PATCHES)))
    rows, columns = (grid.ravel() for grid in np.mgrid[0:height:spacing, 0:width:spacing])
    rows, columns = rows[inside[rows, columns]], columns[inside[rows, columns]]
    around = np.arange(-radius, radius + 1)
    both = np.concatenate([rendered, inside[..., None]], axis=-1)
    both = np.pad(both, ((radius, radius), (radius, radius), (0, 0)))
    both = _windows(both, rows + radius, columns + radius, around)
    patches, weight = both[..., :3], both[..., 3:]
    count = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    patches = (patches - (patches * weight).sum((1, 2), keepdims=True) / count) * weight
    square = (patches**2).sum((1, 2, 3))
    good = (weight.mean((1, 2, 3)) >= LEAST_COVER) & (square >= 3 * LEAST_CONTRAST**2 * count.ravel())
    rows, columns, patches, weight, count = (x[good] for x in (rows, columns, patches, weight, count.ravel()))
    square = square[good]
    if not len(rows):
        return Matches(np.zeros((0, 2), int), np.zeros((0, 2)), np.zeros(0))
    edge = radius + reach
    padded = np.pad(photo, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    sought = _windows(padded, rows + edge, columns + edge, np.arange(-edge, edge + 1))
    places = 2 * reach + 1

    def correlated(images: np.ndarray, kernels: np.ndarray) -> np.ndarray:
        """(M, places, places, channels): each image with its kernel, shifted over it."""
        sides = [_fft.next_fast_len(images.shape[1], real=True)] * 2
        spectrum = _fft.rfft2(images, sides, (1, 2)) * np.conj(_fft.rfft2(kernels, sides, (1, 2)))
        return _fft.irfft2(spectrum, sides, (1, 2))[:, :places, :places]

    product = correlated(sought, patches).sum(-1)
    total, squares = correlated(sought, weight), correlated(sought**2, weight)
    of_photo = (squares - total**2 / count[:, None, None, None]).sum(-1)
    floor = 3 * LEAST_CONTRAST**2 * count
    scores = product / np.sqrt(square[:, None, None] * np.maximum(of_photo, floor[:, None, None]))
    best = np.stack(np.divmod(scores.reshape(len(scores), -1).argmax(axis=1), places), axis=-1)
    found = (abs(best - reach).max(axis=-1) < reach) & (scores.max((1, 2)) > 0)
    best, scores = best[found], scores[found]
    shifts = best - reach + _summit(scores, best)
    return Matches(np.stack([rows, columns], axis=-1)[found], shifts[:, ::-1], scores.max((1, 2)))


def _summit(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """(M, 2): how far from the best place, down and right, a parabola through its neighbours has its top."""
    each, (row, column) = np.arange(len(best)), best.T
    here = scores[each, row, column]
    offsets = []
    for down, right in ((1, 0), (0, 1)):
        before, after = scores[each, row - down, column - right], scores[each, row + down, column + right]
        offsets.append(0.5 * (after - before) / np.maximum(2 * here - before - after, 1e-9))
    return np.clip(np.stack(offsets, axis=-1), -0.5, 0.5)


def eroded(inside: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Without the pixels that have one of their four neighbours outside, or lie on the border."""
    padded = np.pad(inside, 1)
    return inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _windows(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, around: np.ndarray) -> np.ndarray:
    """(M, side, side, ...): what is around each pixel."""
    return image[rows[:, None, None] + around[:, None], columns[:, None, None] + around]
