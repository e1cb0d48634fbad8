"""Exposure and white balance that the renderer does not know: a gain and an offset of each colour channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .comparison import compared_surface
from .filters import SmoothedRendering
from .loss import Loss, Residuals

FLAT = 1e-4
"""Variance of a channel, in units of colour squared, at which its gain is pulled a third of the way to one."""
LEAST_GAIN = 0.05


class Exposure(NamedTuple):
    """What a photo makes of rendered colours: ``gain * colour + offset``.

    Attributes:
        gain: (3,) float, positive.
        offset: (3,) float, in units of colour.
    """

    gain: Float[Array, "3"]
    offset: Float[Array, "3"]


def match_exposure(rendering: Rendering, observation: Observation) -> Exposure:
    """The exposure with which rendered colours come nearest to observed ones, by least squares.

    Compared where the rendering shows an object, inside of the observation's mask if it has one, without the outline.
    A channel that does not vary there has no gain of its own: it is one, and the offset is the difference.

    Args:
        rendering: the rendered images, (H, W).
        observation: must have rgb, (H, W, 3).

    Returns:
        The `Exposure`. Differentiable. Where nothing is compared, gain 1 and offset 0.

    Raises:
        ValueError: if the observation has no rgb or another size.
    """
    surface = compared_surface(rendering, observation)
    weight = surface.weight[..., None]
    total = jnp.sum(weight)
    share = weight / jnp.where(total > 0, total, 1)

    def mean(image: Array) -> Array:
        return jnp.sum(share * image, axis=(0, 1))

    rendered, observed = mean(surface.rendered), mean(surface.observed)
    a, b = surface.rendered - rendered, surface.observed - observed
    variance = mean(a**2)
    # A pull towards one that vanishes where the channel varies.
    pull = FLAT**2 / (variance + FLAT)
    gain = jnp.maximum((mean(a * b) + pull) / (variance + pull), LEAST_GAIN)
    return Exposure(gain, jnp.where(total > 0, observed - gain * rendered, 0))


def exposed(loss: Loss) -> Loss:
    """A loss of colours to which the photo's exposure is applied before they are compared.

    Gain and offset of each channel are found anew in every evaluation (`match_exposure`): they are no unknowns of the
    search, and follow the pose (variable projection, Golub and Pereyra 1973).

    Args:
        loss: any `Loss`, such as `photometric_loss`.

    Returns:
        The loss. Put it inside of `blurred` and `pyramid`, or around them.
    """
    return _Exposed(loss)


class _Exposed(Loss):
    loss: Loss

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        return self.loss(_apply(rendering, observation), observation)

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return self.loss.residuals(_apply(rendering, observation), observation)

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> Loss:
        return _Exposed(self.loss.prepared(_apply(rendering, observation), observation, smoothing))


def _apply(rendering: Rendering, observation: Observation) -> Rendering:
    """The rendering as the photo's exposure shows it."""
    gain, offset = match_exposure(rendering, observation)
    shown = eqx.tree_at(lambda r: r.rgb, rendering, gain * rendering.rgb + offset)
    if isinstance(shown, SmoothedRendering) and shown.surface is not None:
        surface = shown.surface._replace(rendered=gain * shown.surface.rendered + offset)
        shown = eqx.tree_at(lambda r: r.surface, shown, surface)
    return shown
