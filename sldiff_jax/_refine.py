"""Refining poses by descending a render loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ._losses import Loss, default_loss
from ._observation import Observation
from ._pose_gradients import visible_objects
from ._poses import se3_exp
from ._render import Renderer, render
from ._scene import Scene
from ._transforms import compose
from ._typing import Transforms

Callback = Callable[[int, float, Scene], bool | None]


class Refinement(eqx.Module):
    """The outcome of `refine_poses`: K starts, N objects, S evaluated steps.

    Attributes:
        scene: the scene with the best poses over all steps and starts.
        loss: the loss of those poses.
        best_step: the step at which they were found.
        best_start: the start from which they were found.
        loss_history: (S, K) float, the loss of every iterate.
        T_world_object_history: (S, K, N, 4, 4) float, every iterate, metres.
        seconds: wall-clock time in seconds, compilation included.
        seconds_per_step: median wall-clock time of a step after the first.
    """

    scene: Scene
    loss: float
    best_step: int
    best_start: int
    loss_history: np.ndarray
    T_world_object_history: np.ndarray
    seconds: float
    seconds_per_step: float


def refine_poses(
    scene: Scene,
    observation: Observation,
    renderer: Renderer,
    *,
    loss: Loss = default_loss,
    optimizer: optax.GradientTransformation | None = None,
    steps: int = 100,
    starts: Float[Array, "starts objects 4 4"] | None = None,
    callback: Callback | None = None,
    jit: bool = True,
) -> Refinement:
    """Moves the objects of a scene until its rendering resembles an observation.

    Every step renders, differentiates the loss with respect to a twist per object (`se3_exp`, in the object frame), and
    lets the optimiser choose the next twist. Translations are measured in units of each object's visible radius, so
    that one learning rate fits a cup and a truck. The best of all iterates is returned, not the last.

    Args:
        scene: the scene; its poses are the start. N objects.
        observation: the images to explain, of the size of the scene's camera.
        renderer: any `Renderer`. All starts are rendered at once, by `jax.vmap`, if there are several.
        loss: scalar function of rendering and observation.
        optimizer: an optax optimiser for the (N, 6) twists. Default: Adam with a cosine schedule from 0.02 to 0.001.
        steps: how many iterates are evaluated.
        starts: optional (K, N, 4, 4) start poses, which replace those of the scene; see `random_starts`.
        callback: called after every step with the step's number, the best loss so far and the scene of the best start
            as it is now. Returning True stops.
        jit: compile the step. Turn it off for renderers that cannot be traced; they take a single start.

    Returns:
        The `Refinement`.

    Raises:
        ValueError: if sizes or shapes do not fit, or an object is not visible from any start.
    """
    if not (isinstance(steps, int) and steps > 0):
        raise ValueError(f"steps must be a positive integer, got {steps!r}.")
    size = (scene.camera.height, scene.camera.width)
    if observation.size != size:
        raise ValueError(
            f"The observation is (height, width) = {observation.size}, the camera's image {size}. Resize the "
            "observation, or use camera.resized(width, height)."
        )
    began = time.perf_counter()
    T = scene.T_world_object[None] if starts is None else jnp.asarray(starts)
    if T.shape[1:] != scene.T_world_object.shape:
        raise ValueError(f"starts must have shape (starts, {len(scene.T_world_object)}, 4, 4), got {T.shape}.")
    if not jit and len(T) > 1:
        raise ValueError(f"Without jit there can be one start only, got {len(T)}.")
    if optimizer is None:
        optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps, alpha=0.05))
    batch = jax.vmap if len(T) > 1 else _single
    unit = _visible_radius(batch, scene, renderer, T)

    def loss_after(twist, T, unit, scene, observation):
        moved = compose(T, jax.vmap(se3_exp)(twist * unit))
        return loss(render(_with_poses(scene, moved), renderer), observation)

    def step(T, state, unit, scene, observation):
        def step_one(T, state, unit):
            value, gradient = jax.value_and_grad(loss_after)(jnp.zeros_like(unit), T, unit, scene, observation)
            # Optimisers that ask for the parameters get the twist of the present pose, which is zero.
            update, state = optimizer.update(gradient, state, jnp.zeros_like(unit))
            return value, compose(T, jax.vmap(se3_exp)(update * unit)), state

        return batch(step_one)(T, state, unit)

    step = eqx.filter_jit(step) if jit else step
    state = batch(optimizer.init)(jnp.zeros_like(unit))
    losses, iterates, seconds = [], [], []
    best = (math.inf, 0, 0)
    for i in range(steps):
        step_began = time.perf_counter()
        value, T_next, state = step(T, state, unit, scene, observation)
        losses.append(np.asarray(value))
        iterates.append(np.asarray(T))
        seconds.append(time.perf_counter() - step_began)
        start = int(np.argmin(np.nan_to_num(losses[-1], nan=np.inf)))
        if losses[-1][start] < best[0]:
            best = (float(losses[-1][start]), i, start)
        if callback is not None and callback(i, best[0], _with_poses(scene, T[best[2]])):
            break
        T = T_next
    best_loss, best_step, best_start = best
    return Refinement(
        scene=_with_poses(scene, jnp.asarray(iterates[best_step][best_start])),
        loss=best_loss,
        best_step=best_step,
        best_start=best_start,
        loss_history=np.stack(losses),
        T_world_object_history=np.stack(iterates),
        seconds=time.perf_counter() - began,
        seconds_per_step=float(np.median(seconds[1:] or seconds)),
    )


def random_starts(
    key: PRNGKeyArray, scene: Scene, count: int, *, rotation: float, translation: float
) -> Float[Array, "starts objects 4 4"]:
    """Start poses around those of a scene: the scene's own, and random ones about the objects' origins.

    Args:
        key: random key.
        scene: N objects.
        count: how many, K.
        rotation: the angle of each random rotation, radians, about a uniformly random axis.
        translation: the length of each random translation, metres, in a uniformly random direction.

    Returns:
        (K, N, 4, 4) float. The first is the scene's own.

    Raises:
        ValueError: if count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    shape = (count, len(scene.T_world_object), 2, 3)
    direction = jax.random.normal(key, shape, scene.T_world_object.dtype)
    direction /= jnp.linalg.norm(direction, axis=-1, keepdims=True)
    twist = (direction * jnp.array([rotation, translation])[:, None]).reshape(count, -1, 6)
    twist = twist.at[0].set(0)
    rotation_only, translation_only = twist.at[..., 3:].set(0), twist.at[..., :3].set(0)
    exp = jax.vmap(jax.vmap(se3_exp))
    return compose(compose(scene.T_world_object, exp(translation_only)), exp(rotation_only))


def _with_poses(scene: Scene, T_world_object: Transforms) -> Scene:
    return eqx.tree_at(lambda s: s.T_world_object, scene, T_world_object)


def _single(function):
    """In the place of `jax.vmap` for a batch of one: renderers that cannot be batched or traced stay usable."""

    def with_batch_axis(*args):
        result = function(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: jnp.asarray(x)[None], result)

    return with_batch_axis


def _visible_radius(batch, scene: Scene, renderer: Renderer, T: Float[Array, "starts objects 4 4"]) -> Array:
    """(K, N, 6): the unit of each twist: radians, and metres times the largest visible distance from the origin."""

    def radius(T: Transforms) -> tuple[Array, Array]:
        result = renderer(_with_poses(scene, T))
        distance = jnp.linalg.norm(result.coordinates, axis=-1)
        largest = jax.vmap(lambda label: jnp.max(distance, initial=0, where=result.instance_index == label))
        return largest(scene.instance_index), visible_objects(scene, result)

    radii, visible = batch(radius)(T)
    seen = np.asarray(visible).any(axis=0)
    if not seen.all():
        labels = np.asarray(scene.instance_index)[~seen].tolist()
        raise ValueError(
            f"The objects labelled {labels} are not visible in the first rendering, so that no gradient can move them. "
            "Check pose, units (metres), near and far plane, and the mesh's scale."
        )
    # An object that a start hides takes the radius that other starts show.
    radii = jnp.where(visible, radii, jnp.max(radii, axis=0))
    one = jnp.ones_like(radii)
    return jnp.stack([one, one, one, radii, radii, radii], axis=-1)
