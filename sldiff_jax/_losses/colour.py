"""Losses of colour, for known light and for unknown."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .comparison import charbonnier, compared_region, largest_near, required, weigh
from .loss import Kernel, Residuals, identity, residual_loss

LUMINANCE = (0.299, 0.587, 0.114)
"""The share of red, green and blue in brightness (ITU-R BT.601)."""


@residual_loss
def photometric_loss(rendering: Rendering, observation: Observation, *, epsilon: float | Array = 0.01) -> Residuals:
    """Mean absolute colour difference, smoothed at zero (Charbonnier).

    For observations with the lighting of the rendering. If the observation has a mask, its pixels are compared; else
    the whole image, background included, so that the outline is felt.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).
        epsilon: differences in colour below this are squared rather than absolute.

    Returns:
        Scalar float, in units of colour, [0, 1).

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    return _photometric(rendering, observation, charbonnier(epsilon))


@residual_loss
def l1_loss(rendering: Rendering, observation: Observation) -> Residuals:
    """Mean absolute colour difference. Below a quarter of a grey level it is smooth, so that it has a derivative.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3). Compared as in `photometric_loss`.

    Returns:
        Scalar float, in units of colour, [0, 1).

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    return _photometric(rendering, observation, charbonnier(1e-3))


@residual_loss
def l2_loss(rendering: Rendering, observation: Observation) -> Residuals:
    """Mean squared colour difference.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3). Compared as in `photometric_loss`.

    Returns:
        Scalar float, in units of colour squared, [0, 1].

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    return _photometric(rendering, observation, identity)


@residual_loss
def huber_loss(rendering: Rendering, observation: Observation, *, delta: float | Array = 0.1) -> Residuals:
    """Mean Huber cost of the colour differences (Huber 1964): half the square up to `delta`, then linear.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3). Compared as in `photometric_loss`.
        delta: the difference in colour at which the cost becomes linear.

    Returns:
        Scalar float, in units of colour squared, [0, delta).

    Raises:
        ValueError: if the observation has no rgb or another size.
    """

    def kernel(squared: Array) -> Array:
        beyond = squared > delta**2
        return jnp.where(beyond, delta * (jnp.sqrt(jnp.where(beyond, squared, 1)) - 0.5 * delta), 0.5 * squared)

    return _photometric(rendering, observation, kernel)


@residual_loss
def zncc_loss(rendering: Rendering, observation: Observation) -> Residuals:
    """One minus the zero-mean normalised cross-correlation of the colours, averaged over the channels.

    Blind to gain and offset of each channel, hence for real photographs, whose lighting no renderer knows.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).

    Returns:
        Scalar float, 0 (equal up to gain and offset) to 2 (inverted); 1 where there is nothing to correlate.

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    target = required(observation, "rgb", rendering)
    weight = compared_region(rendering, observation)[..., None]
    count = jnp.maximum(jnp.sum(weight), 1e-6)

    def normalised(image: Array) -> Array:
        centred = image - jnp.sum(image * weight, (0, 1)) / count
        # A flat channel correlates with nothing; the floor keeps the root's derivative finite.
        return centred / jnp.sqrt(jnp.sum(weight * centred**2, (0, 1)) + 1e-6 * count)

    a, b = normalised(rendering.rgb), normalised(target)
    # 1 - sum(a b) = sum((a - b)^2) / 2 for unit vectors. What the floor takes from their length is given back.
    missing = jnp.mean(1 - 0.5 * jnp.sum(weight * (a**2 + b**2), (0, 1)))
    return Residuals(a - b, weight / 6, offset=missing)


@residual_loss
def edge_loss(rendering: Rendering, observation: Observation, *, epsilon: float | Array = 0.1) -> Residuals:
    """Mean absolute difference of the brightness gradients, each image's divided by its own root mean square.

    Blind to gain and offset, and to lighting that changes slowly over the image.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).
        epsilon: differences below this, in units of the root mean square, are squared rather than absolute.

    Returns:
        Scalar float, 0 for equal edges, about 1 for unrelated ones and where there is nothing to compare.

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    target = required(observation, "rgb", rendering)
    compared = compared_region(rendering, observation)
    # A gradient reaches one pixel around its own: none may see what lies beyond the region.
    weight = -largest_near(-compared)[..., None]
    count = jnp.maximum(jnp.sum(weight), 1e-6)

    def normalised_gradients(image: Array) -> Array:
        brightness = jnp.pad(image @ jnp.array(LUMINANCE, image.dtype), 1, mode="edge")
        along_x = brightness[1:-1, 2:] - brightness[1:-1, :-2]
        along_y = brightness[2:, 1:-1] - brightness[:-2, 1:-1]
        gradients = jnp.stack([along_x, along_y], axis=-1)
        # One grey level per pixel counts as noise.
        return gradients / jnp.sqrt(jnp.sum(weight * gradients**2) / count + 1e-4)

    difference = normalised_gradients(rendering.rgb) - normalised_gradients(target)
    return Residuals(
        difference,
        0.5 * weight / count,
        charbonnier(epsilon),
        offset=jnp.sum(weight) == 0,
    )


def _photometric(rendering: Rendering, observation: Observation, kernel: Kernel) -> Residuals:
    target = required(observation, "rgb", rendering)
    weight = jnp.ones_like(rendering.mask) if observation.mask is None else observation.mask
    weight = weigh(observation, weight)[..., None]
    return Residuals(rendering.rgb - target, weight / (3 * jnp.maximum(jnp.sum(weight), 1e-6)), kernel)
