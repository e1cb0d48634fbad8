"""Which of some poses are the same, as far as a fit tells: nearby, or taken to each other by a symmetry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

SAME_ANGLE, SAME_PLACE = math.radians(8.0), 0.08
"""Radians, and diameters, within which two poses are one."""
MARGIN, LITTLE = 0.1, 0.02
"""An alternative has a loss that is higher than the best by this share and this much, at most."""

Symmetries = Sequence[Float[ArrayLike, "symmetries 4 4"] | None]
"""Of every object, see `metrics.symmetry_transforms`; None for one that has none."""


def distinct(
    T: Float[np.ndarray, "poses objects 4 4"],
    losses: Float[np.ndarray, " poses"],
    diameters: Float[np.ndarray, " objects"],
    symmetries: Symmetries | None = None,
) -> Int[np.ndarray, " distinct"]:
    """Numbers of the poses that differ from all better ones, best first; those without a finite loss are left out.

    Args:
        T: (K, N, 4, 4) object to any frame, metres.
        losses: (K,).
        diameters: (N,), metres.
        symmetries: of the objects.
    """
    T = np.asarray(T, np.float64)
    found: list[int] = []
    for k in np.argsort(losses, kind="stable"):
        if np.isfinite(losses[k]) and not (found and _same(T[k], T[found], diameters, symmetries).any()):
            found.append(int(k))
    return np.array(found, int)


def alternatives(
    T: Float[np.ndarray, "poses objects 4 4"],
    losses: Float[np.ndarray, " poses"],
    diameters: Float[np.ndarray, " objects"],
    symmetries: Symmetries | None = None,
) -> Float[np.ndarray, "alternatives objects 4 4"]:
    """The distinct poses, without the best, whose loss is little above the best: see `MARGIN`."""
    _, *others = [*distinct(T, losses, diameters, symmetries)] or [0]
    best = np.min(losses, initial=np.inf)
    return T[[k for k in others if losses[k] <= best + MARGIN * abs(best) + LITTLE]]


def _same(
    T: Float[np.ndarray, "objects 4 4"],
    others: Float[np.ndarray, "others objects 4 4"],
    diameters: Float[np.ndarray, " objects"],
    symmetries: Symmetries | None,
) -> Bool[np.ndarray, " others"]:
    """Whether each of the others shows what T shows."""
    same = np.ones(len(others), bool)
    for n, diameter in enumerate(diameters):
        turns = None if symmetries is None else symmetries[n]
        versions = T[n] @ np.concatenate([np.eye(4)[None], *([] if turns is None else [np.asarray(turns)])])
        cosine = 0.5 * (np.einsum("sij,kij->ks", versions[:, :3, :3], others[:, n, :3, :3]) - 1)
        apart = np.linalg.norm(versions[:, :3, 3] - others[:, n, None, :3, 3], axis=-1)
        same &= ((cosine >= math.cos(SAME_ANGLE)) & (apart <= SAME_PLACE * diameter)).any(axis=1)
    return same
