"""What losses of colour, depth and silhouette share: which pixels they compare, and how.

Every loss is called as ``loss(rendering, observation) -> scalar``, is zero for a perfect match, and of order one for a
coarse start. Each pixel counts as much as the observation's weight says, if it has one.

Correlation, edges and depth are compared where the rendering shows an object and, if the observation has a mask, inside
that mask. That region is not differentiated: an object shall not gain by hiding what it fails to explain. Its outline
is the mask's business. Where nothing is to be compared, a loss takes the value of a bad match.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ScalarImage
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


def largest_near(image: ScalarImage) -> ScalarImage:
    """(H, W): the largest value within a window of 3 x 3 pixels."""
    return jax.lax.reduce_window(image, -jnp.inf, jax.lax.max, (3, 3), (1, 1), "SAME")
