"""How the command refines: optimisers by name, and a bar of progress on the standard error."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from .._gradients.rendering import Renderer
from .._images.observation import Observation
from .._losses.comparison import LossFunction
from .._losses.default import default_loss
from .._refine.least_squares import GaussNewton, LevenbergMarquardt
from .._refine.options import Callback
from .._refine.recipe import Recipe
from .._refine.refine import refine_poses
from .._refine.refinement import Refinement, Stage
from .._scene.scene import Scene
from ._arguments.choices import DESCENTS, LEAST_SQUARES, OPTIMIZERS
from ._errors import InputError

METHODS = {"lm": LevenbergMarquardt, "gn": GaussNewton}

TOLERANCE = 1e-5
"""A stage ends early when the object moves by less, in radians and visible diameters."""


def count_steps(optimizer: str, steps: int | None) -> int:
    """How many steps are made with the optimiser of that name; an InputError if there is none, or no steps."""
    if optimizer not in OPTIMIZERS:
        raise InputError(f"--optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer}.")
    if steps is None:
        return 50 if optimizer in LEAST_SQUARES else 150
    if steps < 1:
        raise InputError(f"--steps must be at least 1, got {steps}.")
    return steps


def descent(optimizer: str, rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """The optimiser of optax of that name."""
    return optax.sgd(rate, momentum=0.9) if optimizer == "sgd" else getattr(optax, optimizer)(rate)


def fit(
    scene: Scene,
    observation: Observation,
    renderer: Renderer,
    stages: Sequence[Stage] | Recipe,
    *,
    optimizer: str = "lm",
    learning_rate: float | None = None,
    loss: LossFunction = default_loss,
    starts: Float[Array, "starts objects 4 4"] | None = None,
    callback: Callback | None = None,
) -> Refinement:
    """Refines poses and shows the progress.

    Args:
        scene: the scene to refine.
        observation: the images to explain.
        renderer: of the scene.
        stages: from coarse to fine, without optimisers; a recipe also looks whether the images bear the result out.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: of the first stage; each stage has half the rate of the one before and ends at a twentieth of
            its own. Default: as listed with the optimiser. Least squares have none.
        loss: of the stages that have none of their own.
        starts: optional (K, N, 4, 4) start poses.
        callback: is told of every step, too, and may stop.

    Returns:
        The refinement.
    """
    recipe = stages if isinstance(stages, Recipe) else None
    plan = list(stages.stages.values() if isinstance(stages, Recipe) else stages)
    if optimizer in LEAST_SQUARES:
        plan = [dataclasses.replace(stage, optimizer=METHODS[optimizer]()) for stage in plan]
    else:
        rate = DESCENTS[optimizer] if learning_rate is None else learning_rate
        schedules = [optax.cosine_decay_schedule(rate / 2**i, stage.steps, alpha=0.05) for i, stage in enumerate(plan)]
        plan = [
            dataclasses.replace(stage, optimizer=descent(optimizer, schedule))
            for stage, schedule in zip(plan, schedules)
        ]
    chosen = plan if recipe is None else dataclasses.replace(recipe, stages=dict(zip(recipe.stages, plan)))
    with tqdm(total=sum(stage.steps for stage in plan), desc="refine", unit="step", file=sys.stderr) as bar:

        def progress(step: int, best_loss: float, scene: Scene) -> bool | None:
            bar.set_postfix_str(f"loss {best_loss:.4f}", refresh=False)
            bar.update()
            return None if callback is None else callback(step, best_loss, scene)

        try:
            return refine_poses(
                scene, observation, renderer, loss=loss, stages=chosen, starts=starts, tolerance=TOLERANCE,
                callback=progress,
            )  # fmt: skip
        except ValueError:
            bar.leave = False  # nothing but the message stays on the terminal
            raise


def by_stage(refinement: Refinement, stages: Mapping[str, Stage]) -> dict[str, slice]:
    """Which steps of a refinement each of its stages made."""
    cuts = [0, *(np.flatnonzero(np.diff(refinement.stage_history)) + 1).tolist(), len(refinement.stage_history)]
    return {name: slice(begin, end) for name, begin, end in zip(stages, cuts, cuts[1:])}
