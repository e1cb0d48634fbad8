"""The loss of depth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ScalarImage
from .comparison import charbonnier, compared_region, required
from .filters import largest_near
from .loss import Residuals, residual_loss


@residual_loss
def depth_loss(
    rendering: Rendering, observation: Observation, *, scale: float | Array = 0.01, limit: float | Array = 3.0
) -> Residuals:
    """Mean absolute depth difference where both are measured, cut off so that outliers do not pull.

    Where the rendered depth jumps by more than an outlier from one pixel to the next, nothing is compared: such a pixel
    has one depth or quite another, and sensors are wrong there. These outlines are left to colour and mask.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have depth, (H, W).
        scale: the difference, in metres, that costs about 1. Below a tenth of it the cost is smooth.
        limit: the largest cost of a pixel. Differences beyond about ``limit * scale`` metres are taken for outliers.

    Returns:
        Scalar float, 0 to `limit`; `limit` where no pixel has both depths.

    Raises:
        ValueError: if the observation has no depth or another size.
    """
    target = required(observation, "depth", rendering)
    weight = compared_region(rendering, observation) * (target > 0) * (rendering.depth > 0)
    weight *= _depth_range(rendering) <= limit * scale
    absolute = charbonnier(0.1)
    count = jnp.sum(weight)
    return Residuals(
        jnp.where(weight > 0, rendering.depth - target, 0) / scale,
        weight / jnp.maximum(count, 1e-6),
        lambda squared: jnp.minimum(absolute(squared), limit),
        offset=jnp.where(count > 0, 0, limit),
    )


def _depth_range(rendering: Rendering) -> ScalarImage:
    """(H, W): by how many metres the rendered depth varies within a window of 3 x 3 pixels."""
    depth = jax.lax.stop_gradient(rendering.depth)
    return largest_near(depth) + largest_near(jnp.where(depth > 0, -depth, -jnp.inf))
