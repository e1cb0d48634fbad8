"""Scenes for the benchmarks: textured spheres by ray casting, and the recorded meshes."""

from __future__ import annotations

import os
import pathlib

import numpy as np

import sldiff_jax as sl

WIDTH, HEIGHT = 640, 480
BACKGROUND = 3000.0


def shared_data() -> pathlib.Path | None:
    """The folder with the recorded data: ``data`` in $SLDIFF_SHARED, else in ``shared`` beside the repository."""
    repository = pathlib.Path(__file__).resolve().parent.parent
    folder = pathlib.Path(os.environ.get("SLDIFF_SHARED", repository.parent / "shared")) / "data"
    return folder if folder.is_dir() else None


def spheres(count: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[sl.Scene, sl.RenderResult]:
    """Textured spheres that occlude each other, before a camera that stands off the origin.

    One covers a third of the image, five or more about six tenths; every one of them is visible.

    Args:
        count: how many.
        width: image width, pixels.
        height: image height, pixels.

    Returns:
        The scene and its buffers, uint8 colour as renderers give it.
    """
    rng = np.random.default_rng(count)
    T_world_camera = rigid(rng)
    camera = sl.Camera.from_fov(1.0, width=width, height=height, T_world_camera=T_world_camera)
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64)
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(column - cx) / fx, (row - cy) / fy, np.ones_like(row)], axis=-1)  # ray parameter = depth
    color = np.full((height, width, 3), 0.2) + 0.05 * np.sin(rays[..., :1] * 40)
    coord_depth = np.full((height, width, 4), BACKGROUND)
    labels = np.zeros((height, width), np.int16)
    poses = []
    # On a jittered grid, so that neighbours overlap and none is hidden.
    columns = int(np.ceil(np.sqrt(count * width / height)))
    cell = width / columns
    for k in range(count):
        depth = rng.uniform(0.7, 0.9)
        u = (k % columns + 0.5 + rng.uniform(-0.2, 0.2)) * cell
        v = (k // columns + 0.5 + rng.uniform(-0.2, 0.2)) * height / int(np.ceil(count / columns))
        radius = (175 if count == 1 else 0.52 * cell) * depth / fx
        T_camera_object = rigid(rng)
        T_camera_object[:3, 3] = depth * np.array([(u - cx) / fx, (v - cy) / fy, 1.0])
        R, centre = T_camera_object[:3, :3], T_camera_object[:3, 3]
        a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
        discriminant = b**2 - a * c
        surface = (b - np.sqrt(np.maximum(discriminant, 0))) / a
        hit = (discriminant > 0) & (surface < coord_depth[..., 3])
        points = (surface[hit, None] * rays[hit] - centre) @ R
        coord_depth[hit] = np.concatenate([points, surface[hit, None]], axis=-1)
        color[hit] = 0.5 + 0.4 * np.sin(points @ rng.normal(size=(3, 3)) * 60 + rng.uniform(0, 6, 3))
        labels[hit] = k + 1
        poses.append(T_world_camera @ T_camera_object)
    rgba = np.concatenate([color, np.ones((height, width, 1))], axis=-1)
    result = sl.RenderResult(
        rgb=np.round(255 * rgba).astype(np.uint8), coord_depth=coord_depth.astype(np.float32), instance_index=labels
    )
    return sl.Scene(np.stack(poses).astype(np.float32), camera), result


def rigid(rng: np.random.Generator) -> np.ndarray:
    """(4, 4): a random rotation, and a translation of up to 0.3 m."""
    R, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    T = np.eye(4)
    T[:3, :3] = R * np.linalg.det(R)
    T[:3, 3] = rng.uniform(-0.3, 0.3, 3)
    return T
