"""A run over a data set: every image refined, part by part, and the file that the benchmark accepts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ._dataset import Dataset
from ._detections import Detection
from ._estimates import Estimate, parse_result_name, write_estimates
from ._parts import Ids, Part, Parts
from ._refiner import Settings
from ._task import Begin, Task, Worker, configuration, masks_of


@runtime_checkable
class Engine(Protocol):
    """Where the images of a run are refined."""

    def run(self, task: Task, images: Sequence[tuple[Ids, Sequence[Begin]]]) -> Iterator[Part]:
        """The part of each image, in any order, each once."""
        ...


class LocalEngine:
    """This process, image by image."""

    def run(self, task: Task, images: Sequence[tuple[Ids, Sequence[Begin]]]) -> Iterator[Part]:
        """The part of each image."""
        worker = Worker(task)
        return (worker.refine(ids, begins) for ids, begins in images)


class Run(NamedTuple):
    """What a run over a data set came to.

    Attributes:
        images: how many were to be refined.
        resumed: how many of them an earlier run had done.
        estimates: how many were written.
        unseen: how many of these could not be seen at their start, and kept its pose.
        failures: what went wrong, by numbers of scene and image.
    """

    images: int
    resumed: int
    estimates: int
    unseen: int
    failures: dict[Ids, str]


def refine_dataset(
    dataset: Dataset,
    output: str | os.PathLike[str],
    *,
    estimates: Iterable[Estimate] | None = None,
    detections: Iterable[Detection] | None = None,
    settings: Settings = Settings(),  # noqa: B008 -- immutable
    engine: Engine | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Run:
    """Refines poses all over a data set.

    Every image leaves a file in the folder ``OUTPUT.parts`` as soon as it is done. A run that is stopped, however hard,
    goes on from there when it is started again; images that failed are tried again then. The folder stays: remove it
    to begin anew.

    Args:
        dataset: the images and objects.
        output: the file to write, ``METHOD_DATASET-SPLIT.csv``.
        estimates: poses (4, 4) to begin from.
        detections: masks (H, W) or boxes to begin from, in place of poses: sixty rotations are tried. Without both, the
            visible masks of the ground truth serve.
        settings: how to refine.
        engine: where to. Default: `LocalEngine`.
        callback: called after each image with how many are done, and how many there are.

    Returns:
        The `Run`. The file holds one estimate for each that there was to begin from, in images that did not fail.

    Raises:
        ValueError: if the name of the output is not of that form, there is nothing to begin from, something is of an
            image or object that the data set lacks or is not finite, or parts of another run are in the way.
    """
    output = Path(output)
    parse_result_name(output)
    begins = _begins(dataset, estimates, detections)
    parts = Parts(output.with_name(output.name + ".parts"), configuration(dataset, begins, settings))
    images = sorted(begins)
    left = parts.missing(images)
    resumed = len(images) - len(left)
    object_ids = tuple(sorted({begin.object_id for group in begins.values() for begin in group}))
    task = Task(str(dataset.folder), dataset.split, object_ids, settings)
    if callback is not None:
        callback(resumed, len(images))
    if left:
        run = (LocalEngine() if engine is None else engine).run(task, [(ids, begins[ids]) for ids in left])
        for done, part in enumerate(run, start=resumed + 1):
            parts.write(part)
            if callback is not None:
                callback(done, len(images))
    failures, refined = {}, {}
    for part in parts.read_all(images):
        if part.error is not None:
            failures[part.scene_id, part.image_id] = part.error
        for estimate in part.estimates:  # two starts may end in the same pose to the last bit
            refined[*estimate[:4], estimate.T_camera_object.tobytes()] = estimate
    if refined:
        write_estimates(output, refined.values())
    unseen = sum(estimate.score == 0 for estimate in refined.values())
    return Run(len(images), resumed, len(refined), unseen, failures)


def _begins(
    dataset: Dataset, estimates: Iterable[Estimate] | None, detections: Iterable[Detection] | None
) -> Mapping[Ids, list[Begin]]:
    """What each image begins from, checked."""
    if estimates is not None and detections is not None:
        raise ValueError("Give estimates or detections to begin from, not both.")
    begins: dict[Ids, list[Begin]] = {}
    if estimates is None and detections is None:
        given: Iterable[Begin] = (mask for frame in dataset for mask in masks_of(frame))
    else:
        given = estimates if estimates is not None else detections or ()
    for begin in given:
        what = f"of object {begin.object_id} in scene {begin.scene_id}, image {begin.image_id}"
        if (begin.scene_id, begin.image_id) not in dataset:
            raise ValueError(f"There is an estimate {what}, and no such image in {dataset.folder / dataset.split}.")
        if begin.object_id not in dataset.models:
            raise ValueError(
                f"There is an estimate {what}, and {dataset.models.folder} holds only {[*dataset.models]}."
            )
        if isinstance(begin, Estimate) and not (np.isfinite(begin.T_camera_object).all() and np.isfinite(begin.score)):
            raise ValueError(f"The estimate {what} holds numbers that are not finite.")
        begins.setdefault((begin.scene_id, begin.image_id), []).append(begin)
    if not begins:
        raise ValueError(f"There is nothing to begin from: no estimates, detections or masks for {dataset.folder}.")
    return begins
