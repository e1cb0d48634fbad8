"""Synthetic data sets: objects that hide each other among clutter, in changing light, seen by a noisy camera."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .._scene.camera import Camera
from .._scene.render_result import BACKGROUND_DEPTH
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer, box_mesh, demo_mesh, sphere_mesh
from ._dataset import Dataset
from ._estimates import Estimate, write_estimates
from ._write import View, write_dataset

FOV_X = math.radians(50)
MOST_OBJECTS = 5
"""In one image."""
CLUTTER = 3
"""Boxes and balls that no ground truth knows."""
APPARENT_SIZE = 0.3
"""Diameter of the largest object over its distance, about."""
IMAGES_PER_SCENE = 25
COLOR_NOISE, DEPTH_NOISE, DEPTH_HOLES = 0.01, 0.001, 0.02
"""Standard deviations of colour in [0, 1] and of depth relative to itself; share of pixels without depth."""
LEAST_VISIBILITY = 0.1
ABSENT = -10.0
"""Depth at which objects wait that an image does not show: behind the camera."""


class Offset(NamedTuple):
    """How far coarse estimates are from the truth.

    Attributes:
        rotation: angle, radians, about a random axis through the object's centre.
        translation: length, metres, in a random direction.
    """

    rotation: float
    translation: float


def builtin_meshes() -> dict[int, Mesh]:
    """The objects of a data set without mesh files: toy, box and ball, each with a print that shows every turn."""
    return {1: demo_mesh(), 2: box_mesh((0.09, 0.06, 0.04), seed=3), 3: sphere_mesh(0.04, seed=5)}


def make_dataset(
    folder: str | os.PathLike[str],
    meshes: Mapping[int, Mesh] | None = None,
    *,
    images: int = 50,
    seed: int = 0,
    size: tuple[int, int] = (240, 320),
    offset: Offset = Offset(math.radians(10), 0.01),  # noqa: B008 -- immutable
    callback: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Makes up a data set in BOP's layout, with coarse estimates to begin from.

    Each image shows up to five objects in random poses, one of each kind, which hide each other in part, before a wall
    and among boxes and balls that are no objects, in random light. Colour and depth have noise, depth has holes.

    Args:
        folder: the data set, which must not exist. Its name is that of the data set: no "_", "-" or "." in it.
        meshes: by number of the object, metres. Default: `builtin_meshes`.
        images: how many.
        seed: of everything random. Equal seeds make equal files.
        size: (height, width) of the images, pixels.
        offset: of the estimates in ``coarse_NAME-test.csv``, which has one for each object of which at least a tenth is
            visible.
        callback: called after each image with how many are done, and how many there will be.

    Returns:
        The data set; poses (4, 4) in metres.

    Raises:
        ValueError: if the folder exists or its name cannot be that of a data set, or a number is out of its range.
    """
    folder = Path(folder)
    meshes = builtin_meshes() if meshes is None else dict(meshes)
    if images < 1 or not meshes or min(size) < 32:
        raise ValueError(
            f"A data set needs images and meshes, and sides of at least 32 pixels, got {images} images, {len(meshes)} "
            f"meshes and (height, width) = {size}."
        )
    if folder.exists() or set("_-.") & set(folder.name):
        raise ValueError(f'The data set {folder} must be a new folder with no "_", "-" or "." in its name.')
    estimates_path = folder / f"coarse_{folder.name}-test.csv"

    def views() -> Iterator[View]:
        studio = _Studio(meshes, size, seed)
        for number in range(images):
            yield studio.view(1 + number // IMAGES_PER_SCENE, number % IMAGES_PER_SCENE)
            if callback is not None:
                callback(number + 1, images)

    dataset = write_dataset(folder, meshes, views())
    write_estimates(estimates_path, _coarse(dataset, meshes, offset, seed))
    return dataset


class _Studio:
    """The stage on which views are taken. One renderer for all of them, so that it is compiled once."""

    def __init__(self, meshes: Mapping[int, Mesh], size: tuple[int, int], seed: int):
        self.rng = np.random.default_rng(seed)
        self.object_ids = sorted(meshes)
        self.meshes = [meshes[object_id] for object_id in self.object_ids]
        self.radii = np.array([0.5 * mesh.diameter for mesh in self.meshes])
        self.centres = np.array([mesh.bounds.mean(axis=0) for mesh in self.meshes])
        self.distance = 2 * float(self.radii.max()) / APPARENT_SIZE
        self.camera = Camera.from_fov(
            FOV_X, width=size[1], height=size[0], near=0.05 * self.distance, far=10 * self.distance
        )
        clutter = [self._clutter(k) for k in range(CLUTTER)]
        side = 6 * self.distance
        wall = box_mesh((side, side, 0.01 * side), seed=int(self.rng.integers(1 << 30)))
        self.renderer = MeshRenderer(
            [*self.meshes, *clutter, wall], shading="phong", ambient_light=np.ones(3), light_directions=np.ones((2, 3)),
            light_colors=np.ones((2, 3)), supersample=2, buffers="core",
        )  # fmt: skip

    def view(self, scene_id: int, image_id: int) -> View:
        """A new arrangement in new light."""
        rng, count = self.rng, len(self.meshes)
        shown = np.sort(rng.permutation(count)[: rng.integers(min(2, count), min(MOST_OBJECTS, count) + 1)])
        T_camera_object = np.stack([_absent()] * count)
        for k, T in zip(shown, self._arranged(shown)):
            T_camera_object[k] = T
        T_camera_clutter = [self._behind() for _ in range(CLUTTER)]
        T_camera_wall = np.eye(4)
        T_camera_wall[2, 3] = 2.2 * self.distance
        T_camera_wall[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix()
        T_camera_all = np.stack([*T_camera_object, *T_camera_clutter, T_camera_wall]).astype(np.float32)

        light = self.renderer.lighting
        assert light is not None
        lamps = rng.uniform([-1, -0.5, 0.3], [1, 1, 1], (2, 3))
        renderer = eqx.tree_at(
            lambda r: (r.lighting.ambient_light, r.lighting.light_directions, r.lighting.light_colors),
            self.renderer,
            tuple(
                np.asarray(value, np.float32)
                for value in (rng.uniform(0.4, 0.8, 3), lamps, rng.uniform(0.5, 1.8, (2, 3)))
            ),
        )
        result = renderer(Scene(T_camera_all, self.camera))
        rgb = np.asarray(result.color) + COLOR_NOISE * rng.normal(size=(*result.rgb.shape[:2], 3))
        depth = np.asarray(result.depth) * (1 + DEPTH_NOISE * rng.normal(size=result.rgb.shape[:2]))
        depth[(rng.random(depth.shape) < DEPTH_HOLES) | (depth > 0.5 * BACKGROUND_DEPTH)] = 0

        # The same view, told in the frame of a world in which the camera stands somewhere.
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = _rotation(rng)
        T_world_camera[:3, 3] = rng.uniform(-1, 1, 3)
        camera = eqx.tree_at(lambda c: c.T_world_camera, self.camera, T_world_camera.astype(np.float32))
        scene = Scene((T_world_camera @ T_camera_object[shown]).astype(np.float32), camera)
        object_ids = [self.object_ids[k] for k in shown]
        return View(
            scene_id, image_id, scene, object_ids, np.rint(255 * rgb.clip(0, 1)).astype(np.uint8),
            depth.astype(np.float32), 1e-4 * max(1.0, math.ceil(5 * self.distance / 6.5)),
        )  # fmt: skip

    def _arranged(self, shown: np.ndarray) -> list[Float[np.ndarray, "4 4"]]:
        """Poses in view, near each other, with room for each."""
        rng, placed, centre = self.rng, [], np.zeros(3)
        for k in shown:
            for attempt in range(100):
                spread = 0.15 + 0.004 * attempt
                z = self.distance * rng.uniform(0.85, 1.35)
                centre = np.array([*(z * rng.uniform(-spread, spread, 2) * (1, 0.75)), z])
                if all(np.linalg.norm(centre - other) > 0.9 * (self.radii[k] + radius) for other, radius in placed):
                    break
            placed.append((centre, self.radii[k]))
        return [self._posed(self.centres[k], centre) for k, (centre, _) in zip(shown, placed)]

    def _posed(self, centre_in_object: np.ndarray, centre: np.ndarray) -> Float[np.ndarray, "4 4"]:
        """Turned at random, with its centre at a place."""
        T = np.eye(4)
        T[:3, :3] = _rotation(self.rng)
        T[:3, 3] = centre - T[:3, :3] @ centre_in_object
        return T

    def _clutter(self, k: int) -> Mesh:
        size = (self.radii.max() * self.rng.uniform(0.5, 1.2, 3)).tolist()
        seed = int(self.rng.integers(1 << 30))
        return sphere_mesh(0.6 * size[0], seed=seed) if k % 3 == 2 else box_mesh(size, seed=seed)

    def _behind(self) -> Float[np.ndarray, "4 4"]:
        z = self.distance * self.rng.uniform(1.5, 1.9)
        return self._posed(np.zeros(3), np.array([*(z * self.rng.uniform(-0.4, 0.4, 2)), z]))


def _rotation(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """A uniformly random rotation."""
    return Rotation.from_quat(rng.normal(size=4)).as_matrix()


def _absent() -> Float[np.ndarray, "4 4"]:
    T = np.eye(4)
    T[2, 3] = ABSENT
    return T


def _coarse(dataset: Dataset, meshes: Mapping[int, Mesh], offset: Offset, seed: int) -> Sequence[Estimate]:
    """The truth, turned and shifted, with scores that say nothing."""
    rng = np.random.default_rng([seed, 1])
    estimates = []
    for frame in dataset:
        for instance in frame.instances or ():
            turn, shift = rng.normal(size=3), rng.normal(size=3)
            score = round(float(rng.uniform(0.5, 1.0)), 3)
            if instance.visibility is not None and instance.visibility < LEAST_VISIBILITY:
                continue
            centre = np.append(meshes[instance.object_id].bounds.mean(axis=0), 1)
            T = instance.T_camera_object.copy()
            R = Rotation.from_rotvec(offset.rotation * turn / np.linalg.norm(turn)).as_matrix()
            T[:3, :3] = R @ T[:3, :3]
            T[:3, 3] += (instance.T_camera_object @ centre - T @ centre)[:3]
            T[:3, 3] += offset.translation * shift / np.linalg.norm(shift)
            estimates.append(Estimate(frame.scene_id, frame.image_id, instance.object_id, score, T))
    return estimates
