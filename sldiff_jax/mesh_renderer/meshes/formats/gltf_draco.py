"""Geometry of glTF files that Draco compressed, decoded by DracoPy where that is installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np

from .gltf_accessors import normalized_numbers
from .gltf_file import DRACO, GltfFile


def is_compressed(file: GltfFile, primitive: dict[str, Any]) -> bool:
    """Whether a primitive has compressed data, and none besides that could be read instead."""
    if DRACO not in primitive.get("extensions", {}):
        return False
    return "bufferView" not in file.get("accessors", primitive["attributes"]["POSITION"])


def decoded(file: GltfFile, primitive: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The compressed attributes of a primitive by name, as `read_array` gives them, and its triangles (F, 3)."""
    if importlib.util.find_spec("DracoPy") is None:
        raise ValueError(f"it needs {DRACO}: pip install 'sldiff-jax[draco]', or export it without compression")
    extension = primitive["extensions"][DRACO]
    data = bytes(file.view(extension["bufferView"])[0])
    try:
        mesh = importlib.import_module("DracoPy").decode(data)
        faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    except Exception as error:
        raise ValueError(f"its {DRACO} data cannot be decoded ({error or type(error).__name__})") from None
    arrays = {}
    for name, number in extension["attributes"].items():
        attribute = mesh.get_attribute_by_unique_id(number)
        accessor = file.get("accessors", primitive["attributes"][name])
        if attribute is None:
            raise ValueError(f"its {DRACO} data has no {name} (attribute {number})")
        values = np.asarray(attribute["data"])
        values = values.reshape(len(values), -1)
        if len(values) != accessor["count"]:
            raise ValueError(f"its {DRACO} data has {len(values)} rows of {name}, not {accessor['count']}")
        normalized = accessor.get("normalized") is True or name.startswith(("COLOR_", "WEIGHTS_"))
        arrays[name] = normalized_numbers(values) if normalized else values
    return arrays, faces
