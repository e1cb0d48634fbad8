"""Where rendered and measured depth differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float

from .._gradients.diverging import diverging_colors
from ._figure import COLUMN_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def depth_residual_map(
    residual: Float[ArrayLike, "height width"], *, limit: float | None = None, title: str | None = None
) -> Figure:
    """Rendered minus measured depth.

    Args:
        residual: (H, W) float, metres; NaN where there is nothing to compare, which stays white.
        limit: metres at both ends of the colour bar. Default: the 95th percentile of the absolute residual, rounded
            up to whole millimetres.
        title: default: the median absolute residual.

    Returns:
        A matplotlib figure, one column wide: dark blue where the rendering is nearer than the measurement, yellow
        where it is farther, grey where they agree.

    Raises:
        ValueError: if `residual` is not (H, W) or `limit` not positive.
        ImportError: if matplotlib is missing.
    """
    millimetres = 1e3 * np.asarray(residual)
    if millimetres.ndim != 2 or (limit is not None and not limit > 0):
        raise ValueError(
            f"depth_residual_map needs a (height, width) residual and a positive limit, got {millimetres.shape} and "
            f"limit={limit}."
        )
    compared = np.abs(millimetres[np.isfinite(millimetres)])
    if limit is None:
        limit = 1e-3 * max(1.0, float(np.ceil(np.percentile(compared, 95)))) if compared.size else 1e-3
    if title is None:
        title = f"median |residual| {np.median(compared):.1f} mm" if compared.size else "nothing to compare"
    height, width = millimetres.shape
    figure = new_figure(COLUMN_WIDTH, 0.35 + 0.78 * COLUMN_WIDTH * height / width, layout="constrained")
    axes = figure.subplots()
    ends = 1e3 * limit
    drawn = axes.imshow(millimetres, cmap=diverging_colors(), vmin=-ends, vmax=ends, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, extend="both", fraction=0.05, pad=0.02)
    bar.set_label("rendered − measured depth (mm)", fontsize=8)  # noqa: RUF001 (a minus sign, as in the ticks)
    bar.ax.tick_params(labelsize=8)
    return figure
