"""What all metrics ask of their arguments."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._scene.transforms import as_floating, is_concrete
from .._scene.typing import Transform

Points = Float[Array, "vertices 3"]
Symmetries = Float[Array, "symmetries 4 4"]

BOP_FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
"""The fractions of the BOP challenge: misalignment tolerances and thresholds of correctness."""


class Poses(NamedTuple):
    """An estimate, the truth, and the object's symmetries (None: it has none)."""

    T_estimate: Transform
    T_true: Transform
    symmetries: Symmetries | None


def check_poses(metric: str, T_estimate: ArrayLike, T_true: ArrayLike, symmetries: ArrayLike | None = None) -> Poses:
    """Two (4, 4) poses and optional (S, 4, 4) symmetries of one dtype, or a ValueError that names the argument."""
    arrays = [
        as_floating(T_estimate, f"{metric} T_estimate", (4, 4)),
        as_floating(T_true, f"{metric} T_true", (4, 4)),
    ]
    if symmetries is not None:
        arrays.append(as_floating(symmetries, f"{metric} symmetries", (None, 4, 4)))
    dtype = jnp.result_type(*arrays)
    T_estimate, T_true, *rest = (array.astype(dtype) for array in arrays)
    return Poses(T_estimate, T_true, rest[0] if rest else None)


def check_points(metric: str, points: ArrayLike) -> Points:
    """(V, 3) points, at least one, or a ValueError."""
    points = as_floating(points, f"{metric} points", (None, 3))
    if points.shape[0] == 0:
        raise ValueError(f"{metric} needs at least one point, got none.")
    return points


def check_positive(value: Array, name: str) -> Array:
    """The value, or a ValueError if it can be looked at and is not above zero throughout."""
    if is_concrete(value) and not bool(jnp.all(value > 0)):
        raise ValueError(f"{name} must be positive, got {value}.")
    return value
