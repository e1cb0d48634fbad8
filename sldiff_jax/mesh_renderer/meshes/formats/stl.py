"""STL files, binary or ascii."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..float32 import check_stored
from .numbers import floats
from .part import Contents, Material, Part

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(path: Path) -> Contents:
    """Reads an STL file. Each triangle has vertices of its own; stored normals are ignored, for many are wrong."""
    data = path.read_bytes()
    notes: list[str] = []
    declared = int.from_bytes(data[80:84], "little") if len(data) >= 84 else -1
    if len(data) == 84 + FACET.itemsize * declared:
        facets = np.frombuffer(data, FACET, declared, 84)
        corners = facets["corners"].astype(np.float64)
        check_stored(corners.reshape(-1, 3))
        if (facets["attribute"] != 0).any():
            notes.append("its triangles have attributes, perhaps colours, which are not read")
    elif data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"solid"):
        corners = _ascii_corners(data)
    else:
        held = max((len(data) - 84) / FACET.itemsize, 0)
        raise ValueError(f"it declares {max(declared, 0)} triangles and holds {held:g}: cut off, or no STL file")
    if not len(corners):
        return Contents([], [], [])
    count = len(corners)
    faces = np.arange(3 * count).reshape(-1, 3)
    return Contents([Part(corners.reshape(-1, 3), faces, np.zeros(count, np.int64), [Material()])], [], notes)


def _ascii_corners(data: bytes) -> np.ndarray:
    """(F, 3, 3) float64."""
    lines = [line.split() for line in data.decode("latin-1").lower().replace("\r", "\n").split("\n")]
    keywords = [words[0] for words in lines if words]
    if "endsolid" not in keywords:
        raise ValueError("it was cut off: it has no 'endsolid'")
    corners = [words[1:] for words in lines if words and words[0] == "vertex"]
    facets = keywords.count("endfacet")
    if len(corners) != 3 * facets or any(len(corner) != 3 for corner in corners):
        raise ValueError(f"it has {len(corners)} corners in {facets} facets; three in each were expected")
    return floats([word for corner in corners for word in corner]).reshape(-1, 3, 3)
