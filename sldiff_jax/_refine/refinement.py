"""What `refine_poses` is told about its stages, and what it returns."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from .._losses.comparison import LossFunction
from .._scene.scene import Scene


class Stage(eqx.Module):
    """One stage of a refinement from coarse to fine.

    Attributes:
        steps: how many iterates are evaluated at most.
        scale: resolution of the images in units of the observation's, in (0, 1]. Below 1 it needs a renderer that draws
            at any size, as `MeshRenderer` and interop's StilllebenRenderer do.
        blur: standard deviation of a Gaussian that both images pass, pixels of this stage. Needs a `Loss`.
        keep: how many starts, those with the lowest loss, go on to the next stage. Default: all.
        loss: instead of that of `refine_poses`. Depth and silhouette alone find home from farther away than colour.
        optimizer: instead of that of `refine_poses`.
        hold: holds each start near the pose with which the stage begins: the loss grows by ``hold / 2`` times the
            squared distance, in the units of `refine_poses` (radians and object diameters). So directions that the
            images do not show stay as they were, and the others follow the images.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int
    scale: float = 1.0
    blur: float = 0.0
    keep: int | None = None
    loss: LossFunction | None = None
    optimizer: Any = None
    hold: float = 0.0

    def __check_init__(self):
        """Checks the ranges."""
        if not _positive_integer(self.steps):
            raise ValueError(f"steps must be a positive integer, got {self.steps!r}.")
        if not 0 < self.scale <= 1:
            raise ValueError(f"The scale of a stage must lie in (0, 1], got {self.scale!r}.")
        if not 0 <= self.blur < float("inf"):
            raise ValueError(f"The blur of a stage must be a number of pixels, not negative, got {self.blur!r}.")
        if not 0 <= self.hold < float("inf"):
            raise ValueError(f"The hold of a stage must be a number, not negative, got {self.hold!r}.")
        if not (self.keep is None or _positive_integer(self.keep)):
            raise ValueError(f"keep must be a positive integer or None, got {self.keep!r}.")


class Status(enum.IntEnum):
    """How the refinement from one start ended."""

    CONVERGED = 0
    """The loss fell, or was at its minimum from the start, and the steps became shorter than the tolerance, or it
    stopped falling: over the last quarter of the steps it gained less than a hundredth of what the stage gained."""
    STEP_LIMIT = 1
    """The steps were used up while the loss was still falling."""
    NOT_VISIBLE = 2
    """An object has left the image, or is hidden altogether: no gradient can move it."""
    DIVERGED = 3
    """The loss is not finite, or ended more than a tenth above where the stage began."""
    PRUNED = 4
    """Others were better when a stage ended."""
    STOPPED = 5
    """The callback stopped it."""
    NO_PULL = 6
    """Nothing pulls at the start: it does not overlap with what was seen, or the loss does not change with the pose."""
    NOT_BETTER = 7
    """No pose was found with a lower loss than the start's, and the start is no minimum; or with stages="auto", the
    images do not bear the result out, and agree with the start as well. The start is returned."""
    DOUBTFUL = 8
    """The loss fell, but the images do not bear the result out: see `Refinement.doubts`."""
    LOST = 9
    """As DOUBTFUL, and the images hardly agree with the result at all: it should not be used."""

    @property
    def trusted(self) -> bool:
        """Whether the result is at least as good as the start, as far as the images tell."""
        return self in (Status.CONVERGED, Status.STEP_LIMIT)

    def __str__(self) -> str:
        """The name, not the number that an `IntEnum` shows."""
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


class Agreement(NamedTuple):
    """How well a rendering agrees with an observation; None where there is nothing to compare.

    Attributes:
        overlap: of the silhouettes, intersection over union.
        inliers: share of the object's measured pixels with about the rendered depth, without what is hidden.
        correlation: of the colours inside.
        separation: how much more probably the object's colours and depths show just inside of the outline than outside.
        hidden: share of the object's measured pixels with something nearer.
    """

    overlap: float | None
    inliers: float | None
    correlation: float | None
    separation: float | None
    hidden: float | None

    @property
    def total(self) -> float:
        """The sum of what speaks for the pose, to compare poses."""
        return sum(value for value in self[:4] if value is not None)

    @property
    def score(self) -> float:
        """How far the images bear the pose out, in [0, 1]: comparable over images, objects and kinds of evidence.

        The geometric mean of overlap, inliers and correlation, of those that there are; without a mask of separation
        in place of overlap. 0 if there is nothing to compare.
        """
        parts = [value for value in self[:4] if value is not None]
        return float(np.prod(np.clip(parts, 0, 1)) ** (1 / len(parts))) if parts else 0.0

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.2f}" for name, value in self._asdict().items() if value is not None)


class Refinement(eqx.Module):
    """The outcome of `refine_poses`: K starts, N objects, S evaluated steps of all stages together.

    Attributes:
        scene: the scene with the best poses over all steps and starts of the last stage; poses at which an object does
            not show count only if there are no others.
        loss: the loss of those poses.
        status: how the start ended from which they were found.
        doubts: what speaks against the result, in words; empty if nothing does or nothing was looked at.
        agreement: how well the result agrees with what was seen; only with stages="auto".
        score: in [0, 1], `Agreement.score` of that: ranks fits of different images and objects. None without.
        covariance: (N, 6, 6) float, of the motions of `apply_twist`, in the objects' own frames: radians, then metres.
            From the curvature of the loss and from how blocks of pixels pull at the result, of every object as if the
            others stood still. It knows of noise, and not of errors that all pixels share, as those of camera and mesh.
            Only with stages="auto" and least squares.
        alternatives: (A, N, 4, 4) float, metres: other poses at which starts ended, whose loss is above the best by no
            more than a tenth of it and 0.02, more than 8 degrees or 8 % of the diameter apart, best first; symmetric
            ones are one.
        best_step: the step at which they were found, counted over all stages.
        best_start: the start from which they were found.
        statuses: how each start ended, K of them.
        losses: (K,) float, the lowest loss of each start in the last stage that it took part in. That of a pruned start
            is of other images than those of the starts that went on. Infinite if it never was
            finite with all objects in view.
        T_world_object: (K, N, 4, 4) float, the poses there, metres: every start's own outcome.
        loss_history: (S, K) float, the loss of every iterate; NaN after a start was pruned. Losses of different stages
            are of different images.
        T_world_object_history: (S, K, N, 4, 4) float, every iterate, metres; NaN after a start was pruned.
        stage_history: (S,) int, the stage of every step.
        seconds: wall-clock time in seconds, compilation included.
        seconds_per_step: wall-clock time of a step of the last stage, for all starts together, the callback included;
            without compilation, if there was more than one step.
        state: what `refine_poses` needs to go on from here.
    """

    scene: Scene
    loss: float
    status: Status
    doubts: tuple[str, ...]
    agreement: Agreement | None
    score: float | None
    covariance: np.ndarray | None
    alternatives: np.ndarray
    best_step: int
    best_start: int
    statuses: tuple[Status, ...]
    losses: np.ndarray
    T_world_object: np.ndarray
    loss_history: np.ndarray
    T_world_object_history: np.ndarray
    stage_history: np.ndarray
    seconds: float
    seconds_per_step: float
    state: Any


def doubted(found: Refinement, why: str) -> Refinement:
    """The same, with one more doubt: no longer to be trusted."""
    status = Status.DOUBTFUL if found.status.trusted else found.status
    return dataclasses.replace(found, status=status, doubts=(*found.doubts, why))


class End(NamedTuple):
    """What is known of one start when a stage ends.

    Attributes:
        start_loss: the loss of the stage at the pose with which the refinement began.
        last: the loss where it ended.
        visible: whether all objects show there.
        length: of its last step, in the units of `refine_poses`.
        longest: of its steps.
        newton: of the undamped step of least squares from there; infinite without.
        pull: length of the loss's gradient there, in these units.
        moved: by how much it is away from the start, in these units.
        overlap: whether the start overlaps with what was seen.
    """

    start_loss: float
    last: float
    visible: bool
    length: float
    longest: float
    newton: float
    pull: float
    moved: float
    overlap: bool = True


NEAR = 0.01
"""Radians, or diameters, within which a start that does not get better was at its minimum."""


def judge_start(losses: np.ndarray, end: End, *, tolerance: float, stopped: bool) -> Status:
    """The status of one start after the last stage.

    Args:
        losses: (S,) float, its losses in that stage.
        end: what else is known.
        tolerance: below which length it counts as converged.
        stopped: whether the callback ended the stage.
    """
    first = losses[0]
    if not np.isfinite(end.last):
        return Status.DIVERGED
    if not end.visible:
        return Status.NOT_VISIBLE
    scale = max(abs(end.start_loss), 1e-2)
    lowest = np.fmin.accumulate(losses)
    fell = lowest[-1] < end.start_loss - 1e-4 * scale
    perfect = abs(end.start_loss) < 1e-5
    if not fell and not perfect and (not end.overlap or end.pull <= 1e-6 * scale):
        return Status.NO_PULL
    if end.last > first + 0.1 * max(abs(first), 1e-2):
        return Status.DIVERGED
    quarter = len(losses) // 4
    settled = quarter >= 3 and lowest[-1 - quarter] - lowest[-1] <= 0.01 * (first - lowest[-1])
    settled &= end.longest >= tolerance
    if end.length < tolerance or settled:
        return Status.CONVERGED if fell or perfect or min(end.newton, end.moved) < NEAR else Status.NOT_BETTER
    return Status.STOPPED if stopped else Status.STEP_LIMIT


def _positive_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
