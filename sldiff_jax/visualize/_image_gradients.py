"""Image-space gradients as arrows, and as colours with a disc for their legend.

Both show how the brightness of a pixel changes per *pixel* of motion, so that directions are those on the screen. A
gradient points where the content must move for the pixel to become brighter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float

from .._gradients.diverging import symmetric_limit
from ._colors import AnyPicture, ColorPicture, as_float, as_uint8, luminance, srgb_of_oklab
from ._figure import TEXT_WIDTH, keep_size, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ImageGradient = Float[ArrayLike, "height width 3"]


def gradient_arrows(
    image: AnyPicture, grad_x: ImageGradient, grad_y: ImageGradient, *, spacing: int | None = None
) -> Figure:
    """Image-space gradients as arrows over the pale image: the strongest one of every square of pixels.

    Args:
        image: (H, W, 3) uint8, or float in [0, 1].
        grad_x: (H, W, 3) float, as `compute_image_space_gradients` returns it.
        grad_y: the same along y.
        spacing: side of the squares, pixels. Default: 32 squares along the image's width.

    Returns:
        A matplotlib figure as wide as a page, with an arrow of known strength beside it.

    Raises:
        ValueError: if sizes differ or `spacing` is not positive.
        ImportError: if matplotlib is missing.
    """
    picture = as_float(image)
    motion = brightness_per_pixel(grad_x, grad_y)
    if motion.shape[:2] != picture.shape[:2]:
        raise ValueError(f"image and gradients must have one size, got {picture.shape[:2]} and {motion.shape[:2]}.")
    height, width = picture.shape[:2]
    spacing = max(1, round(width / 32)) if spacing is None else spacing
    if spacing < 1:
        raise ValueError(f"spacing must be at least one pixel, got {spacing}.")
    rows, columns = _strongest(np.hypot(*np.moveaxis(motion, -1, 0)), spacing)
    u, v = np.moveaxis(motion[rows, columns], -1, 0)
    limit = _nice(symmetric_limit(np.hypot(u, v), 90))
    seen = np.hypot(u, v) > 0.2 * limit  # shorter ones would be dots
    rows, columns, u, v = rows[seen], columns[seen], u[seen], v[seen]
    figure, axes = _image_figure(height, width)
    axes.imshow(0.55 + 0.45 * luminance(picture), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    style = {"angles": "xy", "scale_units": "xy", "scale": limit / (1.5 * spacing), "color": "#004a80"}
    arrows = axes.quiver(columns, rows, u, v, width=0.0028, headwidth=4, headlength=4, headaxislength=3.6, **style)
    label = f"{limit:.2g}\nbrightness\nper pixel"
    axes.quiverkey(arrows, 1.09, 0.62, limit, label, labelpos="S", fontproperties={"size": 8})
    return figure


def gradient_wheel(grad_x: ImageGradient, grad_y: ImageGradient, *, limit: float | None = None) -> Figure:
    """Image-space gradients as colours: yellow right, blue left, light up, dark down, grey none.

    Blue against yellow and dark against light are what colour-blind readers keep. A grey print keeps up and down
    alone: `gradient_arrows` shows all of it.

    Args:
        grad_x: (H, W, 3) float, as `compute_image_space_gradients` returns it.
        grad_y: the same along y.
        limit: brightness per pixel of motion at the rim of the disc. Default: the 95th percentile, rounded.

    Returns:
        A matplotlib figure as wide as a page, with the disc as its legend.

    Raises:
        ValueError: if sizes differ or `limit` is not positive.
        ImportError: if matplotlib is missing.
    """
    motion = brightness_per_pixel(grad_x, grad_y)
    limit = _nice(symmetric_limit(np.hypot(*np.moveaxis(motion, -1, 0)), 95)) if limit is None else limit
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit}.")
    height, width = motion.shape[:2]
    figure, axes = _image_figure(height, width)
    axes.imshow(colors_of_motion(motion / limit), interpolation="nearest")
    disc = axes.inset_axes((1.045, 0.5 - 0.07 * width / height, 0.14, 0.14 * width / height))
    y, x = np.mgrid[-1:1:201j, -1:1:201j]
    picture = colors_of_motion(np.stack([x, y], axis=-1))
    alpha = (np.hypot(x, y) <= 1).astype(np.uint8) * 255
    disc.imshow(np.dstack([picture, alpha]), extent=(-1, 1, 1, -1))
    disc.set_axis_off()
    for (x, y), (text, horizontal, vertical) in {
        (0, -1.1): ("up", "center", "bottom"),
        (0, 1.1): (f"down\n\nrim: {limit:.2g}\nbrightness\nper pixel", "center", "top"),
        (-1.1, 0): ("left", "right", "center"),
        (1.1, 0): ("right", "left", "center"),
    }.items():
        disc.text(x, y, text, ha=horizontal, va=vertical, fontsize=8)
    return figure


def brightness_per_pixel(grad_x: ImageGradient, grad_y: ImageGradient) -> Float[np.ndarray, "height width 2"]:
    """Change of brightness per pixel of motion along x and y, from changes of colour per unit of NDC. (H, W, 2)."""
    grad_x, grad_y = np.asarray(grad_x), np.asarray(grad_y)
    if grad_x.shape != grad_y.shape or grad_x.ndim != 3 or grad_x.shape[2] != 3:
        raise ValueError(f"grad_x and grad_y must both be (height, width, 3), got {grad_x.shape} and {grad_y.shape}.")
    height, width = grad_x.shape[:2]
    return np.stack([2 / width * luminance(grad_x), 2 / height * luminance(grad_y)], axis=-1)


def colors_of_motion(motion: Float[np.ndarray, "height width 2"]) -> ColorPicture:
    """Vectors (x to the right, y down) as colours; longer than one as if one. (H, W, 3) uint8."""
    inside = motion / np.maximum(np.linalg.norm(motion, axis=-1, keepdims=True), 1)
    x, y = np.moveaxis(inside, -1, 0)
    return as_uint8(srgb_of_oklab(np.stack([0.64 - 0.28 * y, 0 * x, 0.13 * x], axis=-1)))


def _image_figure(height: int, width: int):
    """A figure and axes for an image, with room for a legend at its right."""
    share = 0.8
    figure = new_figure(TEXT_WIDTH, share * TEXT_WIDTH * height / width)
    keep_size(figure)
    axes = figure.add_axes((0, 0, share, 1))
    axes.set_axis_off()
    return figure, axes


def _strongest(strength: Float[np.ndarray, "height width"], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the strongest pixel of every square, if it has any strength."""
    height, width = strength.shape
    padded = np.pad(strength, ((0, -height % side), (0, -width % side)))
    squares = padded.reshape(padded.shape[0] // side, side, -1, side).swapaxes(1, 2)
    flat = squares.reshape(*squares.shape[:2], side * side)
    at, nonzero = flat.argmax(axis=-1), flat.max(axis=-1) > 0
    rows, columns = np.nonzero(nonzero)
    return side * rows + at[nonzero] // side, side * columns + at[nonzero] % side


def _nice(value: float) -> float:
    """Rounded to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * min((1, 2, 5, 10), key=lambda digit: abs(np.log(value / power / digit))))
