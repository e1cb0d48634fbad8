"""Scenes for the core tests, without a renderer: ray-cast ellipsoids, and random buffers that only look like a render.

Ray casting is exact, so images of these scenes can be differenced numerically; the random buffers reach label patterns
(ties in depth, one-pixel objects, labels of no object) that no solid object would show.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

import sldiff_jax as sl

BACKGROUND = 3000.0
HEIGHT, WIDTH = 11, 15  # odd, not square, and shared by most tests, so that they share compiled functions


class Ellipsoid(NamedTuple):
    """A textured solid; colour is a smooth function of the object coordinates."""

    label: int
    T_world_object: np.ndarray  # (4, 4)
    radii: np.ndarray  # (3,), metres
    wave: np.ndarray  # (3, 3), radians per metre, one row per colour channel
    phase: np.ndarray  # (3,)

    def color(self, points: np.ndarray) -> np.ndarray:
        return 0.5 + 0.35 * np.sin(points @ self.wave.T + self.phase)


class Buffers(NamedTuple):
    color: np.ndarray  # (H, W, 3), in [0, 1]
    coord_depth: np.ndarray  # (H, W, 4)
    labels: np.ndarray  # (H, W) int16


def rigid(rng: np.random.Generator, translation=(0.0, 0.0, 0.0), angle: float = np.pi) -> np.ndarray:
    """(4, 4) float64: a random rotation of at most about ``angle`` and a given translation."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rng.uniform(-1, 1, 3) * angle / np.sqrt(3)).as_matrix()
    T[:3, 3] = translation
    return T


def projection(width: int, height: int, near: float = 0.1, far: float = 10.0) -> np.ndarray:
    """(4, 4) float64 of a camera whose principal point lies off the centre and whose pixels are not square."""
    fx, fy, cx, cy = 1.05 * width, 1.0 * width, 0.52 * width, 0.47 * height
    a, b = (far + near) / (far - near), -2 * far * near / (far - near)
    return np.array(
        [[2 * fx / width, 0, 2 * cx / width - 1, 0], [0, 2 * fy / height, 2 * cy / height - 1, 0], [0, 0, a, b],
         [0, 0, 1, 0]]
    )  # fmt: skip


def random_solids(rng: np.random.Generator, labels, T_world_camera: np.ndarray, *, wave: float = 25.0, spread=0.25):
    """One ellipsoid per label, half a metre to a metre in front of the camera, some cut by the image border."""
    solids = []
    for label in labels:
        position = (*rng.uniform(-spread, spread, 2), rng.uniform(0.5, 0.9))
        T_world_object = T_world_camera @ rigid(rng, position)
        radii = rng.uniform(0.06, 0.16, 3)
        solids.append(Ellipsoid(label, T_world_object, radii, rng.normal(size=(3, 3)) * wave, rng.uniform(0, 6, 3)))
    return solids


def ray_cast(solids, P: np.ndarray, T_world_camera: np.ndarray, width: int, height: int, *, supersample=1) -> Buffers:
    """Cast a ray through every pixel centre; ``supersample`` averages colour over that many rays per side."""
    if supersample > 1:
        fine = ray_cast(solids, P, T_world_camera, width * supersample, height * supersample)
        coarse = ray_cast(solids, P, T_world_camera, width, height)
        color = fine.color.reshape(height, supersample, width, supersample, 3).mean(axis=(1, 3))
        return coarse._replace(color=color)
    ndc_x = (np.arange(width) + 0.5) * 2 / width - 1
    ndc_y = (np.arange(height) + 0.5) * 2 / height - 1
    x, y = np.meshgrid((ndc_x - P[0, 2]) / P[0, 0], (ndc_y - P[1, 2]) / P[1, 1])
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)  # unit depth: the ray parameter is the depth
    color = np.broadcast_to([0.15, 0.1, 0.2], (height, width, 3)).copy()
    coord_depth = np.full((height, width, 4), BACKGROUND)
    labels = np.zeros((height, width), dtype=np.int16)
    for solid in solids:
        T_object_camera = np.linalg.inv(solid.T_world_object) @ T_world_camera
        origin = T_object_camera[:3, 3] / solid.radii
        direction = rays @ T_object_camera[:3, :3].T / solid.radii
        a, b, c = (direction**2).sum(-1), direction @ origin, origin @ origin - 1
        discriminant = b**2 - a * c
        depth = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
        hit = (discriminant > 0) & (depth > 0) & (depth < coord_depth[..., 3])
        points = (origin + depth[..., None] * direction) * solid.radii
        color[hit] = solid.color(points)[hit]
        coord_depth[hit] = np.concatenate([points, depth[..., None]], axis=-1)[hit]
        labels[hit] = solid.label
    return Buffers(color, coord_depth, labels)


def make_camera(width=WIDTH, height=HEIGHT, T_world_camera=None, dtype=jnp.float32) -> sl.Camera:
    T_world_camera = np.eye(4) if T_world_camera is None else T_world_camera
    P = jnp.asarray(projection(width, height), dtype)
    return sl.Camera(P, jnp.asarray(T_world_camera, dtype), width=width, height=height)


def make_result(buffers: Buffers, dtype=jnp.float32, *, uint8: bool = False) -> sl.RenderResult:
    rgba = np.concatenate([buffers.color, np.ones_like(buffers.color[..., :1])], axis=-1)
    return sl.RenderResult(
        rgb=np.round(rgba * 255).astype(np.uint8) if uint8 else jnp.asarray(rgba, dtype),
        coord_depth=jnp.asarray(buffers.coord_depth, dtype),
        instance_index=buffers.labels,
    )


def random_scene(
    seed: int, *, labels=(7, 32767, 300), width=WIDTH, height=HEIGHT, dtype=jnp.float32, uint8=False, spread=0.25
) -> tuple[sl.Scene, sl.RenderResult]:
    """A tilted camera before ray-cast solids that occlude each other; the last label is rendered but not listed."""
    rng = np.random.default_rng(seed)
    T_world_camera = rigid(rng, rng.normal(size=3))
    solids = random_solids(rng, (*labels, 5), T_world_camera, spread=spread)
    buffers = ray_cast(solids, projection(width, height), T_world_camera, width, height)
    camera = make_camera(width, height, T_world_camera, dtype)
    poses = np.stack([s.T_world_object for s in solids if s.label != 5]) if labels else np.zeros((0, 4, 4))
    scene = sl.Scene(jnp.asarray(poses, dtype), camera, np.asarray(labels, dtype=np.int32))
    return scene, make_result(buffers, dtype, uint8=uint8)


def random_buffers(
    seed: int, *, labels=(7, 32767, 300), width=WIDTH, height=HEIGHT, dtype=jnp.float32, uint8=False
) -> tuple[sl.Scene, sl.RenderResult]:
    """A scene, and buffers of random patches: holes, ties in depth, single pixels, and label 5 of no object."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 5, *labels], size=(height // 2 + 1, width // 2 + 1))
    pixels = np.kron(coarse, np.ones((2, 2), dtype=int))[:height, :width]
    pixels = np.where(rng.random((height, width)) < 0.1, rng.choice([0, *labels], size=(height, width)), pixels)
    depth = np.where(rng.random((height, width)) < 0.3, rng.integers(2, 5, (height, width)) / 4, 0.75)
    coord_depth = np.concatenate([rng.normal(size=(height, width, 3)) * 0.1, depth[..., None]], axis=-1)
    coord_depth[pixels == 0] = BACKGROUND
    T_world_camera = rigid(rng, rng.normal(size=3))
    poses = [T_world_camera @ rigid(rng, (*rng.uniform(-0.3, 0.3, 2), rng.uniform(0.8, 1.2))) for _ in labels]
    poses = np.stack(poses) if poses else np.zeros((0, 4, 4))
    camera = make_camera(width, height, T_world_camera, dtype)
    scene = sl.Scene(jnp.asarray(poses, dtype), camera, np.asarray(labels, dtype=np.int32))
    return scene, make_result(Buffers(rng.random((height, width, 3)), coord_depth, pixels.astype(np.int16)), dtype,
                              uint8=uint8)  # fmt: skip


def random_cotangent(seed: int, height=HEIGHT, width=WIDTH, dtype=jnp.float32):
    """(3, H, W): a random image cotangent in the reference's layout."""
    return jnp.asarray(np.random.default_rng(1000 + seed).normal(size=(3, height, width)), dtype)
