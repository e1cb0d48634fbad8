"""An oracle for visibility: rays against triangles in float64, one pixel and one triangle at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Hits(NamedTuple):
    """What each pixel should see.

    Attributes:
        triangle: (H, W) int, -1 for none.
        depth: (H, W) float, camera Z, infinity for none.
        weights: (H, W, 3) float, barycentric coordinates.
        clear: (H, W) bool, false where rounding could change the answer.
    """

    triangle: np.ndarray
    depth: np.ndarray
    weights: np.ndarray
    clear: np.ndarray


def cast_rays(corners, fx, fy, cx, cy, width, height, near, far, tolerance=1e-4) -> Hits:
    """Moeller-Trumbore for every pixel centre.

    Args:
        corners: (F, 3, 3) float, triangle corners in the camera frame.
        fx, fy, cx, cy: intrinsics, pixels.
        width, height: image size.
        near, far: depths of the clip planes.
        tolerance: relative closeness to an edge, a plane or another surface that counts as unclear.

    Returns:
        The `Hits`.
    """
    triangle = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    weights = np.zeros((height, width, 3))
    clear = np.ones((height, width), bool)
    for row in range(height):
        for column in range(width):
            ray = np.array([(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, 1.0])
            hits = []
            for number, (a, b, c) in enumerate(np.asarray(corners, np.float64)):
                normal = np.cross(b - a, c - a)
                slant = normal @ ray
                if abs(slant) < 1e-12 * np.linalg.norm(normal) or not normal.any():
                    continue
                z = (normal @ a) / slant
                p = z * ray
                bary = np.array([np.cross(c - b, p - b), np.cross(a - c, p - c), np.cross(b - a, p - a)]) @ normal
                bary /= normal @ normal
                if z > 0 and near * (1 - tolerance) < z < far * (1 + tolerance) and bary.min() > -tolerance:
                    sure = bary.min() > tolerance and near * (1 + tolerance) < z < far * (1 - tolerance)
                    hits.append((z, number, bary, sure))
            hits.sort(key=lambda hit: hit[0])
            for order, (z, number, bary, sure) in enumerate(hits):
                clear[row, column] &= sure
                if sure:
                    triangle[row, column], depth[row, column], weights[row, column] = number, z, bary
                    if order + 1 < len(hits) and hits[order + 1][0] < z * (1 + tolerance):
                        clear[row, column] = False
                    break
    return Hits(triangle, depth, weights, clear)
