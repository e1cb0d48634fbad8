"""Refinements of several crops at once, in one compiled program: the steps of `refine_poses`, mapped over crops."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._gradients.black_box import differentiable
from .._gradients.pose_gradients import visible_objects
from .._images.observation import Observation
from .._losses.loss import Loss
from .._losses.pyramid import blurred
from .._refine.descent import Problem, advance, begin, draw
from .._refine.least_squares import LevenbergMarquardt
from .._refine.refinement import Stage
from .._scene.camera import Camera
from .._scene.poses import apply_twist
from .._scene.scene import Scene
from .._scene.typing import PoseDeltas
from ..mesh_renderer import MeshRenderer

TOLERANCE = 1e-5
"""Length of a step, in radians and diameters, below which a stage ends."""


class Row(eqx.Module):
    """One crop with its objects; with a leading axis on each array, several.

    Attributes:
        projection: (4, 4) float32, of the camera that sees the crop.
        observations: what is seen in it, for each stage at its size.
        T_camera_object: (K, N, 4, 4) float32, the start poses, metres.
        unit: (N, 6) float32, the unit of each component of a delta: radians, then metres.
    """

    projection: Float[Array, "4 4"]
    observations: tuple[Observation, ...]
    T_camera_object: Float[Array, "starts objects 4 4"]
    unit: PoseDeltas


class Fit(eqx.Module):
    """What became of a row.

    Attributes:
        T_camera_object: (N, 4, 4) float32, metres.
        loss: scalar, of the last stage, infinite if an object never showed.
        start_loss: scalar, the same loss of the best start.
        moved: whether the result is better than that start.
        steps: how many steps all stages made.
    """

    T_camera_object: Float[Array, "objects 4 4"]
    loss: Float[Array, ""]
    start_loss: Float[Array, ""]
    moved: Bool[Array, ""]
    steps: Int[Array, ""]


@eqx.filter_jit
def fit_rows(renderers: MeshRenderer, rows: Row, stages: Sequence[Stage], count: Int[ArrayLike, ""]) -> Fit:
    """Refines the poses of each row.

    Args:
        renderers: of the rows, stacked.
        rows: B of them, stacked.
        stages: from coarse to fine, each with its own `Loss`. Of K starts, each stage hands on its `keep` best.
        count: how many rows count; the others only fill up the batch.

    Returns:
        The `Fit` of each row, stacked; zeros may stand for rows that do not count.
    """

    def fit(pair: tuple[MeshRenderer, Row]) -> Fit:
        return _fit_row(*pair, stages)

    pairs = (renderers, rows)
    if jax.default_backend() != "cpu":
        return jax.vmap(fit)(pairs)

    # One after the other: two cores gain nothing from a batch, each row ends when it has converged, and rows that do
    # not count cost nothing, so that one program serves batches of any size.
    def step(k: Int[Array, ""], fits: Fit) -> Fit:
        found = fit(jax.tree.map(lambda leaf: leaf[k], pairs))
        return jax.tree.map(lambda all_rows, row: all_rows.at[k].set(row), fits, found)

    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: jax.lax.map(fit, pairs)))
    return jax.lax.fori_loop(0, count, step, nothing)


def _fit_row(renderer: MeshRenderer, row: Row, stages: Sequence[Stage]) -> Fit:
    method = LevenbergMarquardt()
    T, losses, steps = row.T_camera_object, jnp.zeros(0), jnp.zeros((), int)
    for stage, observation in zip(stages, row.observations):
        problem = _problem(renderer, row, stage, observation)
        progress = advance(problem, method, begin(method, T, stage.steps), stage.steps)
        made = jnp.arange(stage.steps)[:, None] < progress.step
        ranks = jnp.where(made & progress.seen & jnp.isfinite(progress.losses), progress.losses, jnp.inf)
        best = jnp.argmin(ranks, axis=0)
        found = progress.iterates[best, jnp.arange(T.shape[0])]
        order = jnp.argsort(jnp.min(ranks, axis=0))[: stage.keep]
        T, losses, steps = found[order], jnp.min(ranks, axis=0)[order], steps + progress.step
    start_losses = _losses(_problem(renderer, row, stages[-1], row.observations[-1]), row.T_camera_object)
    start = jnp.argmin(start_losses)
    moved = losses[0] < start_losses[start]
    return Fit(
        jnp.where(moved, T[0], row.T_camera_object[start]),
        jnp.minimum(losses[0], start_losses[start]),
        start_losses[start],
        moved,
        steps,
    )


def _problem(renderer: MeshRenderer, row: Row, stage: Stage, observation: Observation) -> Problem:
    height, width = observation.size
    assert isinstance(stage.loss, Loss)
    return Problem(
        scene=Scene(row.T_camera_object[0], Camera(row.projection, width=width, height=height)),
        observation=observation,
        renderer=differentiable(renderer),
        loss=blurred(stage.loss, stage.blur),
        retraction=apply_twist,
        unit=row.unit,
        tolerance=TOLERANCE,
        hold=stage.hold,
    )


def _losses(problem: Problem, T: Float[Array, "starts objects 4 4"]) -> Float[Array, "starts"]:
    """Of poses as they are; infinite where an object does not show."""
    drawings = draw(problem.renderer, problem.scene, T)

    def loss(T: Float[Array, "objects 4 4"], drawing) -> Float[Array, ""]:
        scene = eqx.tree_at(lambda s: s.T_world_object, problem.scene, T)
        value = problem.loss(problem.renderer.images(scene, drawing), problem.observation)
        seen = jnp.all(visible_objects(scene, problem.renderer.buffers(scene, drawing)))
        return jnp.where(seen & jnp.isfinite(value), value, jnp.inf)

    return jax.vmap(loss)(T, drawings)
