"""The ways to refine a pose that the success curves compare, and how a batch of starts is put to one of them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from trials import Level, View

import sldiff_jax as sl

WINDOW = 192
"""Pixels, across and down, of the window around the object; its diameter is about 130."""
COARSE, MIDDLE = 1 / 6, 1 / 3
"""Resolutions of 32 and 64 pixels."""


class Method(NamedTuple):
    """A way to refine poses.

    Attributes:
        stages: of an object of that diameter, metres.
        hypotheses: how many starts are drawn around each given one; the best by its loss is returned.
    """

    stages: Callable[[float], tuple[sl.Stage, ...]]
    hypotheses: int = 1


class Fits(NamedTuple):
    """What became of K starts.

    Attributes:
        T_world_object: (K, 4, 4) float, the estimates.
        loss: (K,) float, `default_loss` there.
        steps: made for each start.
        seconds: for each start, all of them refined at once, one trial after the other with several hypotheses.
    """

    T_world_object: np.ndarray
    loss: np.ndarray
    steps: int
    seconds: float


def shape_first(diameter: float) -> sl.Loss:
    """Depth, up to about the object's size, and silhouette lead home from farther away than colour does.

    A little colour keeps those turns where they are that do not show in the shape.
    """
    return sl.depth_loss.using(scale=0.27 * diameter) + 3 * sl.silhouette_loss + 0.2 * sl.zncc_loss


@functools.cache
def coarse_to_fine(diameter: float) -> tuple[sl.Stage, ...]:
    """Adam, whose momentum leaves small dents behind, on the shape; then least squares on everything."""
    return (
        sl.Stage(50, scale=COARSE, loss=shape_first(diameter), optimizer=optax.adam(0.03)),
        sl.Stage(10, scale=MIDDLE, optimizer=sl.LevenbergMarquardt()),
        sl.Stage(8, optimizer=sl.LevenbergMarquardt()),
    )


@functools.cache
def fifteen_steps(diameter: float) -> tuple[sl.Stage, ...]:
    """Least squares all the way. Exact outlines reach no farther than a pixel: blurred they lead from farther."""
    loss = sl.blurred(shape_first(diameter), 1.0)
    shape = sl.Stage(10, scale=COARSE, loss=loss, optimizer=sl.LevenbergMarquardt())
    return shape, sl.Stage(5, scale=MIDDLE, optimizer=sl.LevenbergMarquardt())


@functools.cache
def with_pruning(diameter: float) -> tuple[sl.Stage, ...]:
    """The same, but only the two best starts go on to the full resolution."""
    coarse, middle, fine = coarse_to_fine(diameter)
    return coarse, dataclasses.replace(middle, keep=2), fine


METHODS = {
    "Adam, 100 steps": Method(lambda _: (sl.Stage(100, scale=MIDDLE),)),
    "Gauss-Newton, 15 steps": Method(lambda _: (sl.Stage(15, scale=MIDDLE, optimizer=sl.GaussNewton()),)),
    "Levenberg-Marquardt, 15 steps": Method(lambda _: (sl.Stage(15, scale=MIDDLE, optimizer=sl.LevenbergMarquardt()),)),
    "Levenberg-Marquardt, 15 steps, shape first": Method(fifteen_steps),
    "coarse to fine": Method(coarse_to_fine),
    "coarse to fine, 16 hypotheses": Method(with_pruning, hypotheses=16),
}
RECOMMENDED, RECOMMENDED_MANY = list(METHODS)[-2:]


def window(view: View) -> tuple[sl.Scene, sl.Observation]:
    """What of the view is fitted: around the visible part of the object, wherever the start is.

    Always of one size, which `crop_to_object` does not give, so that everything is compiled once.
    """
    scene, observation = view.scene, view.observation
    rows, columns = np.nonzero(np.asarray(observation.mask))
    left, top = ((pixels.min() + pixels.max() + 1 - WINDOW) // 2 for pixels in (columns, rows))
    observed = dataclasses.replace(observation, weight=jnp.ones(observation.size))
    camera = scene.camera.cropped(left, top, WINDOW, WINDOW)
    return dataclasses.replace(scene, camera=camera), observed.cropped(left, top, WINDOW, WINDOW)


def fit(
    view: View, renderer: sl.MeshRenderer, starts: jax.Array, method: Method, *, diameter: float, level: Level
) -> Fits:
    """Refines the pose in a view from every start.

    Args:
        view: what is to be explained.
        renderer: of the object alone.
        starts: (K, 1, 4, 4) float.
        method: how.
        diameter: of the object, metres.
        level: how far off the starts are expected to be: hypotheses are drawn as far around them.

    Returns:
        The outcome. The truth has no part in it.
    """
    scene, observation = window(view)
    stages = method.stages(diameter)
    if method.hypotheses == 1:
        return _all_at_once(scene, observation, renderer, starts, stages)
    fits = []
    for trial, start in enumerate(starts):
        hypotheses = sl.random_starts(
            jax.random.key(trial),
            sl.Scene(start, scene.camera, scene.instance_index),
            method.hypotheses,
            rotation=math.radians(level.degrees),
            translation=1e-3 * level.millimetres,
        )
        fits.append(sl.refine_poses(scene, observation, renderer, starts=hypotheses, stages=stages))
    return Fits(
        np.stack([np.asarray(fit.scene.T_world_object[0]) for fit in fits]),
        np.array([fit.loss for fit in fits]),
        round(np.mean([len(fit.loss_history) for fit in fits])),
        float(np.median([fit.seconds for fit in fits])),  # not the mean: the first one may have been compiled
    )


def _all_at_once(
    scene: sl.Scene,
    observation: sl.Observation,
    renderer: sl.MeshRenderer,
    starts: jax.Array,
    stages: tuple[sl.Stage, ...],
) -> Fits:
    """Every start is a trial of its own: none is compared with another."""
    outcome = sl.refine_poses(scene, observation, renderer, starts=starts, stages=stages)
    return Fits(
        outcome.T_world_object[:, 0],
        outcome.losses,
        len(outcome.loss_history),
        outcome.seconds / len(starts),
    )


def loss_of_truth(view: View, renderer: sl.MeshRenderer) -> float:
    """The loss that a perfect estimate has."""
    return float(_loss(*window(view), renderer))


@eqx.filter_jit
def _loss(scene: sl.Scene, observation: sl.Observation, renderer: sl.MeshRenderer) -> jax.Array:
    return sl.default_loss(sl.render(scene, renderer), observation)


def overlap_of_starts(view: View, renderer: sl.MeshRenderer, starts: jax.Array) -> np.ndarray:
    """(K,): intersection over union of the silhouettes of start and truth, without what hides them."""
    silhouettes = np.asarray(_silhouettes(jnp.stack([view.scene.T_world_object, *starts]), view.scene.camera, renderer))
    true, started = silhouettes[0], silhouettes[1:]
    return np.sum(started & true, axis=(1, 2)) / np.sum(started | true, axis=(1, 2))


@eqx.filter_jit
def _silhouettes(T_world_object: jax.Array, camera: sl.Camera, renderer: sl.MeshRenderer) -> jax.Array:
    return jax.vmap(lambda T: renderer(sl.Scene(T, camera)).instance_index > 0)(T_world_object)
