"""torch tensors as JAX arrays and back, without a copy wherever memory allows it.

`from_torch`, tensor to array. ``-`` means: the array shares the tensor's memory.

| case                | what it is                                             | copy=None | copy=False | copy=True |
|---------------------|--------------------------------------------------------|-----------|------------|-----------|
| contiguous          | row-major memory                                       | -         | -          | copy      |
| transposed          | axes permuted, no gaps                                 | -         | -          | copy      |
| strided             | gaps or repetitions: a slice of the last axis, expand  | copy      | error      | copy      |
| unaligned           | does not start at a multiple of 64 bytes (GPU: of 16)  | copy      | error      | copy      |
| pinned              | page-locked CPU memory                                 | copy      | error      | copy      |
| conjugated          | a lazy conjugate or negative view                      | copy      | error      | copy      |
| requires_grad       | a leaf or result of autograd; the array is detached    | -         | error      | copy      |
| float64, x64 off    | any 64-bit type while JAX has 32-bit types only        | error     | error      | error     |
| float64, x64 on     | the same inside ``jax.enable_x64(True)``               | -         | -          | copy      |
| bool                |                                                        | -         | -          | copy      |
| 0-d                 |                                                        | -         | -          | copy      |
| zero-size           | no elements, so there is no memory to share            | -         | -          | copy      |
| other device        | a device that JAX does not have                        | error     | error      | error     |
| other layout        | sparse, quantised, or a dtype that DLPack cannot name  | error     | error      | error     |

`to_torch`, array to tensor.

| case                | what it is                                             | copy=None | copy=False | copy=True |
|---------------------|--------------------------------------------------------|-----------|------------|-----------|
| array               | any shape and dtype that torch has, 64-bit types too   | -         | -          | copy      |
| from_torch          | what `from_torch` shared: the first tensor's memory    | -         | -          | copy      |
| bool                |                                                        | -         | -          | copy      |
| 0-d                 |                                                        | -         | -          | copy      |
| zero-size           |                                                        | -         | -          | copy      |
| sharded             | spread over several devices                            | error     | error      | error     |
| unknown dtype       | int4, random keys: torch or DLPack has no such type    | error     | error      | error     |
| tracer              | inside `jit`, `vmap` or `grad`                         | error     | error      | error     |
| deleted             | deleted, or donated to a jitted function               | error     | error      | error     |

Nothing moves between devices, and nothing changes its dtype: both are for the caller to ask for.

Shared memory is shared in both directions. JAX takes arrays for immutable, torch does not: after writing into a
tensor in place, every array that shares its memory has changed too, also one that a jitted function is still reading.
Ask for ``copy=True`` where a tensor will be written to. On a GPU, DLPack orders the two sides' streams.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._torch import torch

CPU_ALIGNMENT = 64
GPU_ALIGNMENT = 16
SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}


def from_torch(tensor: torch.Tensor, *, copy: bool | None = None) -> jax.Array:
    """A torch tensor as a JAX array; the table in the docstring of `interop.dlpack` says when memory is shared.

    Args:
        tensor: any shape and dtype, on the CPU or on a GPU that JAX has too.
        copy: None copies only where it must; False raises instead; True always copies, and nobody else holds the
            memory of the result.

    Returns:
        The array, on the same device, committed to it. It carries no gradient.

    Raises:
        ValueError: if the tensor cannot be shared and ``copy=False``, or JAX cannot hold it at all: the message names
            the cause and the remedy.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"from_torch takes a torch.Tensor, got {type(tensor).__name__}. Use jax.numpy.asarray.")
    _check_that_jax_can_hold(tensor)
    obstacle = _obstacle(tensor)
    if copy is False:
        if tensor.requires_grad:
            obstacle = "it requires a gradient, which would be lost. Pass tensor.detach()"
        if obstacle is not None:
            raise ValueError(f"from_torch(copy=False) cannot share this tensor's memory: {obstacle}, or copy=None.")
    tensor = tensor.detach()
    # Copies are not left to jax.dlpack.from_dlpack: with copy=True it may share all the same, and what is not aligned
    # it copies later, when the tensor may have changed.
    return jax.dlpack.from_dlpack(_copied(tensor) if copy or obstacle is not None else tensor)


def to_torch(array: jax.Array, *, copy: bool | None = None) -> torch.Tensor:
    """A JAX array as a torch tensor; the table in the docstring of `interop.dlpack` says when memory is shared.

    Waits until the array has been computed (on a GPU, the current torch stream waits).

    Args:
        array: any shape, on one device.
        copy: None and False share memory; True copies.

    Returns:
        The tensor, on the same device. It requires no gradient. Do not write into shared memory while the array, or
        anything computed from it that is not ready yet, is in use.

    Raises:
        ValueError: if it is no concrete array on one device, or torch cannot hold it: the message names the cause and
            the remedy.
    """
    if isinstance(array, Tracer):
        raise ValueError(
            "to_torch needs values, got a tracer of jit, vmap or grad. For a loss in torch use interop.torch_loss, "
            "for a renderer a callback (jax.experimental.buffer_callback)."
        )
    if not isinstance(array, jax.Array):
        raise ValueError(f"to_torch takes a jax.Array, got {type(array).__name__}. Use torch.as_tensor.")
    if array.is_deleted():
        raise ValueError(
            "to_torch: the array has been deleted, or donated to a jitted function. Convert it before, or give up "
            "donate_argnums."
        )
    if len(array.sharding.device_set) != 1:
        raise ValueError(
            f"to_torch needs an array on one device, got one on {len(array.sharding.device_set)}. "
            "Use jax.device_put(array, device), or convert array.addressable_shards one by one."
        )
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise ValueError(f"to_torch: torch has no dtype {array.dtype}. Use jax.random.key_data(key).")
    try:
        tensor = torch.from_dlpack(array)
    except (RuntimeError, BufferError, AssertionError) as error:
        where = next(iter(array.sharding.device_set))
        raise ValueError(
            f"to_torch cannot hand a {array.dtype} array on {where} to torch {torch.__version__} ({error}). Another "
            "dtype: array.astype. Another device: jax.device_put(array, jax.devices('cpu')[0])."
        ) from error
    return _copied(tensor) if copy else tensor


def shares_memory(a: jax.Array | torch.Tensor, b: jax.Array | torch.Tensor) -> bool:
    """Whether two arrays or tensors, in any combination, lie in overlapping memory.

    Args:
        a: a concrete JAX array on one device, or a torch tensor; any shape (...) and dtype.
        b: the same.

    Returns:
        True if their first to last bytes overlap on the same device; False if either has no elements.
    """
    (device_a, start_a, stop_a), (device_b, start_b, stop_b) = _extent(a), _extent(b)
    return device_a == device_b and max(start_a, start_b) < min(stop_a, stop_b)


def _extent(x: jax.Array | torch.Tensor) -> tuple[tuple[bool, int], int, int]:
    """Device (is it a GPU, which one), address of the first byte, address behind the last byte."""
    if isinstance(x, torch.Tensor):
        gpu = x.device.type != "cpu"
        device = gpu, (x.device.index or 0) if gpu else 0
        steps = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride()))
        start, size = x.data_ptr(), 0 if x.numel() == 0 else (steps + 1) * x.element_size()
    else:
        (where,) = x.devices()
        gpu = where.platform != "cpu"
        device = gpu, where.local_hardware_id if gpu else 0
        start, size = (x.unsafe_buffer_pointer(), x.nbytes) if x.size else (0, 0)
    return device, start, start + size


def _check_that_jax_can_hold(tensor: torch.Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else str(tensor.layout)
        raise ValueError(f"from_torch takes dense tensors, got a {kind} one. Use tensor.to_dense() or .dequantize().")
    if tensor.device.type not in ("cpu", "cuda") or (tensor.is_cuda and not _jax_has_gpu(tensor.device.index)):
        raise ValueError(
            f"from_torch: the tensor is on {tensor.device}, and JAX has {jax.devices()}. Move it yourself, "
            "tensor.cpu(), or install JAX for that device: pip install 'sldiff-jax[cuda]'."
        )
    name = str(tensor.dtype).removeprefix("torch.")
    # torch keeps its types of less than a byte in whole bytes, JAX does not.
    if not hasattr(jnp, name) or name.strip("uint") in ("1", "2", "4"):
        raise ValueError(f"from_torch: JAX has no dtype like {tensor.dtype}. Use tensor.to(...) first.")
    if jax.dtypes.canonicalize_dtype(getattr(jnp, name)).itemsize < tensor.element_size():
        raise ValueError(
            f"from_torch: {tensor.dtype} would be narrowed, since JAX has 32-bit types only by default. Narrow it "
            "yourself, tensor.float() or tensor.int(), or work inside jax.enable_x64(True)."
        )


def _obstacle(tensor: torch.Tensor) -> str | None:
    """Why JAX cannot use the tensor's memory as it is, and what would help; None if it can."""
    if tensor.is_conj() or tensor.is_neg():
        return "it is a lazy conjugate or negative view. Pass tensor.resolve_conj() or tensor.resolve_neg()"
    if tensor.numel() == 0:
        return None
    if not _has_no_gaps(tensor):
        return f"its strides {tensor.stride()} leave gaps or repeat elements. Pass tensor.contiguous()"
    alignment = GPU_ALIGNMENT if tensor.is_cuda else CPU_ALIGNMENT
    if tensor.data_ptr() % alignment:
        return f"its memory is not aligned to {alignment} bytes, as JAX needs it. Pass tensor.clone()"
    if not tensor.is_cuda and tensor.is_pinned():
        return "its memory is pinned, which JAX takes for memory of the GPU. Pass tensor.clone()"
    return None


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """A compact copy in memory of its own, complete when this returns (on a GPU: in the order of the stream)."""
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_cuda:
        return tensor.clone(memory_format=torch.contiguous_format)
    # By NumPy on one thread: torch's threads and XLA's, both waiting actively, take the CPU cores from each other.
    copy = torch.empty_like(tensor, memory_format=torch.contiguous_format)
    plain = SAME_SIZE[tensor.element_size()]  # NumPy has no bfloat16
    np.copyto(copy.view(plain).numpy(), tensor.view(plain).numpy())
    return copy


def _has_no_gaps(tensor: torch.Tensor) -> bool:
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _jax_has_gpu(index: int) -> bool:
    try:
        return any(device.local_hardware_id == index for device in jax.local_devices(backend="gpu"))
    except RuntimeError:
        return False
