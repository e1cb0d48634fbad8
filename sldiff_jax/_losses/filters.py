"""Blur and reduction of images, of whole renderings and of observations."""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._scene.typing import ColorImage, ScalarImage

DENSE = 256
"""Pixels along a side, up to which a matrix smooths it."""
Kernel = Float[Array | np.ndarray, " weights"]
"""An odd number of weights."""
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
"""The low-pass of the Gaussian pyramid (Burt and Adelson 1983)."""


def reach(sigma: float) -> int:
    """Pixels to either side that a Gaussian reaches: three sigma."""
    return math.ceil(3 * sigma)


def gaussian(sigma: float | Float[Array, ""], radius: int) -> Float[Array, " weights"]:
    """The normalised weights of a Gaussian that reaches that far (see `reach`); no blur for a sigma of 0."""
    x = jnp.arange(-radius, radius + 1, dtype=jnp.result_type(float))
    weights = jnp.where(sigma > 0, jnp.exp(-0.5 * (x / jnp.where(sigma > 0, sigma, 1)) ** 2), x == 0)
    return weights / jnp.sum(weights)


def smooth(
    image: Float[Array, "height width *channels"], kernel: Kernel, *, stride: int = 1
) -> Float[Array, "rows columns *channels"]:
    """Convolves rows and columns with one kernel, the border repeated, and keeps every `stride`-th pixel of each.

    Images that no loss uses cost nothing if each is smoothed by itself: together they have one derivative.
    """
    height, width = image.shape[:2]
    planes = jnp.moveaxis(image.reshape(height, width, -1), -1, 0)
    for axis in (1, 2):
        planes = _smooth_axis(planes, axis, kernel, stride)
    smoothed = jnp.moveaxis(planes, 0, -1)
    return smoothed.reshape(*smoothed.shape[:2], *image.shape[2:])


def _smooth_axis(planes: Array, axis: int, kernel: Kernel, stride: int) -> Array:
    """By a matrix where that is small: it compiles in a third of the time. Else by a loop over the weights.

    On a CPU XLA convolves images of one channel fifty times slower than it shifts them. The sum of as many slices,
    written out, has for its derivative a sum of paddings, which is slow again.
    """
    size, radius = planes.shape[axis], len(kernel) // 2
    weights = jnp.asarray(kernel, planes.dtype)
    if size <= DENSE:
        ends = jnp.arange(0, size, stride)[:, None] + jnp.arange(-radius, radius + 1)
        rows = jnp.arange(len(ends))[:, None]
        matrix = jnp.zeros((len(ends), size), planes.dtype).at[rows, jnp.clip(ends, 0, size - 1)].add(weights)
        smoothed = jnp.tensordot(planes, matrix, ((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
        return jnp.moveaxis(smoothed, -1, axis)
    margins = [(radius, radius) if i == axis else (0, 0) for i in range(planes.ndim)]
    padded = jax.lax.optimization_barrier(jnp.pad(planes, margins, mode="edge"))

    def add(total: Array, weight_at: tuple[Array, Array]) -> tuple[Array, None]:
        weight, at = weight_at
        shifted = jax.lax.dynamic_slice_in_dim(padded, at, size, axis)
        return total + weight * jax.lax.slice_in_dim(shifted, 0, size, stride, axis), None

    zeros = jnp.zeros_like(jax.lax.slice_in_dim(planes, 0, size, stride, axis))
    return jax.lax.scan(add, zeros, (weights, jnp.arange(len(kernel))), unroll=4)[0]


def largest_near(image: ScalarImage) -> ScalarImage:
    """(H, W): the largest value within a window of 3 x 3 pixels."""
    return jax.lax.reduce_window(image, -jnp.inf, jax.lax.max, (3, 3), (1, 1), "SAME")


def smallest_near(image: ScalarImage) -> ScalarImage:
    """(H, W): the smallest value within a window of 3 x 3 pixels."""
    return -largest_near(-image)


class Surface(NamedTuple):
    """The colour of an object without what it is mixed with on its outline.

    Attributes:
        rendered: (H, W, 3) float.
        observed: (H, W, 3) float, smoothed over the same pixels.
        weight: (H, W) float, how much of each pixel is to be compared. Not differentiated.
    """

    rendered: ColorImage
    observed: ColorImage
    weight: ScalarImage


class SmoothedRendering(Rendering):
    """A smoothed rendering, which knows the surface of its object by itself."""

    surface: Surface | None = None


def bare_surface(rendering: Rendering, observation: Observation, rgb: ColorImage) -> Surface:
    """That of a rendering and an observation, of this colour, which were not smoothed."""
    weight = smallest_near(jax.lax.stop_gradient(rendering.mask))
    for factor in (observation.mask, observation.weight):
        weight = weight if factor is None else weight * factor
    return Surface(rendering.rgb, rgb, weight)


def smooth_both(
    rendering: Rendering, observation: Observation, kernel: Kernel, *, stride: int = 1
) -> tuple[SmoothedRendering, Observation]:
    """A rendering and an observation, smoothed; the colours of the object also over its own pixels alone."""
    surface = rendering.surface if isinstance(rendering, SmoothedRendering) else None
    if surface is None and observation.rgb is not None and observation.rgb.shape == rendering.rgb.shape:
        surface = bare_surface(rendering, observation, observation.rgb)
    if surface is not None:
        weight = surface.weight[..., None]
        share = smooth(surface.weight, kernel, stride=stride)
        enough = share > 1e-3
        images = [
            smooth(image * weight, kernel, stride=stride) / jnp.where(enough, share, 1)[..., None]
            for image in (surface.rendered, surface.observed)
        ]
        surface = Surface(*images, weight=jnp.where(enough, share, 0))
    smoothed = smooth_rendering(rendering, kernel, stride=stride)
    fields = (smoothed.rgb, smoothed.depth, smoothed.mask, smoothed.object_masks)
    return SmoothedRendering(*fields, surface), smooth_observation(observation, kernel, stride=stride)


def smooth_rendering(rendering: Rendering, kernel: Kernel, *, stride: int = 1) -> Rendering:
    """All images of a rendering, smoothed. Depth is averaged over the pixels that have one."""
    masks = rendering.object_masks
    return Rendering(
        rgb=smooth(rendering.rgb, kernel, stride=stride),
        depth=_smooth_depth(rendering.depth, kernel, stride),
        mask=smooth(rendering.mask, kernel, stride=stride),
        object_masks=None if masks is None else jax.vmap(lambda mask: smooth(mask, kernel, stride=stride))(masks),
    )


def smooth_observation(observation: Observation, kernel: Kernel, *, stride: int = 1) -> Observation:
    """All images of an observation, smoothed. Depth is averaged over the pixels that have one."""
    images = {name: getattr(observation, name) for name in ("rgb", "mask", "weight")}
    smoothed = {name: smooth(image, kernel, stride=stride) for name, image in images.items() if image is not None}
    if observation.depth is not None:
        smoothed["depth"] = _smooth_depth(observation.depth, kernel, stride)
    # Not through the constructor, which would check the values again.
    return eqx.tree_at(lambda o: [getattr(o, name) for name in smoothed], observation, list(smoothed.values()))


def _smooth_depth(depth: ScalarImage, kernel: Kernel, stride: int) -> Float[Array, "rows columns"]:
    """The mean of the pixels that have a depth; zero where most of the kernel's weight lies on pixels without one."""
    measured = smooth((depth > 0).astype(depth.dtype), kernel, stride=stride)
    enough = measured > 0.5
    return jnp.where(enough, smooth(depth, kernel, stride=stride) / jnp.where(enough, measured, 1), 0)
