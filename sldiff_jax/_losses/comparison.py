"""What losses of colour, depth and silhouette share: which pixels they compare, and how.

Every loss is called as ``loss(rendering, observation) -> scalar``, is zero for a perfect match, and of order one for a
coarse start. Each pixel counts as much as the observation's weight says, if it has one.

Correlation, edges and depth are compared where the rendering shows an object and, if the observation has a mask, inside
that mask. That region is not differentiated: an object shall not gain by hiding what it fails to explain. Its outline
is the mask's business. Where nothing is to be compared, a loss takes the value of a bad match, and pulls nowhere: so
does correlation where a surface shows no contrast.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ScalarImage
from .filters import SmoothedRendering, Surface, bare_surface, smallest_near
from .loss import Kernel

LossFunction = Callable[[Rendering, Observation], Float[Array, ""]]
"""What `refine_poses` minimises: a `Loss`, or any function from a rendering and an observation to a scalar."""


def charbonnier(epsilon: float | Array) -> Kernel:
    """The absolute value, squared below epsilon (Charbonnier et al. 1994)."""
    return lambda squared: jnp.sqrt(squared + epsilon**2) - epsilon


def required(observation: Observation, name: str, rendering: Rendering) -> Array:
    image = getattr(observation, name)
    if image is None:
        raise ValueError(f"This loss compares {name}, and the observation has none. Give it, or choose another loss.")
    if image.shape[:2] != rendering.mask.shape:
        raise ValueError(
            f"The observation is (height, width) = {image.shape[:2]}, the rendering {rendering.mask.shape}. Resize the "
            "observation, or use camera.resized(width, height)."
        )
    return image


def weigh(observation: Observation, weight: ScalarImage) -> ScalarImage:
    return weight if observation.weight is None else weight * observation.weight


def compared_region(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): how much colour and depth of each pixel are compared. Not differentiated."""
    seen = jax.lax.stop_gradient(rendering.mask)
    return weigh(observation, seen if observation.mask is None else seen * observation.mask)


def compared_surface(rendering: Rendering, observation: Observation, *, reach: int = 0) -> Surface:
    """The object's colours, rendered and observed, where they may be compared.

    On its outline the object is mixed with a background that the photo does not have. This contrast is no property of
    the object: pixels of the outline are left out, whose colour changes as the outline moves.

    Args:
        rendering: the rendered images.
        observation: whose mask and weight count.
        reach: by how many pixels around its own each comparison looks.
    """
    target = required(observation, "rgb", rendering)
    surface = rendering.surface if isinstance(rendering, SmoothedRendering) else None
    if surface is None:
        surface = bare_surface(rendering, observation, target)
    weight = surface.weight
    for _ in range(reach):
        weight = smallest_near(weight)
    return surface._replace(weight=weight)


def presence(variance: Array, least: float | Array) -> Array:
    """How far a contrast can be told from none, 0 to 1: a half at the least variance. Not differentiated.

    It vanishes faster than the variance, so that what is divided by the deviation vanishes with it.
    """
    squared = jax.lax.stop_gradient(variance) ** 2
    return squared / (squared + least**2)
