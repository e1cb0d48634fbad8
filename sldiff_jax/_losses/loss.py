"""What a loss is: a sum of robust squares of residuals, which can be added, scaled, and minimised by least squares."""

from __future__ import annotations

import abc
import importlib
import inspect
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._gradients.rendering import Rendering
from .._images.input import as_weight
from .._images.observation import Observation
from .._scene.transforms import is_concrete

Kernel = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""The cost of a residual as a function of its square, elementwise: increasing, and concave if it is robust."""


def identity(squared: Float[Array, "..."]) -> Float[Array, "..."]:
    """Least squares: the square is the cost."""
    return squared


class Residuals(NamedTuple):
    """Part of a loss: ``sum(weights * kernel(values**2)) + offset``.

    Attributes:
        values: float of any shape, what should be zero. Differentiated.
        weights: float that broadcasts to `values`, not negative. Not differentiated.
        kernel: the cost of a squared value, elementwise. Default: least squares.
        offset: scalar added to the loss. Not differentiated.
    """

    values: Float[Array, "..."]
    weights: Float[ArrayLike, "..."] = 1.0
    kernel: Kernel = identity
    offset: Float[ArrayLike, ""] = 0.0

    def cost(self) -> Float[Array, ""]:
        """This part of the loss."""
        weights = jax.lax.stop_gradient(self.weights)
        return jnp.sum(weights * self.kernel(self.values**2)) + jax.lax.stop_gradient(self.offset)

    def curvature(self) -> Float[Array, "..."]:
        """Gauss-Newton's second derivative of the cost by every value, of the shape of `values`; not negative.

        Robust costs are replaced by the parabola that touches them (iteratively reweighted least squares).
        """
        squared = self.values**2
        _, slope = jax.jvp(self.kernel, (squared,), (jnp.ones_like(squared),))
        return jnp.broadcast_to(2 * self.weights * slope, self.values.shape)


class Loss(eqx.Module):
    """How far a rendering is from an observation: ``loss(rendering, observation) -> scalar``.

    Losses form sums, ``zncc_loss + 0.5 * depth_loss``, and take options, ``depth_loss.using(scale=0.02)``; `pyramid`
    and `blurred` make losses of losses. Each counts only where the observation's mask and weight say so. They are
    pytrees: options can be arrays, and a loss can be an argument of a jitted function.

    `refine_poses` minimises any function of this signature; `GaussNewton` and `LevenbergMarquardt` need a `Loss`,
    because they look at its residuals. `residual_loss` makes one.
    """

    @abc.abstractmethod
    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        """The parts whose costs add up to the loss.

        Args:
            rendering: the rendered images, (H, W).
            observation: the observed images, (H, W).
        """

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        """The loss, a scalar."""
        return _total(self.residuals(rendering, observation))

    @property
    def learns(self) -> bool:
        """Whether `prepared` changes anything: if a loss that it is made of does."""
        return any(part.learns for part in vars(self).values() if isinstance(part, Loss))

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> Loss:
        """The loss with what it learns from a first look, before a stage of `refine_poses`: itself, for most.

        Args:
            rendering: where the stage begins, (H, W).
            observation: the observed images, (H, W), of the stage's size.
            smoothing: what the images pass before they are compared.
        """
        return self

    def __hash__(self) -> int:
        """Equal losses have the same structure; options may be arrays, which have no hash."""
        return hash(jax.tree.structure(self))

    def __add__(self, other: Loss) -> Loss:
        """The sum of two losses."""
        return _Sum(self, other) if isinstance(other, Loss) else NotImplemented

    def __mul__(self, factor: ArrayLike) -> Loss:
        """The loss times a scalar that is not negative."""
        if isinstance(factor, Loss):
            return NotImplemented
        if is_concrete(factor) and not np.all(np.asarray(factor) >= 0):
            raise ValueError(f"The factor of a loss must not be negative, got {factor}: losses are minimised.")
        return _Scaled(self, factor if isinstance(factor, int | float) else jnp.asarray(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Loss:
        """The loss divided by a positive number."""
        return self * (1 / divisor)

    def __radd__(self, other: int) -> Loss:
        """``0 + loss`` is the loss, so that ``sum([loss, another])`` works."""
        return self if isinstance(other, int) and other == 0 else NotImplemented


def _total(parts: tuple[Residuals, ...]) -> Float[Array, ""]:
    return sum((part.cost() for part in parts), jnp.zeros((), float))


class _Sum(Loss):
    first: Loss
    second: Loss

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        return self.first(rendering, observation) + self.second(rendering, observation)

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return self.first.residuals(rendering, observation) + self.second.residuals(rendering, observation)

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> Loss:
        return _Sum(*(loss.prepared(rendering, observation, smoothing) for loss in (self.first, self.second)))


class _Scaled(Loss):
    loss: Loss
    factor: Array | float

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        return self.factor * self.loss(rendering, observation)

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return tuple(
            part._replace(weights=self.factor * part.weights, offset=self.factor * part.offset)
            for part in self.loss.residuals(rendering, observation)
        )

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> Loss:
        return _Scaled(self.loss.prepared(rendering, observation, smoothing), self.factor)


class ResidualLoss(Loss):
    """A loss that is a function with options; made by `residual_loss`."""

    function: Callable[..., Residuals | tuple[Residuals, ...]] = eqx.field(static=True)
    options: dict[str, Any]

    def using(self, **options: Any) -> ResidualLoss:
        """The same loss with other values of its function's keyword arguments; a ValueError if it has no such."""
        parameters = list(inspect.signature(self.function).parameters.values())[2:]
        known = [parameter.name for parameter in parameters]
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        if not takes_all and (unknown := sorted(set(options) - set(known))):
            name = getattr(self.function, "__name__", "This loss")
            raise ValueError(f"{name} has the options {known}, got {unknown}.")
        return ResidualLoss(self.function, self.options | options)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: by the name of the function, under which there is the loss if it was decorated."""
        module, name = (getattr(self.function, key, None) for key in ("__module__", "__qualname__"))
        if module is not None and name is not None:
            named = _named(module, name)
            if isinstance(named, ResidualLoss) and named.function is self.function:
                return _restored, (module, name, self.options)
        return ResidualLoss, (self.function, self.options)

    def __call__(self, rendering: Rendering, observation: Observation, **options: Any) -> Float[Array, ""]:
        """The loss, a scalar."""
        return _total(self.using(**options).residuals(rendering, observation))

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        """The parts whose costs add up to the loss."""
        if not isinstance(rendering, Rendering) or not isinstance(observation, Observation):
            raise ValueError(
                "A loss compares a sldiff_jax.Rendering, which render(scene, renderer) returns, with an Observation, "
                f"got {type(rendering).__name__} and {type(observation).__name__}."
            )
        parts = self.function(rendering, observation, **self.options)
        return (parts,) if isinstance(parts, Residuals) else parts


def _named(module: str, name: str) -> Any:
    """What a module has under a qualified name; None if there is nothing."""
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _restored(module: str, name: str, options: dict[str, Any]) -> ResidualLoss:
    """The loss of that name, or one made of it with other options."""
    loss = _named(module, name)
    if not isinstance(loss, ResidualLoss):
        raise pickle.UnpicklingError(f"{module}.{name} was a loss made by residual_loss, and is {loss!r} now.")
    return ResidualLoss(loss.function, options) if options else loss


def residual_loss(function: Callable[..., Residuals | tuple[Residuals, ...]]) -> ResidualLoss:
    """Makes a `Loss` of a function that computes residuals; to be used as a decorator.

    Args:
        function: ``function(rendering, observation, *, ...) -> Residuals``, or several of them in a tuple. Its keyword
            arguments are the options that `ResidualLoss.using` sets.

    Returns:
        The loss, with the function's name and docstring.
    """
    loss = ResidualLoss(function, {})
    for name in ("__doc__", "__name__", "__qualname__", "__module__"):
        object.__setattr__(loss, name, getattr(function, name, None))
    return loss


def weighted(loss: Loss, weight: Float[ArrayLike, "height width"]) -> Loss:
    """A loss with weights per pixel of its own, on top of those of the observation.

    Args:
        loss: any `Loss`.
        weight: (H, W) float, not negative.

    Returns:
        The loss. Inside a `pyramid` or `blurred` the weights would have the wrong size: put it around them. Stages of
        `refine_poses` at another scale need the observation's weight instead.

    Raises:
        ValueError: if the weights are negative, not finite or all zero.
    """
    return _Weighted(loss, as_weight(weight))


class _Weighted(Loss):
    loss: Loss
    weight: Float[Array, "height width"]

    def __call__(self, rendering: Rendering, observation: Observation) -> Float[Array, ""]:
        return self.loss(rendering, self._weigh(rendering, observation))

    def residuals(self, rendering: Rendering, observation: Observation) -> tuple[Residuals, ...]:
        return self.loss.residuals(rendering, self._weigh(rendering, observation))

    def prepared(
        self, rendering: Rendering, observation: Observation, smoothing: Callable[[Array], Array] | None = None
    ) -> Loss:
        return _Weighted(self.loss.prepared(rendering, self._weigh(rendering, observation), smoothing), self.weight)

    def _weigh(self, rendering: Rendering, observation: Observation) -> Observation:
        if self.weight.shape != rendering.mask.shape:
            raise ValueError(
                f"The weights of this loss have shape {self.weight.shape}, the rendering {rendering.mask.shape}. Put "
                "weighted(...) around pyramid(...) and blurred(...), or give the observation a weight, which stages at "
                "another scale resize."
            )
        weight = self.weight if observation.weight is None else self.weight * observation.weight
        return eqx.tree_at(lambda o: o.weight, observation, weight, is_leaf=lambda leaf: leaf is None)
