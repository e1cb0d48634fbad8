"""Which evidence there is decides the stages and losses of a fit."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._losses.colour import zncc_loss
from .._losses.depth import depth_loss
from .._losses.filters import reach, smallest_near
from .._losses.loss import Loss
from .._losses.pyramid import Blurred
from .._losses.region import region_loss
from .._losses.silhouette import silhouette_loss
from .refinement import Stage

CONTRAST = 0.02
"""Standard deviation of a rendered channel inside of the object, of 1, from which on its texture counts."""
COARSE, BLUR = 0.5, 1 / 32
"""Scale of the coarse stages, and their blur in units of the image's longer side: half of it for a print alone."""
HOLD = 0.5
"""How strongly each stage holds the object: what the images show weighs some ten to some hundred times as much."""
HIDDEN, NEAR = 0.2, 3
"""How much a pixel counts beyond some pixels from the mask, where print but no depth tells what is hidden."""

OUTLINE = "outline"
"""The name of the first stage."""


class Evidence(NamedTuple):
    """What there is to fit by.

    Attributes:
        color: whether there is a photo.
        mask: whether the observation has a mask.
        depth: whether the observation has depth.
        texture: whether the object shows contrast of its own where it is rendered.
    """

    color: bool
    mask: bool
    depth: bool
    texture: bool


class Recipe(eqx.Module):
    """Stages by name, and the evidence for which they were chosen.

    Attributes:
        stages: from coarse to fine.
        evidence: see `Evidence`.
        chosen: whether the losses were chosen, too, and not given (static).
    """

    stages: dict[str, Stage]
    evidence: Evidence
    chosen: bool = eqx.field(static=True, default=True)

    def without_color(self) -> Recipe:
        """The same stages, in which colours inside of the object count for nothing; nothing is compiled again."""
        stages = {}
        for name, stage in self.stages.items():
            loss = weighed_loss(self.evidence, outline=name == OUTLINE, color=0.0)
            if isinstance(stage.loss, Blurred):
                loss = dataclasses.replace(stage.loss, loss=loss)
            stages[name] = dataclasses.replace(stage, loss=loss)
        return Recipe(stages, self.evidence._replace(texture=False))

    def keeping_all(self) -> Recipe:
        """The same stages, in which all starts go on to the last."""
        stages = {name: dataclasses.replace(stage, keep=None) for name, stage in self.stages.items()}
        return dataclasses.replace(self, stages=stages)

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the images is not used, in words."""
        if self.evidence.color and not self.evidence.texture:
            return ("The object shows no contrast of its own, so that its colours are not compared with the photo's.",)
        return ()


def find_evidence(look: Rendering, observation: Observation) -> Evidence:
    """What a rendering at the start and an observation have to say."""
    inside = np.asarray(smallest_near(jnp.asarray(look.mask)))[..., None]
    total = max(float(inside.sum()), 1e-6)
    mean = (inside * np.asarray(look.rgb)).sum((0, 1)) / total
    deviation = np.sqrt((inside * (np.asarray(look.rgb) - mean) ** 2).sum((0, 1)) / total)
    return Evidence(
        color=observation.rgb is not None,
        mask=observation.mask is not None,
        depth=observation.depth is not None,
        texture=bool(deviation.max() >= CONTRAST),
    )


def weighed_loss(evidence: Evidence, *, outline: bool, color: float = 1.0) -> Loss:
    """What all images say together, by which results are judged; or above all, what they say of the outline.

    An outline finds home from farther away than print does, and depth that counts differences of some centimetres; but
    an outline without depth, of which something in front may hide a part, does not go before the print.
    What a print places need not be seen as a whole: something in front may hide a part, and nothing but depth says so.
    A mask is better than regions, and regions, which hidden parts and surroundings of the same colour mislead, count
    less where depth and texture are there to say more. `color` is the weight of the colours inside, which count for
    nothing where mask and depth tell the outline; they stay part of the loss, so that both are compiled as one.
    """
    parts: list[Loss] = []
    if evidence.color and evidence.texture:
        shape_alone = outline and evidence.mask and evidence.depth
        parts.append(jnp.asarray(0.0 if shape_alone else color) * zncc_loss)
    if evidence.depth:
        parts.append(depth_loss.using(scale=jnp.asarray(0.03 if outline else 0.01)))
    if evidence.mask:
        weights = (1.0, 3.0) if evidence.depth else (2.0, 5.0)
        unseen = evidence.color and evidence.texture and not evidence.depth
        silhouette = silhouette_loss.using(outside=jnp.asarray(HIDDEN), near=NEAR) if unseen else silhouette_loss
        parts.append(jnp.asarray(weights[0 if outline else 1]) * silhouette)
    elif evidence.color:
        parts.append(jnp.asarray(0.3 if evidence.depth and evidence.texture else 2.0) * region_loss)
    return sum(parts[1:], parts[0])


def choose_recipe(look: Rendering, observation: Observation, steps: int = 50, *, loss: Loss | None = None) -> Recipe:
    """The stages for what there is.

    Args:
        look: the rendering at the start.
        observation: what is to be explained.
        steps: all stages together.
        loss: in place of `weighed_loss`, and then in all stages: the one for the outline is left out.

    Returns:
        The recipe. A stage that gets no steps is left out. The best start alone enters the last.
    """
    evidence = find_evidence(look, observation)
    final = weighed_loss(evidence, outline=False) if loss is None else loss
    counts = shares(steps, (0.3, 0.3, 0.4) if loss is None else (0.0, 0.4, 0.6))
    blur = BLUR * COARSE * max(observation.size)
    if evidence.texture and not (evidence.mask or evidence.depth):
        blur /= 2  # more, and regions of the same colours nearby lead away what print alone would hold
    coarse = functools.partial(Blurred, radius=reach(blur))  # of one radius, and so compiled once
    plan = {
        OUTLINE: (
            coarse(weighed_loss(evidence, outline=True), jnp.asarray(0.0 if evidence.mask else blur)),
            COARSE,
            None,
        ),
        "blurred": (coarse(final, jnp.asarray(blur)), COARSE, 1),
        "fine": (final, 1.0, None),
    }
    stages = {
        name: Stage(count, scale=scale, keep=keep, loss=stage_loss, hold=HOLD)
        for count, (name, (stage_loss, scale, keep)) in zip(counts, plan.items())
        if count
    }
    return Recipe(stages, evidence, chosen=loss is None)


def shares(steps: int, parts: tuple[float, ...]) -> list[int]:
    """Divides steps in proportion to the parts, which sum to one; the last gets one at least."""
    ends = [min(steps - 1, round(float(end) * steps)) for end in np.cumsum(parts[:-1])]
    return np.diff([0, *ends, steps]).tolist()
