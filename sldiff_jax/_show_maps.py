"""Shows pose-gradient maps on a screen: in visdom if it answers, else as matplotlib figures."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
from jaxtyping import ArrayLike, Float, Int

TITLES = ("alpha (rad)", "beta (rad)", "gamma (rad)", "a (m)", "b (m)", "c (m)")

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
            _draw(title, maps_of_object)
        else:
            for name, values in zip(TITLES, maps_of_object):
                # visdom puts row 0 at the bottom.
                visdom.heatmap(values[::-1], win=f"{title} {name}", opts={"title": f"{title}: {name}"})


def _connect_to_visdom():
    if importlib.util.find_spec("visdom") is None:
        return None
    import visdom  # pyright: ignore[reportMissingImports]

    try:
        return visdom.Visdom(raise_exceptions=True)
    except (ConnectionError, OSError) as error:
        logger.info("No visdom server answers (%s); drawing with matplotlib.", error)
        return None


def _draw(title: str, maps: np.ndarray) -> None:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("visualize_grad=True draws with matplotlib: pip install 'sldiff-jax[viz]'.") from error
    # One window per title: a loop redraws it instead of opening more and more.
    figure = pyplot.figure(num=title, figsize=(11, 5.5), layout="constrained", clear=True)
    figure.suptitle(title)
    axes = figure.subplots(2, 3)
    for row, kind in enumerate(("objective per radian", "objective per metre")):
        group = maps[3 * row : 3 * row + 3]
        limit = _limit(group)
        drawn = [axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit) for axis, values in zip(axes[row], group)]
        for axis, name in zip(axes[row], TITLES[3 * row :]):
            axis.set(title=name, xticks=[], yticks=[])
        bar = figure.colorbar(drawn[0], ax=list(axes[row]), label=kind, shrink=0.9, extend="both")
        bar.ax.ticklabel_format(axis="y", scilimits=(-2, 3))


def _limit(maps: np.ndarray) -> float:
    """End of the colour scale: few pixels of an outline must not leave the others pale."""
    values = np.abs(maps[np.isfinite(maps) & (maps != 0)])
    return float(np.percentile(values, 98)) if values.size else 1.0
