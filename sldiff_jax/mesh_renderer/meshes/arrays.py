"""Checked conversion of what users hand over into NumPy arrays."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from ..._scene.transforms import is_concrete


def as_array(
    value: ArrayLike, name: str, shape: tuple[int | None, ...], kind: type[np.generic], *, finite: bool = True
) -> np.ndarray:
    """`value` as a NumPy array of the given shape (None: any size) and kind, or a ValueError that names it.

    Integers pass for floats; NaN and infinity where `finite` is false.
    """
    array = np.asarray(value)
    expected = ", ".join("any" if side is None else str(side) for side in shape)
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        raise ValueError(f"Mesh {name} must have shape ({expected}), got {array.shape}.")
    if kind is np.floating and np.issubdtype(array.dtype, np.integer):
        array = array.astype(np.float64)
    if not np.issubdtype(array.dtype, kind):
        raise ValueError(f"Mesh {name} must have a dtype of kind {kind.__name__}, got {array.dtype}.")
    if finite and kind is np.floating:
        good = _finite_in_float32(array)
        if not good.all():
            raise ValueError(
                f"Mesh {name} must be finite in float32, got NaN, infinity or huge numbers in {(~good).sum()} places."
            )
    return array


def refuse_traced(**arguments: Any) -> None:
    """A ValueError that names the arguments that are traced: topology and checks need values."""
    traced = [name for name, value in arguments.items() if not is_concrete(*jax.tree.leaves(value))]
    if traced:
        raise ValueError(
            f"Mesh needs values, got traced {' and '.join(traced)}: build the Mesh outside of the traced function, and "
            "give traced arrays to Mesh.replace inside."
        )


def as_unit_color(value: ArrayLike, name: str, leading: tuple[int | None, ...]) -> np.ndarray:
    """Colours (..., 3 or 4), uint8 or float in [0, 1], as (..., 3) float; alpha is dropped."""
    array = np.asarray(value)
    channels = array.shape[-1] if array.ndim else 0
    if channels not in (3, 4):
        raise ValueError(f"Mesh {name} must have 3 or 4 channels on its last axis, got shape {array.shape}.")
    if array.dtype == np.uint8:
        array = array / 255.0
    array = as_array(array, name, (*leading, channels), np.floating)
    if array.size and (array.min() < 0 or array.max() > 1):
        raise ValueError(
            f"Mesh {name} must be uint8 or lie in [0, 1], got {array.min():.4g}..{array.max():.4g} ({array.dtype})."
        )
    return array[..., :3]


def finite_where_unused(value: ArrayLike, used: np.ndarray) -> np.ndarray:
    """Rows of an array that nothing refers to may hold anything: zero, where they are not finite."""
    array = np.asarray(value)
    if array.shape[:1] != used.shape or not np.issubdtype(array.dtype, np.floating):
        return array
    good = _finite_in_float32(array)
    unused = ~used.reshape(-1, *[1] * (array.ndim - 1))
    return array if good.all() else np.where(unused & ~good, 0, array)


def _finite_in_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.isfinite(array.astype(np.float32, copy=False))
