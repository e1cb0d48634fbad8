"""Pictures beside and below each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._gradients.rendering import Renderer
from .._scene.scene import Scene
from ._colors import BLUE, ORANGE, AnyPicture, as_uint8
from ._figure import TEXT_WIDTH, new_figure
from ._frames import draw_scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_DPI = 80
"""Below it titles cannot be read, so pixels of small pictures are repeated."""
WIDTH_OF_LETTER = 0.62
"""Of a bold one on average, in font sizes: long titles of narrow pictures get smaller letters."""


def panels(
    images: Sequence[AnyPicture], titles: Sequence[str], *, columns: int | None = None, marked: int | None = None
) -> Figure:
    """Pictures side by side, each under its title, drawn pixel by pixel.

    Args:
        images: any number of (H, W, 3) uint8 or float pictures, all of one size. Pixels of small ones are repeated.
        titles: one per picture.
        columns: pictures in a row. Default: all.
        marked: number of a picture that gets a frame and a bold title.

    Returns:
        A matplotlib figure as wide as a page. Save it with its own ``dpi``, so that no pixel is resampled.

    Raises:
        ValueError: if there are no pictures, sizes or numbers differ, or `columns` or `marked` is out of range.
        ImportError: if matplotlib is missing.
    """
    pictures = [as_uint8(image) for image in images]
    shapes = [picture.shape for picture in pictures]
    if len(set(shapes)) != 1 or len(pictures) != len(titles) or shapes[0][2:] != (3,):
        raise ValueError(
            f"panels needs (height, width, 3) pictures of one size and a title each, got sizes {shapes} and "
            f"{len(titles)} titles."
        )
    columns = len(pictures) if columns is None else columns
    if columns < 1 or not (marked is None or 0 <= marked < len(pictures)):
        raise ValueError(
            f"columns must be positive and marked one of 0..{len(pictures) - 1}, got columns={columns} and "
            f"marked={marked}."
        )
    columns, rows = min(columns, len(pictures)), math.ceil(len(pictures) / columns)

    def total_width(width: int) -> tuple[int, int]:
        gap = max(2, round(0.02 * width))
        return columns * width + (columns - 1) * gap, gap

    repeats = max(1, math.ceil(LEAST_DPI * TEXT_WIDTH / total_width(shapes[0][1])[0]))
    height, width = repeats * shapes[0][0], repeats * shapes[0][1]
    total, gap = total_width(width)
    dpi = total / TEXT_WIDTH
    head = round(0.24 * dpi)
    total_height = rows * (height + head) + (rows - 1) * gap
    figure = new_figure(TEXT_WIDTH, total_height / dpi, dpi)
    points_per_letter = 72 * width / dpi / max(1, *map(len, titles))
    fontsize = min(9, points_per_letter / WIDTH_OF_LETTER)
    for i, (picture, title) in enumerate(zip(pictures, titles)):
        left, top = (i % columns) * (width + gap), (i // columns) * (height + head + gap) + head
        bottom = total_height - top - height
        axes = figure.add_axes((left / total, bottom / total_height, width / total, height / total_height))
        axes.imshow(picture.repeat(repeats, axis=0).repeat(repeats, axis=1), interpolation="none", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(i == marked)
        axes.spines[:].set(color=BLUE, linewidth=3)
        axes.set_title(title, fontsize=fontsize, pad=3, fontweight="bold" if i == marked else "normal")
    return figure


def before_after(
    image: AnyPicture,
    before: Scene,
    after: Scene,
    renderer: Renderer,
    *,
    opacity: float = 0.6,
    titles: Sequence[str] = ("image", "before", "after"),
) -> Figure:
    """The image, and over it renderings of two scenes: what a refinement started from and what it found.

    Args:
        image: (H, W, 3) uint8, or float in [0, 1]: what the camera saw, in any resolution.
        before: the scene before; outlined in orange.
        after: the scene after; outlined in blue.
        renderer: draws both at the size of the image.
        opacity: of the renderings, in [0, 1].
        titles: three.

    Returns:
        A matplotlib figure of three panels, as wide as a page; see `panels`.

    Raises:
        ValueError: if the image is not (H, W, 3), or there are not three titles.
        ImportError: if matplotlib is missing.
    """
    image = np.asarray(image)
    drawn = [
        draw_scene(image, scene, renderer, color=color, opacity=opacity)
        for scene, color in ((before, ORANGE), (after, BLUE))
    ]
    return panels([as_uint8(image), *drawn], titles)
