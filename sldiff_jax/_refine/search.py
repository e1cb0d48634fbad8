"""The rounds of a search for a pose: scores of many, steps of some, and a fit of the last few."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._gradients.black_box import BlackBox
from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._losses.colour import zncc_loss
from .._losses.depth import depth_loss
from .._losses.loss import Loss
from .._losses.silhouette import silhouette_loss
from .._scene.poses import se3_exp
from .._scene.scene import Scene
from .._scene.transforms import compose
from .._scene.typing import Transform
from ..mesh_renderer import MeshRenderer
from .descent import with_poses
from .distinct import distinct
from .least_squares import LevenbergMarquardt
from .recipe import Evidence, Recipe, find_evidence, weighed_loss
from .refine import refine_poses
from .refinement import Refinement, Stage

KEPT = (128, 48, 8)
"""How many poses are left after they were scored, and after each round of steps."""
STEPS = (16, 10, 20)
"""Of each round, and of the last fit."""
BLUR = 2.0
"""Pixels, where colours join in."""
BYTES_PER_PIXEL = 1000
"""Of memory that a pose needs while it is moved, about."""
AROUND, NEARBY = 48, 0.35
"""How many poses around each are looked at, and how far they are turned at most, radians."""
LOOKS = 8
"""Poses at which one looks for texture."""


Poses = Float[np.ndarray, "_ 4 4"]


class View(NamedTuple):
    """What is explained, at one size; the pose of the scene's one object does not count."""

    scene: Scene
    observation: Observation


class Search(NamedTuple):
    """A search for one object.

    Attributes:
        views: small, for scores and first steps; larger, for steps with colours; and the largest, for the fit.
        small: draws the object with few triangles.
        whole: draws it as it is.
        diameter: of the object, metres.
        symmetries: optional (S, 4, 4), of the object.
        memory: bytes that the poses moved at once may take.
        masked: whether the mask of the views was given, not guessed.
    """

    views: tuple[View, View, View]
    small: MeshRenderer
    whole: MeshRenderer
    diameter: float
    symmetries: Float[np.ndarray, "symmetries 4 4"] | None
    memory: int
    masked: bool

    def evidence(self, T: Poses) -> Evidence:
        """What there is to go by, as some of the poses show the object."""
        scene, observation = self.views[1]
        looks = _looks(self.small, scene, jnp.asarray(T[:: -(-len(T) // LOOKS)]))
        each = [find_evidence(jax.tree.map(lambda x, k=k: x[k], looks), observation) for k in range(len(looks.mask))]
        return each[0]._replace(texture=any(evidence.texture for evidence in each))

    def scored(self, T: Poses, evidence: Evidence, number: int = 0) -> Poses:
        """The best of some poses, brought to where depth was measured, by the loss of that round of steps."""
        scene, observation = self.views[number]
        loss, _ = self._loss(evidence, number)
        T_best, losses = _scored(self.small, scene, observation, loss, jnp.asarray(T), self._at_once(number))
        return np.asarray(T_best)[np.argsort(losses, kind="stable")[: KEPT[number]]]

    def around(self, T: Poses, evidence: Evidence, key: PRNGKeyArray) -> Poses:
        """The best of some poses and of others turned a little: a print leads home from a few degrees only."""
        T = np.repeat(filled(T, KEPT[2]), AROUND, axis=0)
        turn = jax.random.ball(key, 3, shape=(len(T),), dtype=T.dtype) * NEARBY
        turned = jax.vmap(se3_exp)(jnp.pad(turn, ((0, 0), (0, 3))))
        turned = turned.at[::AROUND].set(jnp.eye(4))
        return self.scored(np.asarray(compose(jnp.asarray(T), turned)), evidence, 1)

    def moved(self, T: Poses, evidence: Evidence, number: int) -> Poses:
        """The best of some poses after a round of steps, without those that ended in the same place."""
        scene, observation = self.views[number]
        loss, blur = self._loss(evidence, number)
        stage = Stage(STEPS[number], loss=loss, blur=blur, optimizer=LevenbergMarquardt())
        at_once = min(self._at_once(number), KEPT[number])
        ends, losses = [], []
        for first in range(0, len(T), at_once):
            part = filled(T[first : first + at_once], at_once)
            found = refine_poses(
                scene, observation, self.small, starts=part[:, None], stages=[stage], translation_unit=self.diameter
            )
            count = min(at_once, len(T) - first)
            ends.append(found.T_world_object[:count, 0])
            losses.append(found.losses[:count])
        T = np.concatenate(ends)
        best = distinct(T[:, None], np.concatenate(losses), np.array([self.diameter]), [self.symmetries])
        return T[best[: KEPT[number + 1]]]

    def finished(self, T: Poses, evidence: Evidence) -> Refinement:
        """The fit of the last few poses, judged."""
        scene, observation = self.views[2]
        evidence = evidence._replace(mask=self.masked)
        if not self.masked:
            observation = dataclasses.replace(observation, mask=None)
        loss = whole_loss(evidence) if self.masked else weighed_loss(evidence, outline=False)
        stage = Stage(STEPS[2], loss=loss, optimizer=LevenbergMarquardt())
        starts = jnp.asarray(filled(T, KEPT[2]))[:, None]
        return refine_poses(
            with_poses(scene, starts[0]), observation, self.whole, starts=starts, translation_unit=self.diameter,
            stages=Recipe({"fine": stage}, evidence, chosen=False), symmetries=[self.symmetries],
        )  # fmt: skip

    def _loss(self, evidence: Evidence, number: int) -> tuple[Loss, float]:
        """What a round of steps minimises, and how images are blurred for it."""
        return (whole_loss(evidence), BLUR) if number else (shape_loss(evidence, self.diameter), 0.0)

    def _at_once(self, number: int) -> int:
        height, width = self.views[number].observation.size
        return max(1, self.memory // (BYTES_PER_PIXEL * height * width))


def shape_loss(evidence: Evidence, diameter: float) -> Loss:
    """Outline, and depth up to about the object's size, lead home from far away; some colour keeps turns apart."""
    parts = [3.0 * silhouette_loss.using(outside=jnp.asarray(1.0 if evidence.depth else 0.4))]
    if evidence.depth:
        parts.append(depth_loss.using(scale=jnp.asarray(0.27 * diameter)))
    if evidence.color and evidence.texture:
        parts.append(jnp.asarray(0.2 if evidence.depth else 1.0) * zncc_loss)
    return sum(parts[1:], parts[0])


def whole_loss(evidence: Evidence) -> Loss:
    """What all images say. Where print tells, and no depth what is hidden, an outline need not be seen."""
    printed = evidence.color and evidence.texture
    outside = 1.0 if evidence.depth else 0.1 if printed else 0.4
    parts = [3.0 * silhouette_loss.using(outside=jnp.asarray(outside))]
    if evidence.depth:
        parts.append(depth_loss)
    if printed:
        parts.append(zncc_loss)
    return sum(parts[1:], parts[0])


def filled(T: Poses, count: int) -> Poses:
    """Some poses, made that many by repeating the first, so that programs of one size serve."""
    return np.concatenate([T, np.repeat(T[:1], count - len(T), axis=0)])


@eqx.filter_jit
def _looks(renderer: MeshRenderer, scene: Scene, T: Float[Array, "poses 4 4"]) -> Rendering:
    return jax.vmap(lambda T_one: _hard_images(renderer, with_poses(scene, T_one[None])))(T)


@eqx.filter_jit
def _scored(
    renderer: MeshRenderer, scene: Scene, observation: Observation, loss: Loss, T: Float[Array, "poses 4 4"], chunk: int
) -> tuple[Float[Array, "poses 4 4"], Float[Array, " poses"]]:
    """The poses, each moved along its ray to where depth was measured, and their losses."""

    def score(T_one: Transform) -> tuple[Transform, Float[Array, ""]]:
        if observation.depth is not None:
            T_one = _at_depth(T_one, _hard_images(renderer, with_poses(scene, T_one[None])), scene, observation)
        return T_one, loss(_hard_images(renderer, with_poses(scene, T_one[None])), observation)

    return jax.lax.map(score, T, batch_size=min(chunk, len(T)))


def _hard_images(renderer: MeshRenderer, scene: Scene) -> Rendering:
    """Without outlines, which take longer to find than all else to draw."""
    black_box = BlackBox(renderer)
    return black_box.images(scene, black_box.draw(scene))


def _at_depth(T: Transform, rendering: Rendering, scene: Scene, observation: Observation) -> Transform:
    """The pose, moved along the ray through its origin by the median of what depth differs inside of the mask."""
    assert observation.depth is not None and observation.mask is not None
    both = (rendering.depth > 0) & (observation.depth > 0) & (observation.mask > 0.5)
    apart = jnp.nanmedian(jnp.where(both, observation.depth - rendering.depth, jnp.nan))
    eye = scene.camera.T_world_camera[:3, 3]
    distance = (scene.camera.T_camera_world @ T)[2, 3]
    factor = 1 + jnp.where(jnp.any(both), apart, 0) / distance
    return T.at[:3, 3].set(eye + jnp.clip(factor, 0.5, 2) * (T[:3, 3] - eye))
