"""The fit of ``sldiff-jax refine``, from inputs to the refinement."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._gradients.render import render
from .._images.crop import Window, window_around
from .._images.observation import Observation
from .._losses.loss import Loss
from .._refine.hypotheses import random_starts
from .._refine.options import Callback
from .._refine.recipe import Recipe, choose_recipe
from .._refine.refinement import Refinement, doubted
from .._scene.scene import Scene
from ..mesh_renderer import MeshRenderer
from ._errors import InputError
from ._fit import count_steps, fit
from ._inputs import Inputs, rendered_depth
from ._search import other_poses

MARGIN = 0.25
"""Room around the object in the fitted part, in units of its size."""


class Spread(NamedTuple):
    """The starts: the given one and random ones around it, by degrees and metres (default: a tenth of the object)."""

    hypotheses: int = 1
    degrees: float = 20.0
    metres: float | None = None
    seed: int = 0


class PhotoFit(NamedTuple):
    """A fit and what it was made of.

    Attributes:
        refinement: the outcome.
        recipe: its stages.
        window: the part of the photo that was fitted.
        start_loss: the loss of the last stage at the start.
        others: (A, 4, 4) T_camera_object, other poses that fit about as well; after a search, symmetric ones are one.
    """

    refinement: Refinement
    recipe: Recipe
    window: Window
    start_loss: float
    others: Float[np.ndarray, "_ 4 4"]


def fit_photo(
    inputs: Inputs,
    start: Float[np.ndarray, "height width"] | None = None,
    *,
    resolution: int = 128,
    steps: int | None = None,
    optimizer: str = "lm",
    learning_rate: float | None = None,
    loss: Loss | None = None,
    spread: Spread | None = None,
    callback: Callback | None = None,
) -> PhotoFit:
    """Fits what was read: from the pose that was given, or from all that a search could not tell apart.

    Args:
        inputs: what was read.
        start: (H, W) the rendered depth of the start, if it is at hand.
        resolution: longer side of the fitted part, pixels.
        steps: all stages together. Default: as `count_steps`.
        optimizer: as `fit`.
        learning_rate: as `fit`.
        loss: in all stages, in place of what `choose_recipe` chooses.
        spread: of the starts. Default: the given one alone.
        callback: as `fit`.

    Raises:
        InputError: if the images do not do.
    """
    start = rendered_depth(inputs, inputs.T_camera_object) if start is None else start
    window = window_around((start > 0) if inputs.mask is None else (start > 0) | inputs.mask, MARGIN)
    observation = _seen(inputs, window, resolution)
    height, width = observation.size
    scene = Scene(inputs.T_camera_object[None], window.camera(inputs.camera).resized(width, height))
    renderer = MeshRenderer([inputs.mesh], buffers="core")
    spread = spread or Spread()
    starts = random_starts(
        jax.random.key(spread.seed), scene, spread.hypotheses,
        rotation=math.radians(spread.degrees), translation=spread.metres or 0.1 * inputs.mesh.diameter,
    )  # fmt: skip
    rivals = [] if inputs.found is None else other_poses(inputs.found, inputs.mesh)
    if len(rivals):
        starts = jnp.concatenate([starts, jnp.asarray(rivals, starts.dtype)[:, None]])
    try:
        look = render(scene, renderer)
        recipe = choose_recipe(look, observation, count_steps(optimizer, steps), loss=loss)
        recipe = recipe.keeping_all() if len(rivals) else recipe
        refinement = fit(
            scene, observation, renderer, recipe, optimizer=optimizer, learning_rate=learning_rate, starts=starts,
            callback=callback,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(str(error)) from None
    first = refinement.state.first_losses
    start_loss = refinement.loss_history[0, 0] if first is None else first[0]
    others = other_poses(refinement, inputs.mesh) if len(rivals) else refinement.alternatives[:, 0]
    # Without depth, the colours of what is seen from behind may fit better than those of the truth in another light.
    if inputs.found is not None and (len(others) or (len(rivals) and inputs.depth is None)):
        refinement = doubted(refinement, "more than one pose explains the photo: see hypotheses.png")
    return PhotoFit(refinement, recipe, window, float(start_loss), others)


def _seen(inputs: Inputs, window: Window, longer_side: int) -> Observation:
    """What is to be explained, in the window."""
    width, height = window.reduced(longer_side)
    try:
        return Observation(inputs.image, inputs.depth, inputs.mask, inputs.seen).cropped(*window).resized(width, height)
    except ValueError:
        raise InputError(
            f"The mask vanishes at {width}x{height} pixels: it is much smaller than the rendered start. Raise "
            "--resolution, or check the start."
        ) from None
