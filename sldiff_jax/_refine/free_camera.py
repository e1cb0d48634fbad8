"""Which numbers of a camera are free, and a loss near a pose and a camera, as least squares see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import DifferentiableRenderer, Rendering
from .._images.observation import Observation
from .._images.undistort import through_lens
from .._losses.comparison import LossFunction
from .._losses.loss import Loss
from .._scene.camera import Camera
from .._scene.scene import Scene
from .._scene.typing import Transform, Transforms
from .descent import Retraction

POWERS = {"k1": 2, "k2": 4, "p1": 1, "p2": 1, "k3": 6}
"""OpenCV's coefficients of a lens, in its order, and the power of the distance from the axis that each multiplies."""
COUNTS = {"focal_length": 1, "aspect": 1, "principal_point": 2, **dict.fromkeys(POWERS, 1)}
"""How many unknowns each free part of a camera has."""

Unknowns = Float[Array, " unknowns"]
"""A step, or a gradient by it."""
Freed = Float[Array, " freed"]
"""The free numbers of a camera, zero at the start."""


class JointProblem(eqx.Module):
    """What is minimised over the poses of N objects and the P free numbers of their camera.

    The unknowns of a step are the (N, 6) deltas in units, and then the change of the free numbers: logarithm of the
    factor of the focal lengths, logarithm of a further factor of fy, the shift of the principal point in units of the
    focal lengths, and for each coefficient of the lens what it shifts the image's corner by, as a share of its distance
    from the axis. All are of the order of an angle.

    Attributes:
        scene: labels, and the camera from which factors and shifts count; its poses are not used.
        observation: the images to explain.
        renderer: what draws.
        loss: of rendering and observation.
        retraction: how a delta moves a pose (static).
        unit: (N, 6) float, of deltas: radians, then metres.
        free: names of `COUNTS` (static).
        distortion: (5,) k1, k2, p1, p2, k3 of the lens from which its changes count; None for images of a pinhole
            camera.
    """

    scene: Scene
    observation: Observation
    renderer: DifferentiableRenderer
    loss: LossFunction
    retraction: Retraction = eqx.field(static=True)
    unit: Float[Array, "objects 6"]
    free: tuple[str, ...] = eqx.field(static=True)
    distortion: Float[Array, "5"] | None = None

    def at(self, T_world_object: Transforms, freed: Freed) -> Scene:
        """The scene with these poses and this camera."""
        projection = freed_projection(self.scene.camera, self.free, freed)
        return eqx.tree_at(lambda s: (s.T_world_object, s.camera.projection), self.scene, (T_world_object, projection))

    def lens(self, freed: Freed) -> Float[Array, "5"] | None:
        """The coefficients with these free numbers."""
        if self.distortion is None:
            return None
        camera = self.scene.camera
        fx, fy, cx, cy = camera.intrinsics
        corner = jnp.hypot(jnp.maximum(cx, camera.width - cx) / fx, jnp.maximum(cy, camera.height - cy) / fy)
        values = free_values(self.free, freed)
        return self.distortion + jnp.stack([values[name][0] / corner**power for name, power in POWERS.items()])

    def seen(self, freed: Freed) -> Observation:
        """The images as the camera with these free numbers would have seen them without its lens."""
        distortion = self.lens(freed)
        if distortion is None:
            return self.observation
        return through_lens(self.observation, self.at(self.scene.T_world_object, freed).camera, distortion)

    def moved(self, T_world_object: Transforms, freed: Freed, step: Unknowns) -> tuple[Transforms, Freed]:
        """Poses and free numbers after a step."""
        delta, more = self.split(step)
        return jax.vmap(self.retraction)(T_world_object, delta * self.unit), freed + more

    def split(self, step: Unknowns) -> tuple[Float[Array, "objects 6"], Freed]:
        """The deltas of a step, in units, and its change of the free numbers."""
        return step[: self.unit.size].reshape(self.unit.shape), step[self.unit.size :]


def checked_free(free: str | Sequence[str]) -> tuple[str, ...]:
    """The names of what is free, each once; a ValueError for others."""
    names = (free,) if isinstance(free, str) else tuple(free)
    if not names or set(names) - set(COUNTS):
        raise ValueError(f"free must name one or more of {', '.join(COUNTS)}, got {free!r}.")
    return tuple(name for name in COUNTS if name in names)


def free_values(free: tuple[str, ...], freed: Freed) -> dict[str, Float[Array, "2"]]:
    """The free numbers by name, one of them twice; zeros for what is not free."""
    values = dict.fromkeys(COUNTS, jnp.zeros(2, freed.dtype))
    place = 0
    for name in free:
        values[name] = jnp.broadcast_to(freed[place : place + COUNTS[name]], 2)
        place += COUNTS[name]
    return values


def freed_projection(camera: Camera, free: tuple[str, ...], freed: Freed) -> Transform:
    """(4, 4): the projection of a camera whose free numbers were changed."""
    values = free_values(free, freed)
    P = camera.projection
    # With fx = W P00 / 2 and cx = W (P02 + 1) / 2, a shift of cx by s fx adds s P00 to P02.
    shift = values["principal_point"] * jnp.stack([P[0, 0], P[1, 1]])
    growth = jnp.exp(values["focal_length"] + jnp.array([0, 1], freed.dtype) * values["aspect"])
    return P.at[:2, :2].multiply(growth[:, None]).at[:2, 2].add(shift)


class JointEquations(eqx.Module):
    """The loss near poses and a camera: ``loss + gradient . d + d . curvature d / 2``, for a step d of M unknowns."""

    loss: Float[Array, ""]
    gradient: Unknowns
    curvature: Float[Array, "unknowns unknowns"]


def joint_gradient(problem: JointProblem, T: Transforms, freed: Freed, drawing: Any) -> JointEquations:
    """Loss and gradient; no curvature."""

    def after(step: Unknowns) -> Array:
        T_next, freed_next = problem.moved(T, freed, step)
        images = problem.renderer.images(problem.at(T_next, freed_next), drawing)
        return problem.loss(images, problem.seen(freed_next))

    loss, gradient = jax.value_and_grad(after)(jnp.zeros(problem.unit.size + freed.size, freed.dtype))
    return JointEquations(loss, gradient, jnp.zeros((gradient.size, gradient.size), gradient.dtype))


def joint_equations(problem: JointProblem, T: Transforms, freed: Freed, drawing: Any) -> JointEquations:
    """The Gauss-Newton model of a loss, poses and camera coupled."""
    scene, renderer, loss = problem.at(T, freed), problem.renderer, problem.loss
    assert isinstance(loss, Loss)
    rendering = renderer.images(scene, drawing)

    def value_of(rendering: Rendering, freed: Freed) -> Array:
        return loss(rendering, problem.seen(freed))

    def values(rendering: Rendering, freed: Freed) -> tuple[list[Array], list[Array]]:
        parts = loss.residuals(rendering, problem.seen(freed))
        return [part.values for part in parts], [part.curvature() for part in parts]

    value, (image_gradient, lens_gradient) = jax.value_and_grad(value_of, argnums=(0, 1))(rendering, freed)
    _, change_of_values, curvatures = jax.linearize(values, rendering, freed, has_aux=True)

    def along(step: Unknowns) -> tuple[Array, list[Array]]:
        delta, more = problem.split(step)
        _, shift = jax.jvp(lambda f: freed_projection(problem.scene.camera, problem.free, f), (freed,), (more,))
        change = renderer.change(scene, drawing, delta * problem.unit, projection=shift)  # pyright: ignore[reportCallIssue]
        parts = zip(jax.tree.leaves(change), jax.tree.leaves(image_gradient))
        slope = sum((jnp.vdot(image, by_pixel) for image, by_pixel in parts), jnp.vdot(lens_gradient, more))
        return slope, [change.astype(freed.dtype) for change in change_of_values(change, more)]

    gradient, columns = jax.lax.map(along, jnp.eye(problem.unit.size + freed.size, dtype=freed.dtype))
    products = [
        jnp.matmul(J.reshape(len(J), -1) * h.reshape(-1), J.reshape(len(J), -1).T, precision=jax.lax.Precision.HIGHEST)
        for J, h in zip(columns, curvatures)
    ]
    return JointEquations(value, gradient, jnp.sum(jnp.stack(products), axis=0))
