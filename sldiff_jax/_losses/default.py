"""The loss that `refine_poses` minimises unless it is told another."""

from __future__ import annotations

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .colour import zncc_loss
from .depth import depth_loss
from .loss import Residuals, residual_loss
from .silhouette import silhouette_loss


@residual_loss
def default_loss(rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
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
    present = [loss for name, loss in parts if getattr(observation, name) is not None]
    return tuple(part for loss in present for part in loss.residuals(rendering, observation))
