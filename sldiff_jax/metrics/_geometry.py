"""Lengths whose derivative at zero is zero, not NaN, and affine maps of points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._checks import Points


def safe_sqrt(squared: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Square root of values that are not negative. NaN stays NaN."""
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))


def length(vectors: Float[Array, "*shape axes"]) -> Float[Array, "*shape"]:
    """Euclidean length along the last axis."""
    return safe_sqrt(jnp.sum(jnp.square(vectors), axis=-1))


@jax.default_matmul_precision("highest")
def apply_affine(T_a_b: Float[Array, "rows 4"], points: Points) -> Float[Array, "vertices rows"]:
    """``T_a_b @ (x, y, z, 1)`` of every point."""
    return points @ T_a_b[:, :3].T + T_a_b[:, 3]
