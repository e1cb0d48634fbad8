"""What the success curves are measured on: three objects, observations of them, and starts at known distances."""

from __future__ import annotations

import math
import zlib
from typing import NamedTuple

import jax
import numpy as np
from rendering import bunny
from scenes import rigid

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh
from sldiff_jax.mesh_renderer.meshes.shapes import smooth_colors

WIDTH, HEIGHT = 320, 240
APPARENT_SIZE = 0.35
"""Diameter of the object over its distance: about 130 pixels."""
COLOR_NOISE = 0.02
DEPTH_NOISE = 0.002
"""Standard deviations: of colour in [0, 1], and of depth relative to itself."""


class Level(NamedTuple):
    """How far a start is from the truth: a turn about a random axis through the centre, a shift in any direction."""

    degrees: float
    millimetres: float

    def __str__(self) -> str:
        return f"{self.degrees:g}° + {self.millimetres:g} mm"


LEVELS = {f"{degrees}+{mm}": Level(degrees, mm) for degrees, mm in ((1, 1), (10, 4), (20, 30), (40, 16), (60, 50))}


class View(NamedTuple):
    """One observation of an object, and the truth about it.

    Attributes:
        scene: the object's true pose and the camera; without what hides it or stands behind it.
        observation: colour, depth and the mask of the object's visible part.
        visible: share of the object's pixels that nothing hides.
    """

    scene: sl.Scene
    observation: sl.Observation
    visible: float


def objects() -> dict[str, sl.Mesh | None]:
    """The meshes, centred on their bounding boxes; None for the bunny where the recorded data is absent."""
    meshes = {"demo": demo_mesh(), "can": can_mesh(), "bunny": bunny()}
    return {name: None if mesh is None else _centred(mesh) for name, mesh in meshes.items()}


def can_mesh(radius: float = 0.033, height: float = 0.1, *, seed: int = 5) -> sl.Mesh:
    """A can with a smooth random print: turned about its axis or upside down, the print alone tells.

    Args:
        radius: metres.
        height: metres.
        seed: of the print.

    Returns:
        A `Mesh` of 640 triangles.
    """
    segments, texels = 64, 128
    # From the middle of the lid down to the middle of the bottom; repeated corners keep the rims sharp.
    profile = np.array([[0, 1], [1, 1], [1, 1], [1, -1], [1, -1], [0, -1]]) * [radius, 0.5 * height]
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])

    def turned(r: np.ndarray, z: np.ndarray, turn: np.ndarray) -> np.ndarray:
        return np.stack(np.broadcast_arrays(r * np.cos(turn), r * np.sin(turn), z), axis=-1)

    turn = np.linspace(0, 2 * np.pi, segments + 1)
    a = (np.arange(len(profile) - 1)[:, None] * len(turn) + np.arange(segments)).ravel()
    b, c, d = a + len(turn), a + len(turn) + 1, a + 1
    down = np.linspace(0, along[-1], texels)
    print_at = turned(
        *(np.interp(down, along, column)[:, None] for column in profile.T), np.pi * np.arange(2 * texels) / texels
    )
    return sl.Mesh(
        turned(profile[:, :1], profile[:, 1:], turn).reshape(-1, 3),
        np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]),
        uv=np.stack([np.tile(turn / (2 * np.pi), len(along)), np.repeat(1 - along / along[-1], len(turn))], axis=1),
        texture=smooth_colors(print_at / radius, seed, frequency=3.0),
    )


def observe(mesh: sl.Mesh, rng: np.random.Generator, *, disturbed: bool) -> View:
    """A random view of an object.

    Args:
        mesh: the object, centred.
        rng: draws pose, surroundings and noise.
        disturbed: put something in front that the scene does not know, clutter behind, other light than the
            renderer's, and noise on colour and depth. Else the view is as the scene says.

    Returns:
        The view, with an unlit, noiseless object alone if it is not disturbed.
    """
    camera = sl.Camera.from_fov(0.8, width=WIDTH, height=HEIGHT)
    distance = mesh.diameter / APPARENT_SIZE
    T_true = rigid(rng)
    T_true[:3, 3] = distance * np.array([*rng.uniform(-0.1, 0.1, 2), 1])
    scene = sl.Scene(T_true[None].astype(np.float32), camera)
    alone = sl.MeshRenderer([mesh], supersample=2, buffers="core")
    if not disturbed:
        rendering = sl.render(scene, alone)
        return View(scene, sl.Observation(rendering.rgb, rendering.depth, rendering.mask), 1.0)

    whole = np.asarray(alone(scene).instance_index) == 1
    others = _surroundings(scene, whole, mesh.diameter, rng)
    everything = sl.Scene(np.stack([T_true, *(T for T, _ in others)]).astype(np.float32), camera)
    renderer = sl.MeshRenderer(
        [mesh, *(other for _, other in others)],
        shading="phong",
        ambient_light=rng.uniform(0.4, 0.8, 3),
        light_directions=[rng.uniform([-1, -0.5, 0.5], [1, 1, 1])],
        light_colors=[rng.uniform(1.5, 3, 3)],
        background=_wallpaper(rng),
        supersample=2,
        buffers="core",
    )
    result, rendering = renderer(everything), sl.render(everything, renderer)
    mask = np.asarray(result.instance_index) == 1
    rgb = np.asarray(rendering.rgb) + COLOR_NOISE * rng.normal(size=(HEIGHT, WIDTH, 3))
    depth = np.asarray(rendering.depth) * (1 + DEPTH_NOISE * rng.normal(size=(HEIGHT, WIDTH)))
    observation = sl.Observation(rgb.clip(0, 1).astype(np.float32), depth.astype(np.float32), mask)
    return View(scene, observation, float(mask.sum() / whole.sum()))


def draw_starts(key: jax.Array, view: View, level: Level, count: int) -> jax.Array:
    """(K, 1, 4, 4): starts at one level around the true pose."""
    around = sl.random_starts(
        key, view.scene, count + 1, rotation=math.radians(level.degrees), translation=1e-3 * level.millimetres
    )
    return around[1:]


def seeds(*names: str | int) -> list[int]:
    """What a random generator is made of, the same in every run: ``np.random.default_rng(seeds("can", 3))``."""
    return [zlib.crc32(str(name).encode()) for name in names]


def key_of(*names: str | int) -> jax.Array:
    """A random key that is made of the same."""
    return jax.random.key(int(np.random.default_rng(seeds(*names)).integers(1 << 31)))


def _centred(mesh: sl.Mesh) -> sl.Mesh:
    T = np.eye(4)
    T[:3, 3] = -mesh.bounds.mean(axis=0)
    return mesh.transformed(T)


def _surroundings(
    scene: sl.Scene, whole: np.ndarray, diameter: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, sl.Mesh]]:
    """Poses and meshes: a box in front of the object's outline, and boxes and balls behind the object."""
    distance = float(scene.T_world_object[0, 2, 3])
    towards = rng.uniform(0, 2 * np.pi)
    rows, columns = np.nonzero(whole)
    outermost = np.argmax(np.cos(towards) * columns + np.sin(towards) * rows)
    fx, fy, cx, cy = np.asarray(scene.camera.intrinsics)
    ray = np.array([(columns[outermost] + 0.5 - cx) / fx, (rows[outermost] + 0.5 - cy) / fy, 1])
    T_occluder = rigid(rng)
    T_occluder[:3, 3] = 0.75 * distance * ray
    pairs = [(T_occluder, box_mesh(diameter * np.array([0.35, 0.35, 0.2]), seed=int(rng.integers(1 << 30))))]
    for k in range(6):
        seed, size = int(rng.integers(1 << 30)), diameter * rng.uniform(0.3, 0.6, 3)
        T = rigid(rng)
        T[:3, 3] = distance * rng.uniform(1.4, 1.8) * np.array([*rng.uniform(-0.4, 0.4, 2), 1])
        pairs.append((T, box_mesh(size, seed=seed) if k % 2 else sphere_mesh(0.5 * size[0], seed=seed)))
    return pairs


def _wallpaper(rng: np.random.Generator) -> np.ndarray:
    row, column = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    return smooth_colors(np.stack([row, column, 0 * row], axis=-1), int(rng.integers(1 << 30)), frequency=15.0)
