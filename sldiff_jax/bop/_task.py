"""The work of a run: images, what to begin from in each, and the refiner; the same in whichever process."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._crops import Photo
from ._dataset import Dataset
from ._detections import Detection
from ._estimates import Estimate
from ._frame import Frame
from ._parts import Ids, Part
from ._refiner import Refiner, Settings
from ._starts import Start, from_detection, from_estimate

Begin = Estimate | Detection
"""What an object of an image begins from."""


class Task(NamedTuple):
    """What is to be done, in values that can be sent to another process.

    Attributes:
        folder: the data set.
        split: of the data set.
        object_ids: the objects that occur.
        settings: how to refine.
    """

    folder: str
    split: str
    object_ids: tuple[int, ...]
    settings: Settings


class Worker:
    """Does a task image by image, with meshes and compiled programs of its own.

    Args:
        task: what is to be done.
    """

    def __init__(self, task: Task):
        self.dataset = Dataset.open(task.folder, task.split)
        self.models = self.dataset.models
        self.refiner = Refiner(self.models, task.object_ids, task.settings)

    def refine(self, ids: Ids, begins: Sequence[Begin]) -> Part:
        """The part of one image. What goes wrong is told in it, not raised."""
        try:
            frame = self.dataset.frame(*ids)
            return Part(*ids, tuple(self.refiner.refine(frame, lambda photo: self._starts(photo, begins))))
        except Exception as error:  # whatever it is, the other images go on
            return Part(*ids, (), f"{type(error).__name__}: {error}")

    def _starts(self, photo: Photo, begins: Sequence[Begin]) -> list[Start]:
        starts = []
        for begin in begins:
            if isinstance(begin, Estimate):
                starts.append(from_estimate(begin))
                continue
            model = self.models[begin.object_id]
            vertices = np.asarray(self.models.mesh(begin.object_id).vertices, np.float64)
            starts.append(from_detection(begin, photo.K, vertices, model.diameter, photo.depth))
        return starts


def masks_of(frame: Frame) -> list[Detection]:
    """The ground truth's visible masks as detections, where nothing else is known."""
    found = []
    for instance in frame.instances or ():
        mask = frame.mask(instance.place)
        if mask is not None and mask.any():
            found.append(Detection(frame.scene_id, frame.image_id, instance.object_id, 1.0, None, mask))
    return found


def configuration(dataset: Dataset, begins: Mapping[Ids, Sequence[Begin]], settings: Settings) -> dict[str, Any]:
    """All that decides the results of a run: settings, version, and digests of the data.

    Images themselves are not read for it: they are told by their names and by the cameras' files.
    """
    models = hashlib.sha256()
    for path in sorted(path for path in dataset.models.folder.iterdir() if path.is_file()):
        models.update(path.name.encode() + path.read_bytes())
    cameras = hashlib.sha256()
    for scene_id in sorted({scene_id for scene_id, _ in begins}):
        cameras.update((dataset.folder / dataset.split / f"{scene_id:06d}" / "scene_camera.json").read_bytes())
    starts = hashlib.sha256()
    for ids in sorted(begins):
        for begin in begins[ids]:
            values = (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode() for value in begin)
            starts.update(b"|".join([repr(ids).encode(), *values]))
    return {
        "settings": dataclasses.asdict(settings),
        "version": importlib.metadata.version("sldiff-jax"),
        "dataset": str(Path(dataset.folder).name),
        "split": dataset.split,
        "images": len(begins),
        "models": models.hexdigest(),
        "cameras": cameras.hexdigest(),
        "starts": starts.hexdigest(),
    }
