"""What a run has done so far, one file per image, so that nothing is lost when it ends early."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._atomic import write_atomically
from ._estimates import Estimate
from ._json import read_json

CONFIGURATION = "configuration.json"
Ids = tuple[int, int]


class Part(NamedTuple):
    """What became of one image.

    Attributes:
        scene_id: number of the scene.
        image_id: number of the image.
        estimates: the refined ones; none if it failed.
        error: what went wrong; None if nothing did.
    """

    scene_id: int
    image_id: int
    estimates: tuple[Estimate, ...]
    error: str | None = None


class Parts:
    """The folder with the files of a run.

    Args:
        folder: made if it is missing.
        configuration: all that decides the results. A folder with parts of another is refused.

    Raises:
        ValueError: if the folder holds parts of another configuration, naming what differs, or cannot be written.
    """

    def __init__(self, folder: Path, configuration: Mapping[str, Any]):
        self.folder = folder
        path = folder / CONFIGURATION
        wanted = json.loads(json.dumps(configuration))
        if path.is_file():
            there = read_json(path)
            if there != wanted:
                differing = ", ".join(_differences(there, wanted))
                raise ValueError(
                    f"{folder} holds parts of a run with other settings or data ({differing}), which are not to be "
                    "mixed. Choose another output, or remove that folder to begin anew."
                )
        elif folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not the folder of a run: it has files and no {CONFIGURATION}.")
        else:
            write_atomically(path, json.dumps(wanted, indent=1) + "\n")

    def write(self, part: Part) -> None:
        """Writes the file of an image, all of it or nothing."""
        rows = [
            [e.object_id, e.score, e.T_camera_object.reshape(-1).tolist(), e.time] for e in part.estimates
        ]  # fmt: skip
        document = {"scene_id": part.scene_id, "image_id": part.image_id, "estimates": rows, "error": part.error}
        write_atomically(self._path(part.scene_id, part.image_id), json.dumps(document) + "\n")

    def read(self, scene_id: int, image_id: int) -> Part | None:
        """The part of an image; None if there is none yet."""
        path = self._path(scene_id, image_id)
        if not path.is_file():
            return None
        document = read_json(path)
        estimates = tuple(
            Estimate(scene_id, image_id, object_id, score, np.array(T, np.float64).reshape(4, 4), time)
            for object_id, score, T, time in document["estimates"]
        )
        return Part(scene_id, image_id, estimates, document["error"])

    def missing(self, images: Sequence[Ids]) -> list[Ids]:
        """Which of the images have no part, or one that says that they failed."""
        return [ids for ids in images if (part := self.read(*ids)) is None or part.error is not None]

    def read_all(self, images: Sequence[Ids]) -> Iterator[Part]:
        """The parts of these images that there are."""
        return (part for ids in images if (part := self.read(*ids)) is not None)

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)

    def _path(self, scene_id: int, image_id: int) -> Path:
        return self.folder / f"{scene_id:06d}_{image_id:06d}.json"


def _differences(there: Any, wanted: Any) -> list[str]:
    """The keys whose values differ."""
    if not isinstance(there, dict):
        return ["its form"]
    return sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
