"""Blur and reduction of images, of whole renderings and of observations."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ColorImage, ScalarImage

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The low-pass of the Gaussian pyramid (Burt and Adelson 1983)."""


def gaussian(sigma: float) -> tuple[float, ...]:
    """The weights of a Gaussian, cut off at three sigma and normalised; (1,) for no blur."""
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return (1.0,)
    weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
    return tuple(weight / sum(weights) for weight in weights)


def smooth(
    image: Float[Array, "height width *channels"], kernel: tuple[float, ...], *, stride: int = 1
) -> Float[Array, "rows columns *channels"]:
    """Convolves rows and columns with one kernel, the border repeated, and keeps every `stride`-th pixel of each."""
    radius = len(kernel) // 2
    planes = jnp.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)[:, None]
    planes = jnp.pad(planes, ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode="edge")
    weights = jnp.array(kernel, image.dtype)
    for axis, strides in (((-1, 1), (stride, 1)), ((1, -1), (1, stride))):
        planes = jax.lax.conv_general_dilated(
            planes, weights.reshape(1, 1, *axis), strides, "VALID", precision=jax.lax.Precision.HIGHEST
        )
    return jnp.moveaxis(planes[:, 0], 0, -1).reshape(*planes.shape[-2:], *image.shape[2:])


def smooth_rendering(rendering: Rendering, kernel: tuple[float, ...], *, stride: int = 1) -> Rendering:
    """All images of a rendering, smoothed. Depth is averaged over the pixels that have one."""
    masks = rendering.object_masks
    return Rendering(
        rgb=smooth(rendering.rgb, kernel, stride=stride),
        depth=_smooth_depth(rendering.depth, kernel, stride),
        mask=smooth(rendering.mask, kernel, stride=stride),
        object_masks=None if masks is None else jax.vmap(lambda mask: smooth(mask, kernel, stride=stride))(masks),
    )


def smooth_observation(observation: Observation, kernel: tuple[float, ...], *, stride: int = 1) -> Observation:
    """All images of an observation, smoothed. Depth is averaged over the pixels that have one."""

    def smoothed(image: ColorImage | ScalarImage | None) -> Array | None:
        return None if image is None else smooth(image, kernel, stride=stride)

    depth = observation.depth
    replacement = (
        smoothed(observation.rgb),
        None if depth is None else _smooth_depth(depth, kernel, stride),
        smoothed(observation.mask),
        smoothed(observation.weight),
    )
    # Not through the constructor, which would check the values again.
    return eqx.tree_at(
        lambda o: (o.rgb, o.depth, o.mask, o.weight), observation, replacement, is_leaf=lambda leaf: leaf is None
    )


def _smooth_depth(depth: ScalarImage, kernel: tuple[float, ...], stride: int) -> Float[Array, "rows columns"]:
    """Zero where most of the kernel's weight lies on pixels without a depth."""
    measured = (depth > 0).astype(depth.dtype)
    share = smooth(measured, kernel, stride=stride)
    enough = share > 0.5
    return jnp.where(enough, smooth(depth, kernel, stride=stride) / jnp.where(enough, share, 1), 0)
