"""Losses of losses: of blurred images, and of image pyramids. They widen the basin in which gradients point home."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .filters import BINOMIAL, gaussian, reach, smooth, smooth_both
from .loss import Loss, Residuals


def blurred(loss: Loss, sigma: float) -> Loss:
    """A loss of images that are blurred before they are compared.

    Args:
        loss: any `Loss`.
        sigma: standard deviation of the Gaussian, pixels, not negative.

    Returns:
        The loss. Masks become soft; depth is averaged over the pixels that have one.

    Raises:
        ValueError: if sigma is negative or not finite.
    """
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"sigma must be a standard deviation in pixels, not negative, got {sigma}.")
    return Blurred(loss, jnp.asarray(float(sigma)), reach(sigma)) if sigma > 0 else loss


def pyramid(loss: Loss, levels: int) -> Loss:
    """The mean of a loss over the levels of a Gaussian pyramid (Burt and Adelson 1983).

    Args:
        loss: any `Loss`.
        levels: number of images, each of half the resolution of the one before; at least 1.

    Returns:
        The loss. Images of which a side would be smaller than 8 pixels are an error.

    Raises:
        ValueError: if levels is not a positive integer.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ValueError(f"levels must be a positive integer, got {levels!r}.")
    return _Pyramid(loss, levels)


class Blurred(Loss):
    """See `blurred`. Those of one radius (static), pixels, are one program, whatever sigma is: none for 0."""

    loss: Loss
    sigma: Float[Array, ""]
    radius: int = eqx.field(static=True)

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        return self.loss(*self._blur(rendering, observation))

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return self.loss.residuals(*self._blur(rendering, observation))

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> Loss:
        def both(image: Array) -> Array:
            return smooth(image if smoothing is None else smoothing(image), gaussian(self.sigma, self.radius))

        return Blurred(self.loss.prepared(rendering, observation, both), self.sigma, self.radius)

    def _blur(self, rendering: Rendering, observation: Observation) -> tuple[Rendering, Observation]:
        return smooth_both(rendering, observation, gaussian(self.sigma, self.radius))


class _Pyramid(Loss):
    loss: Loss
    levels: int = eqx.field(static=True)

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        losses = [self.loss(*level) for level in self._levels(rendering, observation)]
        return jnp.mean(jnp.stack(losses))

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        scaled = (1 / self.levels) * self.loss
        levels = self._levels(rendering, observation)
        return tuple(part for level in levels for part in scaled.residuals(*level))

    def _levels(self, rendering: Rendering, observation: Observation) -> list[tuple[Rendering, Observation]]:
        smallest = min(rendering.mask.shape) / 2 ** (self.levels - 1)
        if smallest < 8:
            raise ValueError(
                f"A pyramid of {self.levels} levels over images of (height, width) = {rendering.mask.shape} would end "
                f"with {smallest:g} pixels. At least 8 are needed: use fewer levels or larger images."
            )
        levels = [(rendering, observation)]
        for _ in range(self.levels - 1):
            rendering, observation = smooth_both(rendering, observation, BINOMIAL, stride=2)
            levels.append((rendering, observation))
        return levels
