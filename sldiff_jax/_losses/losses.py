"""How far a rendering is from an observation: colour, depth and silhouette, as losses that optimisers can descend.

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

from .._gradients.render import Rendering
from .._images.observation import Observation
from .._scene.typing import ScalarImage
from .loss import Kernel, Loss, Residuals, identity, residual_loss

OCCLUDER_MARGIN = 0.005
"""How much nearer than the object, in metres, a measurement must be to count as something in front of it."""

LUMINANCE = (0.299, 0.587, 0.114)
"""The share of red, green and blue in brightness (ITU-R BT.601)."""

LossFunction = Callable[[Rendering, Observation], Float[Array, ""]]
"""What `refine_poses` minimises: a `Loss`, or any function from a rendering and an observation to a scalar."""


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
    return _photometric(rendering, observation, _charbonnier(epsilon))


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
    return _photometric(rendering, observation, _charbonnier(1e-3))


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
    target = _required(observation, "rgb", rendering)
    weight = _compared(rendering, observation)[..., None]
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
    target = _required(observation, "rgb", rendering)
    compared = _compared(rendering, observation)
    # A gradient reaches one pixel around its own: none may see what lies beyond the region.
    weight = -_largest_near(-compared)[..., None]
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
        _charbonnier(epsilon),
        offset=jnp.sum(weight) == 0,
    )


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
    target = _required(observation, "depth", rendering)
    weight = _compared(rendering, observation) * (target > 0) * (rendering.depth > 0)
    weight *= _depth_range(rendering) <= limit * scale
    absolute = _charbonnier(0.1)
    count = jnp.sum(weight)
    return Residuals(
        jnp.where(weight > 0, rendering.depth - target, 0) / scale,
        weight / jnp.maximum(count, 1e-6),
        lambda squared: jnp.minimum(absolute(squared), limit),
        offset=jnp.where(count > 0, 0, limit),
    )


@residual_loss
def silhouette_loss(rendering: Rendering, observation: Observation) -> Residuals:
    """One minus the intersection over union of rendered and observed mask, soft masks included.

    For soft masks p and t this is ``sum((p - t)^2) / sum(p^2 + t^2 - p t)`` (Tanimoto), which is zero for equal masks.
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
    p, weight = rendering.mask, _visible(rendering, observation)
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
    target = _required(observation, "mask", rendering)
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
        target = _required(observation, "mask", rendering)
        p, weight = rendering.mask, _visible(rendering, observation)
        intersection = jnp.sum(weight * p * target)
        return 1 - intersection / (jnp.sum(weight * (p + target - p * target)) + 1e-6)

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return silhouette_loss.residuals(rendering, observation)


neg_iou_loss = _NegativeIoU()
"""stillleben's `neg_iou_loss` of the masks p and t, (H, W) float: ``1 - sum(p t) / sum(p + t - p t)``, in [0, 1].

For masks of zeros and ones this is `silhouette_loss`, from which least squares takes its curvature.
"""


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


def _charbonnier(epsilon: float | Array) -> Kernel:
    """The absolute value, squared below epsilon (Charbonnier et al. 1994)."""
    return lambda squared: jnp.sqrt(squared + epsilon**2) - epsilon


def _photometric(rendering: Rendering, observation: Observation, kernel: Kernel) -> Residuals:
    target = _required(observation, "rgb", rendering)
    weight = jnp.ones_like(rendering.mask) if observation.mask is None else observation.mask
    weight = _weigh(observation, weight)[..., None]
    return Residuals(rendering.rgb - target, weight / (3 * jnp.maximum(jnp.sum(weight), 1e-6)), kernel)


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


def _weigh(observation: Observation, weight: ScalarImage) -> ScalarImage:
    return weight if observation.weight is None else weight * observation.weight


def _compared(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): how much colour and depth of each pixel are compared. Not differentiated."""
    seen = jax.lax.stop_gradient(rendering.mask)
    return _weigh(observation, seen if observation.mask is None else seen * observation.mask)


def _visible(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): how much each pixel of the mask counts. Not differentiated."""
    return _weigh(observation, 1 - _occluders(rendering, observation) * (1 - _required(observation, "mask", rendering)))


def _depth_range(rendering: Rendering) -> ScalarImage:
    """(H, W): by how many metres the rendered depth varies within a window of 3 x 3 pixels."""
    depth = jax.lax.stop_gradient(rendering.depth)
    return _largest_near(depth) + _largest_near(jnp.where(depth > 0, -depth, -jnp.inf))


def _largest_near(image: ScalarImage) -> ScalarImage:
    """(H, W): the largest value within a window of 3 x 3 pixels."""
    return jax.lax.reduce_window(image, -jnp.inf, jax.lax.max, (3, 3), (1, 1), "SAME")


def _occluders(rendering: Rendering, observation: Observation) -> ScalarImage:
    """(H, W): 1 where something measured lies in front of the object, or of the object next to the pixel."""
    if observation.depth is None:
        return jnp.zeros_like(rendering.mask)
    depth = jax.lax.stop_gradient(rendering.depth)
    around = jax.lax.reduce_window(depth, -jnp.inf, jax.lax.max, (5, 5), (1, 1), "SAME")
    measured = observation.depth
    return ((measured > 0) & (measured < around - OCCLUDER_MARGIN)).astype(depth.dtype)
