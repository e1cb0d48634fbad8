"""Wavefront OBJ files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .corners import looked_up, split_vertices
from .mtl import MtlMaterial, read_library
from .numbers import floats
from .part import WHITE, Contents, Material, Part, with_own_vertices
from .polygons import triangulate
from .text import read_lines
from .texture_lookup import Lookups, bake_faces
from .textures import find_file, is_file, missing_texture, read_picture

# fmt: off
LEFT_OUT = frozenset((
    "vp", "p", "l", "s", "g", "o", "mg", "bevel", "c_interp", "d_interp", "lod", "shadow_obj", "trace_obj", "ctech",
    "stech", "maplib", "usemap", "end",
))
"""Statements that do not change triangles or their colours."""

FREE_FORM = frozenset((
    "cstype", "deg", "bmat", "step", "curv", "curv2", "surf", "parm", "trim", "hole", "scrv", "sp", "con", "bzp", "bsp",
    "cdc", "cdp", "res", "call", "csh",
))
# fmt: on
COMMENT = re.compile(r"(?:^|\s)#")  # 1.#QNAN is none
NO_MATERIAL = ("", "none", "(null)", "null", "default")


class _Statements(NamedTuple):
    """The lines of a file by kind, without their keyword; `materials` are pairs of the first face and a name."""

    v: list[str]
    vt: list[str]
    vn: list[str]
    f: list[str]
    materials: list[tuple[int, str]]
    libraries: list[str]


def read_obj(path: Path) -> Contents:
    """Reads the triangles of an OBJ file as one part, its vertices in their order."""
    statements = _statements(read_lines(path))
    if not statements.f:
        return Contents([], [], [])
    positions, colors = _positions(statements.v)
    texture_points = _table(statements.vt, "vt", 2, filler="0")
    normals = _table(statements.vn, "vn", 3)

    sizes, distinct, number = _corners(statements.f, [len(positions), len(texture_points), len(normals)])
    split = split_vertices(distinct[:, 0], distinct[:, 1:], len(positions))
    triangles, polygon = triangulate(positions[distinct[number, 0]], sizes)
    corners = number[triangles]

    names = np.zeros(len(sizes), np.int64)
    for row, (face, _) in enumerate(statements.materials, start=1):
        names[face:] = row
    part = Part(
        vertices=positions[split.source],
        faces=split.vertex[corners],
        face_material=np.zeros(len(triangles), np.int64),
        materials=[],
        normals=looked_up(normals, split.attributes[:, 1], np.nan) if len(normals) else None,
        colors=None if colors is None else colors[split.source],
        uv=looked_up(texture_points, split.attributes[:, 0], 0.0) if len(texture_points) else None,
    )
    mapped = np.all(distinct[:, 1][corners] >= 0, axis=1)
    return _with_materials(part, path, statements, names[polygon], mapped)


def _statements(lines: list[str]) -> _Statements:
    found = _Statements([], [], [], [], [], [])
    rows = {"v": found.v, "vt": found.vt, "vn": found.vn, "f": found.f, "fo": found.f}
    for number, line in enumerate(lines, start=1):
        keyword, _, rest = line.partition(" ")
        if keyword not in rows or "#" in rest or (rest.find("-") >= 0 and rows[keyword] is found.f):
            words = line.split(None, 1)
            if not words or words[0][0] == "#":
                continue
            keyword, rest = words[0].lower(), words[1] if len(words) > 1 else ""
            if keyword in rows:
                rest = COMMENT.split(rest, maxsplit=1)[0]
            if keyword in ("f", "fo") and "-" in rest:
                rest = " ".join(_counted_from_start(word, found, number) for word in rest.split())
        if keyword in rows:
            rows[keyword].append(rest)
        elif keyword == "usemtl":
            found.materials.append((len(found.f), rest.strip()))
        elif keyword == "mtllib":
            found.libraries.append(rest.strip())
        elif keyword in FREE_FORM:
            raise ValueError(f"line {number} is free-form geometry ({keyword}), not triangles. Export it as polygons")
        elif keyword not in LEFT_OUT:
            raise ValueError(f"line {number} begins with {keyword[:40]!r}, which is no statement of the OBJ format")
    return found


def _counted_from_start(word: str, found: _Statements, line: int) -> str:
    """A corner with numbers from 1; those below zero count back from what was defined above this line."""
    numbers = []
    for text, rows in zip(word.split("/"), (found.v, found.vt, found.vn)):
        if text.startswith("-"):
            number = len(rows) + 1 + int(text)
            if number < 1:
                raise ValueError(f"line {line} refers to {text}, before the first of {len(rows)}")
            text = str(number)
        numbers.append(text)
    return "/".join(numbers)


def _split(rows: list[str]) -> tuple[list[str], np.ndarray]:
    """The words of all rows behind each other, and how many each row has."""
    words = " ".join(rows).split()
    lengths = np.array([row.count(" ") + 1 for row in rows], np.int64)
    # A row without tabs has no more words than that: if the sum is right, each is.
    if len(words) != lengths.sum() or any("\t" in row for row in rows):
        lengths = np.array([len(row.split()) for row in rows], np.int64)
    return words, lengths


def _positions(rows: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """(V, 3) positions, and (V, 3) colours if any vertex has one: ``v x y z [w]`` or ``v x y z r g b [a]``."""
    words, lengths = _split(rows)
    wrong = np.flatnonzero((lengths < 3) | (lengths == 5) | (lengths > 7))
    if wrong.size:
        raise ValueError(f"vertex {wrong[0] + 1} has {lengths[wrong[0]]} numbers: 'v {rows[wrong[0]][:60]}'")
    values = _numbers(words, "v")
    first = np.cumsum(lengths) - lengths
    positions = values[first[:, None] + np.arange(3)]
    colored = lengths >= 6
    if not colored.any():
        return positions, None
    colors = np.ones((len(rows), 3))
    given = values[first[colored][:, None] + np.arange(3, 6)]
    finite = given[np.isfinite(given)]
    lowest, highest = finite.min(initial=0), finite.max(initial=0)
    if lowest < 0 or highest > 255:
        raise ValueError(f"its vertex colours lie in {lowest:g}..{highest:g}; 0..1 or 0..255 was expected")
    colors[colored] = given / (255 if highest > 1 else 1)
    return positions, colors


def _table(rows: list[str], keyword: str, width: int, filler: str | None = None) -> np.ndarray:
    """(N, width) float64: the first numbers of each row, `filler` where all but the first are missing."""
    words, lengths = _split(rows)
    if filler is not None and (lengths == 1).any():
        return _table([f"{row} {filler}" for row in rows], keyword, width)
    if (lengths < width).any():
        short = int(np.argmax(lengths < width))
        raise ValueError(f"'{keyword} {rows[short][:60]}' ({keyword} number {short + 1}) needs {width} numbers")
    first = np.cumsum(lengths) - lengths
    return _numbers(words, keyword)[first[:, None] + np.arange(width)].reshape(-1, width)


def _numbers(words: list[str], keyword: str) -> np.ndarray:
    try:
        return floats(words)
    except ValueError as error:
        raise ValueError(f"in a {keyword} statement, {error}") from None


def _corners(rows: list[str], counts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many corners each face has, the different corners in their order, and which of them each corner is.

    Corners are (D, 3) int from 0: vertex, texture coordinate and normal, -1 where there is none.
    """
    words, sizes = _split(rows)
    number_of: dict[str, int] = {}
    number = np.array([number_of.setdefault(word, len(number_of)) for word in words], np.int64)
    distinct = np.full((len(number_of), 3), -1, np.int64)
    for row, word in enumerate(number_of):
        for column, text in enumerate(word.split("/")):
            if not text:
                continue
            if column > 2 or not text.isdecimal():
                raise ValueError(f"a face has the corner {word[:40]!r}, which is not v, v/vt, v//vn or v/vt/vn")
            if not 0 < len(text) < 18 or not 1 <= int(text) <= counts[column]:
                what = ("vertex", "texture coordinate", "normal")[column]
                raise ValueError(f"a face points to {what} {text[:40]}; 1..{counts[column]} are there")
            distinct[row, column] = int(text) - 1
    if (distinct[:, 0] < 0).any():
        raise ValueError("a face has a corner without vertex")
    return sizes, distinct, number


def _with_materials(
    part: Part, path: Path, statements: _Statements, name_of_face: np.ndarray, mapped: np.ndarray
) -> Contents:
    """Gives faces their materials; where a textured one has faces without coordinates, these get its plain colour."""
    names = ["", *(name for _, name in statements.materials)]
    used = list(dict.fromkeys(names[row] for row in np.unique(name_of_face)))
    libraries, missing = _libraries(path, statements.libraries)
    warnings, notes, lookups = [], [], Lookups()
    of_name = {name: np.array([other == name for other in names])[name_of_face] for name in used}
    for name in used:
        chosen = of_name[name]
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
