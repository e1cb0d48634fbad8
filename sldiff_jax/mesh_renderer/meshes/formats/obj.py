"""Wavefront OBJ files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .corners import looked_up, split_vertices
from .mtl import MtlMaterial, read_library
from .obj_file import Statements, corners, positions_and_colors, statements, table
from .part import WHITE, Contents, Material, Part, with_own_vertices
from .polygons import triangulate
from .text import read_lines
from .texture_lookup import Lookups, bake_faces
from .textures import find_file, is_file, missing_texture, read_picture

NO_MATERIAL = ("", "none", "(null)", "null", "default")


def read_obj(path: Path) -> Contents:
    """Reads the triangles of an OBJ file as one part, its vertices in their order."""
    found = statements(read_lines(path))
    if not found.f:
        return Contents([], [], [])
    positions, colors = positions_and_colors(found.v)
    texture_points = table(found.vt, "vt", 2, filler="0")
    normals = table(found.vn, "vn", 3)

    sizes, distinct, number = corners(found.f, [len(positions), len(texture_points), len(normals)])
    split = split_vertices(distinct[:, 0], distinct[:, 1:], len(positions))
    triangles, polygon = triangulate(positions[distinct[number, 0]], sizes)
    of_triangle = number[triangles]

    names = np.zeros(len(sizes), np.int64)
    for row, (face, _) in enumerate(found.materials, start=1):
        names[face:] = row
    part = Part(
        vertices=positions[split.source],
        faces=split.vertex[of_triangle],
        face_material=np.zeros(len(triangles), np.int64),
        materials=[],
        normals=looked_up(normals, split.attributes[:, 1], np.nan) if len(normals) else None,
        colors=None if colors is None else colors[split.source],
        uv=looked_up(texture_points, split.attributes[:, 0], 0.0) if len(texture_points) else None,
    )
    mapped = np.all(distinct[:, 1][of_triangle] >= 0, axis=1)
    return _with_materials(part, path, found, names[polygon], mapped)


def _with_materials(
    part: Part, path: Path, found: Statements, name_of_face: np.ndarray, mapped: np.ndarray
) -> Contents:
    """Gives faces their materials; where a textured one has faces without coordinates, these get its plain colour."""
    names = ["", *(name for _, name in found.materials)]
    used = list(dict.fromkeys(names[row] for row in np.unique(name_of_face)))
    row_of_name = {name: row for row, name in enumerate(used)}
    used_of_face = np.array([row_of_name.get(name, -1) for name in names])[name_of_face]
    libraries, missing = _libraries(path, found.libraries)
    warnings, notes, lookups = [], [], Lookups()
    for row, name in enumerate(used):
        chosen = used_of_face == row
        definition = _definition(name, libraries, missing)
        plain = Material(None, WHITE if definition.diffuse is None else definition.diffuse)
        if definition.opacity < 1:
            notes.append(f"material {name!r} is transparent ({definition.opacity:g}); it is drawn opaque")
        materials = [*part.materials, plain]
        part = part._replace(
            materials=materials, face_material=np.where(chosen, len(materials) - 1, part.face_material)
        )
        if definition.color_map is None:
            continue
        color_map = definition.color_map
        file = find_file(color_map.name, [definition.folder, path.parent])
        if file is None:
            raise missing_texture(color_map.name)
        picture = read_picture(file, color_map.name)
        if not (chosen & mapped).any():
            raise ValueError(
                f"its material {name!r} has the texture {color_map.name}, but no face has texture coordinates. Export "
                "them, or take map_Kd out of the material"
            )
        if picture.alpha[0] < 1:
            notes.append(f"texture {color_map.name} is transparent in places; it is drawn opaque")
        if picture.turned:
            warnings.append(f"texture {color_map.name} asks to be turned (EXIF orientation), which is not done")
        textured = chosen & mapped
        if not mapped[chosen].all():
            notes.append(f"{(chosen & ~mapped).sum()} triangles of material {name!r} have no texture coordinates")
        # Viewers agree to let a texture replace the diffuse colour.
        part = part._replace(
            materials=[*part.materials, Material(picture.pixels)],
            face_material=np.where(textured, len(part.materials), part.face_material),
        )
        if (color_map.scale != 1).any() or (color_map.offset != 0).any():
            part, own = with_own_vertices(part, textured)
            uv = np.array(part.uv)
            uv[own] = uv[own] * color_map.scale + color_map.offset
            part = part._replace(uv=uv)
        part = bake_faces(part, textured, len(part.materials) - 1, color_map.wrap, lookups)
    return Contents([part], warnings, notes)


def _libraries(path: Path, statements: list[str]) -> tuple[dict[str, MtlMaterial], list[str]]:
    """The materials of all libraries, and the names of those that are missing."""
    materials, missing = {}, []
    for statement in statements:
        one_name = is_file(path.parent / statement)  # with spaces in it
        for name in [statement] if one_name else statement.split():
            file = find_file(name, [path.parent])
            if file is None:
                missing.append(name)
            else:
                materials = read_library(file) | materials  # the first definition holds
    return materials, missing


def _definition(name: str, libraries: dict[str, MtlMaterial], missing: list[str]) -> MtlMaterial:
    if name in libraries:
        return libraries[name]
    same = [material for other, material in libraries.items() if other.lower() == name.lower()]
    if len(same) == 1:
        return same[0]
    if name.lower() in NO_MATERIAL:
        return MtlMaterial(Path())
    if missing:
        raise ValueError(
            f"it takes material {name!r} from {', '.join(missing)}, which does not exist beside it. Put that file "
            "there, or take usemtl and mtllib out of this one"
        )
    known = ", ".join(map(repr, libraries)) or "it names none"
    raise ValueError(
        f"its material {name!r} is defined by none of its MTL files ({known}). Add it to one, or take usemtl out"
    )
