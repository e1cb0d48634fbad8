"""Refining poses: `refine_poses`, from its options to its outcome."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._gradients.black_box import differentiable
from .._gradients.rendering import DifferentiableRenderer, Renderer
from .._images.observation import Observation
from .._losses.comparison import LossFunction
from .._losses.default import default_loss
from .._losses.loss import Loss
from .._scene.poses import apply_twist
from .._scene.scene import Scene
from .._scene.transforms import in_default_dtype, to_jax
from .._scene.typing import Transforms
from .descent import Method, Progress, Retraction, begin, with_poses
from .devices import Device
from .distinct import Symmetries
from .found_again import found_again
from .least_squares import LevenbergMarquardt
from .loop import Timing, first_look, make_loop, run
from .options import Callback, Options
from .recipe import Recipe, choose_recipe
from .record import Record, State, finished, outcome, ranks, resumed
from .refinement import Refinement, Stage
from .starts import first_state
from .verdict import colors_mislead, judged

SPREAD_ROTATION = math.radians(20)
SPREAD_TRANSLATION = 0.1


def refine_poses(
    scene: Scene,
    observation: Observation,
    renderer: Renderer | DifferentiableRenderer,
    *,
    loss: LossFunction = default_loss,
    optimizer: Method | None = None,
    steps: int = 100,
    stages: Sequence[Stage] | Recipe | Literal["auto"] | None = None,
    hypotheses: int = 1,
    spread: tuple[float, float] = (SPREAD_ROTATION, SPREAD_TRANSLATION),
    key: PRNGKeyArray | None = None,
    starts: Float[ArrayLike, "starts objects 4 4"] | None = None,
    retraction: Retraction = apply_twist,
    rotation_unit: float = 1.0,
    translation_unit: ArrayLike | None = None,
    tolerance: float = 1e-4,
    callback: Callback | None = None,
    resume: Refinement | None = None,
    jit: bool = True,
    devices: Sequence[Device] | None = None,
    symmetries: Symmetries | None = None,
) -> Refinement:
    """Moves the objects of a scene until its rendering resembles an observation.

    Every step renders, evaluates the loss, and moves each object in its own frame. Rotations and translations are
    measured in units: radians and object diameters, so that one learning rate fits a cup and a truck. Several objects
    are moved jointly, with the occlusion between them. The best iterate of the last stage is returned, not the last.

    Args:
        scene: the scene; its poses are the start. N objects. It and the observation are brought to JAX's default dtype,
            float64 under x64.
        observation: the images to explain, of the size of the scene's camera.
        renderer: any `Renderer` or `DifferentiableRenderer`. All starts are rendered at once, by `jax.vmap`, if there
            are several.
        loss: scalar function of rendering and observation. Least squares and blurred stages need a `Loss`. What is
            compiled serves the next call too if loss and renderer are pytrees (every `Loss`, every `equinox.Module`)
            and equal those before but for their arrays, and the optimiser does (those of optax equal themselves alone).
            Plain functions are compiled again in every call. Nothing compiled outlives what it was compiled for.
        optimizer: an optax optimiser for the (N, 6) deltas in units, `GaussNewton()` or `LevenbergMarquardt()`.
            Default: Adam, in each stage with a cosine schedule from 0.02 to 0.001, halved from stage to stage. Deltas
            begin at zero in every step, so that an optimiser that compares parameters or searches along a line
            (`optax.lbfgs`) has no use here.
        steps: how many iterates are evaluated at most, if there are no stages.
        stages: from coarse to fine; each begins with the best poses of the one before, or where that one began, if its
            own loss is lower there, and ends with the start if it finds nothing with a lower loss. "auto" chooses
            stages and losses by what there is (mask, depth, texture), shares `steps` among them, and looks afterwards
            whether the images bear the result out: the way to fit a photo. Then the default optimiser is
            `LevenbergMarquardt`; a `loss` is used in all stages.
        hypotheses: number of starts, K: the scene's poses, and random ones around them.
        spread: angle (radians) and length (object diameters) of their offsets.
        key: random key of the offsets. Default: ``jax.random.key(0)``.
        starts: (K, N, 4, 4) start poses, instead of those.
        retraction: how a delta moves a pose: `apply_twist`, or `apply_pose_delta` as the reference does. It must agree
            with these to first order.
        rotation_unit: radians.
        translation_unit: metres, a scalar or (N,). Default: each object's diameter as far as it shows at the start (the
            diagonal of the box around its visible points).
        tolerance: a start has converged when its step, in units, is shorter. When all have, the stage ends.
        callback: called after every step with the step's number, the best loss of the stage so far, and the scene of
            that start as it is now. Returning True stops.
        resume: an earlier refinement of this scene and observation, to be continued for `steps` more steps of the stage
            in which it ended, and with the stages that it had not reached. With the same loss, optimiser and renderer,
            this is as if it had not stopped; but the default optimiser's schedule depends on `steps`. Starts and units
            stay those of the earlier refinement.
        jit: compile the loop. Turn it off for renderers that cannot be traced: they are called from a Python loop, and
            all else is compiled. The results are the same.
        devices: spread the starts over these devices of this process, any number over any number, by `jax.shard_map`:
            ``jax.devices()``. The results are the same. Default: where JAX computes by itself. On several GPUs prefer
            one process for each (`sldiff_jax.bop`, or your own): Warp, which draws, holds one lock per process, and
            calls its own tests of this case flaky.
        symmetries: of each object the (S, 4, 4) of `metrics.symmetry_transforms` or `find_symmetries`, or None: poses
            that they take to each other are no `alternatives`.

    Returns:
        The `Refinement`. Memory grows by the poses and losses of its history only; no images are kept.

    Raises:
        ValueError: if sizes or shapes do not fit, options contradict each other, an object is not visible from any
            start, or this is called under `jit`, `vmap` or `grad`.
    """
    began = time.perf_counter()
    scene, observation = in_default_dtype((scene, observation))
    recipe = stages if isinstance(stages, Recipe) else None
    if isinstance(stages, str):
        if stages != "auto":
            raise ValueError(f'stages must be a list of Stage, or "auto", got {stages!r}.')
        own = loss if isinstance(loss, Loss) and loss is not default_loss else None
        _, look = first_look(differentiable(renderer), jit, scene, scene.T_world_object)
        recipe = choose_recipe(look, observation, steps, loss=own)
        optimizer = optimizer or LevenbergMarquardt()
    chosen = recipe.stages.values() if recipe is not None else stages
    assert not isinstance(chosen, str | Recipe)
    options = Options(
        scene, observation, differentiable(renderer), loss, optimizer, steps, chosen, hypotheses, spread, key, starts,
        retraction, rotation_unit, translation_unit, tolerance, callback, resume, jit, devices,
        symmetries,
        None if recipe is None else _more_starts(recipe, differentiable(renderer), jit, scene, observation),
    )  # fmt: skip
    plan = options.plan
    state = first_state(options) if resume is None else resumed(resume.state, steps)
    state, stopped, timing = _run_stage(options, state._replace(remaining=plan[1:]), plan[0])
    for number, stage in enumerate(plan[1:], start=2):
        if stopped:
            break
        state, stopped, timing = _run_stage(options, finished(state)._replace(remaining=plan[number:]), stage)
    seconds = time.perf_counter() - began
    found = outcome(
        scene, state, tolerance, stopped, symmetries=options.symmetries, seconds=seconds,
        seconds_per_step=timing.seconds_per_step,
    )  # fmt: skip
    if recipe is None:
        return found
    found = judged(options, recipe, found)
    if stopped or not colors_mislead(recipe, found):
        return found
    again = refine_poses(
        scene, observation, renderer, optimizer=optimizer, stages=recipe.without_color(), hypotheses=hypotheses,
        spread=spread, key=key, starts=starts, retraction=retraction, rotation_unit=rotation_unit,
        translation_unit=translation_unit, tolerance=tolerance, callback=callback, jit=jit, devices=devices,
        symmetries=symmetries,
    )  # fmt: skip
    return again if again.status.trusted or not found.status.trusted else found


def _more_starts(
    recipe: Recipe, renderer: DifferentiableRenderer, jit: bool, scene: Scene, observation: Observation
) -> Float[Array, "1 objects 4 4"] | None:
    """Where the photo shows the print, if a recipe compares prints and it is found."""
    if not (recipe.chosen and recipe.evidence.color and recipe.evidence.texture):
        return None
    T_world_object, share = found_again(renderer, jit, scene, observation)
    return T_world_object[None] if share else None


def _run_stage(options: Options, state: State, stage: Stage) -> tuple[State, bool, Timing]:
    """Goes through a stage: where it ended, whether the callback stopped it, and the times.

    A start that was led away by the stage before, as this one judges it, begins where that one began.
    """
    method = options.method_of(stage, state.number)
    problem = options.problem_of(stage, state.unit)
    if isinstance(problem.loss, Loss) and problem.loss.learns:
        _, look = first_look(options.renderer, options.jit, problem.scene, _best_so_far(state))
        problem = dataclasses.replace(problem, loss=problem.loss.prepared(look, problem.observation))
    loop = make_loop(problem, method, options.jit)

    def judge(T: Float[Array, "starts objects 4 4"]) -> np.ndarray:
        return ranks(loop(begin(method, T, stage.steps), 1), 1)[0]

    if state.number and state.first_losses is None:
        before, T = state.began_before, state.T_world_object
        led_away = (judge(before) < judge(T))[:, None, None, None]
        T = to_jax(np.where(led_away, np.asarray(before), np.asarray(T)))
        state = state._replace(first_losses=judge(state.fallback), T_world_object=T)
    progress = state.progress or begin(method, state.T_world_object, stage.steps)
    report = None
    if options.callback is not None:
        report = functools.partial(_report, options.callback, options.scene, state.records)
    progress, stopped, timing = run(loop, progress, options.tolerance, report)
    return state._replace(stage=stage, progress=progress), stopped, timing


def _best_so_far(state: State) -> Transforms:
    """(N, 4, 4): the poses from which a loss learns: of the start that did best in the stage before, or the first."""
    if not state.records:
        return state.T_world_object[0]
    before = state.records[-1]
    losses = dict(zip(before.starts, before.ranks.min(axis=0)))
    return state.T_world_object[int(np.argmin([losses[start] for start in state.starts]))]


def _report(callback: Callback, scene: Scene, records: tuple[Record, ...], progress: Progress) -> bool:
    """Calls the callback."""
    last = int(progress.step) - 1
    ranked = ranks(progress, last + 1)
    start = int(np.argmin(ranked.min(axis=0)))
    step = sum(len(record.losses) for record in records) + last
    T = to_jax(np.asarray(progress.iterates)[last, start])
    return bool(callback(step, float(ranked.min()), with_poses(scene, T)))
