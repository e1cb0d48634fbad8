"""The start poses of a refinement and the units of their motion, from a first look at what they show."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._gradients.pose_gradients import visible_objects
from .._images.observation import Observation
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import to_jax
from .hypotheses import random_starts
from .loop import first_buffers
from .options import Options
from .record import State

FAR_OFF = 100
"""Ratio of depths from which on they must be of different units."""


def first_state(options: Options) -> State:
    """Where a refinement begins.

    Raises:
        ValueError: if starts or units are not as described, an object is not visible from any start, or observation and
            rendering cannot be compared.
    """
    scene, given_unit = options.scene, options.translation_unit
    T = scene.T_world_object[None]

    def look(T: Float[Array, "starts objects 4 4"]) -> RenderResult:
        return first_buffers(options.renderer, options.jit, scene, T)

    if options.starts is not None:
        starts = to_jax(options.starts, T.dtype)
        if starts.ndim != 4 or starts.shape[1:] != T.shape[1:] or not len(starts):
            raise ValueError(f"starts must have shape (starts, {T.shape[1]}, 4, 4), got {starts.shape}.")
        T = starts
    elif options.hypotheses > 1:
        rotation, translation = options.spread
        diameters = visible_diameters(scene, look(T)) if given_unit is None else jnp.asarray(given_unit)
        key = jax.random.key(0) if options.key is None else options.key
        T = random_starts(key, scene, options.hypotheses, rotation=rotation, translation=translation * diameters)
    if options.more_starts is not None:
        T = jnp.concatenate([T, options.more_starts.astype(T.dtype)])
    results = look(T)
    check_visible(scene, results)
    check_comparable(options.observation, results)
    diameters = visible_diameters(scene, results) if given_unit is None else given_unit
    metres = np.broadcast_to(np.asarray(diameters, T.dtype), T.shape[1])
    if not (options.rotation_unit > 0 and np.all(metres > 0)):
        raise ValueError(
            f"Units must be positive, got rotation_unit={options.rotation_unit}, translation_unit={metres}."
        )
    radians = np.full_like(metres, options.rotation_unit)
    unit = to_jax(np.stack([radians] * 3 + [metres] * 3, axis=-1))
    return State((), 0, tuple(range(len(T))), T, unit, T_first=T, overlap=_overlaps(options.observation, results))


def _overlaps(observation: Observation, results: RenderResult) -> np.ndarray:
    """(K,) bool: whether what is rendered meets the observed mask anywhere."""
    drawn = np.asarray(results.instance_index) > 0
    return np.any(drawn if observation.mask is None else drawn & (np.asarray(observation.mask) > 0), axis=(1, 2))


@jax.jit
def visible_diameters(scene: Scene, results: RenderResult) -> Float[Array, " objects"]:
    """The diagonal of the box around the visible points of each object, in its frame: the largest of all starts."""

    def of_label(label: Array, result: RenderResult) -> Array:
        seen = (result.instance_index == label)[..., None]
        low = jnp.min(result.coordinates, axis=(0, 1), initial=jnp.inf, where=seen)
        high = jnp.max(result.coordinates, axis=(0, 1), initial=-jnp.inf, where=seen)
        return jnp.where(jnp.any(seen), jnp.linalg.norm(high - low), 0)

    of_start = jax.vmap(of_label, in_axes=(0, None))
    return jnp.max(jax.vmap(of_start, in_axes=(None, 0))(scene.instance_index, results), axis=0)


@jax.jit
def _visible(scene: Scene, results: RenderResult) -> Bool[Array, "starts objects"]:
    return jax.vmap(lambda result: visible_objects(scene, result))(results)


def check_visible(scene: Scene, results: RenderResult) -> None:
    seen = np.asarray(_visible(scene, results)).any(axis=0)
    if not seen.all():
        labels = np.asarray(scene.instance_index)[~seen].tolist()
        raise ValueError(
            f"The objects labelled {labels} are not visible in the first rendering, so that no gradient can move them. "
            "Check pose, units (metres), near and far plane, and the mesh's scale."
        )


def check_comparable(observation: Observation, results: RenderResult) -> None:
    """Whether some pixels count, and depth is in the unit of the rendering."""
    mask, weight = observation.mask, observation.weight
    if mask is not None and weight is not None and not np.any(np.asarray(mask * weight)):
        raise ValueError("The observation's weight is zero wherever its mask is not: no pixel counts.")
    if observation.depth is None:
        return
    measured = np.asarray(observation.depth)
    measured = measured[measured > 0]
    if not measured.size:
        raise ValueError("The observation's depth is zero everywhere: nothing was measured. Leave it out.")
    rendered = np.asarray(results.coord_depth)[..., 3][np.asarray(results.instance_index) > 0]
    ratio = float(np.median(measured) / np.median(rendered))
    if not 1 / FAR_OFF < ratio < FAR_OFF:
        raise ValueError(
            f"The observed depth is {ratio:.3g} times that of the rendering, in the median. It must be in metres, as "
            "mesh and poses: Observation.load(..., depth_scale=1e-3) reads millimetres."
        )
