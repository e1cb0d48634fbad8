"""The loss of regions: the rendered silhouette against what looks like the object and not like what is beside it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ScalarImage
from .comparison import required, weigh
from .loss import Loss, Residuals
from .silhouette import occluders

BINS, DEPTH_BINS = 16, 48
"""Of each channel of colour, and of depth."""
ROUNDS = 3
"""How often the models are learned from what the ones before took for the object."""
CERTAIN = 0.02
"""The probability of object or background that no colour falls below."""


class RegionLoss(Loss):
    """How much of the rendered silhouette looks like background, and of the rest like the object.

    Colours, and depth where it is measured, are counted in two histograms, of the object and of what is around it. By
    Bayes' rule they give each pixel's probability p of showing the object (pixel-wise posteriors: Bibby and Reid 2008;
    Prisacariu and Reid, PWP3D, 2012). The loss is ``sum((mask - p)^2) / sum(p^2)``, over the whole image, so that its
    values at different poses can be compared. It needs no mask, and no texture.

    The histograms are learned where a stage of `refine_poses` begins (`prepared`): from the observation's mask, or else
    from the rendered silhouette, in a few rounds that leave out of each what looks like the other. Called without
    having been prepared, the loss learns from the rendering that it is called with.

    Where the observed depth shows something in front of the object that does not look like it, nothing is compared.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3); its depth and mask, if any, help.

    Returns:
        Scalar float, 0 where the silhouette is what looks like the object, about 1 for a bad start.

    Raises:
        ValueError: if the observation has no rgb or another size, or the loss learned from images of another size.

    Attributes:
        posterior: optional (H, W) float in [0, 1], the probabilities that were learned.
    """

    posterior: Float[Array, "height width"] | None = None

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        """As every `Loss`."""
        required(observation, "rgb", rendering)
        p = self.posterior
        if p is None:
            p = object_probability(rendering, observation)
        if p.shape != rendering.mask.shape:
            raise ValueError(
                f"region_loss learned at (height, width) = {p.shape}, the rendering is {rendering.mask.shape}. Leave "
                "it out of a pyramid, or prepare it with images of this size."
            )
        p = jax.lax.stop_gradient(p)
        weight = weigh(observation, 1 - occluders(rendering, observation) * (1 - p))
        return (Residuals(rendering.mask - p, weight / jnp.maximum(jnp.sum(weigh(observation, p**2)), 1.0)),)

    @property
    def learns(self) -> bool:
        """It does."""
        return True

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> RegionLoss:
        """The loss with what these images teach; see `Loss.prepared`."""
        required(observation, "rgb", rendering)
        p = object_probability(rendering, observation)
        return RegionLoss(p if smoothing is None else smoothing(p))


region_loss = RegionLoss()
"""How much of the rendered silhouette looks like background, and of the rest like the object: see `RegionLoss`."""


def object_probability(rendering: Rendering, observation: Observation) -> Float[Array, "height width"]:
    """(H, W): how probably each pixel shows the object, by its colour and depth. Not differentiated.

    Args:
        rendering: whose silhouette is somewhat right, if the observation has no mask.
        observation: must have rgb.
    """
    seed = jax.lax.stop_gradient(rendering.mask if observation.mask is None else observation.mask)
    counted = jnp.ones_like(seed) if observation.weight is None else (observation.weight > 0).astype(seed.dtype)
    features = [_color_cells(jnp.clip(observation.rgb, 0, 1))]
    if observation.depth is not None:
        features.append(_depth_cells(observation.depth, seed * counted))
    inside, outside = seed * counted, (1 - seed) * counted
    p = jnp.full_like(seed, 0.5)
    for _ in range(ROUNDS):
        odds = jnp.ones_like(seed)
        for cells, spread in features:
            odds *= _odds(cells, spread, inside, outside)
        p = jnp.clip(odds / (1 + odds), CERTAIN, 1 - CERTAIN)
        inside, outside = seed * p * counted, jnp.maximum((1 - seed), 0.1) * (1 - p) * counted
    return p


def _odds(cells: Array, spread: Callable[[Array], Array], inside: ScalarImage, outside: ScalarImage) -> ScalarImage:
    """Of object to background, by the densities of both in each pixel's cell; even where neither was seen."""
    densities = []
    for weight in (inside, outside):
        histogram = spread(weight)
        densities.append(histogram / jnp.maximum(jnp.sum(histogram), 1e-6))
    floor = 0.02 / densities[0].size + 1e-3 * jnp.max(densities[1])
    ratio = (densities[0] + floor) / (densities[1] + floor)
    return jnp.concatenate([ratio.ravel(), jnp.ones(1, ratio.dtype)])[cells]


def _color_cells(rgb: Array) -> tuple[Array, Callable[[Array], Array]]:
    """The cell of each pixel, and the smoothed histogram of weights over all cells."""
    r, g, b = jnp.moveaxis(jnp.minimum((rgb * BINS).astype(int), BINS - 1), -1, 0)
    cells = (r * BINS + g) * BINS + b

    def spread(weight: ScalarImage) -> Float[Array, "r g b"]:
        cube = jnp.zeros(BINS**3, weight.dtype).at[cells.ravel()].add(weight.ravel()).reshape(BINS, BINS, BINS)
        for axis in range(3):
            cube = _blur_axis(cube, axis)
        return cube

    return cells, spread


def _depth_cells(depth: ScalarImage, seed: ScalarImage) -> tuple[Array, Callable[[Array], Array]]:
    """As of colours; the last cell, which tells nothing, is for pixels without measurement."""
    measured = depth > 0
    inside = seed * measured
    total = jnp.maximum(jnp.sum(inside), 1e-6)
    middle = jnp.sum(inside * depth) / total
    width = jnp.sqrt(jnp.sum(inside * (depth - middle) ** 2) / total) + 0.02 * middle + 1e-6
    place = (depth - middle) / (6 * width) + 0.5
    cells = jnp.where(measured, jnp.clip((place * DEPTH_BINS).astype(int), 0, DEPTH_BINS - 1), DEPTH_BINS)

    def spread(weight: ScalarImage) -> Float[Array, " bins"]:
        line = jnp.zeros(DEPTH_BINS, weight.dtype).at[cells.ravel()].add((weight * measured).ravel(), mode="drop")
        return _blur_axis(line, 0)

    return cells, spread


def _blur_axis(histogram: Array, axis: int) -> Array:
    """One, two, one along an axis; what would leave it stays in the last cell."""
    moved = jnp.moveaxis(histogram, axis, 0)
    padded = jnp.concatenate([moved[:1], moved, moved[-1:]])
    return jnp.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
