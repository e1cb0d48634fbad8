"""What a reader finds in a mesh file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WHITE = np.ones(3)


class Material(NamedTuple):
    """The colour of a surface: a texture, or white, times a base colour.

    Attributes:
        texture: (Ht, Wt, 3) uint8, row 0 at the top, or None.
        base_color: (3,) float in [0, 1].
    """

    texture: np.ndarray | None = None
    base_color: np.ndarray = WHITE


class Part(NamedTuple):
    """Triangles that share a list of vertices.

    Attributes:
        vertices: (V, 3) float64, units of the file.
        faces: (F, 3) int, vertex numbers from 0.
        face_material: (F,) int, row of `materials`.
        materials: of the part.
        normals: (V, 3) float, NaN where the file has none, or None.
        colors: (V, 3) float in [0, 1], or None.
        uv: (V, 2) float, v up, the texture repeats; or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    face_material: np.ndarray
    materials: list[Material]
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    uv: np.ndarray | None = None


class Contents(NamedTuple):
    """A mesh file.

    Attributes:
        parts: in the order of the file.
        warnings: what will look otherwise than in a viewer, and why.
        notes: what else was left out.
    """

    parts: list[Part]
    warnings: list[str]
    notes: list[str]


def with_own_vertices(part: Part, chosen: np.ndarray) -> tuple[Part, np.ndarray]:
    """Gives some faces vertices that no other face uses.

    Args:
        part: the part.
        chosen: (F,) bool, the faces.

    Returns:
        The part, with copies of shared vertices behind the others, and (V,) bool, the vertices of the chosen faces.
    """
    inside = np.zeros(len(part.vertices), bool)
    inside[part.faces[chosen]] = True
    outside = np.zeros(len(part.vertices), bool)
    outside[part.faces[~chosen]] = True
    shared = np.flatnonzero(inside & outside)
    number = np.arange(len(part.vertices))
    number[shared] = len(part.vertices) + np.arange(len(shared))
    faces = np.where(chosen[:, None], number[part.faces], part.faces)
    grown = {
        name: np.concatenate([array, array[shared]])
        for name in ("vertices", "normals", "colors", "uv")
        if (array := getattr(part, name)) is not None
    }
    own = np.zeros(len(part.vertices) + len(shared), bool)
    own[faces[chosen]] = True
    return part._replace(faces=faces, **grown), own
