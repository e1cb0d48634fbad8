"""What a refinement remembers: where it is, the stages behind it, and what becomes of them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._scene.scene import Scene
from .._scene.typing import PoseDeltas
from .descent import Progress, extended, with_poses
from .refinement import Refinement, Stage, Status, judge_start


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


def recorded(state: State) -> Record:
    """The present stage, as far as it went."""
    assert state.progress is not None
    count = int(state.progress.step)
    losses, iterates = (np.asarray(history)[:count] for history in (state.progress.losses, state.progress.iterates))
    return Record(state.number, state.starts, losses, iterates, ranks(state.progress, count))


def ranks(progress: Progress, count: int) -> np.ndarray:
    """(count, K): losses, infinite where they are not a number or an object does not show."""
    # Sliced by NumPy: JAX would compile a program for each count.
    losses, seen = np.asarray(progress.losses)[:count], np.asarray(progress.seen)[:count]
    return np.where(seen, np.nan_to_num(losses, nan=np.inf), np.inf)


def finished(state: State) -> State:
    """Finishes a stage: the starts with the lowest losses go on, each from its best poses."""
    record = recorded(state)
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


def resumed(state: State, steps: int) -> State:
    """With room for more steps of the stage in which it ended."""
    assert state.progress is not None
    return state._replace(progress=extended(state.progress, steps))


def _statuses(state: State, last: Record, tolerance: float, stopped: bool) -> dict[int, Status]:
    """Of the starts that took part in the last stage."""
    assert state.progress is not None
    ends = zip(*(np.asarray(values) for values in (state.progress.loss, state.progress.length, state.progress.visible)))
    return {
        start: judge_start(
            last.losses[:, i],
            last=float(loss),
            length=float(length),
            visible=bool(visible),
            tolerance=tolerance,
            stopped=stopped,
        )
        for i, (start, (loss, length, visible)) in enumerate(zip(state.starts, ends))
    }


def outcome(
    scene: Scene, state: State, tolerance: float, stopped: bool, *, seconds: float, seconds_per_step: float
) -> Refinement:
    """What `refine_poses` returns, once its last stage is through or was stopped."""
    last = recorded(state)
    statuses = _statuses(state, last, tolerance, stopped)
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
