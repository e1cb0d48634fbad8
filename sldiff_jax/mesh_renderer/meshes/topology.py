"""Which edges a mesh has, and the triangles at each: what outlines are made of."""

from __future__ import annotations

import numpy as np

NONE = -1


def find_edges(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The edges between vertices welded by position.

    Seams of texture coordinates split vertices that lie in one place; unwelded, they would look like borders.

    Args:
        vertices: (V, 3) float, as they are drawn.
        faces: (F, 3) int, vertex numbers.

    Returns:
        (E, 4) int32, vertex numbers: the two ends, the third corner of a triangle at the edge, and that of the other
        one, or -1. An edge of one triangle stands once, an edge of two once, and one of more once per triangle, each
        time without another. Edges without length are left out.
    """
    _, place = np.unique(vertices, axis=0, return_inverse=True)
    place = place.reshape(-1)
    corners = np.concatenate([faces, np.roll(faces, -1, axis=1), np.roll(faces, -2, axis=1)])
    ends = np.sort(place[corners[:, :2]], axis=1)
    has_length = ends[:, 0] != ends[:, 1]
    corners, ends = corners[has_length], ends[has_length]
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    corners, ends = corners[order], ends[order]
    is_first = np.ones(len(ends), bool)
    is_first[1:] = np.any(ends[1:] != ends[:-1], axis=1)
    first = np.flatnonzero(is_first)
    count = np.diff(np.append(first, len(ends)))
    other = np.full(len(ends), NONE)
    pairs = first[count == 2]
    other[pairs] = corners[pairs + 1, 2]
    kept = np.ones(len(ends), bool)
    kept[pairs + 1] = False
    return np.concatenate([corners, other[:, None]], axis=1)[kept].astype(np.int32)
