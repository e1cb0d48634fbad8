"""glTF 2.0, as .gltf or .glb: the triangles of its scene, at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..float32 import check_stored
from .gltf_accessors import read_array
from .gltf_draco import decoded, is_compressed
from .gltf_file import GltfFile
from .gltf_materials import Surface, Surfaces
from .gltf_nodes import Nodes
from .part import Contents, Part
from .strips import fan_triangles, strip_triangles
from .texture_lookup import Lookups, bake_faces

TRIANGLES, STRIP, FAN = 4, 5, 6


def read_gltf(path: Path) -> Contents:
    """Reads a file. Each primitive of each mesh in the scene becomes a part, its vertices in their order."""
    file = GltfFile(path)
    nodes, surfaces, lookups = Nodes(file), Surfaces(file), Lookups()
    parts: list[Part] = []
    notes: list[str] = []
    for index in nodes.visible:
        node = nodes.node(index)
        if "mesh" not in node:
            continue
        mesh = file.get("meshes", node["mesh"])
        weights = np.asarray(node.get("weights", mesh.get("weights", [])), np.float64)
        for primitive in mesh["primitives"]:
            if primitive.get("mode", TRIANGLES) not in (TRIANGLES, STRIP, FAN):
                notes.append("points or lines are left out")
                continue
            surface = surfaces.get(primitive.get("material"))
            if surface.invisible:
                notes.append(f"triangles of material {primitive['material']} are left out, which is transparent")
                continue
            decompressed, faces = decoded(file, primitive) if is_compressed(file, primitive) else ({}, None)
            attributes = _attributes(file, primitive, weights, decompressed)
            if faces is None:
                faces = _faces(file, primitive, len(attributes["POSITION"]))
            if len(faces):
                part = _part(primitive, attributes, faces, surface, lookups)
                parts += _placed(part, nodes, index, attributes)
    if "animations" in file.root:
        notes.append("animations are not played: everything is at rest")
    return Contents(parts, list(dict.fromkeys(surfaces.warnings)), list(dict.fromkeys([*notes, *surfaces.notes])))


def _attributes(
    file: GltfFile, primitive: dict[str, Any], weights: np.ndarray, decompressed: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The arrays of a primitive by name, with its morph targets added."""
    targets = primitive.get("targets", [])
    if len(weights) and len(weights) != len(targets):
        raise ValueError(f"it has {len(weights)} weights for {len(targets)} morph targets")
    arrays = {}
    for name, accessor in primitive["attributes"].items():
        if name.startswith("_") or name == "TANGENT":
            continue
        # Whole numbers can only mean 0..1 in these.
        normalized = True if name.startswith(("COLOR_", "WEIGHTS_")) else None
        values = decompressed.get(name)
        if values is None:
            values = read_array(file, accessor, name, normalized=normalized)
        for weight, target in zip(weights, targets):
            if weight and name in target:
                change = read_array(file, target[name], f"morph target ({name})", normalized=normalized)
                if change.shape != values.shape:
                    raise ValueError(f"a morph target has {len(change)} rows of {name}, the mesh {len(values)}")
                values = values + weight * change
        arrays[name] = values
    if "POSITION" not in arrays:
        raise ValueError("a primitive of it has no POSITION")
    for name, values in arrays.items():
        if len(values) != len(arrays["POSITION"]):
            raise ValueError(f"it has {len(values)} rows of {name} for {len(arrays['POSITION'])} of POSITION")
    return arrays


def _faces(file: GltfFile, primitive: dict[str, Any], count: int) -> np.ndarray:
    """(F, 3) int, numbers of `count` vertices."""
    order = np.arange(count)
    if "indices" in primitive:
        order = _whole(read_array(file, primitive["indices"], "indices"), "indices").ravel()
        if order.max() >= count or order.min() < 0:
            raise ValueError(f"its triangles point to vertex {order.max()}; 0..{count - 1} are there")
    mode = primitive.get("mode", TRIANGLES)
    if mode == TRIANGLES:
        if len(order) % 3:
            raise ValueError(f"a list of triangles in it has {len(order)} corners, which is no multiple of three")
        return order.reshape(-1, 3)
    return strip_triangles(order) if mode == STRIP else fan_triangles(order)


def _part(
    primitive: dict[str, Any], arrays: dict[str, np.ndarray], faces: np.ndarray, surface: Surface, lookups: Lookups
) -> Part:
    """A primitive in the frame of its node."""
    check_stored(arrays["POSITION"][np.unique(faces)])
    colors = arrays.get("COLOR_0")
    if colors is not None and not (colors.min() >= 0 and colors.max() <= 1 + 1e-3):
        raise ValueError(f"its COLOR_0 lies in {colors.min():g}..{colors.max():g}; 0..1 was expected")
    part = Part(
        vertices=np.asarray(_columns(arrays["POSITION"], 3, "POSITION"), np.float64),
        faces=faces,
        face_material=np.zeros(len(faces), np.int64),
        materials=[surface.material],
        normals=_columns(arrays["NORMAL"], 3, "NORMAL") if "NORMAL" in arrays else None,
        colors=None if colors is None else np.minimum(colors[:, :3], 1),
    )
    if not surface.has_image:
        return part
    name = f"TEXCOORD_{surface.uv_set}"
    if name not in arrays:
        raise ValueError(
            f"its material {primitive['material']} has a texture, but its triangles have no {name}. Export texture "
            "coordinates, or take the texture out of the material"
        )
    uv = _columns(arrays[name], 2, name) @ surface.transform[:, :2].T + surface.transform[:, 2]
    part = part._replace(uv=uv * [1, -1] + [0, 1])  # v upwards
    return bake_faces(part, np.ones(len(faces), bool), 0, surface.wrap, lookups)


def _whole(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise ValueError(f"its {name} are no whole numbers")
    return values.astype(np.int64)


def _columns(values: np.ndarray, width: int, name: str) -> np.ndarray:
    if values.shape[1] != width:
        raise ValueError(f"its {name} has {values.shape[1]} columns, not {width}")
    return values


def _placed(part: Part, nodes: Nodes, index: int, arrays: dict[str, np.ndarray]) -> list[Part]:
    """The part in the frame of the scene, once per instance; a skin places each vertex by its joints instead."""
    skin = nodes.node(index).get("skin")
    if skin is not None:
        sets = [k for k in range(len(arrays)) if f"JOINTS_{k}" in arrays and f"WEIGHTS_{k}" in arrays]
        if not sets:
            raise ValueError("it has a skin, but its vertices have no JOINTS_0 and WEIGHTS_0")
        joints = np.concatenate([_whole(arrays[f"JOINTS_{k}"], "JOINTS") for k in sets], axis=1)
        weights = np.concatenate([arrays[f"WEIGHTS_{k}"] for k in sets], axis=1)
        return [_transformed(part, nodes.skin(skin, joints, weights))]
    return [_transformed(part, T[None]) for T in nodes.placements(index)]


def _transformed(part: Part, T: np.ndarray) -> Part:
    """By one transform (1, 4, 4), or one per vertex."""
    A = T[:, :3, :3]
    vertices = (A @ part.vertices[..., None])[..., 0] + T[:, :3, 3]
    normals = part.normals
    if normals is not None:
        # Cofactors: the inverse transposed, but for a factor, that also flat transforms have.
        cofactors = np.stack([np.cross(A[:, 1], A[:, 2]), np.cross(A[:, 2], A[:, 0]), np.cross(A[:, 0], A[:, 1])], 1)
        sign = np.where(np.linalg.det(A) < 0, -1.0, 1.0)
        normals = sign[:, None] * (cofactors @ np.asarray(normals, np.float64)[..., None])[..., 0]
    faces = part.faces
    if len(A) == 1 and np.linalg.det(A[0]) < 0:  # a mirroring node turns triangles inside out
        faces = faces[:, ::-1]
    return part._replace(vertices=vertices, normals=normals, faces=faces)
