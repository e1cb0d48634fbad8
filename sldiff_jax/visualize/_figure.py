"""Figures outside of pyplot: nothing global, no window, no back end to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_WIDTH, TEXT_WIDTH = 3.4, 7.0
"""Inches, of a column and of a page in a two-column paper."""

DPI = 220


def new_figure(width: float, height: float, dpi: float = DPI, **options) -> Figure:
    """An empty figure of that size in inches, or an ImportError that says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("sldiff_jax.visualize draws with matplotlib: pip install 'sldiff-jax[viz]'.") from error
    return Figure(figsize=(width, height), dpi=dpi, **options)


def keep_size(figure: Figure) -> None:
    """Keeps a figure whole where a notebook crops it to what is drawn, which overlooks the key of arrows."""
    from matplotlib.patches import Rectangle

    figure.add_artist(Rectangle((0, 0), 1, 1, fill=False, linewidth=0))


def make_plain(axes: Axes) -> None:
    """Two spines, small letters, light lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
