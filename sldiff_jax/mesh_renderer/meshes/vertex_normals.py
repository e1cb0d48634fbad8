"""Smooth vertex normals for meshes that come without, or with some that are none."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

SLIVER = 1e-6
"""Sine of an angle below which the direction of a triangle is rounding."""


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Mean normal of the triangles around each vertex, weighted by their angle there.

    Args:
        vertices: (V, 3) float.
        faces: (F, 3) int, counter-clockwise seen from outside.

    Returns:
        (V, 3) float64, unit length; (0, 0, 1) where only degenerate triangles meet. A triangle that is there twice
        counts once, by the way it is wound first.

    Source: Thuermer & Wuethrich, "Computing vertex normals from polygonal facets", 1998.
    """
    faces = _distinct(np.asarray(faces))
    corners = np.asarray(vertices, np.float64)[faces]
    edges = np.roll(corners, -1, axis=1) - corners
    edges /= np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), 1e-30)
    face_normals = np.cross(edges[:, 0], edges[:, 1])
    sine = np.linalg.norm(face_normals, axis=-1, keepdims=True)
    face_normals = np.where(sine > SLIVER, face_normals / np.maximum(sine, 1e-30), 0)
    angles = np.arccos(np.clip(-(edges * np.roll(edges, 1, axis=1)).sum(-1), -1, 1))
    weighted = (angles[..., None] * face_normals[:, None]).reshape(-1, 3)
    normals = np.stack([np.bincount(faces.ravel(), column, len(vertices)) for column in weighted.T], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-30), [0.0, 0.0, 1.0])


def differentiable_vertex_normals(
    vertices: Float[Array, "vertices 3"], faces: Int[Array, "faces 3"]
) -> Float[Array, "vertices 3"]:
    """`vertex_normals` in JAX, float32; triangles that are there twice count twice."""
    corners = vertices[faces]
    edges = jnp.roll(corners, -1, axis=1) - corners
    length_sq = jnp.sum(edges**2, axis=-1, keepdims=True)
    edges = edges / jnp.sqrt(jnp.where(length_sq > 0, length_sq, 1))
    across = jnp.cross(edges[:, 0], edges[:, 1])
    area_sq = jnp.sum(across**2, axis=-1, keepdims=True)
    good = area_sq > SLIVER**2
    face_normals = jnp.where(good, across, 0) / jnp.sqrt(jnp.where(good, area_sq, 1))
    before = -jnp.roll(edges, 1, axis=1)
    sine_sq = jnp.sum(jnp.cross(edges, before) ** 2, axis=-1)
    sine = jnp.sqrt(jnp.where(good, sine_sq, 1))
    angles = jnp.arctan2(sine, jnp.where(good, jnp.sum(edges * before, axis=-1), 0))
    weighted = (angles[..., None] * face_normals[:, None]).reshape(-1, 3)
    sums = jnp.zeros_like(vertices).at[faces.reshape(-1)].add(weighted)
    norm_sq = jnp.sum(sums**2, axis=-1, keepdims=True)
    usable = norm_sq > 1e-24
    return jnp.where(usable, sums, jnp.array([0.0, 0.0, 1.0])) / jnp.sqrt(jnp.where(usable, norm_sq, 1))


def mended_normals(normals: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Given normals (V, 3) at unit length; computed ones where they are zero or not finite."""
    normals = np.asarray(normals, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(normals, axis=1, keepdims=True)
    good = np.isfinite(length) & (length > 0)
    normals = np.where(good, normals, 0) / np.where(good, length, 1)
    return normals if good.all() else np.where(good, normals, vertex_normals(vertices, faces))


def _distinct(faces: np.ndarray) -> np.ndarray:
    """The triangles without those that come again, in whatever order of corners."""
    low, high = faces.min(axis=1), faces.max(axis=1)
    middle = faces.sum(axis=1) - low - high
    order = np.lexsort((middle, high, low))
    same = np.ones(len(faces) - 1, bool)
    for column in (low, middle, high):
        same &= np.diff(column[order]) == 0
    if not same.any():
        return faces
    keep = np.ones(len(faces), bool)
    keep[order[1:][same]] = False  # the sort is stable: the first of equals stays
    return faces[keep]
