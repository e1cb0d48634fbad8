"""Meshes as BOP stores them: PLY files in millimetres, a texture beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..mesh_renderer import Mesh
from ._atomic import write_atomically

PADDING = 4
"""Texels around each part of a joint texture, so that interpolation takes nothing from its neighbours."""


def write_ply(path: Path, mesh: Mesh) -> None:
    """Writes a mesh, and its texture as a PNG of the same name. `Mesh.load(path, scale=1e-3)` reads it.

    The textures of several materials are put side by side into one.

    Raises:
        ValueError: if a mesh with several textures repeats them.
    """
    vertices, normals = (np.asarray(values, np.float64) for values in (mesh.vertices, mesh.normals))
    faces, uv = np.asarray(mesh.faces), np.asarray(mesh.uv, np.float64)
    textures = _textures(mesh)
    plain = all(texture.shape[:2] == (1, 1) for texture in textures)
    colors = None if mesh.colors is None else np.asarray(mesh.colors)
    if len(textures) > 1:
        rows, faces = _split_by_material(np.asarray(mesh.face_material), faces)
        vertices, normals, uv = vertices[rows[:, 0]], normals[rows[:, 0]], uv[rows[:, 0]]
        colors = None if colors is None else colors[rows[:, 0]]
        if plain:
            base = np.stack([texture[0, 0] for texture in textures])[rows[:, 1]] / 255
            colors = base if colors is None else base * colors
        else:
            texture, uv = _joined(textures, rows[:, 1], uv, path)
            textures = [texture]
    elif plain:
        base = np.broadcast_to(textures[0][0, 0] / 255, vertices.shape)
        colors = base if colors is None else base * colors

    columns = {"x y z": 1e3 * vertices, "nx ny nz": normals}
    header = ["ply", "format binary_little_endian 1.0"]
    if not plain:
        columns["texture_u texture_v"] = uv
        header.append(f"comment TextureFile {path.stem}.png")
        Image.fromarray(textures[0]).save(path.with_suffix(".png"))
    table = np.concatenate(list(columns.values()), axis=1).astype("<f4")
    names = " ".join(columns).split()
    fields: list = [(name, "<f4") for name in names]
    if colors is not None:
        fields += [(name, "u1") for name in ("red", "green", "blue")]
    rows_out = np.empty(len(table), fields)
    for k, name in enumerate(names):
        rows_out[name] = table[:, k]
    if colors is not None:
        for k, name in enumerate(("red", "green", "blue")):
            rows_out[name] = np.rint(255 * colors[:, k])
    header.append(f"element vertex {len(table)}")
    header += [f"property {'uchar' if kind == 'u1' else 'float'} {name}" for name, kind in fields]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    corners = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    corners["count"], corners["corners"] = 3, faces
    write_atomically(path, "\n".join(header).encode() + rows_out.tobytes() + corners.tobytes())


def _textures(mesh: Mesh) -> list[np.ndarray]:
    """(Ht, Wt, 3) uint8 for each material, times its base colour."""
    texels = np.asarray(mesh.materials.texels)[:, :3]
    texels = texels if texels.dtype == np.uint8 else np.rint(255 * texels).astype(np.uint8)
    textures = []
    for (first, width, height), base in zip(
        np.asarray(mesh.materials.textures).tolist(), np.asarray(mesh.materials.base_colors)
    ):
        image = texels[first : first + width * height].reshape(height, width, 3)
        textures.append(image if (base == 1).all() else np.rint(image * base).astype(np.uint8))
    return textures


def _split_by_material(face_material: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (vertex, material), and the faces by numbers of pairs: a vertex of two materials becomes two."""
    pairs = np.stack([faces, np.broadcast_to(face_material[:, None], faces.shape)], axis=-1).reshape(-1, 2)
    distinct, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return distinct, inverse.reshape(faces.shape)


def _joined(
    textures: list[np.ndarray], material: np.ndarray, uv: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """All textures side by side, and the coordinates in it."""
    if uv.size and (uv.min() < -1e-6 or uv.max() > 1 + 1e-6):
        raise ValueError(f"{path} cannot hold a mesh with several textures that repeat. Give it one texture.")
    height = max(texture.shape[0] for texture in textures) + 2 * PADDING
    width = sum(texture.shape[1] + 2 * PADDING for texture in textures)
    joint, placed, left = np.zeros((height, width, 3), np.uint8), uv.copy(), 0
    for number, texture in enumerate(textures):
        rows, columns = texture.shape[:2]
        padded = np.pad(texture, [(PADDING, PADDING), (PADDING, PADDING), (0, 0)], mode="wrap")
        joint[: rows + 2 * PADDING, left : left + columns + 2 * PADDING] = padded
        of = material == number
        placed[of, 0] = (left + PADDING + uv[of, 0] * columns) / width
        placed[of, 1] = 1 - (PADDING + (1 - uv[of, 1]) * rows) / height  # v points up, rows go down
        left += columns + 2 * PADDING
    return joint, placed
