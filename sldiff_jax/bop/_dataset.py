"""A data set in BOP's layout: which images there are, and what is known about each."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._frame import Frame, Instance
from ._json import Fields, read_by_id
from ._models import Models, find_models
from ._targets import Target, read_targets

logger = logging.getLogger(__name__)

SCENES_AT_A_TIME = 4
"""Scenes whose JSON files are kept in memory."""


class Dataset(Sequence[Frame]):
    """The images of one split of a data set in the layout of the BOP challenge: a sequence of `Frame`.

    Pixels and ground truth are read when they are asked for, and few of them are kept: memory does not grow with the
    number of images. Lengths are in metres, poses (4, 4) matrices; the files' millimetres end here.

    Attributes:
        folder: of the data set.
        split: name of the folder with the scenes, such as ``test`` or ``test_primesense``.

    `Dataset.open` makes one.
    """

    def __init__(self, folder: Path, split: str, image_ids: Sequence[tuple[int, int]]):
        self.folder = folder
        self.split = split
        self.image_ids = tuple(image_ids)
        self._places = {ids: place for place, ids in enumerate(self.image_ids)}
        self._scenes: dict[int, _Scene] = {}
        self._told: set[str] = set()

    @classmethod
    def open(cls, folder: str | os.PathLike[str], split: str = "test") -> Dataset:
        """Finds the images of a data set.

        Args:
            folder: the data set, which holds ``models`` and the splits.
            split: name of the folder of the split. A type of split is part of it: ``test_primesense``; written with a
                hyphen, as in names of result files, it is understood too.

        Returns:
            The data set; its images in ascending order of scene and image.

        Raises:
            ValueError: if there is no such folder, it holds no scene, or a ``scene_camera.json`` deviates from the
                format: file, key, what was expected and what came.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"The data set {folder} {'is a file' if folder.exists() else 'does not exist'}.")
        split = split if (folder / split).is_dir() else split.replace("-", "_", 1)
        if not (folder / split).is_dir():
            there = sorted(path.name for path in folder.iterdir() if _scene_folders(path))
            raise ValueError(f"{folder} has no split {split!r}; it has {there or 'no split at all'}.")
        scenes = _scene_folders(folder / split)
        if not scenes:
            raise ValueError(f"{folder / split} holds no scenes. Expected folders named 000001 with scene_camera.json.")
        ids = []
        for scene_id, path in scenes.items():
            cameras = read_by_id(path / "scene_camera.json", dict, "image")
            ids += [(scene_id, image_id) for image_id in cameras]
        return cls(folder, split, ids)

    @property
    def name(self) -> str:
        """The name of the data set, that of its folder."""
        return self.folder.resolve().name

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.image_ids)

    def __getitem__(self, index: Any) -> Any:
        """The image at a place, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self.frame(*ids) for ids in self.image_ids[index]]
        return self.frame(*self.image_ids[index])

    def __iter__(self) -> Iterator[Frame]:
        """All images."""
        return (self.frame(*ids) for ids in self.image_ids)

    def __contains__(self, ids: object) -> bool:
        """Whether there is an image with these numbers of scene and image."""
        return ids in self._places

    def frame(self, scene_id: int, image_id: int) -> Frame:
        """The image with these numbers.

        Args:
            scene_id: number of the scene.
            image_id: number of the image.

        Returns:
            The `Frame`, with K (3, 3) and T_world_camera (4, 4).

        Raises:
            KeyError: if there is none.
            ValueError: if its camera or ground truth deviate from the format.
        """
        if (scene_id, image_id) not in self._places:
            raise KeyError(f"{self.folder / self.split} has no scene {scene_id}, image {image_id}.")
        return self._scene(scene_id).frame(image_id)

    @functools.cached_property
    def models(self) -> Models:
        """The objects, with textures and all detail: those to draw."""
        return find_models(self.folder, "models", "models_cad", "models_reconst", "models_eval")

    @functools.cached_property
    def models_eval(self) -> Models:
        """The objects that errors of poses are measured with."""
        return find_models(self.folder, "models_eval", "models")

    @functools.cached_property
    def targets_bop19(self) -> tuple[Target, ...]:
        """What is to be found in which image, and how often: ``test_targets_bop19.json``.

        Without that file, what BOP makes it of: all objects of which at least a tenth is visible.
        """
        path = self.folder / f"{self.split.partition('_')[0]}_targets_bop19.json"
        if path.is_file():
            return self._known(read_targets(path, counted=True), path)
        self._tell("bop19", f"{path} does not exist: all objects of which at least a tenth is visible are the targets.")
        counts: dict[tuple[int, int, int], int] = {}
        for frame in self:
            for instance in frame.instances or ():
                if instance.visibility is None or instance.visibility >= 0.1:
                    ids = (frame.scene_id, frame.image_id, instance.object_id)
                    counts[ids] = counts.get(ids, 0) + 1
        return tuple(Target(*ids, count) for ids, count in counts.items())

    @functools.cached_property
    def targets_bop24(self) -> tuple[Target, ...]:
        """The images in which objects are to be found: ``test_targets_bop24.json``.

        Without that file, the images of `targets_bop19`.
        """
        path = self.folder / f"{self.split.partition('_')[0]}_targets_bop24.json"
        if path.is_file():
            return self._known(read_targets(path, counted=False), path)
        self._tell("bop24", f"{path} does not exist: the images of the bop19 targets are used in its place.")
        images = dict.fromkeys((target.scene_id, target.image_id) for target in self.targets_bop19)
        return tuple(Target(*ids, None, None) for ids in images)

    def _known(self, targets: tuple[Target, ...], path: Path) -> tuple[Target, ...]:
        """The targets, or a ValueError if one is of an image that is not there."""
        for target in targets:
            if (target.scene_id, target.image_id) not in self._places:
                raise ValueError(
                    f"{path} has a target in scene {target.scene_id}, image {target.image_id}, and there is no such "
                    f"image in {self.folder / self.split}."
                )
        return targets

    def _scene(self, scene_id: int) -> _Scene:
        """What the JSON files say about a scene; those read last are kept."""
        scene = self._scenes.pop(scene_id, None) or _Scene(self.folder / self.split, scene_id, self._tell)
        self._scenes[scene_id] = scene
        if len(self._scenes) > SCENES_AT_A_TIME:
            del self._scenes[next(iter(self._scenes))]
        return scene

    def _tell(self, kind: str, message: str) -> None:
        """Logs a message once for this data set: what is missing in one scene is missing in all."""
        if kind not in self._told:
            self._told.add(kind)
            logger.warning("%s", message)


class _Scene:
    """The JSON files of one scene."""

    def __init__(self, split: Path, scene_id: int, tell: Callable[[str, str], None]):
        self.scene_id = scene_id
        self.folder = _scene_folders(split)[scene_id]
        self.cameras = read_by_id(self.folder / "scene_camera.json", dict, "image")
        gt, info = self.folder / "scene_gt.json", self.folder / "scene_gt_info.json"
        self.gt = read_by_id(gt, list, "image") if gt.is_file() else None
        self.info = read_by_id(info, list, "image") if info.is_file() else None
        if self.gt is None:
            tell("gt", f"The ground truth {gt} does not exist.")
        elif self.info is None:
            tell("gt_info", f"Without {info} it is not known how visible the objects are.")

    def frame(self, image_id: int) -> Frame:
        where = f'{self.folder / "scene_camera.json"}: image "{image_id}"'
        fields = Fields(self.cameras[image_id], where)
        if "cam_model" in fields and "cam_K" not in fields:
            raise ValueError(f'{where}: cameras with a "cam_model" are not supported, only pinhole cameras ("cam_K").')
        K = fields.numbers("cam_K", 9).reshape(3, 3)
        if not (K[0, 0] > 0 and K[1, 1] > 0 and K[1, 0] == 0 and np.allclose(K[2], (0, 0, 1))):
            raise fields.wrong("cam_K", "[fx, s, cx, 0, fy, cy, 0, 0, 1], row by row, with positive fx and fy")
        scale = fields.number("depth_scale") if "depth_scale" in fields else None
        if scale is not None and not scale > 0:
            raise fields.wrong("depth_scale", "a positive number (millimetres per unit of the depth image)")
        T_world_camera = None
        if "cam_R_w2c" in fields or "cam_t_w2c" in fields:
            T_world_camera = np.linalg.inv(fields.pose("cam_R_w2c", "cam_t_w2c"))
        return Frame(
            scene_id=self.scene_id,
            image_id=image_id,
            folder=self.folder,
            K=K,
            depth_scale=None if scale is None else 1e-3 * scale,
            T_world_camera=T_world_camera,
            instances=self._instances(image_id),
        )

    def _instances(self, image_id: int) -> tuple[Instance, ...] | None:
        if self.gt is None:
            return None
        if image_id not in self.gt:
            return ()
        entries, infos = self.gt[image_id], None
        if self.info is not None:
            infos = self.info.get(image_id)
            if infos is None or len(infos) != len(entries):
                raise ValueError(
                    f'{self.folder / "scene_gt_info.json"}: image "{image_id}" must have one entry for each of the '
                    f"{len(entries)} objects in scene_gt.json, got {'none' if infos is None else len(infos)}."
                )
        instances = []
        for place, entry in enumerate(entries):
            fields = Fields(entry, f'{self.folder / "scene_gt.json"}: image "{image_id}", object {place}')
            visibility = box = None
            if infos is not None:
                info = Fields(infos[place], f'{self.folder / "scene_gt_info.json"}: image "{image_id}", object {place}')
                visibility = info.number("visib_fract")
                stated = info.numbers("bbox_visib", 4) if "bbox_visib" in info else np.full(4, -1)
                box = None if (stated == -1).all() else _box(*stated.tolist())
            T_camera_object = fields.pose("cam_R_m2c", "cam_t_m2c")
            instances.append(Instance(place, fields.integer("obj_id"), T_camera_object, visibility, box))
        return tuple(instances)


def _box(left: float, top: float, width: float, height: float) -> tuple[int, int, int, int]:
    return int(left), int(top), int(width), int(height)


def _scene_folders(split: Path) -> dict[int, Path]:
    """The folders with a ``scene_camera.json``, by number of the scene, ascending."""
    if not split.is_dir():
        return {}
    folders = (path for path in split.iterdir() if path.name.isdecimal() and (path / "scene_camera.json").is_file())
    return {int(path.name): path for path in sorted(folders, key=lambda path: int(path.name))}
