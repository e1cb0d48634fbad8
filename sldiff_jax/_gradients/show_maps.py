"""Pose-gradient maps: drawn into a figure, and shown on a screen, in visdom if it answers, else by pyplot."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from .diverging import diverging_colors, symmetric_limit

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

TITLES = ("rotation about x", "rotation about y", "rotation about z", "shift along x", "shift along y", "shift along z")

logger = logging.getLogger(__name__)


def show_pose_gradient_maps(
    instance_index: Int[ArrayLike, " objects"], maps: Float[ArrayLike, "objects 6 height width"]
) -> None:
    """Shows six maps per object, on one colour scale each for rotations and translations, centred at zero.

    Figures are made by pyplot: a notebook draws them below the cell; a script calls ``pyplot.show()`` in the end.
    Repeated calls redraw the figure of each object.

    Args:
        instance_index: (N,) int, labels of the objects.
        maps: (N, 6, H, W) float, as `pose_gradient_maps` returns them.

    Raises:
        ImportError: if neither a visdom server answers nor matplotlib is installed.
    """
    instance_index, maps = np.asarray(instance_index), np.asarray(maps)
    visdom = _connect_to_visdom()
    for label, maps_of_object in zip(instance_index, maps):
        title = f"pose gradient of object {label}"
        if visdom is None:
            _show_figure(title, maps_of_object)
        else:
            for name, values in zip(TITLES, maps_of_object):
                # visdom puts row 0 at the bottom.
                visdom.heatmap(values[::-1], win=f"{title} {name}", opts={"title": f"{title}: {name}"})


def draw_pose_gradient_maps(
    figure: FigureBase, maps: Float[np.ndarray, "6 height width"], *, length: float | None = None
) -> None:
    """Draws the six maps of one object into an empty matplotlib figure.

    Args:
        figure: where to; with constrained layout.
        maps: (6, H, W) float, objective per radian and per metre.
        length: metres. With it shifts are drawn per that length, and all maps share one scale. Without it rotations
            share one, and shifts another, since their units differ.
    """
    if length is None:
        groups = ((slice(0, 3), 1.0, "objective per radian"), (slice(3, 6), 1.0, "objective per metre"))
        limits = [symmetric_limit(maps[rows]) for rows, _, _ in groups]
    else:
        shifts = f"objective per {1e3 * length:.3g} mm"
        groups = ((slice(0, 3), 1.0, "objective per radian"), (slice(3, 6), length, shifts))
        limits = 2 * [symmetric_limit(np.concatenate([maps[:3], length * maps[3:]]))]
    axes = figure.subplots(2, 3)
    for row, ((rows, unit, label), limit) in enumerate(zip(groups, limits)):
        style = {"cmap": diverging_colors(), "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
        drawn = [axis.imshow(unit * values, **style) for axis, values in zip(axes[row], maps[rows])]
        for axis, name in zip(axes[row], TITLES[rows]):
            axis.set(xticks=[], yticks=[])
            axis.set_title(name, fontsize=9)
        bar = figure.colorbar(drawn[0], ax=list(axes[row]), shrink=0.9, extend="both", pad=0.01)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=8)
        bar.ax.ticklabel_format(axis="y", scilimits=(-2, 3))
        bar.ax.yaxis.get_offset_text().set_fontsize(8)


def _connect_to_visdom():
    if importlib.util.find_spec("visdom") is None:
        return None
    import visdom  # pyright: ignore[reportMissingImports]

    try:
        return visdom.Visdom(raise_exceptions=True)
    except (ConnectionError, OSError) as error:
        logger.info("No visdom server answers (%s); drawing with matplotlib.", error)
        return None


def _show_figure(title: str, maps: np.ndarray) -> None:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("visualize_grad=True draws with matplotlib: pip install 'sldiff-jax[viz]'.") from error
    # One window per title: a loop redraws it instead of opening more and more.
    figure = pyplot.figure(num=title, figsize=(9, 5), layout="constrained", clear=True)
    figure.suptitle(title)
    draw_pose_gradient_maps(figure, maps)
