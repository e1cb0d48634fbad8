"""What the tables of a PLY file mean: vertices, faces, colours, textures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..float32 import check_stored
from .corners import looked_up, split_vertices
from .part import Contents, Material, Part, with_own_vertices
from .ply_file import Element, Lists, PlyFile, parse_ply
from .polygons import triangulate
from .strips import split_at, strip_triangles
from .textures import find_file, missing_texture, read_picture

NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
TEXTURE_POINTS = tuple(
    (f"{prefix}{u}", f"{prefix}{v}")
    for prefix in ("texture_", "", "texcoord_", "tex_", "t", "tex", "texture")
    for u, v in (("u", "v"), ("s", "t"), ("x", "y"), ("0", "1"))
    if prefix or u not in "x0"
)
COLORS = tuple(
    tuple(f"{prefix}{channel}" for channel in channels)
    for prefix in ("", "diffuse_", "color_", "colour_", "vertex_", "base_color_")
    for channels in (("red", "green", "blue"), ("r", "g", "b"))
)
INDICES = ("vertex_indices", "vertex_index", "vertex_indexes", "indices")
NOT_SUPPORTED = ("multi_texture_vertex", "multi_texture_face")


def read_ply(path: Path) -> Contents:
    """Reads the triangles of a PLY file as one part."""
    data = path.read_bytes()
    header = data[: data.find(b"end_header")].decode("latin-1")
    files = _texture_files(path, re.findall(r"^[ \t]*comment[ \t]+TextureFile[ \t]+(.+?)\s*$", header, re.M | re.I))
    ply = parse_ply(data)
    unsupported = [name for name in NOT_SUPPORTED if name in ply.elements]
    if unsupported:
        raise ValueError(f"it holds the element {unsupported[0]!r}, which is not supported. Save it with one texture")
    vertex = ply.elements.get("vertex")
    if vertex is None or not vertex.rows:
        return Contents([], [], [])
    positions = _stacked(vertex, [("x", "y", "z")], "vertex")
    if positions is None:
        raise ValueError(f"its vertices have no x, y, z but {', '.join(vertex.columns) or 'nothing'}")
    corners, sizes = _polygons(ply, len(positions))
    if np.asarray(vertex.columns["x"]).dtype.itemsize <= 4:  # text holds more digits than it declares
        check_stored(positions[corners])
    triangles, polygon = triangulate(positions[corners], sizes)
    if not len(triangles):
        return Contents([], [], [])
    part = Part(
        vertices=positions,
        faces=corners[triangles],
        face_material=np.zeros(len(triangles), np.int64),
        materials=[Material()],
        normals=_stacked(vertex, NORMALS, "vertex"),
        colors=_colors(vertex, "vertex"),
        uv=_stacked(vertex, TEXTURE_POINTS, "vertex"),
    )
    face = ply.elements.get("face")
    mapped = np.full(len(sizes), part.uv is not None)
    if face is not None and "texcoord" in face.columns:
        part, mapped = _with_texture_points(part, face, corners, sizes, triangles)
    face_colors = None if face is None else _colors(face, "face")
    if face_colors is not None and part.colors is None:
        part = _with_face_colors(part, face_colors[polygon])
    warnings, notes = [], []
    if files:
        numbers = _texture_numbers(face, len(files), mapped)
        part = _with_textures(part, files, numbers[polygon], warnings, notes)
    return Contents([part], warnings, notes)


def _texture_files(path: Path, names: Sequence[str]) -> list[tuple[str, Path]]:
    files = [(name, find_file(name, [path.parent])) for name in names]
    for name, file in files:
        if file is None:
            raise missing_texture(name)
    return [(name, file) for name, file in files if file is not None]


def _stacked(element: Element, spellings: Sequence[tuple[str, ...]], what: str) -> np.ndarray | None:
    """(N, columns) float64 of the first spelling that is there."""
    for names in spellings:
        if all(name in element.columns for name in names):
            columns = [element.columns[name] for name in names]
            if any(isinstance(column, Lists) for column in columns):
                raise ValueError(f"its {what} properties {', '.join(names)} are lists, not numbers")
            return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return None


def _colors(element: Element, what: str) -> np.ndarray | None:
    """(N, 3) float in [0, 1]: whole numbers by the range of their type, or by the range that is used."""
    names = next((names for names in COLORS if all(name in element.columns for name in names)), None)
    values = _stacked(element, COLORS, what)
    if names is None or values is None or not len(values):
        return None
    finite = values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    dtype = element.types[names[0]]
    if dtype.kind == "f":
        limits = (1, 255)
    elif dtype in (np.dtype("u1"), np.dtype(">u2"), np.dtype("<u2")):
        limits = (int(np.iinfo(dtype).max),)
    else:  # as wide as it is, it mostly holds bytes
        limits = tuple(sorted({255, 65535, int(np.iinfo(dtype).max)}))
        limits = tuple(limit for limit in limits if limit <= np.iinfo(dtype).max)
    limit = next((limit for limit in limits if highest <= limit), None)
    if lowest < 0 or limit is None:
        raise ValueError(
            f"its {what} colours ({', '.join(names)}, {dtype.name}) lie in {lowest:g}..{highest:g}; "
            f"0..{' or 0..'.join(map(str, limits))} was expected"
        )
    return values / limit


def _polygons(ply: PlyFile, vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """(C,) int, the vertices of all corners, and (P,) int, how many corners each polygon has."""
    if "face" in ply.elements and ply.elements["face"].rows:
        lists = _index_lists(ply.elements["face"], "face")
        corners, sizes = lists.values, lists.lengths
    elif "tristrips" in ply.elements and ply.elements["tristrips"].rows:
        lists = _index_lists(ply.elements["tristrips"], "tristrips")
        strips = [strip for row in np.split(lists.values, np.cumsum(lists.lengths)[:-1]) for strip in split_at(row, -1)]
        faces = np.concatenate([strip_triangles(strip) for strip in strips]) if strips else np.zeros((0, 3))
        corners, sizes = faces.ravel(), np.full(len(faces), 3)
    else:
        corners, sizes = np.zeros(0), np.zeros(0, np.int64)
    if len(corners) and not (corners.min() >= 0 and corners.max() < vertices):
        raise ValueError(
            f"its faces point to vertices {corners.min():g}..{corners.max():g}; 0..{vertices - 1} are there"
        )
    return corners.astype(np.int64), sizes


def _index_lists(element: Element, what: str) -> Lists:
    for name in INDICES:
        column = element.columns.get(name)
        if isinstance(column, Lists):
            return column
    raise ValueError(f"its element {what!r} has no list vertex_indices but {', '.join(element.columns) or 'nothing'}")


def _with_texture_points(
    part: Part, face: Element, corners: np.ndarray, sizes: np.ndarray, triangles: np.ndarray
) -> tuple[Part, np.ndarray]:
    """Coordinates per corner become coordinates per vertex. Also which polygons have any."""
    lists = face.columns["texcoord"]
    if not isinstance(lists, Lists) or len(lists.lengths) != len(sizes):
        raise ValueError("its face property texcoord is no list of numbers")
    mapped = lists.lengths == 2 * sizes
    wrong = np.flatnonzero(~mapped & (lists.lengths != 0))
    if wrong.size:
        raise ValueError(
            f"its face {wrong[0]} has {sizes[wrong[0]]} corners and {lists.lengths[wrong[0]]} numbers in texcoord; "
            "two per corner were expected, or none"
        )
    points = np.asarray(lists.values, np.float64).reshape(-1, 2)
    _, first, number = np.unique(points.view(np.complex128).ravel(), return_index=True, return_inverse=True)
    of_corner = np.full(len(corners), -1, np.int64)
    of_corner[np.repeat(mapped, sizes)] = number.ravel()
    split = split_vertices(corners, of_corner[:, None], len(part.vertices))
    part = part._replace(
        vertices=part.vertices[split.source],
        faces=split.vertex[triangles],
        normals=None if part.normals is None else part.normals[split.source],
        colors=None if part.colors is None else part.colors[split.source],
        uv=looked_up(points[first], split.attributes[:, 0], 0.0),
    )
    return part, mapped


def _with_face_colors(part: Part, colors: np.ndarray) -> Part:
    """Each triangle gets vertices of its own: a vertex can have one colour alone."""
    corner = part.faces.ravel()
    return part._replace(
        vertices=part.vertices[corner],
        faces=np.arange(len(corner)).reshape(-1, 3),
        normals=None if part.normals is None else part.normals[corner],
        colors=np.repeat(colors, 3, axis=0),
        uv=None if part.uv is None else part.uv[corner],
    )


def _texture_numbers(face: Element | None, count: int, mapped: np.ndarray) -> np.ndarray:
    """(P,) int: which texture file each polygon shows, -1 for none."""
    column = None if face is None else face.columns.get("texnumber", face.columns.get("texture_index"))
    if isinstance(column, Lists):
        raise ValueError("its face property texnumber is a list, not a number")
    if column is None:
        if count > 1 and mapped.any():
            raise ValueError(f"it names {count} texture files, but its faces do not say which is theirs (texnumber)")
        return np.where(mapped, 0, -1)
    if column.min() < -1 or column.max() >= count:
        raise ValueError(f"its faces have texture numbers {column.min():g}..{column.max():g}, of {count} texture files")
    return np.where(mapped, column.astype(np.int64), -1)


def _with_textures(
    part: Part, files: list[tuple[str, Path]], numbers: np.ndarray, warnings: list[str], notes: list[str]
) -> Part:
    """Gives triangles their textures, which replace colours where there are both, as in MeshLab."""
    if (numbers < 0).all() and part.colors is None:
        raise ValueError(
            f"it takes its texture from {files[0][0]}, but its vertices and faces have no texture coordinates. Export "
            "them (as texture_u, texture_v), or take the comment TextureFile out of the header"
        )
    materials = [*part.materials]
    for name, file in files:
        picture = read_picture(file, name)
        materials.append(Material(picture.pixels))
        if picture.alpha[0] < 1:
            notes.append(f"texture {name} is transparent in places; it is drawn opaque")
        if picture.turned:
            warnings.append(f"texture {name} asks to be turned (EXIF orientation), which is not done")
    part = part._replace(materials=materials, face_material=numbers + 1)
    if part.colors is not None and (numbers >= 0).any():
        part, own = with_own_vertices(part, numbers >= 0)
        colors = np.array(part.colors)
        colors[own] = 1
        part = part._replace(colors=colors)
    return part
