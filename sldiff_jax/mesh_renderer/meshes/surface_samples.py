"""Points spread over a mesh, with their colours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .mesh import Mesh


class Samples(NamedTuple):
    """Points on the surface, metres, their colours in [0, 1], and the unit normals of their triangles."""

    points: Float[np.ndarray, "samples 3"]
    colors: Float[np.ndarray, "samples 3"]
    normals: Float[np.ndarray, "samples 3"]


def surface_samples(mesh: Mesh, count: int, seed: int) -> Samples:
    """Points drawn evenly from the area of the mesh; the nearest texel where it is textured."""
    rng = np.random.default_rng(seed)
    faces = np.asarray(mesh.faces)
    corners = np.asarray(mesh.vertices, np.float64)[faces]
    once = np.zeros(len(faces), bool)  # a triangle that is there twice is drawn once
    once[np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]] = True
    areas = triangle_areas(corners) * once
    # Evenly spaced through the summed area: fewer gaps than independent draws.
    steps = (np.arange(count) + rng.uniform(size=count)) / count
    chosen = np.searchsorted(np.cumsum(areas) / max(areas.sum(), 1e-300), steps).clip(0, len(faces) - 1)
    a, b = rng.uniform(size=(2, count))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
    weights = np.stack([1 - a - b, a, b], axis=1)

    def interpolated(values) -> np.ndarray:
        return np.einsum("nk,nki->ni", weights, np.asarray(values, np.float64)[faces[chosen]])

    material = np.asarray(mesh.face_material)[chosen]
    first, width, height = np.asarray(mesh.materials.textures)[material].T
    u, v = interpolated(mesh.uv).T
    column = np.floor((u - np.floor(u)) * width).astype(int).clip(0, width - 1)
    row = np.floor((1 - (v - np.floor(v))) * height).astype(int).clip(0, height - 1)
    texels = np.asarray(mesh.materials.texels)[first + row * width + column, :3]
    texel_colors = texels / 255 if texels.dtype == np.uint8 else texels.astype(np.float64)
    colors = texel_colors * np.asarray(mesh.materials.base_colors)[material]
    if mesh.colors is not None:
        colors = colors * interpolated(mesh.colors)
    return Samples(np.einsum("nk,nki->ni", weights, corners[chosen]), colors, _normals(corners[chosen]))


def triangle_areas(corners: Float[np.ndarray, "faces 3 3"]) -> Float[np.ndarray, " faces"]:
    """(F,) the areas of triangles."""
    return 0.5 * np.linalg.norm(_crossed(corners), axis=1)


def _normals(corners: Float[np.ndarray, "faces 3 3"]) -> Float[np.ndarray, "faces 3"]:
    crossed = _crossed(corners)
    return crossed / np.maximum(np.linalg.norm(crossed, axis=1, keepdims=True), 1e-300)


def _crossed(corners: Float[np.ndarray, "faces 3 3"]) -> Float[np.ndarray, "faces 3"]:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
