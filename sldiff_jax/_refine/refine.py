"""Refining poses: stages, starts, and the bookkeeping around the steps of `descent`."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._gradients.pose_gradients import visible_objects
from .._gradients.render import Renderer
from .._images.observation import Observation
from .._losses.comparison import LossFunction
from .._losses.default import default_loss
from .._losses.loss import Loss
from .._losses.pyramid import blurred
from .._scene.poses import apply_twist
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import is_concrete
from .._scene.typing import PoseDeltas
from .descent import Method, Problem, Progress, Retraction, begin, extended, with_poses
from .hypotheses import random_starts
from .least_squares import GaussNewton, LevenbergMarquardt
from .loop import Timing, draw, make_loop, run
from .refinement import Refinement, Stage, Status, judge_start

Callback = Callable[[int, float, Scene], bool | None]
SPREAD_ROTATION = math.radians(20)
SPREAD_TRANSLATION = 0.1
FAR_OFF = 100
"""Ratio of depths from which on they must be of different units."""


class Record(NamedTuple):
    """One stage: its number, the starts that took part, their losses (S, K) and iterates (S, K, N, 4, 4).

    `ranks` (S, K) are the losses by which iterates are compared.
    """

    stage: int
    starts: tuple[int, ...]
    losses: np.ndarray
    iterates: np.ndarray
    ranks: np.ndarray


class State(NamedTuple):
    """Where a refinement is, and all that it needs to go on.

    Attributes:
        records: the stages that are finished.
        number: of the present stage.
        starts: those that take part in it.
        T_world_object: (K, N, 4, 4) float, the poses with which it begins.
        unit: (N, 6) float, radians and metres.
        remaining: the stages after the present one.
        stage: the present stage; None before the first.
        progress: its loop; None before it has begun.
    """

    records: tuple[Record, ...]
    number: int
    starts: tuple[int, ...]
    T_world_object: Float[Array, "starts objects 4 4"]
    unit: PoseDeltas
    remaining: tuple[Stage, ...] = ()
    stage: Stage | None = None
    progress: Progress | None = None


def refine_poses(
    scene: Scene,
    observation: Observation,
    renderer: Renderer,
    *,
    loss: LossFunction = default_loss,
    optimizer: Method | None = None,
    steps: int = 100,
    stages: Sequence[Stage] | None = None,
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
) -> Refinement:
    """Moves the objects of a scene until its rendering resembles an observation.

    Every step renders, evaluates the loss, and moves each object in its own frame. Rotations and translations are
    measured in units: radians and object diameters, so that one learning rate fits a cup and a truck. Several objects
    are moved jointly, with the occlusion between them. The best iterate of the last stage is returned, not the last.

    Args:
        scene: the scene; its poses are the start. N objects.
        observation: the images to explain, of the size of the scene's camera.
        renderer: any `Renderer`. All starts are rendered at once, by `jax.vmap`, if there are several.
        loss: scalar function of rendering and observation. Least squares and blurred stages need a `Loss`. What is
            compiled serves the next call too if the loss is a `Loss`, the renderer an `equinox.Module` and the
            optimiser equal to the one before (those of optax equal themselves alone); plain functions are compiled
            again in every call.
        optimizer: an optax optimiser for the (N, 6) deltas in units, `GaussNewton()` or `LevenbergMarquardt()`.
            Default: Adam, in each stage with a cosine schedule from 0.02 to 0.001, halved from stage to stage. Deltas
            begin at zero in every step, so that an optimiser that compares parameters or searches along a line
            (`optax.lbfgs`) has no use here.
        steps: how many iterates are evaluated at most, if there are no stages.
        stages: from coarse to fine; each begins with the best poses of the one before.
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

    Returns:
        The `Refinement`. Memory grows by the poses and losses of its history only; no images are kept.

    Raises:
        ValueError: if sizes or shapes do not fit, options contradict each other, an object is not visible from any
            start, or this is called under `jit`, `vmap` or `grad`.
    """
    began = time.perf_counter()
    inputs = jax.tree.leaves((scene, observation, renderer, loss, starts, translation_unit))
    if not is_concrete(*filter(eqx.is_array, inputs)):
        raise ValueError(
            "refine_poses compiles its own loop and looks at its numbers: call it outside of jit, vmap and grad. "
            "Within them, differentiate render."
        )
    if resume is None:
        state, plan = None, (Stage(steps),) if stages is None else tuple(stages)
        if not plan:
            raise ValueError("stages must hold at least one Stage, got none.")
    else:
        if stages is not None or starts is not None or hypotheses != 1:
            raise ValueError("resume goes on from where a refinement ended: leave out stages, starts and hypotheses.")
        state, plan = _resumed(resume.state, steps)
    for stage in plan:
        _check_stage(stage, loss if stage.loss is None else stage.loss, stage.optimizer or optimizer)
    size = (scene.camera.height, scene.camera.width)
    if observation.size != size:
        raise ValueError(
            f"The observation is (height, width) = {observation.size}, the camera's image {size}. Resize the "
            "observation, or use camera.resized(width, height)."
        )
    if state is None:
        T, unit = _begin(
            scene, observation, functools.partial(draw, renderer, jit), hypotheses, spread, key, starts,
            rotation_unit, translation_unit,
        )  # fmt: skip
        state = State((), 0, tuple(range(len(T))), T, unit)

    def run_stage(state: State, stage: Stage) -> tuple[State, bool, Timing]:
        method = stage.optimizer or optimizer or _default_optimizer(0.02 / 2**state.number, stage.steps)
        stage_loss = loss if stage.loss is None else stage.loss
        stage_scene, stage_observation = _at_scale(scene, observation, stage.scale)
        problem = Problem(
            scene=stage_scene,
            observation=stage_observation,
            renderer=renderer,
            loss=blurred(stage_loss, stage.blur) if isinstance(stage_loss, Loss) else stage_loss,
            retraction=retraction,
            unit=state.unit,
            tolerance=tolerance,
        )
        progress = state.progress or begin(method, state.T_world_object, stage.steps)
        report = None if callback is None else functools.partial(_report, callback, scene, state.records)
        progress, stopped, timing = run(make_loop(problem, method, jit), progress, tolerance, report)
        return state._replace(stage=stage, progress=progress), stopped, timing

    state, stopped, timing = run_stage(state._replace(remaining=plan[1:]), plan[0])
    for number, stage in enumerate(plan[1:], start=2):
        if stopped:
            break
        state, stopped, timing = run_stage(_after(state)._replace(remaining=plan[number:]), stage)
    return _refinement(
        scene,
        state,
        _statuses(state, tolerance, stopped),
        seconds=time.perf_counter() - began,
        seconds_per_step=timing.seconds_per_step,
    )


def _record(state: State) -> Record:
    """The present stage, as far as it went."""
    assert state.progress is not None
    count = int(state.progress.step)
    losses, iterates = (np.asarray(history[:count]) for history in (state.progress.losses, state.progress.iterates))
    return Record(state.number, state.starts, losses, iterates, _ranks(state.progress, count))


def _ranks(progress: Progress, count: int) -> np.ndarray:
    """(count, K): losses, infinite where they are not a number or an object does not show."""
    losses, seen = np.asarray(progress.losses[:count]), np.asarray(progress.seen[:count])
    return np.where(seen, np.nan_to_num(losses, nan=np.inf), np.inf)


def _after(state: State) -> State:
    """Finishes a stage: the starts with the lowest losses go on, each from its best poses."""
    record = _record(state)
    best_step = np.argmin(record.ranks, axis=0)
    order = np.argsort(record.ranks.min(axis=0), kind="stable")
    kept = np.sort(order[: None if state.stage is None else state.stage.keep])
    return State(
        records=(*state.records, record),
        number=state.number + 1,
        starts=tuple(state.starts[start] for start in kept),
        T_world_object=jnp.asarray(record.iterates[best_step[kept], kept]),
        unit=state.unit,
    )


def _resumed(state: State, steps: int) -> tuple[State, tuple[Stage, ...]]:
    """The same stage with room for more steps, and those that were to follow it."""
    assert state.stage is not None
    assert state.progress is not None
    stage = dataclasses.replace(state.stage, steps=steps)
    return state._replace(progress=extended(state.progress, steps)), (stage, *state.remaining)


def _check_stage(stage: Stage, loss: LossFunction, method: Method | None) -> None:
    """Whether the parts fit together; no method stands for the default."""
    least_squares = isinstance(method, GaussNewton | LevenbergMarquardt)
    if not (method is None or least_squares or (hasattr(method, "init") and hasattr(method, "update"))):
        raise ValueError(
            "The optimizer must be GaussNewton(), LevenbergMarquardt() or one of optax's, such as optax.adam(0.02), "
            f"got {method!r}."
        )
    if (least_squares or stage.blur) and not isinstance(loss, Loss):
        what = type(method).__name__ if least_squares else "A stage with blur"
        raise ValueError(
            f"{what} needs a Loss, which has residuals, got {loss!r}. Compose one from the losses of this package, or "
            "make one with residual_loss; or use an optax optimiser without blur."
        )


def _begin(
    scene: Scene,
    observation: Observation,
    draw: Callable[..., RenderResult],
    hypotheses: int,
    spread: tuple[float, float],
    key: PRNGKeyArray | None,
    starts: Float[ArrayLike, "starts objects 4 4"] | None,
    rotation_unit: float,
    translation_unit: ArrayLike | None,
) -> tuple[Float[Array, "starts objects 4 4"], PoseDeltas]:
    """The start poses and the (N, 6) units of their motion."""
    own = scene.T_world_object[None]
    if not (isinstance(hypotheses, int) and hypotheses > 0):
        raise ValueError(f"hypotheses must be a positive integer, got {hypotheses!r}.")
    if starts is not None:
        if hypotheses != 1:
            raise ValueError("Give starts or hypotheses, not both: hypotheses draws starts around the scene's poses.")
        T = jnp.asarray(starts, own.dtype)
        if T.ndim != 4 or T.shape[1:] != own.shape[1:] or not len(T):
            raise ValueError(f"starts must have shape (starts, {own.shape[1]}, 4, 4), got {T.shape}.")
    elif hypotheses == 1:
        T = own
    else:
        diameters = translation_unit if translation_unit is not None else _visible_diameters(scene, draw(scene, own))
        key = jax.random.key(0) if key is None else key
        T = random_starts(key, scene, hypotheses, rotation=spread[0], translation=spread[1] * jnp.asarray(diameters))
    results = draw(scene, T)
    _check_visible(scene, results)
    _check_comparable(observation, results)
    diameters = _visible_diameters(scene, results) if translation_unit is None else translation_unit
    metres = jnp.broadcast_to(jnp.asarray(diameters, T.dtype), T.shape[1])
    if not (rotation_unit > 0 and bool(jnp.all(metres > 0))):
        raise ValueError(f"Units must be positive, got rotation_unit={rotation_unit}, translation_unit={metres}.")
    radians = jnp.full_like(metres, rotation_unit)
    return T, jnp.stack([radians] * 3 + [metres] * 3, axis=-1)


def _visible_diameters(scene: Scene, results: RenderResult) -> Float[Array, " objects"]:
    """The diagonal of the box around the visible points of each object, in its frame: the largest of all starts."""

    def of_label(label: Array, result: RenderResult) -> Array:
        seen = (result.instance_index == label)[..., None]
        low = jnp.min(result.coordinates, axis=(0, 1), initial=jnp.inf, where=seen)
        high = jnp.max(result.coordinates, axis=(0, 1), initial=-jnp.inf, where=seen)
        return jnp.where(jnp.any(seen), jnp.linalg.norm(high - low), 0)

    of_start = jax.vmap(of_label, in_axes=(0, None))
    return jnp.max(jax.vmap(of_start, in_axes=(None, 0))(scene.instance_index, results), axis=0)


def _check_visible(scene: Scene, results: RenderResult) -> None:
    seen = np.asarray(jax.vmap(lambda result: visible_objects(scene, result))(results)).any(axis=0)
    if not seen.all():
        labels = np.asarray(scene.instance_index)[~seen].tolist()
        raise ValueError(
            f"The objects labelled {labels} are not visible in the first rendering, so that no gradient can move them. "
            "Check pose, units (metres), near and far plane, and the mesh's scale."
        )


def _check_comparable(observation: Observation, results: RenderResult) -> None:
    """Whether some pixels count, and depth is in the unit of the rendering."""
    mask, weight = observation.mask, observation.weight
    if mask is not None and weight is not None and not np.any(np.asarray(mask * weight)):
        raise ValueError("The observation's weight is zero wherever its mask is not: no pixel counts.")
    if observation.depth is None:
        return
    measured = np.asarray(observation.depth)
    measured = measured[measured > 0]
    if not measured.size:
        raise ValueError("The observation's depth is zero everywhere: nothing was measured. Leave it out.")
    rendered = np.asarray(results.coord_depth[..., 3])[np.asarray(results.instance_index) > 0]
    ratio = float(np.median(measured) / np.median(rendered))
    if not 1 / FAR_OFF < ratio < FAR_OFF:
        raise ValueError(
            f"The observed depth is {ratio:.3g} times that of the rendering, in the median. It must be in metres, as "
            "mesh and poses: Observation.load(..., depth_scale=1e-3) reads millimetres."
        )


def _at_scale(scene: Scene, observation: Observation, scale: float) -> tuple[Scene, Observation]:
    if scale == 1:
        return scene, observation
    camera = scene.camera
    width, height = max(1, round(scale * camera.width)), max(1, round(scale * camera.height))
    return dataclasses.replace(scene, camera=camera.resized(width, height)), observation.resized(width, height)


@functools.lru_cache(maxsize=64)
def _default_optimizer(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.05))


def _report(callback: Callback, scene: Scene, records: tuple[Record, ...], progress: Progress) -> bool:
    """Calls the callback."""
    last = int(progress.step) - 1
    ranks = _ranks(progress, last + 1)
    start = int(np.argmin(ranks.min(axis=0)))
    step = sum(len(record.losses) for record in records) + last
    return bool(callback(step, float(ranks.min()), with_poses(scene, progress.iterates[last, start])))


def _statuses(state: State, tolerance: float, stopped: bool) -> dict[int, Status]:
    """Of the starts that took part in the last stage."""
    assert state.progress is not None
    ends = zip(*(np.asarray(values) for values in (state.progress.loss, state.progress.length, state.progress.visible)))
    losses = _record(state).losses
    return {
        start: judge_start(
            losses[:, i],
            last=float(last),
            length=float(length),
            visible=bool(visible),
            tolerance=tolerance,
            stopped=stopped,
        )
        for i, (start, (last, length, visible)) in enumerate(zip(state.starts, ends))
    }


def _refinement(
    scene: Scene, state: State, statuses: dict[int, Status], *, seconds: float, seconds_per_step: float
) -> Refinement:
    last = _record(state)
    records = (*state.records, last)
    step, column = np.unravel_index(np.argmin(last.ranks), last.ranks.shape)
    best_start = last.starts[column]
    count = max(records[0].starts) + 1
    losses = np.empty(count, last.losses.dtype)
    T_world_object = np.empty((count, *last.iterates.shape[2:]), last.iterates.dtype)
    for record in records:
        starts = list(record.starts)
        losses[starts] = record.ranks.min(axis=0)
        T_world_object[starts] = record.iterates[record.ranks.argmin(axis=0), np.arange(len(starts))]

    def history(parts: list[np.ndarray]) -> np.ndarray:
        """Over all stages, NaN where a start had been pruned."""
        full = [np.full((len(part), count, *part.shape[2:]), np.nan, part.dtype) for part in parts]
        for whole, part, record in zip(full, parts, records):
            whole[:, list(record.starts)] = part
        return np.concatenate(full)

    return Refinement(
        scene=with_poses(scene, jnp.asarray(last.iterates[step, column])),
        loss=float(last.losses[step, column]),
        status=statuses[best_start],
        best_step=sum(len(record.losses) for record in state.records) + int(step),
        best_start=best_start,
        statuses=tuple(statuses.get(start, Status.PRUNED) for start in range(count)),
        losses=losses,
        T_world_object=T_world_object,
        loss_history=history([record.losses for record in records]),
        T_world_object_history=history([record.iterates for record in records]),
        stage_history=np.repeat([record.stage for record in records], [len(record.losses) for record in records]),
        seconds=seconds,
        seconds_per_step=seconds_per_step,
        state=state,
    )
