"""What a refinement remembers: where it is, the stages behind it, and what becomes of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from .._scene.scene import Scene
from .._scene.transforms import to_jax
from .._scene.typing import PoseDeltas
from .descent import Progress, extended, with_poses
from .distinct import Symmetries, alternatives
from .refinement import End, Refinement, Stage, Status, judge_start


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
        T_first: (K of all, N, 4, 4) float, the poses with which the refinement began.
        overlap: (K of all,) bool, whether each of them overlaps with what was seen.
        first_losses: (K,) float, the present stage's loss at `fallback`.
        remaining: the stages after the present one.
        stage: the present stage; None before the first.
        progress: its loop; None before it has begun.
    """

    records: tuple[Record, ...]
    number: int
    starts: tuple[int, ...]
    T_world_object: Float[Array, "starts objects 4 4"]
    unit: PoseDeltas
    T_first: Float[Array, "starts objects 4 4"]
    overlap: np.ndarray
    first_losses: np.ndarray | None = None
    remaining: tuple[Stage, ...] = ()
    stage: Stage | None = None
    progress: Progress | None = None

    @property
    def fallback(self) -> Float[Array, "starts objects 4 4"]:
        """(K, N, 4, 4): what each must be better than: where it began, or the first of all if that was given up."""
        return to_jax(np.asarray(self.T_first)[list(self.starts if 0 in self.starts else [0] * len(self.starts))])

    @property
    def began_before(self) -> Float[Array, "starts objects 4 4"]:
        """(K, N, 4, 4): with which each began the stage before."""
        before = self.records[-1]
        return to_jax(before.iterates[0, [before.starts.index(start) for start in self.starts]])


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
    T = record.iterates[best_step[kept], kept]
    if state.first_losses is not None:
        worse = (state.first_losses < record.ranks.min(axis=0))[kept]
        T = np.where(worse[:, None, None, None], np.asarray(state.fallback)[kept], T)
    return state._replace(
        records=(*state.records, record),
        number=state.number + 1,
        starts=tuple(state.starts[start] for start in kept),
        T_world_object=to_jax(T),
        first_losses=None,
        remaining=(),
        stage=None,
        progress=None,
    )


def resumed(state: State, steps: int) -> State:
    """With room for more steps of the stage in which it ended."""
    assert state.progress is not None
    return state._replace(progress=extended(state.progress, steps))


def _statuses(state: State, last: Record, tolerance: float, stopped: bool) -> dict[int, Status]:
    """Of the starts that took part in the last stage."""
    progress = state.progress
    assert progress is not None
    first_losses = last.losses[0] if state.first_losses is None else state.first_losses
    moved = distances(*(np.asarray(x) for x in (state.fallback, progress.T_world_object, state.unit)))
    names = ("visible", "length", "longest", "newton", "pull")
    values = {name: np.asarray(getattr(progress, name)) for name in names}
    losses, statuses = np.asarray(progress.loss), {}
    for i, start in enumerate(state.starts):
        end = End(
            start_loss=float(first_losses[i]),
            last=float(losses[i]),
            **{name: array[i].item() for name, array in values.items()},
            moved=float(moved[i]),
            overlap=bool(state.overlap[start]),
        )
        statuses[start] = judge_start(last.losses[:, i], end, tolerance=tolerance, stopped=stopped)
    return statuses


def distances(T_a: np.ndarray, T_b: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(K,): angle or length between poses (K, N, 4, 4), in units: the largest of all objects."""
    cosine = (np.einsum("knij,knij->kn", T_a[..., :3, :3], T_b[..., :3, :3]) - 1) / 2
    angle = np.arccos(np.clip(cosine, -1, 1)) / unit[:, 0]
    length = np.linalg.norm(T_a[..., :3, 3] - T_b[..., :3, 3], axis=-1) / unit[:, 3]
    return np.maximum(angle, length).max(axis=-1)


class _Best(NamedTuple):
    """Of each start in the last stage: the lowest loss (K,), the poses there (K, N, 4, 4), and the step (K,)."""

    losses: np.ndarray
    T_world_object: np.ndarray
    steps: np.ndarray


def _best(state: State, last: Record) -> _Best:
    """The best iterates of the last stage, or what it began with long before, if no iterate is better."""
    step, columns = last.ranks.argmin(axis=0), np.arange(len(last.starts))
    losses, T = last.losses[step, columns], last.iterates[step, columns]
    steps = step + sum(len(record.losses) for record in state.records)
    if state.first_losses is None:
        return _Best(np.where(np.isfinite(last.ranks[step, columns]), losses, np.inf), T, steps)
    ranks = last.ranks[step, columns]
    worse = state.first_losses < ranks
    return _Best(
        np.where(worse, state.first_losses, ranks),
        np.where(worse[:, None, None, None], np.asarray(state.fallback), T),
        np.where(worse, 0, steps),
    )


def outcome(
    scene: Scene,
    state: State,
    tolerance: float,
    stopped: bool,
    *,
    symmetries: Symmetries | None,
    seconds: float,
    seconds_per_step: float,
) -> Refinement:
    """What `refine_poses` returns, once its last stage is through or was stopped."""
    last = recorded(state)
    statuses = _statuses(state, last, tolerance, stopped)
    records = (*state.records, last)
    best = _best(state, last)
    column = int(np.argmin(best.losses))
    count = max(records[0].starts) + 1
    losses = np.empty(count, last.losses.dtype)
    T_world_object = np.empty((count, *last.iterates.shape[2:]), last.iterates.dtype)
    for record in records:
        starts = list(record.starts)
        losses[starts] = record.ranks.min(axis=0)
        T_world_object[starts] = record.iterates[record.ranks.argmin(axis=0), np.arange(len(starts))]
    losses[list(last.starts)], T_world_object[list(last.starts)] = best.losses, best.T_world_object

    def history(parts: list[np.ndarray]) -> np.ndarray:
        """Over all stages, NaN where a start had been pruned."""
        full = [np.full((len(part), count, *part.shape[2:]), np.nan, part.dtype) for part in parts]
        for whole, part, record in zip(full, parts, records):
            whole[:, list(record.starts)] = part
        return np.concatenate(full)

    return Refinement(
        scene=with_poses(scene, to_jax(best.T_world_object[column])),
        loss=float(best.losses[column]),
        status=statuses[last.starts[column]],
        doubts=(),
        agreement=None,
        score=None,
        covariance=None,
        alternatives=alternatives(best.T_world_object, best.losses, np.asarray(state.unit)[:, 3], symmetries),
        best_step=int(best.steps[column]),
        best_start=last.starts[column] if 0 in last.starts or best.steps[column] else 0,
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
