"""Arrays of a glTF file: strides, whole numbers that stand for 0..1, and sparse replacements."""

from __future__ import annotations

from typing import Any

import numpy as np

from .gltf_file import GltfFile

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def read_array(file: GltfFile, index: Any, what: str, *, normalized: bool | None = None) -> np.ndarray:
    """An accessor as (count, components).

    Args:
        file: the file.
        index: of the accessor.
        what: is read, for messages.
        normalized: whether whole numbers stand for [0, 1] or [-1, 1]. Default: as the accessor says.

    Returns:
        float64, or an integer type where whole numbers stand for themselves.
    """
    accessor = file.get("accessors", index)
    dtype, width, count = _shape(accessor, what)
    if "bufferView" in accessor:
        values = _rows(file, accessor["bufferView"], accessor.get("byteOffset", 0), dtype, count, width, what)
    elif "sparse" in accessor:
        if count > max(file.size, 2**16):
            raise ValueError(f"its {what} declares {count} rows, more than a file of {file.size} bytes is believed")
        values = np.zeros((count, width), dtype)
    else:
        raise ValueError(f"its {what} holds no data; it is compressed by an extension, or was left out")
    if "sparse" in accessor:
        values = _with_replacements(file, accessor["sparse"], values, what)
    if normalized is None:
        normalized = accessor.get("normalized") is True
    if normalized:
        return normalized_numbers(values)
    return values.astype(np.float64) if dtype.kind == "f" else values


def normalized_numbers(values: np.ndarray) -> np.ndarray:
    """Whole numbers that stand for [0, 1] or [-1, 1] as float64; others as they are."""
    if values.dtype.kind not in "iu":
        return values.astype(np.float64)
    # Section 3.6.2.2 of the specification: the least signed number stands for -1, too.
    return np.maximum(values / np.iinfo(values.dtype).max, -1)


def _shape(accessor: dict[str, Any], what: str) -> tuple[np.dtype, int, int]:
    component, kind, count = accessor.get("componentType"), accessor.get("type"), accessor.get("count")
    if component not in COMPONENTS or kind not in WIDTHS:
        raise ValueError(f"its {what} is of component type {component!r} and type {kind!r}, which are not known")
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"its {what} declares {count!r} rows")
    return np.dtype(COMPONENTS[component]), WIDTHS[kind], count


def _rows(file: GltfFile, view: Any, offset: Any, dtype: np.dtype, count: int, width: int, what: str) -> np.ndarray:
    data, stride = file.view(view)
    row = dtype.itemsize * width
    stride = stride or row  # some write 0 for none
    offset = int(offset)
    if stride < row or offset < 0 or offset + stride * (count - 1) + row > len(data):
        raise ValueError(
            f"its {what} needs {count} rows of {row} bytes, {stride} apart from byte {offset} on; its buffer view has "
            f"{len(data)} bytes"
        )
    return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))


def _with_replacements(file: GltfFile, sparse: dict[str, Any], values: np.ndarray, what: str) -> np.ndarray:
    count = sparse.get("count")
    where, there = sparse["indices"], sparse["values"]
    if not isinstance(count, int) or count < 1 or where.get("componentType") not in (5121, 5123, 5125):
        raise ValueError(f"the sparse rows of its {what} are not as the format prescribes")
    dtype = np.dtype(COMPONENTS[where["componentType"]])
    rows = _rows(file, where["bufferView"], where.get("byteOffset", 0), dtype, count, 1, what).ravel()
    if rows.max() >= len(values):
        raise ValueError(f"its {what} replaces row {rows.max()} of {len(values)}")
    values = values.copy()
    values[rows] = _rows(
        file, there["bufferView"], there.get("byteOffset", 0), values.dtype, count, values.shape[1], what
    )
    return values
