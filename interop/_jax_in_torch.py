"""A JAX function as a node of torch's autograd graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax

from ._torch import torch
from .dlpack import from_torch, to_torch

PullBack = Callable[[tuple[jax.Array, ...]], tuple[jax.Array, ...]]


def call_jax(
    function: Callable[..., tuple[tuple[jax.Array, ...], PullBack]], *tensors: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Calls a JAX function on tensors so that torch can differentiate the result.

    Args:
        function: takes one array for each tensor. Returns the tuple of results and, as `jax.vjp` does, a function
            from the tuple of their cotangents to the tuple of cotangents of the arguments.
        *tensors: all float32, or all float64: JAX then has 64-bit types, whatever its global setting.

    Returns:
        The results as tensors. They can be differentiated once.
    """
    return _JaxFunction.apply(function, *tensors)


class _JaxFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable, *tensors: torch.Tensor):
        ctx.dtype = tensors[0].dtype
        with x64_for(ctx.dtype):
            # Owned: an optimiser changes its parameters in place, and the backward pass needs the old values.
            results, ctx.pull_back = function(*(from_torch(tensor, copy=True) for tensor in tensors))
            return tuple(map(to_torch, results))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: torch.Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        with x64_for(ctx.dtype):
            return None, *map(to_torch, ctx.pull_back(tuple(map(from_torch, cotangents))))


def x64_for(dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Gives JAX 64-bit types inside, if `dtype` is float64."""
    return jax.enable_x64(True) if dtype == torch.float64 else contextlib.nullcontext()
