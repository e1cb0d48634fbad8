"""The refinement of all objects of one image: crops, batches of a few fixed sizes, and one program for each."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._images.observation import Observation
from .._losses.colour import zncc_loss
from .._losses.depth import depth_loss
from .._losses.loss import Loss
from .._losses.silhouette import silhouette_loss
from .._refine.refinement import Stage
from ..mesh_renderer import MeshRenderer
from ._crops import Disc, Photo, Square, cut, disc_of, square_around
from ._drawable import Drawables, stacked, structure
from ._estimates import Estimate
from ._fit_rows import Fit, Row, fit_rows
from ._frame import Frame
from ._models import Models
from ._starts import Start

MARGIN, BLUR = 0.2, 1 / 32
"""Room around an object in units of its size; blur of a coarse stage in units of its image's side."""
SAME_PLACE = 0.5
"""Diameters: a second estimate of an object that is nearer to the first is another opinion, no other object."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the poses of an image are refined.

    Attributes:
        joint: after each object by itself, move the objects of an image together, so that they may hide each other.
        resolution: side of the largest crop, pixels; crops of small objects have half of it.
        steps: of Levenberg-Marquardt, at most, all stages together.
        use_depth: whether to look at depth images where there are some.
        times: whether to state how long each image took; -1 if not, so that equal runs make equal files.

    Raises:
        ValueError: if a number is out of its range.
    """

    joint: bool = False
    resolution: int = 128
    steps: int = 30
    use_depth: bool = True
    times: bool = True

    def __post_init__(self):
        if self.resolution < 32 or self.resolution % 2:
            raise ValueError(f"The resolution must be an even number of pixels, at least 32, got {self.resolution}.")
        if self.steps < 3:
            raise ValueError(f"At least 3 steps are needed, got {self.steps}.")


class _Job(NamedTuple):
    """One crop to be refined, with the starts whose objects are in it."""

    members: tuple[int, ...]
    renderer: MeshRenderer
    row: Row
    stages: tuple[Stage, ...]


class Refiner:
    """Refines the poses of an image. Meshes are loaded and programs compiled once, for all images.

    Args:
        models: the objects.
        object_ids: those that occur in any image.
        settings: how.
    """

    def __init__(self, models: Models, object_ids: Sequence[int], settings: Settings):
        self.models, self.settings = models, settings
        self.drawables = Drawables(models, object_ids)
        self._centres = {k: models.mesh(k).bounds.mean(axis=0).astype(np.float64) for k in object_ids}

    def refine(self, frame: Frame, find_starts: Callable[[Photo], Sequence[Start]]) -> list[Estimate]:
        """Refines what is known about one image.

        Args:
            frame: the image.
            find_starts: what to begin from, given the photo.

        Returns:
            One estimate per start, in their order. Its score is that of the start times ``exp(-loss)``: how well the
            pose explains the image. Objects that cannot be seen at the start keep their pose, with a score of 0.
        """
        began = time.perf_counter()
        photo = Photo(frame.K, frame.rgb, frame.depth if self.settings.use_depth else None)
        if photo.rgb is None and photo.depth is None:
            raise ValueError(f"There is neither a colour nor a depth image of {frame.name}.")
        starts = list(find_starts(photo))
        discs = [self._disc(photo, start) for start in starts]
        seen = [k for k, disc in enumerate(discs) if disc is not None]
        results = self._run([self._job(photo, starts, discs, (k,)) for k in seen])
        if self.settings.joint:
            found = [
                start._replace(T_camera_object=results[k][0][None]) if k in results else start
                for k, start in enumerate(starts)
            ]
            discs = [self._disc(photo, start) for start in found]
            if together := self._together(found, discs, results):
                results |= self._run([self._job(photo, found, discs, together)])
        known = max((start.time for start in starts), default=-1.0)
        seconds = time.perf_counter() - began + max(known, 0.0) if self.settings.times else -1.0
        estimates = []
        for k, start in enumerate(starts):
            T, loss = results.get(k, (start.T_camera_object[0], math.inf))
            estimates.append(
                Estimate(frame.scene_id, frame.image_id, start.object_id, start.score * math.exp(-loss), T, seconds)
            )
        return estimates

    def _run(self, jobs: Sequence[_Job | None]) -> dict[int, tuple[Float[np.ndarray, "4 4"], float]]:
        """Pose and loss of each start that the jobs could see."""
        results = {}
        for fit, members in self._fitted([job for job in jobs if job is not None]):
            if math.isfinite(float(fit.loss)):
                for k, T in zip(members, np.asarray(fit.T_camera_object, np.float64)):
                    results[k] = _rigid(T), float(fit.loss)
        return results

    def _disc(self, photo: Photo, start: Start) -> Disc | None:
        diameter, centre = self.models[start.object_id].diameter, self._centres[start.object_id]
        found = [disc_of(T, photo.K, diameter, centre) for T in start.T_camera_object]
        discs = [disc for disc in found if disc is not None]
        if not discs:
            return None
        x, y, radius = np.median(np.array(discs), axis=0).tolist()
        return Disc(x, y, radius)

    def _together(
        self, starts: Sequence[Start], discs: Sequence[Disc | None], visible: Container[int]
    ) -> tuple[int, ...]:  # fmt: skip
        """The starts that can stand in one scene: those seen, but not two opinions about one object."""
        chosen: list[int] = []
        for k in sorted(range(len(starts)), key=lambda k: -starts[k].score):
            start = starts[k]
            centre = start.T_camera_object[0, :3, 3]
            near = SAME_PLACE * self.models[start.object_id].diameter
            rivals = (starts[j] for j in chosen if starts[j].object_id == start.object_id)
            taken = any(np.linalg.norm(centre - rival.T_camera_object[0, :3, 3]) < near for rival in rivals)
            if discs[k] is not None and k in visible and not taken:
                chosen.append(k)
        return tuple(sorted(chosen)) if len(chosen) > 1 else ()

    def _job(
        self, photo: Photo, starts: Sequence[Start], discs: Sequence[Disc | None], members: Sequence[int]
    ) -> _Job | None:  # fmt: skip
        """The crop around some starts: from coarse to fine for one, the last stage alone for several."""
        side, first, several = self.settings.resolution, starts[members[0]], len(members) > 1
        square = square_around(
            [disc for k in members if (disc := discs[k]) is not None], MARGIN,
            (side, 2 * side) if several else (side // 2, side),
        )  # fmt: skip
        mask = None if several else first.mask
        whole = cut(photo, mask, square, 1.0)
        if whole is None:
            return None
        stages = plan(whole, self.settings.steps, square, searched=first.searched)
        if several:
            stages = stages[-1:]
        cuts = [cut(photo, mask, square, stage.scale) for stage in stages]
        seen = [observation for observation in cuts if observation is not None]
        if len(seen) < len(stages):
            return None
        T = np.stack([starts[k].T_camera_object for k in members], axis=1).astype(np.float32)
        diameters = np.array([self.models[starts[k].object_id].diameter for k in members])
        unit = np.repeat(np.stack([np.ones_like(diameters), diameters], axis=1), 3, axis=1).astype(np.float32)
        object_ids = [starts[k].object_id for k in members]
        renderer = self.drawables.together(object_ids) if several else self.drawables.alone(object_ids[0])
        row = Row(jnp.asarray(square.projection(photo.K)), tuple(seen), jnp.asarray(T), jnp.asarray(unit))
        return _Job(tuple(members), renderer, row, stages)

    def _fitted(self, jobs: Sequence[_Job]) -> list[tuple[Fit, tuple[int, ...]]]:
        """Runs the jobs, those that one program can do in batches."""
        groups: dict[tuple, list[_Job]] = {}
        for job in jobs:
            key = (structure(job.renderer), structure(job.row), job.stages)
            groups.setdefault(key, []).append(job)
        done = []
        for group in groups.values():
            sizes = batch_sizes()
            for first in range(0, len(group), sizes[-1]):
                batch = group[first : first + sizes[-1]]
                size = next(size for size in sizes if size >= len(batch))
                filled = batch + [batch[0]] * (size - len(batch))
                rows = jax.tree.map(lambda *leaves: np.stack(leaves), *(job.row for job in filled))
                renderers = stacked([job.renderer for job in filled])
                fits = jax.tree.map(np.asarray, fit_rows(renderers, rows, batch[0].stages, np.asarray(len(batch))))
                done += [(jax.tree.map(lambda leaf, k=k: leaf[k], fits), job.members) for k, job in enumerate(batch)]
        return done


def batch_sizes() -> tuple[int, ...]:
    """How many crops are refined at once; batches are filled up to these sizes, for each is a program of its own."""
    return (4,) if jax.default_backend() == "cpu" else (1, 4, 16)


def plan(seen: Observation, steps: int, square: Square, *, searched: bool) -> tuple[Stage, ...]:
    """The stages for what is seen.

    Args:
        seen: the crop.
        steps: all stages together.
        square: the window of the crop.
        searched: whether the rotation is unknown: then outline and depth choose among many starts first.
    """
    fine: Loss | None = None
    outline: Loss | None = None
    if seen.depth is not None:
        fine, outline = depth_loss, depth_loss.using(scale=0.03)
    if seen.rgb is not None:
        fine = zncc_loss if fine is None else zncc_loss + fine
    assert fine is not None
    coarse = fine if outline is None or seen.rgb is None else zncc_loss + outline
    if seen.mask is not None:
        fine, coarse = fine + 3 * silhouette_loss, coarse + silhouette_loss
        outline = silhouette_loss if outline is None else outline + silhouette_loss
    blur = 0.5 * BLUR * square.shown
    few = max(1, round(0.25 * steps))
    if searched:
        # Those that look best as they are first, or most of the time would go into hopeless ones.
        first = coarse if outline is None else outline
        return (
            Stage(1, scale=0.5, keep=20, loss=first),
            Stage(few, scale=0.5, keep=6, loss=first),
            Stage(few, scale=0.5, blur=blur, keep=2, loss=coarse),
            Stage(max(1, steps - 2 * few), keep=1, loss=fine),
        )
    half = max(1, round(0.4 * steps))
    return Stage(half, scale=0.5, blur=blur, keep=1, loss=coarse), Stage(steps - half, keep=1, loss=fine)


def _rigid(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The nearest rigid transform: float32 leaves rotations off by 1e-7."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = U @ Vt, T[:3, 3]
    return rigid
