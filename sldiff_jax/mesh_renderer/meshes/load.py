"""Mesh files, read through trimesh."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import trimesh
from trimesh.visual.material import PBRMaterial

FORMATS = (".glb", ".gltf", ".obj", ".ply", ".stl")


def load_mesh(path: str | Path, scale: float) -> dict[str, Any]:
    """The arguments of `Mesh` for the contents of a file; see `Mesh.load`."""
    path = Path(path)
    if not (np.ndim(scale) == 0 and np.isfinite(scale) and scale > 0):
        raise ValueError(f"Mesh scale must be a positive number (metres per unit of the file), got {scale!r}.")
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"Mesh file must be one of {', '.join(FORMATS)}, got {path}.")
    if not path.is_file():
        raise ValueError(f"Mesh file does not exist: {path}.")
    for name in _texture_files(path):
        if not (path.parent / name).is_file():
            raise ValueError(f"Mesh file {path} takes its texture from {name}, which does not exist beside it.")
    try:
        # process=False keeps the vertices as they are in the file, their number and order included.
        scene = trimesh.load_scene(path, process=False)
    except Exception as error:  # each reader of trimesh raises what it likes
        raise ValueError(f"Mesh file {path} cannot be read: {error}") from error

    parts = []
    for node in scene.graph.nodes_geometry:
        T_scene_part, name = scene.graph[node]
        part = scene.geometry[name]
        if isinstance(part, trimesh.Trimesh) and len(part.faces):
            parts.append(_part(part, T_scene_part, scale))
    if not parts:
        raise ValueError(f"Mesh file {path} holds no triangles.")
    return _joined(parts)


def _texture_files(path: Path) -> list[str]:
    """Names of the colour textures outside the file. trimesh would go on without them."""
    suffix = path.suffix.lower()
    if suffix == ".ply":
        header = path.read_bytes().partition(b"end_header")[0].decode("latin-1")
        return re.findall(r"^comment TextureFile (.+?)\s*$", header, re.MULTILINE)
    if suffix == ".obj":
        libraries = re.findall(r"^mtllib (.+?)\s*$", path.read_text("latin-1"), re.MULTILINE)
        found = [path.parent / name for name in libraries if (path.parent / name).is_file()]
        maps = [re.findall(r"^\s*map_Kd (.+?)\s*$", file.read_text("latin-1"), re.MULTILINE) for file in found]
        return [name.split()[-1] if name.startswith("-") else name for names in maps for name in names]
    if suffix == ".gltf":
        try:
            images = json.loads(path.read_text()).get("images", [])
        except ValueError:
            return []  # the reader says what is wrong
        return [unquote(image["uri"]) for image in images if not image.get("uri", "data:").startswith("data:")]
    return []


def _part(part: Any, T_scene_part: np.ndarray, scale: float) -> dict[str, Any]:
    A = T_scene_part[:3, :3]
    faces = np.asarray(part.faces)
    if np.linalg.det(A) < 0:  # a mirroring node turns triangles inside out
        faces = faces[:, ::-1]
    vertices = np.asarray(part.vertices) @ A.T + T_scene_part[:3, 3]
    normals = np.asarray(part.vertex_normals) @ np.linalg.inv(A)
    if part.visual.kind == "face":  # a vertex can only have one colour
        vertices, normals = vertices[faces].reshape(-1, 3), normals[faces].reshape(-1, 3)
        faces = np.arange(len(vertices)).reshape(-1, 3)
    colors, uv, texture, base_color = _appearance(part)
    count = len(vertices)
    return {
        "vertices": scale * vertices,
        "faces": faces,
        "normals": normals,
        "colors": np.ones((count, 3)) if colors is None else colors,
        "uv": np.zeros((count, 2)) if uv is None else uv,
        "texture": texture if uv is not None else None,
        "base_color": base_color,
        "colored": colors is not None,
    }


def _appearance(part: Any) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, np.ndarray]:
    """Vertex colours, texture coordinates, texture and base colour of a part."""
    visual = part.visual
    white = np.ones(3)
    if visual.kind == "texture":
        colors = visual.vertex_attributes.get("color") if visual.vertex_attributes else None
        colors = None if colors is None else np.asarray(colors)[:, :3] / 255.0
        texture, base_color = _material(visual.material)
        return colors, visual.uv, texture, base_color
    if visual.kind == "vertex":
        return np.asarray(visual.vertex_colors)[:, :3] / 255.0, None, None, white
    if visual.kind == "face":
        return np.repeat(np.asarray(visual.face_colors)[:, :3] / 255.0, 3, axis=0), None, None, white
    return None, None, None, white


def _material(material: Any) -> tuple[np.ndarray | None, np.ndarray]:
    if isinstance(material, PBRMaterial):
        image, factor = material.baseColorTexture, material.baseColorFactor
        base_color = np.ones(3) if factor is None else np.asarray(factor)[:3] / 255.0
    else:
        # Viewers agree to let a diffuse texture replace the diffuse colour.
        image = material.image
        base_color = np.ones(3) if image is not None else np.asarray(material.diffuse)[:3] / 255.0
    if image is None:
        return None, base_color
    return np.asarray(image.convert("RGB")), base_color


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    mesh: dict[str, Any]
    first_vertex = np.cumsum([0, *(len(part["vertices"]) for part in parts[:-1])])
    mesh = {name: np.concatenate([part[name] for part in parts]) for name in ("vertices", "normals", "colors", "uv")}
    mesh["faces"] = np.concatenate([part["faces"] + first for part, first in zip(parts, first_vertex)])
    mesh["texture"] = [part["texture"] for part in parts]
    mesh["base_color"] = np.stack([part["base_color"] for part in parts])
    mesh["face_material"] = np.repeat(np.arange(len(parts)), [len(part["faces"]) for part in parts])
    if not any(part["colored"] for part in parts):
        mesh["colors"] = None
    return mesh
