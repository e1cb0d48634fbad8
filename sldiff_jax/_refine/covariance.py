"""How far a pose is known: the covariance of the fit, from how its pixels pull."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._scene.typing import PoseDeltas, Transforms
from .descent import Problem, with_poses

BLOCK = 4
"""Pixels, down and across, whose errors may go together, as those of light and shape do."""
UNSEEN = 1e-6
"""Curvature, relative to the largest of the object's, below which the images do not show a motion."""


def pose_covariance(
    curvature: Float[np.ndarray, "objects 6 6"], scatter: Float[np.ndarray, "objects 6 6"], unit: PoseDeltas
) -> Float[np.ndarray, "objects 6 6"]:
    """The covariance of poses at the minimum of a loss, of each object by itself.

    A minimum moves by ``-H^-1 g`` if noise adds g to the gradient, hence ``H^-1 cov(g) H^-1``, for least squares with
    independent errors ``s^2 (J^T J)^-1``; of this form ("sandwich", Huber 1967; White 1980) no loss needs to be a
    likelihood.

    Args:
        curvature: (N, 6, 6) H, by deltas in units.
        scatter: (N, 6, 6) cov(g), see `gradient_scatter`.
        unit: (N, 6) of the deltas: radians, metres.

    Returns:
        (N, 6, 6), radians and metres. A motion that the images do not show has a variance of one unit squared.
    """
    covariances = []
    for H, G, scale in zip(*(np.asarray(x, np.float64) for x in (curvature, scatter, unit))):
        values, vectors = np.linalg.eigh(H)
        shows = values > UNSEEN * max(values.max(), 0.0)
        inverse = vectors * np.where(shows, 1 / np.where(shows, values, 1), 0) @ vectors.T
        unseen = vectors * ~shows @ vectors.T
        covariances.append((inverse @ G @ inverse + unseen) * np.outer(scale, scale))
    return np.array(covariances)


def gradient_scatter(problem: Problem, T_world_object: Transforms, drawing: Any) -> Float[Array, "objects 6 6"]:
    """(N, 6, 6): the sum of squares of what blocks of pixels contribute to the loss's gradient by deltas in units."""
    scene, renderer = with_poses(problem.scene, T_world_object), problem.renderer
    by_image = jax.grad(lambda images: problem.loss(images, problem.observation))(renderer.images(scene, drawing))

    def of_object(basis: Float[Array, "6 objects 6"]) -> Float[Array, "6 6"]:
        changes = jax.vmap(lambda delta: renderer.change(scene, drawing, delta))(basis * problem.unit)
        pulls = [
            jnp.sum((change * by_pixel).reshape(*change.shape[:3], -1), axis=-1)
            for change, by_pixel in zip(jax.tree.leaves(changes), jax.tree.leaves(by_image))
        ]
        blocks = jax.lax.reduce_window(
            sum(pulls[1:], pulls[0]), 0.0, jax.lax.add, (1, BLOCK, BLOCK), (1, BLOCK, BLOCK), "SAME"
        ).reshape(6, -1)
        return jnp.matmul(blocks, blocks.T, precision=jax.lax.Precision.HIGHEST)

    objects, dtype = len(T_world_object), T_world_object.dtype
    bases = jnp.eye(objects, dtype=dtype)[:, None, :, None] * jnp.eye(6, dtype=dtype)[None, :, None, :]
    return jax.lax.map(of_object, bases)


def scatter_of_drawing(problem: Problem, T_world_object: Transforms) -> Float[Array, "objects 6 6"]:
    """`gradient_scatter` of what the renderer draws. To be compiled."""
    scene = with_poses(problem.scene, T_world_object)
    return gradient_scatter(problem, T_world_object, problem.renderer.draw(scene))
