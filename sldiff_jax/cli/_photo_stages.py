"""The stages in which ``sldiff-jax refine`` explains a photo."""

from __future__ import annotations

from .._images.observation import Observation
from .._losses.colour import zncc_loss
from .._losses.depth import depth_loss
from .._losses.loss import Loss
from .._losses.silhouette import silhouette_loss
from .._refine.refinement import Stage
from ._fit import split_steps

COARSE, BLUR = 0.5, 1 / 32
"""Scale of the coarse stages, and the blur of the second in units of its image's longer side."""


def default_photo_loss(observation: Observation) -> Loss:
    """The terms of ``zncc+depth+3*silhouette`` for which there are images.

    Light, and the texture of a scan, make colours differ at the right pose too. With equal weights they would pull the
    outline off; so the silhouette weighs more.
    """
    loss: Loss = zncc_loss
    if observation.depth is not None:
        loss = loss + depth_loss
    if observation.mask is not None:
        loss = loss + 3 * silhouette_loss
    return loss


def photo_stages(observation: Observation, steps: int, loss: Loss | None = None) -> dict[str, Stage]:
    """From coarse to fine: the outline first, then print in blurred images, then all at full resolution.

    Outline and depth find home from farther away than colour, but cannot see a can turn about its axis. Blurred print
    does, and from farther than the width of a letter.

    Args:
        observation: the part of the photo around the object.
        steps: all stages together.
        loss: in place of `default_photo_loss`, and then in all stages: the one for the outline is left out, as it is if
            there is no mask.

    Returns:
        The stages by name, without optimisers. A stage that gets no steps is left out. The best start alone enters the
        last.
    """
    outline = loss is None and observation.mask is not None
    loss = default_photo_loss(observation) if loss is None else loss
    geometry: Loss = silhouette_loss
    if observation.depth is not None:
        geometry = depth_loss.using(scale=0.03) + geometry
    counts = split_steps(steps, (0.3, 0.3, 0.4) if outline else (0.0, 0.4, 0.6))
    plan = {
        "outline": (geometry, COARSE, 0.0, None),
        "blurred": (loss, COARSE, BLUR * COARSE * max(observation.size), 1),
        "fine": (loss, 1.0, 0.0, None),
    }
    return {
        name: Stage(count, scale=scale, blur=blur, keep=keep, loss=stage_loss)
        for count, (name, (stage_loss, scale, blur, keep)) in zip(counts, plan.items())
        if count
    }
