"""Starts spread over the devices of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

Device = Any
"""`jax.Device`, which type checkers take for a variable."""


def checked_devices(devices: Sequence[Device] | None, *, jit: bool) -> tuple[Device, ...]:
    """The devices, or a ValueError that says why starts cannot be spread over them. None is none.

    Args:
        devices: as `refine_poses` was given them.
        jit: whether its loop is compiled.
    """
    if devices is None:
        return ()
    devices = tuple(devices)
    wrong = [device for device in devices if not isinstance(device, jax.Device)]
    if wrong or not devices:
        raise ValueError(f"devices must be a list of JAX's, such as jax.devices(), got {wrong or 'none'}.")
    if len(set(devices)) < len(devices):
        raise ValueError(f"devices must not repeat one, got {devices}.")
    if len({device.platform for device in devices}) > 1:
        raise ValueError(f"devices must be of one kind, got {devices}: one program runs on all of them.")
    foreign = [device for device in devices if device.process_index != jax.process_index()]
    if foreign:
        raise ValueError(f"devices must belong to this process, jax.local_devices(), got {foreign}.")
    if not jit:
        raise ValueError(
            "Starts are spread over devices by a compiled program, which a renderer that cannot be traced is no part "
            "of. Leave out devices with jit=False."
        )
    return devices


def spread(function: Callable, starts: int, devices: tuple[Device, ...]) -> Callable:
    """A batched function with its batch spread over devices; each computes its part without asking the others.

    Args:
        function: of arrays with a leading axis of that many starts, rows independent of each other.
        starts: any number; the first one fills up what is missing.
        devices: at least two.
    """
    mesh = Mesh(np.array(devices), ("starts",))
    missing = -starts % len(devices)
    parts = PartitionSpec("starts")

    def fill(array: Array) -> Array:
        return jnp.concatenate([array, jnp.repeat(array[:1], missing, axis=0)]) if missing else array

    def apply(*args):
        sharded = jax.shard_map(function, mesh=mesh, in_specs=parts, out_specs=parts, check_vma=False)
        return jax.tree.map(lambda array: array[:starts], sharded(*jax.tree.map(fill, args)))

    return apply
