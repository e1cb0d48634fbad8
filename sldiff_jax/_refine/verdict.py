"""Whether the images bear out a result: what each kind of evidence says of it, and which motions nothing shows."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._losses.colour import zncc_loss
from .._losses.filters import largest_near, smallest_near
from .._losses.region import object_probability
from .._losses.silhouette import silhouette_loss
from .._scene.transforms import to_jax
from .covariance import pose_covariance
from .descent import with_poses
from .loop import first_look, scatter_at
from .options import Options
from .recipe import Evidence, Recipe
from .record import distances, recorded
from .refinement import Agreement, Refinement, Status

LEAST_OVERLAP, LEAST_INLIERS, LEAST_CORRELATION, LEAST_SEPARATION = 0.75, 0.5, 0.3, 0.45
"""What a result must reach to be believed: see `Agreement`."""
LEAST_SCORE = 0.5
"""Below which a doubtful result is lost: see `Agreement.score`."""
LEAST_OVERLAP_ALONE = 0.9
"""The overlap where a mask is all there is: without depth nothing tells a hidden part from a wrong pose."""
FARTHEST = 0.6
"""Radians or diameters that a fit without mask and depth may go: farther off, outlines and prints lead anywhere."""
DEPTH_TOLERANCE = 0.01
"""Metres within which a measurement agrees."""
BAND = 3
"""Pixels on either side of the outline that are compared."""
RISE = 0.05
"""A motion shows if half a radian, or half a diameter, of it raises the loss by this share."""


def judged(options: Options, recipe: Recipe, found: Refinement) -> Refinement:
    """A refinement with what speaks against it; if anything does, it is no longer called converged.

    If the start agrees with what was seen as well as a doubtful result does, or colour alone led far away, the start
    it is.
    """
    state = found.state
    _, look = first_look(options.renderer, options.jit, options.scene, found.scene.T_world_object)
    agreed = agreement(look, options.observation, recipe.evidence)
    last = recorded(state)
    column = last.starts.index(found.best_start) if found.best_start in last.starts else 0
    T_start, T_end = (np.asarray(scene.T_world_object)[None] for scene in (options.scene, found.scene))
    moved = distances(T_start, T_end, np.asarray(state.unit))
    curvature = np.asarray(state.progress.curvature)[column]
    doubts = find_doubts(agreed, recipe.evidence, moved=float(moved[0]), loss=found.loss, curvature=curvature)
    covariance = None
    if np.any(curvature):
        problem = options.problem_of(state.stage, state.unit)
        scatter = scatter_at(problem, options.jit, found.scene.T_world_object)
        covariance = pose_covariance(curvature, np.asarray(scatter), state.unit)
    scene, status = found.scene, found.status
    if doubts and status.trusted:
        status = Status.DOUBTFUL if agreed.score >= LEAST_SCORE else Status.LOST
        _, start = first_look(options.renderer, options.jit, options.scene, options.scene.T_world_object)
        astray = not (recipe.evidence.mask or recipe.evidence.depth) and float(moved[0]) > FARTHEST
        if astray or agreement(start, options.observation, recipe.evidence).total >= agreed.total:
            scene, status = with_poses(scene, options.scene.T_world_object), Status.NOT_BETTER
    statuses = tuple(status if k == found.best_start else own for k, own in enumerate(found.statuses))
    return dataclasses.replace(
        found, scene=scene, status=status, statuses=statuses, doubts=doubts, agreement=agreed, score=agreed.score,
        covariance=covariance,
    )  # fmt: skip


def colors_mislead(recipe: Recipe, found: Refinement) -> bool:
    """Whether colours that hardly correlate with the photo took part, and a mask is there to go by."""
    evidence, agreed = recipe.evidence, found.agreement
    if not (recipe.chosen and evidence.texture and evidence.mask and agreed is not None):
        return False
    return agreed.correlation is not None and agreed.correlation < LEAST_CORRELATION


def agreement(look: Rendering, observation: Observation, evidence: Evidence) -> Agreement:
    """Compares a rendering of the result with what was seen."""
    overlap = inliers = correlation = separation = hidden = None
    mask = np.asarray(look.mask)
    if evidence.mask:
        drawn = eqx.tree_at(lambda r: r.mask, look, to_jax((mask > 0.5).astype(mask.dtype)))
        overlap = 1 - float(_silhouette_loss(drawn, observation))
    if observation.depth is not None:
        measured, rendered = np.asarray(observation.depth), np.asarray(look.depth)
        seen = (mask > 0.5) & (measured > 0) & (rendered > 0)
        if observation.mask is not None:
            seen &= np.asarray(observation.mask) > 0.5
        nearer = seen & (measured < rendered - DEPTH_TOLERANCE)
        near = seen & (np.abs(measured - rendered) <= DEPTH_TOLERANCE)
        inliers = float(near.sum() / max(seen.sum(), 1))
        hidden = float(nearer.sum() / max(seen.sum(), 1))
    if evidence.color and evidence.texture:
        correlation = 1 - float(_zncc_loss(look, observation))
    if evidence.color and not evidence.mask:
        separation = _separation(look, observation)
    return Agreement(overlap, inliers, correlation, separation, hidden)


_silhouette_loss, _zncc_loss = (jax.jit(loss.__call__) for loss in (silhouette_loss, zncc_loss))


def _separation(look: Rendering, observation: Observation) -> float:
    p = np.asarray(object_probability(look, observation))
    inner = outer = jnp.asarray(look.mask)
    for _ in range(BAND):
        inner, outer = smallest_near(inner), largest_near(outer)
    mask = np.asarray(look.mask)
    weight = np.ones_like(mask) if observation.weight is None else np.asarray(observation.weight) > 0
    inside, outside = (mask - np.asarray(inner)) * weight, (np.asarray(outer) - mask) * weight
    return float((inside * p).sum() / max(inside.sum(), 1e-6) - (outside * p).sum() / max(outside.sum(), 1e-6))


def find_doubts(
    agreed: Agreement, evidence: Evidence, *, moved: float, loss: float, curvature: np.ndarray
) -> tuple[str, ...]:
    """What speaks against a result, in words; nothing if it is borne out.

    Args:
        agreed: see `Agreement`.
        evidence: what there was to fit by.
        moved: the way from the start, radians or diameters, the larger.
        loss: of the result.
        curvature: (N, 6, 6) float, of the loss at the result, in radians and diameters; zero where it is not known.
    """
    doubts = []
    colors_tell = agreed.correlation is not None and agreed.correlation >= LEAST_CORRELATION
    least_overlap = LEAST_OVERLAP if evidence.depth or colors_tell else LEAST_OVERLAP_ALONE
    if agreed.overlap is not None and agreed.overlap < least_overlap:
        doubts.append(f"the outline does not fit the mask (IoU {agreed.overlap:.2f})")
    if agreed.inliers is not None and agreed.inliers < LEAST_INLIERS:
        doubts.append(f"only {100 * agreed.inliers:.0f} % of the measured depth fits")
    if not evidence.mask and not evidence.depth:
        if moved > FARTHEST:
            doubts.append("the fit went far from the start, with nothing but colour to go by")
        if agreed.correlation is None:
            doubts.append("there is nothing but the outline of an object without texture to go by")
    if agreed.correlation is not None and not evidence.depth and agreed.correlation < LEAST_CORRELATION:
        doubts.append(f"the colours hardly correlate ({agreed.correlation:.2f})")
    if agreed.separation is not None and agreed.separation < LEAST_SEPARATION * (0.75 if evidence.depth else 1):
        doubts.append("the outline does not part what looks like the object from what does not")
    doubts += [f"{motion} hardly shows in the images" for motion in unseen_motions(loss, curvature)]
    return tuple(doubts)


def unseen_motions(loss: float, curvature: np.ndarray) -> list[str]:
    """The motions, of all objects, that hardly change the loss."""
    motions = []
    for of_object in np.asarray(curvature, np.float64):
        if not np.any(of_object):
            continue
        values, vectors = np.linalg.eigh(of_object)
        for value, vector in zip(values, vectors.T):
            if 0.5 * max(value, 0.0) * 0.5**2 < RISE * max(loss, 0.02):
                motions.append(_named(vector))
    return list(dict.fromkeys(motions))


def _named(motion: np.ndarray) -> str:
    turn, shift = np.linalg.norm(motion[:3]), np.linalg.norm(motion[3:])
    kind, part = ("a turn about", motion[:3]) if turn > shift else ("a shift along", motion[3:])
    axis = part / max(float(np.linalg.norm(part)), 1e-12)
    axis = axis * math.copysign(1.0, axis[np.argmax(np.abs(axis))])
    return f"{kind} ({axis[0]:.1f}, {axis[1]:.1f}, {axis[2]:.1f})".replace("-0.0", "0.0")
