"""What holds an object near where a stage begins, so that directions which the images do not show stay as they were."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._scene.poses import se3_log
from .._scene.typing import PoseDeltas, Transforms
from .least_squares import NormalEquations


def held(
    equations: NormalEquations, T: Transforms, T_anchor: Transforms, unit: PoseDeltas, hold: Float[Array, ""] | float
) -> NormalEquations:
    """Adds ``hold / 2 * d^2`` to a loss near the poses T, (N, 4, 4), d being the distance from others, in units.

    Its square is that of the angle between both poses plus that of the way between their origins. Curvature stays that
    of the images; `solve` adds what is held.
    """

    def offset(T_anchor: Array, T: Array) -> Float[Array, "6"]:
        turn = T_anchor[:3, :3].T @ T[:3, :3]
        angles = se3_log(jnp.eye(4, dtype=T.dtype).at[:3, :3].set(turn))[:3]
        return jnp.concatenate([angles, T[:3, :3].T @ (T[:3, 3] - T_anchor[:3, 3])])

    away = jax.vmap(offset)(T_anchor, T) / unit
    hold = jnp.asarray(hold, away.dtype)
    return dataclasses.replace(
        equations,
        loss=equations.loss + 0.5 * hold * jnp.sum(away**2),
        gradient=equations.gradient + hold * away,
        hold=hold,
    )
