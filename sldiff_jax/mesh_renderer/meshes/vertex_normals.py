"""Smooth vertex normals for meshes that come without."""

from __future__ import annotations

import numpy as np


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Mean normal of the triangles around each vertex, weighted by their angle there.

    Args:
        vertices: (V, 3) float.
        faces: (F, 3) int, counter-clockwise seen from outside.

    Returns:
        (V, 3) float64, unit length; (0, 0, 1) where only degenerate triangles meet.

    Source: Thuermer & Wuethrich, "Computing vertex normals from polygonal facets", 1998.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    edges = np.roll(corners, -1, axis=1) - corners
    edges /= np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), 1e-30)
    face_normals = np.cross(edges[:, 0], edges[:, 1])
    face_normals /= np.maximum(np.linalg.norm(face_normals, axis=-1, keepdims=True), 1e-30)
    angles = np.arccos(np.clip(-(edges * np.roll(edges, 1, axis=1)).sum(-1), -1, 1))
    weighted = (angles[..., None] * face_normals[:, None]).reshape(-1, 3)
    normals = np.stack([np.bincount(faces.ravel(), column, len(vertices)) for column in weighted.T], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-30), [0.0, 0.0, 1.0])
