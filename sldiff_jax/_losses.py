"""How far a rendering is from an observation, as functions that optimisers can descend.

Every loss has the signature ``loss(rendering, observation) -> scalar`` and is zero for a perfect match. Depth and
correlation are compared where the rendering shows an object and, if the observation has a mask, inside that mask. That
region is not differentiated: an object shall not gain by hiding what it fails to explain. Its outline is the mask's
business.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._observation import Observation
from ._render import Rendering
from ._typing import ScalarImage

OCCLUDER_MARGIN = 0.005
"""How much nearer than the object, in metres, a measurement must be to count as something in front of it."""


Loss = Callable[[Rendering, Observation], Float[Array, ""]]
"""Any function from a rendering and an observation to a scalar."""


def photometric_loss(rendering: Rendering, observation: Observation) -> Float[Array, ""]:
    """Mean absolute colour difference, smoothed at zero (Charbonnier, epsilon 0.01).

    For observations with the lighting of the rendering. The whole image counts, background included, so that the
    outline is felt without a mask.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).

    Returns:
        Scalar float, in units of colour, [0, 1).

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    difference = rendering.rgb - _required(observation, "rgb", rendering)
    return jnp.mean(jnp.sqrt(difference**2 + 1e-4) - 1e-2)


def zncc_loss(rendering: Rendering, observation: Observation) -> Float[Array, ""]:
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
    target = _required(observation, "rgb", rendering)
    weight = _compared(rendering, observation)[..., None]
    count = jnp.maximum(jnp.sum(weight), 1)

    def centred(image: Array) -> Array:
        return (image - jnp.sum(image * weight, (0, 1)) / count) * weight

    a, b = centred(rendering.rgb), centred(target)
    variances = jnp.sum(a * a, (0, 1)) * jnp.sum(b * b, (0, 1))
    # A flat channel correlates with nothing; the floor keeps the root's derivative finite.
    return jnp.mean(1 - jnp.sum(a * b, (0, 1)) / jnp.sqrt(variances + (1e-6 * count) ** 2))


def depth_loss(
    rendering: Rendering, observation: Observation, *, scale: float = 0.01, limit: float = 3.0
) -> Float[Array, ""]:
    """Mean absolute depth difference where both are measured, cut off so that outliers do not pull.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have depth, (H, W).
        scale: the difference, in metres, that costs 1.
        limit: the largest cost of a pixel. Differences beyond ``limit * scale`` metres are taken for outliers.

    Returns:
        Scalar float, 0 to `limit`; `limit` where no pixel has both depths.

    Raises:
        ValueError: if the observation has no depth or another size.
    """
    target = _required(observation, "depth", rendering)
    weight = _compared(rendering, observation) * (target > 0)
    cost = jnp.minimum(jnp.abs(rendering.depth - target) / scale, limit)
    count = jnp.sum(weight)
    return jnp.where(count > 0, jnp.sum(cost * weight) / jnp.maximum(count, 1), limit)


def silhouette_loss(rendering: Rendering, observation: Observation) -> Float[Array, ""]:
    """One minus the intersection over union of rendered and observed mask.

    Where the observed depth shows something in front of the object, outside of the observed mask, the object is
    hidden, and these pixels do not count.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have a mask, (H, W); its depth, if any, tells occluders.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the observation has no mask or another size.
    """
    target = _required(observation, "mask", rendering)
    weight = 1 - _occluders(rendering, observation) * (1 - target)
    intersection = jnp.sum(weight * rendering.mask * target)
    union = jnp.sum(weight * (rendering.mask + target - rendering.mask * target))
    return 1 - intersection / jnp.maximum(union, 1)


def default_loss(rendering: Rendering, observation: Observation) -> Float[Array, ""]:
    """`zncc_loss` + `depth_loss` + `silhouette_loss`, as far as the observation has the images.

    Args:
        rendering: the rendered images, (H, W).
        observation: the observed images, (H, W).

    Returns:
        Scalar float. Each part is of order one for a coarse start.

    Raises:
        ValueError: if the sizes differ.
    """
    parts = (("rgb", zncc_loss), ("depth", depth_loss), ("mask", silhouette_loss))
    losses = [loss(rendering, observation) for name, loss in parts if getattr(observation, name) is not None]
    return sum(losses, start=jnp.zeros((), rendering.mask.dtype))


def _required(observation: Observation, name: str, rendering: Rendering) -> Array:
    image = getattr(observation, name)
    if image is None:
        raise ValueError(f"This loss compares {name}, and the observation has none. Give it, or choose another loss.")
    if image.shape[:2] != rendering.mask.shape:
        raise ValueError(
            f"The observation is (height, width) = {image.shape[:2]}, the rendering {rendering.mask.shape}. Resize the "
            "observation, or use camera.resized(width, height)."
        )
    return image


def _compared(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): the pixels of which colour and depth are compared. Not differentiated."""
    seen = jax.lax.stop_gradient(rendering.mask)
    if observation.mask is not None:
        return seen * observation.mask
    return seen * (1 - _occluders(rendering, observation))


def _occluders(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): 1 where something measured lies in front of the object, or of the object next to the pixel."""
    if observation.depth is None:
        return jnp.zeros_like(rendering.mask)
    depth = jax.lax.stop_gradient(rendering.depth)
    around = jax.lax.reduce_window(depth, -jnp.inf, jax.lax.max, (5, 5), (1, 1), "SAME")
    measured = observation.depth
    return ((measured > 0) & (measured < around - OCCLUDER_MARGIN)).astype(depth.dtype)
