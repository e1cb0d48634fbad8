"""Homogeneous 4x4 transforms: checked construction and rigid inverse."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.core import Tracer
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float

from .typing import Transform

_Tree = TypeVar("_Tree")


def to_jax(value: npt.ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """As `jnp.asarray`, but NumPy copies its own arrays: JAX would share them, or compile a program for their shape."""
    if not isinstance(value, np.ndarray | np.generic):
        return jnp.asarray(value, dtype)
    return jax.device_put(np.array(value, jax.dtypes.canonicalize_dtype(value.dtype if dtype is None else dtype)))


def as_floating(value: ArrayLike, name: str, shape: tuple[int | None, ...]) -> Float[Array, "..."]:
    """`value` as a floating array of the given shape (None: any size), or a ValueError that names it."""
    if getattr(value, "requires_grad", False):
        raise ValueError(
            f"{name} is a torch tensor that requires gradients, which end here. interop.torch_render passes them on; "
            "or hand over tensor.detach()."
        )
    array = to_jax(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must be real, got dtype {array.dtype}.")
    floating = array.dtype if jnp.issubdtype(array.dtype, jnp.floating) else jnp.result_type(float)
    array = jnp.asarray(array, dtype=floating)  # a stated dtype also drops JAX's weak type
    expected = ", ".join("any" if side is None else str(side) for side in shape)
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        remedy = ""
        if array.ndim == len(shape) + 1:
            remedy = " For a batch, use jax.vmap."
        elif len(shape) > 1 and shape[0] != shape[1] and array.shape == shape[1:]:
            remedy = " Give a single one a leading axis: array[None]."
        raise ValueError(f"{name} must have shape ({expected}), got {array.shape}.{remedy}")
    return array


def compose(T_a_b: Float[Array, "*a 4 4"], T_b_c: Float[Array, "*b 4 4"]) -> Float[Array, "*c 4 4"]:
    """``T_a_c = T_a_b @ T_b_c`` in full precision, which the default of some accelerators is not."""
    return jnp.matmul(T_a_b, T_b_c, precision=jax.lax.Precision.HIGHEST)


def inverse_transform(T_a_b: Transform) -> Transform:
    """Inverse ``T_b_a`` of a rigid (4, 4) transform ``T_a_b``: rotation transposed, translation rotated back."""
    R_b_a = T_a_b[:3, :3].T
    t_b_a = -jnp.matmul(R_b_a, T_a_b[:3, 3], precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate([jnp.concatenate([R_b_a, t_b_a[:, None]], axis=1), T_a_b[3:]], axis=0)


def in_default_dtype(tree: _Tree) -> _Tree:
    """A pytree with its floating arrays in JAX's default dtype: float64 under x64, else float32."""
    dtype = jnp.result_type(float)

    def converted(leaf):
        is_floating = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if is_floating else leaf

    return jax.tree.map(converted, tree)


def is_concrete(*arrays: ArrayLike) -> bool:
    """Whether the values of all arrays can be looked at now (no tracer among them)."""
    return not any(isinstance(array, Tracer) for array in arrays)
