"""Losses of silhouettes: overlap of the rendered mask with the observed one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ScalarImage
from .comparison import required, weigh
from .filters import largest_near
from .loss import Loss, Residuals, residual_loss

OCCLUDER_MARGIN = 0.005
"""How much nearer than the object, in metres, a measurement must be to count as something in front of it."""


@residual_loss
def silhouette_loss(
    rendering: Rendering, observation: Observation, *, outside: float | Array = 1.0, near: int = 0
) -> Residuals:
    """One minus the intersection over union of rendered and observed mask, soft masks included.

    For soft masks p and t this is ``sum((p - t)^2) / sum(p^2 + t^2 - p t)`` (Tanimoto), which is zero for equal masks.
    Where the observed depth shows something in front of the object, outside of the observed mask, the object is
    hidden, and these pixels do not count.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have a mask, (H, W); its depth, if any, tells occluders.
        outside: how much a pixel counts outside of the observed mask; less than 1 where something may hide part of the
            object and no depth tells: then what is seen must be covered, and what is covered need not be seen.
        near: so many pixels around the mask count fully nevertheless, so that outlines which nothing hides still meet.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the observation has no mask or another size.
    """
    target = required(observation, "mask", rendering)
    certain = target
    for _ in range(near):
        certain = largest_near(certain)
    p, weight = rendering.mask, _visible(rendering, observation) * (certain + (1 - certain) * outside)
    union = jnp.sum(weight * (p**2 + target**2 - p * target))
    return Residuals((p - target) / jnp.sqrt(jnp.maximum(union, 1e-6)), weight)


@residual_loss
def dice_loss(rendering: Rendering, observation: Observation) -> Residuals:
    """One minus the Dice coefficient (F1 score) of rendered and observed mask, soft masks included.

    For soft masks p and t this is ``sum((p - t)^2) / sum(p^2 + t^2)`` (Milletari et al. 2016).

    Args:
        rendering: the rendered images, (H, W).
        observation: must have a mask, (H, W); its depth, if any, tells occluders as in `silhouette_loss`.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the observation has no mask or another size.
    """
    target = required(observation, "mask", rendering)
    p, weight = rendering.mask, _visible(rendering, observation)
    return Residuals((p - target) / jnp.sqrt(jnp.maximum(jnp.sum(weight * (p**2 + target**2)), 1e-6)), weight)


class _NegativeIoU(Loss):
    """stillleben's `neg_iou_loss` of the masks: ``1 - sum(p t) / sum(p + t - p t)``.

    For masks of zeros and ones this is `silhouette_loss`. It is zero for equal masks only if they are hard: this loss
    prefers a rendering without soft edges. Least squares takes the residuals of `silhouette_loss` for its curvature.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have a mask, (H, W); its depth, if any, tells occluders as in `silhouette_loss`.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the observation has no mask or another size.
    """

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        target = required(observation, "mask", rendering)
        p, weight = rendering.mask, _visible(rendering, observation)
        intersection = jnp.sum(weight * p * target)
        return 1 - intersection / (jnp.sum(weight * (p + target - p * target)) + 1e-6)

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return silhouette_loss.residuals(rendering, observation)


neg_iou_loss = _NegativeIoU()
"""stillleben's `neg_iou_loss` of the masks p and t, (H, W) float: ``1 - sum(p t) / sum(p + t - p t)``, in [0, 1].

For masks of zeros and ones this is `silhouette_loss`, from which least squares takes its curvature.
"""


def _visible(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): how much each pixel of the mask counts. Not differentiated."""
    return weigh(observation, 1 - occluders(rendering, observation) * (1 - required(observation, "mask", rendering)))


def occluders(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): 1 where something measured lies in front of the object, or of the object next to the pixel."""
    if observation.depth is None:
        return jnp.zeros_like(rendering.mask)
    depth = jax.lax.stop_gradient(rendering.depth)
    around = jax.lax.reduce_window(depth, -jnp.inf, jax.lax.max, (5, 5), (1, 1), "SAME")
    measured = observation.depth
    return ((measured > 0) & (measured < around - OCCLUDER_MARGIN)).astype(depth.dtype)
