"""Losses of colour, for known light and for unknown."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .comparison import charbonnier, compared_surface, presence, required, weigh
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
def zncc_loss(rendering: Rendering, observation: Observation, *, contrast: float | Array = 0.02) -> Residuals:
    """One minus the zero-mean normalised cross-correlation of the colours, averaged over the channels.

    Blind to gain and offset of each channel, hence for real photographs, whose lighting no renderer knows. A channel
    that does not vary inside of the object counts for nothing; where none does, nothing pulls.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).
        contrast: the standard deviation of a channel, in units of colour, of rendering or photo, with which it counts
            half.

    Returns:
        Scalar float, 0 (equal up to gain and offset) to 2 (inverted); 1 where there is nothing to correlate.

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    surface = compared_surface(rendering, observation)
    weight = surface.weight[..., None]
    count = jnp.maximum(jnp.sum(weight), 1e-6)

    def centred(image: Array) -> tuple[Array, Array]:
        image = image - jnp.sum(image * weight, (0, 1)) / count
        return image, jnp.sum(weight * image**2, (0, 1)) / count

    (a, a_variance), (b, b_variance) = centred(surface.rendered), centred(surface.observed)
    present = presence(a_variance, contrast**2) * presence(b_variance, contrast**2)
    share = present / jnp.maximum(jnp.sum(present), 1)
    # 1 - sum(a b) = sum((a - b)^2) / 2 for unit vectors. The floor keeps the root's derivative finite.
    a, b = (x / jnp.sqrt(count * (v + 1e-8)) for x, v in ((a, a_variance), (b, b_variance)))
    return Residuals(a - b, 0.5 * share * weight, offset=1 - jnp.sum(share))


@residual_loss
def edge_loss(
    rendering: Rendering, observation: Observation, *, epsilon: float | Array = 0.1, contrast: float | Array = 0.01
) -> Residuals:
    """Mean absolute difference of the brightness gradients, each image's divided by its own root mean square.

    Blind to gain and offset, and to lighting that changes slowly over the image. Where rendering or photo has no edges
    inside of the object, nothing pulls.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).
        epsilon: differences below this, in units of the root mean square, are squared rather than absolute.
        contrast: the root mean square, in brightness over two pixels, with which the edges of an image count half.

    Returns:
        Scalar float, 0 for equal edges, about 1 for unrelated ones and where there is nothing to compare.

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    surface = compared_surface(rendering, observation, reach=1)
    weight = surface.weight[..., None]
    count = jnp.maximum(jnp.sum(weight), 1e-6)

    def gradients(image: Array) -> tuple[Array, Array]:
        brightness = jnp.pad(image @ jnp.array(LUMINANCE, image.dtype), 1, mode="edge")
        along_x = brightness[1:-1, 2:] - brightness[1:-1, :-2]
        along_y = brightness[2:, 1:-1] - brightness[:-2, 1:-1]
        both = jnp.stack([along_x, along_y], axis=-1)
        return both, jnp.sum(weight * both**2) / count

    (a, a_square), (b, b_square) = gradients(surface.rendered), gradients(surface.observed)
    present = presence(a_square, contrast**2) * presence(b_square, contrast**2)
    difference = a / jnp.sqrt(a_square + 1e-8) - b / jnp.sqrt(b_square + 1e-8)
    return Residuals(difference, 0.5 * present * weight / count, charbonnier(epsilon), offset=1 - present)


def _photometric(rendering: Rendering, observation: Observation, kernel: Kernel) -> Residuals:
    target = required(observation, "rgb", rendering)
    weight = jnp.ones_like(rendering.mask) if observation.mask is None else observation.mask
    weight = weigh(observation, weight)[..., None]
    return Residuals(rendering.rgb - target, weight / (3 * jnp.maximum(jnp.sum(weight), 1e-6)), kernel)
