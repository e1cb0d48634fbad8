"""Faces of any number of corners, convex or not, cut into triangles."""

from __future__ import annotations

import numpy as np


def triangulate(points: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts polygons into triangles that cover them, and nothing else.

    A polygon of n corners becomes n - 2 triangles. One that is not planar is cut as its projection along its mean
    normal. One that crosses itself is covered in some way.

    Args:
        points: (C, 3) float64, the corners of all polygons behind each other.
        sizes: (P,) int, how many corners each has. What has fewer than three is left out.

    Returns:
        (T, 3) int, numbers of corners, and (T,) int, the polygon of each triangle, ascending.
    """
    sizes = np.asarray(sizes, np.int64)
    first = np.cumsum(sizes) - sizes
    triangles, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes[sizes >= 3]):
        chosen = np.flatnonzero(sizes == size)
        corners = first[chosen][:, None] + np.arange(size)
        if size == 3:
            cut = corners[:, None]
        elif size == 4:
            cut = _quadrilaterals(points, corners)
        else:
            cut = _polygons(points, corners)
        triangles.append(cut.reshape(-1, 3))
        owners.append(np.repeat(chosen, size - 2))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(triangles)[order], owner[order]


def _quadrilaterals(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P, 2, 3) corner numbers. The diagonal is the one whose triangles face the same way."""
    halves = [[[0, 1, 2], [0, 2, 3]], [[1, 2, 3], [1, 3, 0]]]
    agree = []
    for half in halves:
        a, b, c = np.moveaxis(points[corners[:, half]], 2, 0)
        normal = np.cross(b - a, c - a)
        agree.append((normal[:, 0] * normal[:, 1]).sum(axis=-1))
    second = (agree[0] <= 0) & (agree[1] > 0)
    return np.where(second[:, None, None], corners[:, halves[1]], corners[:, halves[0]])


def _polygons(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P, n - 2, 3) corner numbers: a fan where that covers the polygon, else ears, cut off one by one."""
    size = corners.shape[1]
    fan = np.stack([np.zeros(size - 2, np.int64), np.arange(1, size - 1), np.arange(2, size)], axis=1)
    relative = points[corners] - points[corners[:, :1]]  # digits, where coordinates are large
    normal = np.cross(relative[:, 1:-1], relative[:, 2:]).sum(axis=1)
    signed = np.einsum("pti,pi->pt", np.cross(relative[:, 1:-1], relative[:, 2:]), normal)
    cut = corners[:, fan]
    for k in np.flatnonzero((signed < 0).any(axis=1)):
        cut[k] = corners[k][_ears(_flattened(relative[k], normal[k]))]
    return cut


def _flattened(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(n, 2): the points along the normal, counter-clockwise."""
    axis = int(np.argmax(np.abs(normal)))
    flat = points[:, [(axis + 1) % 3, (axis + 2) % 3]]
    return flat if normal[axis] >= 0 else flat * [1, -1]


def _ears(points: np.ndarray) -> np.ndarray:
    """(n - 2, 3): a simple counter-clockwise polygon (n, 2), cut by removing corners whose triangle is empty.

    Source: Meisters, "Polygons have ears", 1975.
    """
    ring = list(range(len(points)))
    triangles = []
    at = 0
    while len(ring) > 3:
        at = _next_ear(points, ring, at)
        triangles.append((ring[at - 1], ring[at], ring[(at + 1) % len(ring)]))
        del ring[at]
        at %= len(ring)
    return np.array([*triangles, tuple(ring)])


def _next_ear(points: np.ndarray, ring: list[int], start: int) -> int:
    """The place in the ring of an ear, the first from `start`; of a flat corner, or any, if there is none."""
    here = points[ring]
    before, after = np.roll(here, 1, axis=0), np.roll(here, -1, axis=0)
    turn = _cross(here - before, after - here)
    reflex = here[turn <= 0]
    places = (np.arange(len(ring)) + start) % len(ring)
    for k in places[turn[places] > 0]:
        a, b, c = before[k], here[k], after[k]
        inside = (_cross(b - a, reflex - a) >= 0) & (_cross(c - b, reflex - b) >= 0) & (_cross(a - c, reflex - c) >= 0)
        corner = (reflex == a).all(axis=1) | (reflex == b).all(axis=1) | (reflex == c).all(axis=1)
        if not (inside & ~corner).any():
            return int(k)
    return int(places[np.argmin(np.abs(turn[places]))])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
