"""torch inside XLA's callbacks. Nothing of JAX may run in there: it can deadlock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ._torch import torch

CPU = 1  # DLPack's device type


def tensor_of(buffer: Any) -> torch.Tensor:
    """The torch tensor that shares memory with a `jax.experimental.buffer_callback.Buffer`."""
    return torch.from_dlpack(buffer)


@contextlib.contextmanager
def torch_on_xla_stream(context: Any, buffer: Any) -> Iterator[None]:
    """Work of torch inside waits for XLA's and for torch's own earlier work, and both wait for it afterwards.

    Args:
        context: what `jax.experimental.buffer_callback` passes as the first argument.
        buffer: any of the callback's buffers; tells the device. On the CPU there is nothing to wait for.
    """
    device_type, index = buffer.__dlpack_device__()
    if int(device_type) == CPU:
        yield
        return
    stream = torch.cuda.ExternalStream(context.stream, device=torch.device("cuda", index))
    default = torch.cuda.default_stream(stream.device)
    stream.wait_stream(default)
    with torch.cuda.stream(stream):
        yield
    default.wait_stream(stream)
