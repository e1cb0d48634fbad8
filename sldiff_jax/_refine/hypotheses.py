"""Where refinements start."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._scene.poses import se3_exp
from .._scene.scene import Scene
from .._scene.transforms import compose
from .._scene.typing import Transforms


def random_starts(
    key: PRNGKeyArray, scene: Scene, count: int, *, rotation: float, translation: ArrayLike
) -> Float[Array, "starts objects 4 4"]:
    """Start poses around those of a scene: the scene's own, and random ones about the objects' origins.

    Args:
        key: random key.
        scene: N objects.
        count: how many, K.
        rotation: the angle of each random rotation, radians, about a uniformly random axis.
        translation: the length of each random translation, metres, in a uniformly random direction: a scalar, or (N,)
            for each object its own.

    Returns:
        (K, N, 4, 4) float. The first is the scene's own.

    Raises:
        ValueError: if count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    T = scene.T_world_object
    if count == 1:
        return T[None]
    return _random_starts(key, T, count, jnp.asarray(rotation, T.dtype), jnp.asarray(translation, T.dtype))


@functools.partial(jax.jit, static_argnames="count")
def _random_starts(
    key: PRNGKeyArray, T_world_object: Transforms, count: int, rotation: Array, translation: Array
) -> Float[Array, "starts objects 4 4"]:
    objects, dtype = len(T_world_object), T_world_object.dtype
    direction = jax.random.normal(key, (count, objects, 2, 3), dtype)
    direction /= jnp.linalg.norm(direction, axis=-1, keepdims=True)
    direction = direction.at[0].set(0)
    turn = jnp.broadcast_to(rotation, objects)[:, None] * direction[:, :, 0]
    shift = jnp.broadcast_to(translation, objects)[:, None] * direction[:, :, 1]
    # A shift in the object's frame, then a turn about its origin.
    moved = jax.vmap(jax.vmap(se3_exp))(jnp.concatenate([turn, jnp.zeros_like(turn)], axis=-1))
    return compose(T_world_object, moved.at[..., :3, 3].set(shift))
