"""Warp functions as JAX functions: imported on first use, compiled for JAX's device, one launch for a whole batch."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .threads import thread_count


@functools.cache
def load_kernels(*names: str) -> tuple[ModuleType, ...]:
    """Modules of kernels, in the order in which they import each other, compiled for the device that JAX uses.

    Without Warp's start-up banner and its messages about compiled kernels. Compiling takes a few seconds of all cores,
    once per machine: Warp keeps the result.
    """
    import warp as wp

    level = wp.config.log_level
    wp.config.log_level = max(level, wp.LOG_WARNING)
    try:
        modules = tuple(_import_source(name) for name in names)
        device = "cpu" if jax.default_backend() == "cpu" else None
        own = {value.module for module in modules for value in vars(module).values() if isinstance(value, wp.Kernel)}
        compiled = [part for part in own if part.name in names]
        wp.force_load(device, modules=sorted(compiled, key=lambda part: part.name), max_workers=thread_count())
    finally:
        wp.config.log_level = level
    _keep_clients()
    return modules


def _keep_clients() -> None:
    """Lets a process end while JAX still computes what nobody waits for.

    What JAX runs elsewhere calls Warp through Python, and waits forever for its lock once Python ends; JAX's client,
    when Python frees it, waits for that in turn. It is not freed if there is one reference too many.
    """
    for client in {id(device.client): device.client for device in jax.local_devices()}.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


def _import_source(name: str) -> ModuleType:
    """Imports a module exactly as written.

    Warp compiles the source of functions, so import hooks that wrap them (jaxtyping's) must not see the module.
    """
    if name not in sys.modules:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        spec = importlib.util.spec_from_file_location(name, found.origin)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


_numbering = threading.Lock()


def call(function: Callable, output_dims: dict[str, tuple[int, ...]], *args: Any) -> Sequence[Array]:
    """Calls an `entry_point`. Its last arguments are the outputs, whose sizes are given by name, in their order.

    Warp keeps the numbers among the arguments in this process, under a number of its own that becomes part of the
    program: by default a count of calls so far. Then a program would have another name in JAX's persistent cache
    wherever something else was traced before it. So the number follows from the arguments: equal calls are equal in all
    processes, and wherever a program comes from, its number stands for the right arguments here.
    """
    import warp as wp

    jax_function = wp.jax_callable(function, num_outputs=len(output_dims), vmap_method=None)  # see fold_batches
    numbers = repr([arg for arg in args if isinstance(arg, int | float)])
    with _numbering:
        jax_function.call_id = int.from_bytes(hashlib.sha256(numbers.encode()).digest()[:7])
        return jax_function(*args, output_dims=output_dims)


def fields(struct: Any, values: Any) -> list[Array]:
    """The arrays of an object that has attributes of the same names as a Warp struct, in their order."""
    return [getattr(values, name) for name in struct.cls.__annotations__]


def fold_batches(function: Callable) -> Callable:
    """Makes ``function(shared, batch)`` batch under vmap by growing the batch axis that it already has.

    Every array of `batch` and of the result has a leading batch axis. Under `jax.vmap` the new axis is merged into it,
    so that there is one call for the batch and `shared` stays as it is. If `shared` itself is batched, the function
    runs once per row.
    """
    folded = jax.custom_batching.custom_vmap(function)

    @folded.def_vmap
    def rule(axis_size, in_batched, shared, batch):
        shared_batched, batch_batched = in_batched
        if any(jax.tree.leaves(shared_batched)):
            leaves, structure = jax.tree.flatten((shared, batch))
            mapped = jax.tree.leaves((shared_batched, batch_batched))

            def row(own: list[Array]) -> Any:
                remaining = iter(own)
                return folded(*structure.unflatten([next(remaining) if m else x for m, x in zip(mapped, leaves)]))

            result = jax.lax.map(row, [x for m, x in zip(mapped, leaves) if m])
        else:
            merged = jax.tree.map(functools.partial(_merged, axis_size), batch, batch_batched)
            result = folded(shared, merged)
            result = jax.tree.map(lambda x: x.reshape(axis_size, x.shape[0] // axis_size, *x.shape[1:]), result)
        return result, jax.tree.map(lambda _: True, result)

    return folded


def _merged(axis_size: int, array: Array, is_batched: bool) -> Array:
    array = array if is_batched else jnp.broadcast_to(array, (axis_size, *array.shape))
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
