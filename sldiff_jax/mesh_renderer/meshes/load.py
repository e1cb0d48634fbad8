"""Mesh files: which reader reads which, and what all of them have in common."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .float32 import lost_in_float32
from .formats.gltf import read_gltf
from .formats.obj import read_obj
from .formats.part import Contents, Part
from .formats.ply import read_ply
from .formats.stl import read_stl

READERS: dict[str, Callable[[Path], Contents]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".ply": read_ply,
    ".stl": read_stl,
}


class Loaded(NamedTuple):
    """The arguments of `Mesh` for the contents of a file, and what was left out of them."""

    arguments: dict[str, Any]
    warnings: list[str]
    notes: list[str]


def load_mesh(path: str | Path, scale: float, origin: Sequence[float] | np.ndarray | None = None) -> Loaded:
    """Reads a mesh file; see `Mesh.load`."""
    path = Path(path)
    if not (np.ndim(scale) == 0 and np.isfinite(scale) and scale > 0):
        raise ValueError(f"Mesh scale must be a positive number (metres per unit of the file), got {scale!r}.")
    if origin is not None and not (np.shape(origin) == (3,) and np.isfinite(origin).all()):
        raise ValueError(f"Mesh origin must be three numbers (a point, in units of the file), got {origin!r}.")
    if path.suffix.lower() not in READERS:
        raise ValueError(f"Mesh file must be one of {', '.join(READERS)}, got {path}.")
    if not path.is_file():
        raise ValueError(f"Mesh file does not exist: {path}.")
    with naming_file(path), np.errstate(all="ignore"):  # what is not finite is refused in the end
        contents = READERS[path.suffix.lower()](path)
    parts = [part for part in contents.parts if len(part.faces)]
    if not parts:
        raise ValueError(f"Mesh file {path} holds no triangles.")
    with naming_file(path), np.errstate(all="ignore"):
        arguments = _joined(parts)
        vertices = arguments["vertices"]
        if origin is None:
            _check_distance(vertices[np.unique(arguments["faces"])])
        else:
            vertices = vertices - np.asarray(origin, np.float64)
        arguments["vertices"] = scale * vertices
    return Loaded(arguments, contents.warnings, contents.notes)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Turns whatever is raised inside into one ValueError with the file's name.

    Damaged files lead to all kinds of errors: a number where a list was expected, a key that is missing.
    """
    try:
        yield
    except MemoryError as error:
        raise _unreadable(path, "it needs more memory than there is") from error
    except OSError as error:
        raise _unreadable(path, str(error.strerror or error)) from error
    except Exception as error:
        plain = type(error) is ValueError
        cause = textwrap.shorten(f"{type(error).__name__}: {error}", width=300, placeholder=" ...")
        raise _unreadable(path, str(error) if plain else f"it does not follow its format ({cause})") from error


def _unreadable(path: Path, message: str) -> ValueError:
    return ValueError(f"Mesh file {path} cannot be read: {' '.join(message.split()).rstrip('.')}.")


def _joined(parts: list[Part]) -> dict[str, Any]:
    """One list of vertices, faces and materials; materials that no face has are left out."""
    first_vertex = np.cumsum([0, *(len(part.vertices) for part in parts)])[:-1]
    first_material = np.cumsum([0, *(len(part.materials) for part in parts)])[:-1]
    materials = [material for part in parts for material in part.materials]
    of_face = np.concatenate([part.face_material + first for part, first in zip(parts, first_material)])
    used, of_face = np.unique(of_face, return_inverse=True)
    used = [materials[k] for k in used]
    return {
        "vertices": np.concatenate([part.vertices for part in parts]),
        "faces": np.concatenate([part.faces + first for part, first in zip(parts, first_vertex)]),
        "normals": _filled(parts, "normals", 3, np.nan),  # Mesh computes what is missing
        "colors": _filled(parts, "colors", 3, 1.0),
        "uv": _filled(parts, "uv", 2, 0.0),
        "texture": [material.texture for material in used],
        "base_color": np.stack([material.base_color for material in used]),
        "face_material": of_face.ravel(),
    }


def _filled(parts: list[Part], name: str, width: int, missing: float) -> np.ndarray | None:
    arrays = [getattr(part, name) for part in parts]
    if all(array is None for array in arrays):
        return None if name != "uv" else np.zeros((sum(len(part.vertices) for part in parts), width))
    return np.concatenate(
        [
            np.full((len(part.vertices), width), missing) if array is None else array
            for part, array in zip(parts, arrays)
        ]
    )


def _check_distance(vertices: np.ndarray) -> None:
    """Refuses what float32 cannot hold, and says how to bring it nearer."""
    step, size = lost_in_float32(vertices)
    if step:
        center = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
        digits = max(0, 2 - math.floor(math.log10(size)))
        point = ", ".join(f"{x:.{digits}f}" for x in center)
        raise ValueError(
            f"it lies too far from its origin: float32 has steps of {step:.3g} there, and it is {size:.3g} across (in "
            f"its units). Give Mesh.load a point of it as the new origin, origin=({point}), from which poses then count"
        )
