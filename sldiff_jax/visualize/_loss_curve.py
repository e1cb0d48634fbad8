"""The loss over the steps of a refinement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Real

from .._refine.refinement import Refinement
from ._colors import COLOR_CYCLE, GREY
from ._figure import COLUMN_WIDTH, make_plain, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curve(
    losses: Refinement | Sequence[Real[ArrayLike, "_steps _starts"]], labels: Sequence[str] | None = None
) -> Figure:
    """The loss over the steps, one stage of a refinement after the other, with the best of all iterates marked.

    Args:
        losses: the outcome of `refine_poses`; or per stage an (S, K) float array, S steps and K starts. The start that
            reached the least is drawn strongly, the others thin and grey.
        labels: one per stage.

    Returns:
        A matplotlib figure, one column wide. The ring marks the least loss of the last stage, since losses of stages
        that see other images cannot be compared; its legend gives start, step and loss.

    Raises:
        ValueError: if there are no losses, none is finite in a stage, or numbers of stages and labels differ.
        ImportError: if matplotlib is missing.
    """
    arrays = losses_by_stage(losses) if isinstance(losses, Refinement) else [np.asarray(stage) for stage in losses]
    stages = [np.where(np.isfinite(stage), stage, np.nan) for stage in arrays]
    if not stages or any(stage.ndim != 2 or np.isnan(stage).all() for stage in stages):
        shapes = [stage.shape for stage in stages]
        raise ValueError(f"loss_curve needs (steps, starts) arrays with a finite loss in each, got shapes {shapes}.")
    if labels is not None and len(labels) != len(stages):
        raise ValueError(f"loss_curve needs one label per stage, got {len(labels)} for {len(stages)} stages.")
    figure = new_figure(COLUMN_WIDTH, 2.4, layout="constrained")
    axes = figure.subplots()
    first = step = best = 0
    for i, stage in enumerate(stages):
        steps = first + np.arange(len(stage))
        best = losses.best_start if isinstance(losses, Refinement) else int(np.nanargmin(stage)) % stage.shape[1]
        step = int(np.nanargmin(stage[:, best]))
        others = np.delete(stage, best, axis=1)
        if others.size:
            name = "other starts" if i == len(stages) - 1 else None
            lines = axes.plot(steps, others, color=GREY, linewidth=0.5, alpha=0.6)
            lines[0].set_label(name)
        color = COLOR_CYCLE[i % len(COLOR_CYCLE)]
        axes.plot(steps, stage[:, best], color=color, linewidth=1.4, label=labels[i] if labels else None)
        first += len(stage)
    least = stages[-1][step, best]
    x = first - len(stages[-1]) + step
    mark = f"best: start {best}, step {x}, loss {least:.3g}"
    axes.plot(
        np.array([x]),
        np.array([least]),
        "o",
        markersize=6,
        markerfacecolor="none",
        color="black",
        label=mark,
        clip_on=False,
    )
    every = np.concatenate([stage.ravel() for stage in stages])
    if np.nanmin(every) > 0 and np.nanmax(every) > 10 * np.nanmin(every):
        axes.set_yscale("log")  # over less than a decade its ticks are hard to read
    else:
        axes.set_ylim(bottom=min(0.0, float(np.nanmin(every))))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.locator_params(axis="x", integer=True)
    make_plain(axes)
    axes.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def losses_by_stage(refinement: Refinement) -> list[np.ndarray]:
    """The loss history cut where stages begin: (S_i, K) float each."""
    cuts = np.flatnonzero(np.diff(refinement.stage_history)) + 1
    return np.split(np.asarray(refinement.loss_history), cuts)
