"""The objects of a data set: meshes, diameters and symmetries."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..mesh_renderer import Mesh
from ..metrics import symmetry_transforms
from ._json import Fields, read_by_id

logger = logging.getLogger(__name__)

MESH_FILE = re.compile(r"obj_(\d{6})\.(?:ply|obj|glb|gltf|stl)")


class ObjectModel(NamedTuple):
    """What a data set says about one object.

    Attributes:
        object_id: its number, the ``obj_id`` of BOP's files. Numbers need not be consecutive.
        path: of the mesh file, in millimetres.
        diameter: the largest distance between two vertices, metres.
        symmetries: (S, 4, 4) float, as `metrics.symmetry_transforms` makes them, metres. The identity is the first.
    """

    object_id: int
    path: Path
    diameter: float
    symmetries: Float[np.ndarray, "symmetries 4 4"]

    @property
    def symmetric(self) -> bool:
        """Whether there is any symmetry but the identity."""
        return len(self.symmetries) > 1


class Models(Mapping[int, ObjectModel]):
    """A folder of meshes ``obj_000001.ply`` with ``models_info.json``: a mapping from object numbers to models.

    Args:
        folder: such as ``models`` or ``models_eval``.

    Raises:
        ValueError: if there is no mesh in it, or ``models_info.json`` deviates from the format.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        found = (MESH_FILE.fullmatch(path.name) for path in sorted(folder.iterdir(), reverse=True))
        paths = {int(match[1]): folder / match[0] for match in found if match}  # of several, PLY is the last
        if not paths:
            raise ValueError(f"{folder} holds no mesh. Expected files named obj_000001.ply.")
        self._meshes: dict[int, Mesh] = {}
        info_path = folder / "models_info.json"
        info = read_by_id(info_path, dict, "object") if info_path.is_file() else {}
        if not info:
            logger.warning("%s does not exist: objects count as not symmetric, diameters are measured.", info_path)
        self._models = {
            object_id: self._model(object_id, path, info.get(object_id), info_path)
            for object_id, path in sorted(paths.items())
        }
        unknown = sorted(set(paths) - set(info)) if info else []
        if unknown:
            logger.warning("%s has no entry for objects %s, which count as not symmetric.", info_path, unknown)

    def __getitem__(self, object_id: int) -> ObjectModel:
        """The model of an object, or a KeyError that says which there are."""
        try:
            return self._models[object_id]
        except KeyError:
            raise KeyError(f"{self.folder} holds no object {object_id}, only {list(self)}.") from None

    def __iter__(self) -> Iterator[int]:
        """The numbers of the objects, ascending."""
        return iter(self._models)

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._models)

    def mesh(self, object_id: int) -> Mesh:
        """The mesh of an object in metres, read on first use and kept."""
        if object_id not in self._meshes:
            self._meshes[object_id] = Mesh.load(self[object_id].path, scale=1e-3)
        return self._meshes[object_id]

    def _model(self, object_id: int, path: Path, entry: dict[str, Any] | None, info_path: Path) -> ObjectModel:
        if entry is None:
            mesh = self._meshes[object_id] = Mesh.load(path, scale=1e-3)
            return ObjectModel(object_id, path, mesh.diameter, np.eye(4)[None])
        fields = Fields(entry, f'{info_path}: object "{object_id}"')
        diameter = 1e-3 * fields.number("diameter")
        if not diameter > 0:
            raise fields.wrong("diameter", "a positive number of millimetres")
        try:
            symmetries = symmetry_transforms(
                entry.get("symmetries_discrete"), entry.get("symmetries_continuous"), scale=1e-3
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{fields.where}: the symmetries are not in BOP's form. {error}") from None
        return ObjectModel(object_id, path, diameter, np.asarray(symmetries))


def find_models(dataset: Path, *names: str) -> Models:
    """The models in the first folder of these names that a data set has.

    Raises:
        ValueError: if it has none of them.
    """
    for name in names:
        if (dataset / name).is_dir():
            if name != names[0]:
                logger.warning("%s does not exist: %s is used in its place.", dataset / names[0], dataset / name)
            return Models(dataset / name)
    raise ValueError(f"{dataset} has no models: expected a folder {' or '.join(names)} with files obj_000001.ply.")
