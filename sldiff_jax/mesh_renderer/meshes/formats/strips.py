"""Strips and fans of triangles."""

from __future__ import annotations

import numpy as np


def strip_triangles(strip: np.ndarray) -> np.ndarray:
    """(n - 2, 3): each vertex from the third on makes a triangle with the two before it, wound alike."""
    odd = np.arange(max(len(strip) - 2, 0)) % 2
    first, second, third = (strip[k : len(strip) - 2 + k] for k in range(3))
    return np.stack([first, np.where(odd, third, second), np.where(odd, second, third)], axis=1)


def fan_triangles(fan: np.ndarray) -> np.ndarray:
    """(n - 2, 3): each pair of neighbours makes a triangle with the first vertex."""
    return np.stack([fan[1:-1], fan[2:], np.broadcast_to(fan[:1], (max(len(fan) - 2, 0),))], axis=1)


def split_at(values: np.ndarray, mark: int) -> list[np.ndarray]:
    """The runs between marks, those of three values and more."""
    cuts = np.flatnonzero(values == mark)
    runs = np.split(values, cuts)
    return [run for run in (run[1:] if len(run) and run[0] == mark else run for run in runs) if len(run) >= 3]
