"""Refinement from coarse to fine, with progress on the standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from .._camera import Camera
from .._losses import Loss
from .._observation import Observation
from .._refine import Refinement, refine_poses
from .._render import Renderer
from .._scene import Scene
from ._errors import InputError

# With the learning rate at which the first stage begins: radians (or visible radii of the object) per step; for sgd,
# which steps in proportion to the loss, tuned on `default_loss` and `photometric_loss`.
OPTIMIZERS: dict[str, tuple[Callable[..., optax.GradientTransformation], float]] = {
    "adam": (optax.adam, 0.02),
    "adabelief": (optax.adabelief, 0.02),
    "amsgrad": (optax.amsgrad, 0.02),
    "nadam": (optax.nadam, 0.02),
    "rmsprop": (optax.rmsprop, 0.005),
    "sgd": (lambda rate: optax.sgd(rate, momentum=0.9), 0.025),
    "yogi": (optax.yogi, 0.05),
}


class Stage(NamedTuple):
    """One resolution of a refinement: what was seen and by which camera, what draws the object, how many steps."""

    camera: Camera
    observation: Observation
    renderer: Renderer
    steps: int


def check_optimizer(name: str, steps: int) -> None:
    """Raises an InputError if there is no such optimiser or nothing for it to do."""
    if name not in OPTIMIZERS:
        raise InputError(f"--optimizer must be one of {', '.join(OPTIMIZERS)}, got {name}.")
    if steps < 1:
        raise InputError(f"--steps must be at least 1, got {steps}.")


def split_steps(steps: int, share: float) -> tuple[int, int]:
    """How many of the steps the coarse and the fine stage take; the fine one at least one."""
    coarse = min(steps - 1, round(share * steps))
    return coarse, steps - coarse


def refine_in_stages(
    starts: Float[Array, "starts 1 4 4"],
    stages: Sequence[Stage],
    *,
    loss: Loss,
    optimizer: str,
    learning_rate: float | None = None,
) -> list[Refinement]:
    """Refines one object, each stage from the best pose of the one before.

    Args:
        starts: (K, 1, 4, 4) float ``T_camera_object``, the starts of the first stage.
        stages: from coarse to fine. A stage of no steps is left out.
        loss: what is minimised.
        optimizer: a key of `OPTIMIZERS`.
        learning_rate: of the first stage; each stage has half the rate of the one before and ends at a twentieth of
            its own. Default: as listed with the optimiser.

    Returns:
        The refinement of each stage.
    """
    build, rate = OPTIMIZERS[optimizer]
    rate = rate if learning_rate is None else learning_rate
    outcomes: list[Refinement] = []
    for stage in stages:
        if stage.steps == 0:
            continue
        width, height = stage.camera.width, stage.camera.height
        with tqdm(total=stage.steps, desc=f"{width}x{height}", unit="step", file=sys.stderr, leave=True) as bar:

            def progress(step: int, best_loss: float, scene: Scene, bar: tqdm = bar) -> None:
                bar.set_postfix_str(f"loss {best_loss:.4f}", refresh=False)
                bar.update()

            outcome = refine_poses(
                Scene(starts[0], stage.camera),
                stage.observation,
                stage.renderer,
                loss=loss,
                optimizer=build(optax.cosine_decay_schedule(rate, stage.steps, alpha=0.05)),
                steps=stage.steps,
                starts=starts,
                callback=progress,
            )
        outcomes.append(outcome)
        starts = outcome.scene.T_world_object[None]
        rate /= 2
    return outcomes
