"""A rendering laid over an image."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from .._scene.scene import Scene
from ._colors import BLUE, AnyPicture, ColorPicture, as_float, as_picture, as_uint8, rgb_of
from ._object_axes import draw_object_axes
from ._strokes import draw_strokes


def overlay(
    image: AnyPicture,
    mask: Shaped[ArrayLike, "height width"],
    rendered: AnyPicture | None = None,
    *,
    opacity: float | Float[ArrayLike, "height width"] = 1.0,
    color: str | None = BLUE,
    line_width: float = 3.0,
    axes: Scene | None = None,
) -> ColorPicture:
    """Lays a rendering over an image, traces the outline of what was rendered, and can add the objects' axes.

    Args:
        image: (h, w, 3) uint8, or float in [0, 1].
        mask: (H, W) bool or float in [0, 1], where the object is. H and W are h and w times one whole number: each
            pixel of the image is then repeated, not blurred, and outline and rendering are finer than the image.
        rendered: optional (H, W, 3) uint8 or float, shown inside the mask. Default: the outline alone.
        opacity: of the rendering, in [0, 1]; a number or an (H, W) float array, such as `checkerboard` makes.
        color: of the outline, "#rrggbb". It gets a thin dark rim, to stand out from any
            background. None: no outline.
        line_width: width of the outline, pixels of the result.
        axes: optional scene, whose object frames are drawn by `draw_object_axes`. Its camera may have another
            resolution.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if the sizes do not fit.
    """
    picture, mask = as_picture(image), np.asarray(mask)
    height, width = mask.shape
    factor = height // picture.shape[0]
    if factor < 1 or (height, width) != (factor * picture.shape[0], factor * picture.shape[1]):
        raise ValueError(
            f"The mask must be as large as the image or a whole number of times larger, got mask {mask.shape} and "
            f"image {picture.shape[:2]}."
        )
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    near = _box_around(mask, math.ceil(line_width / 2) + 2)  # nothing changes outside
    part, coverage = as_float(picture[near]), mask[near].astype(np.float32)
    if rendered is not None:
        drawn = as_picture(rendered)
        if drawn.shape[:2] != mask.shape:
            raise ValueError(f"rendered must be as large as the mask, {mask.shape}, got {drawn.shape[:2]}.")
        weight = (coverage * np.broadcast_to(opacity, mask.shape)[near])[..., None]
        part = part + weight * (as_float(drawn[near]) - part)
    if color is not None:
        part = draw_strokes(part, np.abs(_distance_to_outline(coverage)), rgb_of(color), line_width)
    picture = as_uint8(picture)
    picture[near] = as_uint8(part)
    return picture if axes is None else draw_object_axes(picture, axes)


def checkerboard(height: int, width: int, side: int) -> Float[np.ndarray, "height width"]:
    """Squares of ones and zeros, an opacity for `overlay` that shows whether print runs on across the seams.

    Args:
        height: H, pixels.
        width: W, pixels.
        side: of a square, pixels.

    Returns:
        (H, W) float32.
    """
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return ((rows[:, None] + columns) % 2).astype(np.float32)


def _box_around(mask: Shaped[np.ndarray, "height width"], margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold the mask and so many pixels on each side; none without a mask."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(max(s[0] - margin, 0), s[-1] + margin + 1) if len(s) else slice(0) for s in spans)
    return rows, columns


def _distance_to_outline(coverage: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Signed distance to the outline in pixels, right up to about five pixels.

    A straight edge blurred by a Gaussian is the Gaussian's integral of the distance: its inverse gives the distance at
    fractions of a pixel, where a distance transform of a mask would give stairs.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.special import ndtri

    sigma = 1.2
    blurred = gaussian_filter(coverage, sigma, mode="nearest", truncate=5)
    return sigma * ndtri(np.clip(blurred, 1e-6, 1 - 1e-6)).astype(np.float32)
