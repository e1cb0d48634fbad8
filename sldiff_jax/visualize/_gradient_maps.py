"""What every pixel adds to the gradient of a pose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float

from .._gradients.show_maps import draw_pose_gradient_maps
from ._figure import TEXT_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gradient_maps(
    maps: Float[ArrayLike, "6 height width"], *, length: float | None = None, title: str | None = None
) -> Figure:
    """Six maps, one per pose parameter, on a diverging scale centred at zero: yellow positive, dark blue negative.

    Args:
        maps: (6, H, W) float: one object's row of `pose_gradient_maps`, objective per radian and per metre.
        length: metres, for instance the object's radius. With it shifts are given per that length, and all six maps
            share one scale. Default: the rotations share one scale, the shifts another, since their units differ.
        title: of the figure.

    Returns:
        A matplotlib figure as wide as a page, rotations above shifts.

    Raises:
        ValueError: if `maps` is not (6, H, W), or `length` is not positive.
        ImportError: if matplotlib is missing.
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or len(maps) != 6 or (length is not None and not length > 0):
        raise ValueError(
            f"gradient_maps needs the (6, height, width) maps of one object and a positive length, got {maps.shape} "
            f"and length={length}."
        )
    height = 2 * (0.28 * TEXT_WIDTH * maps.shape[1] / maps.shape[2] + 0.25) + (0.3 if title else 0)
    figure = new_figure(TEXT_WIDTH, height, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=10)
    draw_pose_gradient_maps(figure, maps, length=length)
    return figure
