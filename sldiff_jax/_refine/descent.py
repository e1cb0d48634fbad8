"""One step of a refinement, and the loop around it: the same for optax and for least squares, compiled or not.

A step evaluates the loss at the present poses and lets the method choose the next ones. Renderers are called outside of
all differentiation, with plain arrays, and see each pose once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._gradients.pose_gradients import visible_objects
from .._gradients.rendering import DifferentiableRenderer
from .._images.observation import Observation
from .._losses.comparison import LossFunction
from .._scene.scene import Scene
from .._scene.transforms import to_jax
from .._scene.typing import PoseDelta, PoseDeltas, Transform, Transforms
from .devices import Device, spread
from .hold import held
from .least_squares import (
    GaussNewton,
    LevenbergMarquardt,
    NormalEquations,
    Trust,
    first_trust,
    judge,
    normal_equations,
    solve,
)

Method = optax.GradientTransformation | GaussNewton | LevenbergMarquardt
Retraction = Callable[[Transform, PoseDelta], Transform]
"""Moves a pose by a delta: `apply_pose_delta`, or `apply_twist`."""


class Problem(eqx.Module):
    """What is minimised, and in which units its poses are moved.

    Attributes:
        scene: camera and labels; its poses are not used. N objects.
        observation: the images to explain.
        renderer: what draws, and knows how its images change.
        loss: of rendering and observation.
        retraction: how a delta moves a pose (static).
        unit: (N, 6) float, the unit of each component of a delta: radians, then metres.
        tolerance: length of a step, in these units, below which a start has converged.
        hold: how strongly each start is held near where the stage begins, see `Stage`.
        devices: those over which the starts are spread (static); none for where JAX computes by itself.
    """

    scene: Scene
    observation: Observation
    renderer: DifferentiableRenderer
    loss: LossFunction
    retraction: Retraction = eqx.field(static=True)
    unit: PoseDeltas
    tolerance: float
    hold: float | Float[Array, ""] = 0.0
    devices: tuple[Device, ...] = eqx.field(static=True, default=())


class Progress(NamedTuple):
    """State of the loop over at most S steps for K starts.

    Attributes:
        step: how many steps were made.
        T_world_object: (K, N, 4, 4) float, the poses to evaluate next.
        T_anchor: (K, N, 4, 4) float, the poses with which the stage began.
        memory: what the method remembers, a leading axis of K on each array.
        length: (K,) float, length of the last step; infinite for a short one that tells nothing.
        longest: (K,) float, of all steps.
        newton: (K,) float, length of the undamped step of least squares from the poses kept; infinite without.
        pull: (K,) float, the gradient's length there.
        curvature: (K, N, 6, 6) float, that of least squares there; zero without.
        visible: (K,) bool, whether all objects show at the poses from which the next step is made.
        loss: (K,) float, the loss of these poses.
        losses: (S, K) float, so far.
        iterates: (S, K, N, 4, 4) float, so far.
        seen: (S, K) bool, whether all objects show in them.
    """

    step: Int[Array, ""]
    T_world_object: Float[Array, "starts objects 4 4"]
    T_anchor: Float[Array, "starts objects 4 4"]
    memory: PyTree
    length: Float[Array, " starts"]
    longest: Float[Array, " starts"]
    newton: Float[Array, " starts"]
    pull: Float[Array, " starts"]
    curvature: Float[Array, "starts objects 6 6"]
    visible: Bool[Array, " starts"]
    loss: Float[Array, " starts"]
    losses: Float[Array, "steps starts"]
    iterates: Float[Array, "steps starts objects 4 4"]
    seen: Bool[Array, "steps starts"]

    def active(self, tolerance: float | Float[Array, ""]) -> Bool[Array, ""]:
        """Whether any start can still improve."""
        return jnp.any((self.length >= tolerance) & self.visible & jnp.isfinite(self.loss))


_first_trusts = jax.jit(jax.vmap(first_trust, in_axes=(None, 0)))


def begin(method: Method, T_world_object: Float[Array, "starts objects 4 4"], steps: int) -> Progress:
    """Nothing evaluated yet."""
    starts, objects, dtype = *T_world_object.shape[:2], T_world_object.dtype

    def filled(value: float | bool, *shape: int, dtype: Any = dtype) -> Array:
        return to_jax(np.full(shape, value, dtype))  # jnp.full compiles a program for each

    if isinstance(method, GaussNewton):
        memory = None
    elif isinstance(method, LevenbergMarquardt):
        memory = _first_trusts(method, T_world_object)
    else:
        memory = jax.vmap(method.init)(filled(0, starts, objects, 6))
    return Progress(
        step=filled(0, dtype=jnp.result_type(int)),
        T_world_object=T_world_object,
        T_anchor=T_world_object,
        memory=memory,
        length=filled(np.inf, starts),
        longest=filled(0, starts),
        newton=filled(np.inf, starts),
        pull=filled(np.inf, starts),
        curvature=filled(0, starts, objects, 6, 6),
        visible=filled(True, starts, dtype=bool),
        loss=filled(0, starts),
        losses=filled(0, steps, starts),
        iterates=filled(0, steps, *T_world_object.shape),
        seen=filled(False, steps, starts, dtype=bool),
    )


def extended(progress: Progress, steps: int) -> Progress:
    """Room for more steps."""

    def longer(history: Array) -> Array:
        return jnp.concatenate([history[: progress.step], jnp.zeros_like(history, shape=(steps, *history.shape[1:]))])

    return progress._replace(
        losses=longer(progress.losses), iterates=longer(progress.iterates), seen=longer(progress.seen)
    )


def advance(problem: Problem, method: Method, progress: Progress, until: int | Int[Array, ""]) -> Progress:
    """Steps until `until` steps were made in all, or nothing can improve. To be compiled."""

    def unfinished(progress: Progress) -> Bool[Array, ""]:
        return (progress.step < until) & progress.active(problem.tolerance)

    def body(progress: Progress) -> Progress:
        drawings = draw(problem.renderer, problem.scene, progress.T_world_object, problem.devices)
        return respond(problem, method, progress, drawings)

    return jax.lax.while_loop(unfinished, body, progress)


def respond(problem: Problem, method: Method, progress: Progress, drawings: Any) -> Progress:
    """One step, given what the renderer made of the poses: K drawings, stacked."""
    T = progress.T_world_object
    step = batched(
        lambda T, *rest: _step(problem, method, T, *rest),
        len(T),
        problem.devices,
    )
    losses, seen, T_next, memory, origin = step(T, progress.T_anchor, progress.memory, progress.longest, drawings)
    return Progress(
        step=progress.step + 1,
        T_world_object=T_next,
        T_anchor=progress.T_anchor,
        memory=memory,
        **origin,
        losses=progress.losses.at[progress.step].set(losses),
        iterates=progress.iterates.at[progress.step].set(T),
        seen=progress.seen.at[progress.step].set(seen),
    )


def _step(
    problem: Problem, method: Method, T: Transforms, T_anchor: Transforms, memory: Any, longest: Array, drawing: Any
) -> tuple[Float[Array, ""], Bool[Array, ""], Transforms, Any, dict[str, Array]]:
    """Loss, visibility, next poses, memory, and of the step its length and what is known where it begins."""
    scene, renderer, unit = with_poses(problem.scene, T), problem.renderer, problem.unit
    moved = jax.vmap(problem.retraction)
    visible = seen = jnp.all(visible_objects(scene, renderer.buffers(scene, drawing)))
    if isinstance(method, GaussNewton | LevenbergMarquardt):
        equations = normal_equations(problem.loss, scene, renderer, drawing, problem.observation, unit)  # pyright: ignore
        equations = held(equations, T, T_anchor, unit, problem.hold)
        loss, kept = equations.loss, equations
        if isinstance(method, LevenbergMarquardt):
            memory = judge(method, memory, Trust(T, visible, equations, memory.damping))
            T, visible, kept = memory.T_world_object, memory.visible, memory.equations
            update = solve(kept, memory.damping, method.max_step)
        else:
            update = solve(equations, 0.0, method.max_step)
        length = taken = _longest(update)
        newton = _longest(solve(kept, 0.0, method.max_step))
    else:

        def loss_after(delta: PoseDeltas) -> Float[Array, ""]:
            images = renderer.images(with_poses(problem.scene, moved(T, delta * unit)), drawing)
            return problem.loss(images, problem.observation)

        zero = jnp.zeros_like(unit)
        loss, gradient = jax.value_and_grad(loss_after)(zero)
        kept = NormalEquations(loss, gradient, jnp.zeros((*unit.shape, 6), unit.dtype))
        kept = held(kept, T, T_anchor, unit, problem.hold)
        loss, gradient = kept.loss, kept.gradient
        newton = jnp.asarray(jnp.inf, unit.dtype)
        # Optimisers that ask for the parameters get the delta of the present pose, which is zero.
        optimizer = optax.with_extra_args_support(method)
        try:
            update, memory = optimizer.update(gradient, memory, zero, value=loss, grad=gradient)
        except TypeError as error:
            if "value_fn" not in str(error):
                raise
            raise ValueError(
                "This optimizer searches along a line, which needs renderings that refine_poses does not make. Use "
                "LevenbergMarquardt(), or an optimizer that works from gradients, such as optax.adam(0.02)."
            ) from error
        update = jnp.asarray(update)
        taken = _longest(update)
        # A schedule that warms up, an optimiser that feels its way, or optax.MultiSteps, which rests while it gathers
        # gradients: none of them has converged as long as it has not made a step that counts.
        begins = (taken < problem.tolerance) & (longest < problem.tolerance) | (taken == 0)
        length = jnp.where(begins & jnp.any(gradient != 0), jnp.inf, taken)
    origin = {
        "length": length,
        "longest": jnp.maximum(longest, taken),
        "newton": newton,
        "pull": jnp.linalg.norm(kept.gradient),
        "curvature": kept.curvature,
        "visible": visible,
        "loss": kept.loss,
    }
    origin = {name: value if name == "visible" else value.astype(T.dtype) for name, value in origin.items()}
    return loss.astype(T.dtype), seen, moved(T, update * unit), memory, origin


def draw(
    renderer: DifferentiableRenderer,
    scene: Scene,
    T: Float[Array, "starts objects 4 4"],
    devices: tuple[Device, ...] = (),
) -> Any:
    """The drawings of every start, stacked."""
    return batched(lambda T: renderer.draw(with_poses(scene, T)), len(T), devices)(T)


def _longest(update: PoseDeltas) -> Float[Array, ""]:
    return jnp.max(jnp.linalg.norm(update, axis=-1))


def batched(function: Callable, starts: int, devices: tuple[Device, ...] = ()) -> Callable:
    """`jax.vmap`, spread over the devices if there are several.

    But a single start is passed on as it is: no renderer needs to be batchable for one.
    """
    if starts > 1:
        return spread(jax.vmap(function), starts, devices) if len(devices) > 1 else jax.vmap(function)

    def with_batch_axis(*args):
        return jax.tree.map(lambda x: jnp.asarray(x)[None], function(*jax.tree.map(lambda x: x[0], args)))

    return with_batch_axis


def with_poses(scene: Scene, T_world_object: Transforms) -> Scene:
    """The scene with other poses."""
    return eqx.tree_at(lambda s: s.T_world_object, scene, T_world_object)
