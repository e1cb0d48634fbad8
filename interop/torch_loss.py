"""A loss written in torch, as a function that JAX differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.experimental.buffer_callback import buffer_callback
from jaxtyping import Array, Float


def torch_loss(fn_or_module: Callable[..., Any]) -> Callable[..., Float[Array, ""]]:
    """A torch loss as a JAX function, differentiable with `jax.grad` with respect to its floating-point inputs.

    Called with concrete arrays, also under an eager `jax.grad`, arrays reach torch and gradients come back without a
    copy. Inside `jit` and `vmap` it runs as a callback on device buffers (under `vmap` once per row). Either way loss
    and gradients come from one forward and one backward pass of torch, on the device of the arrays: a module must be
    there too. Parameters of the module get no gradient. On a CPU with few cores, ``torch.set_num_threads(1)`` can make
    this several times faster: torch's threads and XLA's wait actively and take the cores from each other.

    Args:
        fn_or_module: a function or ``torch.nn.Module`` that takes tensors and returns a tensor with one element. It
            must not write into its inputs or keep them: they are JAX's memory.

    Returns:
        A function of the same arguments, arrays (or pytrees of them) of any shape, for instance images (H, W, 3). It
        returns a scalar, () float, of the inputs' floating dtype. It can be differentiated once, in reverse mode.

    Raises:
        ValueError: on calling the result, if the loss has not exactly one element, or no input is floating. Inside
            `jit` the former comes as a `jax.errors.JaxRuntimeError`.
        ImportError: on calling the result, if torch is not installed.
    """

    @jax.custom_vjp
    def loss(*images):
        return _evaluate(fn_or_module, images, gradients=False)[0]

    def forward(*images):
        return _evaluate(fn_or_module, images, gradients=True)

    def backward(gradients, cotangent):
        return jax.tree.map(lambda gradient: gradient * cotangent, gradients)

    loss.defvjp(forward, backward)
    return loss


def _evaluate(function: Callable, images: tuple, *, gradients: bool) -> tuple[Float[Array, ""], tuple]:
    """The loss, and in the structure of `images` its gradients: None if not wanted, or for inputs not floating."""
    leaves, structure = jax.tree.flatten(images)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    if not any(floating):
        raise ValueError(f"torch_loss needs a floating input, got {[str(leaf.dtype) for leaf in leaves]}.")
    wanted = [gradients and is_floating for is_floating in floating]
    dtype = jnp.result_type(*(leaf for leaf, is_floating in zip(leaves, floating) if is_floating))
    run = _call_back if any(isinstance(leaf, Tracer) for leaf in leaves) else _call
    loss, found = run(function, structure, leaves, wanted, dtype)
    found = iter(found)
    return loss, jax.tree.unflatten(structure, [next(found) if is_wanted else None for is_wanted in wanted])


# The modules that need torch are imported on use, so that `interop` can be imported without it.


def _call(function: Callable, structure: Any, leaves: list, wanted: list[bool], dtype: jnp.dtype):
    from .dlpack import from_torch, to_torch

    loss, found = _run_torch(function, structure, [to_torch(leaf) for leaf in leaves], wanted)
    return from_torch(loss).astype(dtype), [from_torch(gradient) for gradient in found]


def _call_back(function: Callable, structure: Any, leaves: list, wanted: list[bool], dtype: jnp.dtype):
    from ._callbacks import tensor_of, torch_on_xla_stream

    def callback(context, out, *buffers):
        loss_out, gradients_out = out
        with torch_on_xla_stream(context, loss_out):
            loss, found = _run_torch(function, structure, [tensor_of(buffer) for buffer in buffers], wanted)
            tensor_of(loss_out).copy_(loss)
            for gradient_out, gradient in zip(gradients_out, found):
                tensor_of(gradient_out).copy_(gradient)

    gradients = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf, is_wanted in zip(leaves, wanted) if is_wanted]
    return buffer_callback(callback, (jax.ShapeDtypeStruct((), dtype), gradients), vmap_method="sequential")(*leaves)


def _run_torch(function: Callable, structure: Any, tensors: list, wanted: list[bool]):
    """The loss as a tensor of shape (), and its gradients for the tensors of which they are wanted."""
    from ._torch import torch

    inputs = [tensor.requires_grad_() for tensor, is_wanted in zip(tensors, wanted) if is_wanted]
    with torch.set_grad_enabled(bool(inputs)):
        loss = function(*jax.tree.unflatten(structure, tensors))
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise ValueError(f"torch_loss needs a loss with one element, got {got}. Reduce it: .mean() or .sum().")
    if loss.requires_grad and inputs:
        found = torch.autograd.grad(loss, inputs, materialize_grads=True)
    else:
        found = [torch.zeros_like(tensor) for tensor in inputs]
    return loss.detach().reshape(()), found
