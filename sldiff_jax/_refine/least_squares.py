"""Gauss-Newton and Levenberg-Marquardt on the poses of a scene.

A loss is a sum of robust squares of residuals (`Residuals`), and the residuals' derivatives by the images are chained
with the images' derivatives by the poses (`render_jvp`). That gives 6 x 6 normal equations per object; what two objects
share at their common outline is left to the iteration.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._gradients.rendering import DifferentiableRenderer, Rendering
from .._images.observation import Observation
from .._losses.loss import Loss
from .._scene.scene import Scene
from .._scene.typing import PoseDeltas, Transforms

UNSEEN = 1e-4
"""Curvature, relative to the largest of the object's, far below which a direction counts as unseen."""


class GaussNewton(eqx.Module):
    """Steps to the minimum of the local least-squares problem; no line search.

    Attributes:
        max_step: longest step of an object, in the units of `refine_poses` (radians and object diameters).
    """

    max_step: float = 0.3


class LevenbergMarquardt(eqx.Module):
    """Gauss-Newton with damping in proportion to the diagonal (Marquardt 1963), adapted to success.

    A step that lowers the loss divides the damping, one that does not is taken back and multiplies it. It needs few
    steps where the loss leads straight home; from far away, where it does not, `default_loss` should follow a `Stage`
    of depth and silhouette alone.

    Attributes:
        damping: of the first step, relative to the diagonal of the normal equations.
        increase: factor of the damping after a step that is taken back.
        decrease: factor of the damping after a step that is kept.
        max_step: longest step of an object, in the units of `refine_poses` (radians and object diameters).
    """

    damping: float = 1e-2
    increase: float = 4.0
    decrease: float = 0.3
    max_step: float = 0.3


class NormalEquations(eqx.Module):
    """The loss near a pose: ``loss + gradient . d + d . curvature d / 2`` for every object's step d, N objects.

    `hold` is the curvature, in all directions, of what holds the object (see `held`), and no part of `curvature`.
    """

    loss: Float[Array, ""]
    gradient: PoseDeltas
    curvature: Float[Array, "objects 6 6"]
    hold: Float[Array, ""] | float = 0.0


def normal_equations(
    loss: Loss,
    scene: Scene,
    renderer: DifferentiableRenderer,
    drawing: Any,
    observation: Observation,
    unit: PoseDeltas,
) -> NormalEquations:
    """The Gauss-Newton model of a loss in units of `unit`, (N, 6): radians and metres."""
    rendering = renderer.images(scene, drawing)
    value, image_gradient = jax.value_and_grad(loss)(rendering, observation)

    def values(rendering: Rendering) -> tuple[list[Array], list[Array]]:
        parts = loss.residuals(rendering, observation)
        return [part.values for part in parts], [part.curvature() for part in parts]

    _, change_of_values, curvatures = jax.linearize(values, rendering, has_aux=True)

    def of_object(basis: Float[Array, "6 objects 6"]) -> tuple[Float[Array, "6"], Float[Array, "6 6"]]:
        changes = jax.vmap(lambda delta: renderer.change(scene, drawing, delta))(basis * unit)
        gradients = [
            jnp.tensordot(change, by_pixel, by_pixel.ndim)
            for change, by_pixel in zip(jax.tree.leaves(changes), jax.tree.leaves(image_gradient))
        ]
        products = [
            _outer(J.reshape(6, -1), h.reshape(-1)) for J, h in zip(jax.vmap(change_of_values)(changes), curvatures)
        ]
        return jnp.sum(jnp.stack(gradients), axis=0), jnp.sum(jnp.stack(products), axis=0)

    objects = unit.shape[0]
    bases = jnp.eye(objects, dtype=unit.dtype)[:, None, :, None] * jnp.eye(6, dtype=unit.dtype)[None, :, None, :]
    gradient, curvature = jax.lax.map(of_object, bases)
    return NormalEquations(value, gradient, curvature)


def _outer(J: Float[Array, "6 values"], h: Float[Array, " values"]) -> Float[Array, "6 6"]:
    """``J diag(h) J^T``, without a transposed copy."""
    return jax.lax.dot_general(J * h, J, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST)


def solve(equations: NormalEquations, damping: Float[Array, ""] | float, max_step: float) -> PoseDeltas:
    """(N, 6): every object's step to the minimum of the damped model; zero for objects that nothing moves."""
    return damped_step(equations.gradient, equations.curvature, damping, max_step, hold=equations.hold)


def damped_step(
    gradient: Float[Array, "*blocks size"],
    curvature: Float[Array, "*blocks size size"],
    damping: Float[Array, ""] | float,
    max_step: float,
    *,
    hold: Float[Array, ""] | float = 0.0,
) -> Float[Array, "*blocks size"]:
    """The step of each block to the minimum of its damped model; zero for blocks that nothing moves."""
    diagonal = jnp.diagonal(curvature, axis1=-2, axis2=-1)
    largest = jnp.max(diagonal, axis=-1, keepdims=True)
    # A direction that the images do not show, such as the turn of a plain cylinder, shall not follow their noise.
    ridge = jnp.where(largest > 0, damping * diagonal + UNSEEN * largest + hold, 1)
    system = curvature + ridge[..., None] * jnp.eye(diagonal.shape[-1], dtype=diagonal.dtype)
    step = -jnp.linalg.solve(system, gradient[..., None])[..., 0]
    step = jnp.where(jnp.all(jnp.isfinite(step), axis=-1, keepdims=True), step, 0)
    length = jnp.linalg.norm(step, axis=-1, keepdims=True)
    return step * jnp.minimum(1, max_step / jnp.maximum(length, 1e-12))


class Trust(eqx.Module):
    """What Levenberg-Marquardt remembers: the best poses so far, the model there, and the damping."""

    T_world_object: Transforms
    visible: Bool[Array, ""]
    equations: NormalEquations
    damping: Float[Array, ""]


def first_trust(method: LevenbergMarquardt, T_world_object: Transforms) -> Trust:
    """No model yet: whatever is evaluated first will be kept."""
    objects, dtype = T_world_object.shape[0], T_world_object.dtype
    empty = jnp.zeros((objects, 6, 6), dtype)
    nothing = NormalEquations(jnp.asarray(jnp.inf, dtype), empty[..., 0], empty, jnp.zeros((), dtype))
    # The first evaluation counts as a success.
    return Trust(T_world_object, jnp.zeros((), bool), nothing, jnp.asarray(method.damping / method.decrease, dtype))


def judge(method: LevenbergMarquardt, trust: Trust, evaluated: Trust) -> Trust:
    """Keeps the poses just evaluated if they lower the loss, else returns to those before, with more damping.

    A step that hides an object is taken back in any case.
    """
    better = (evaluated.equations.loss < trust.equations.loss) & (evaluated.visible | ~trust.visible)
    damping = trust.damping * jnp.where(better, method.decrease, method.increase)
    kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), evaluated, trust)
    return eqx.tree_at(lambda t: t.damping, kept, jnp.maximum(damping, 1e-7))
