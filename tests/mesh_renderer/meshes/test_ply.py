"""PLY files as scanners and programs write them."""

from __future__ import annotations

import numpy as np
import pytest
from looks import CORNERS, FACES, TEXTURE, UV, area, color_at, quarters
from PIL import Image
from ply_writer import FORMATS, ply

from sldiff_jax.mesh_renderer import Mesh

XYZ = ["float x", "float y", "float z"]
INDICES = "list uchar int vertex_indices"
COLORS = np.array([[1, 0.5, 0.25], [0, 0, 0], [0.2, 0.4, 0.6], [1, 1, 1]])
TRIANGLES = [[[0, 1, 2]], [[0, 2, 3]]]
SQUARE = (XYZ, CORNERS.tolist())
FOUR = "TextureFile four.png"


@pytest.fixture
def load(tmp_path):
    Image.fromarray(TEXTURE).save(tmp_path / "four.png")
    Image.fromarray(255 - TEXTURE).save(tmp_path / "inverse.png")

    def write_and_load(vertex=SQUARE, face=([INDICES], TRIANGLES), *, more=None, **options):
        elements = {"vertex": vertex, "face": face, **(more or {})}
        elements = {name: element for name, element in elements.items() if element is not None}
        (tmp_path / "mesh.ply").write_bytes(ply(elements, **options))
        return Mesh.load(tmp_path / "mesh.ply")

    return write_and_load


def with_columns(properties, values):
    return [*XYZ, *properties], [[*p, *extra] for p, extra in zip(CORNERS.tolist(), values)]


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("uchar", 255), ("char", 127), ("ushort", 65535), ("short", 32767), ("short", 255), ("int", 255), ("uint", 255),
        ("int", 65535), ("uint", 65535), ("uint", 2**32 - 1), ("int", 2**31 - 1), ("float", 1), ("float", 255),
        ("double", 1), ("double", 255),
    ],
)  # fmt: skip
def test_types_of_colors(load, kind, limit, encoding):
    stored = COLORS * limit if kind in ("float", "double") else np.rint(COLORS * limit).astype(np.int64)
    mesh = load(
        with_columns([f"{kind} {name}" for name in ("red", "green", "blue")], stored.tolist()), encoding=encoding
    )
    np.testing.assert_allclose(mesh.colors, COLORS, atol=0.5 / limit if limit > 1 else 1e-7)


@pytest.mark.parametrize(
    "names", ["red green blue alpha", "diffuse_red diffuse_green diffuse_blue", "r g b", "Red Green Blue",
              "color_r color_g color_b", "intensity r g b", "ambient_red red green blue"],
)  # fmt: skip
def test_names_of_colors(load, names):
    names = names.split()
    bytes_ = np.rint(255 * COLORS).astype(int)
    first = next(
        k for k, name in enumerate(names) if name.lower().rpartition("_")[2] in ("red", "r") and "amb" not in name
    )
    values = np.full((4, len(names)), 7)
    values[:, first : first + 3] = bytes_
    mesh = load(with_columns([f"uchar {name}" for name in names], values.tolist()))
    np.testing.assert_allclose(mesh.colors, bytes_ / 255, atol=1e-6)


@pytest.mark.parametrize("limits", [("float", 300.0), ("float", -0.5), ("int", -1)])
def test_colors_out_of_range_are_refused(load, limits):
    kind, value = limits
    with pytest.raises(ValueError, match=rf"mesh\.ply cannot be read: its vertex colours \(red, green, blue, {kind}"):
        load(with_columns([f"{kind} {name}" for name in ("red", "green", "blue")], [[value, 0, 0]] * 4))


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize(
    "names", ["texture_u texture_v", "u v", "s t", "texture_s texture_t", "U V", "texcoord_u texcoord_v", "tx ty"]
)
def test_names_of_texture_coordinates(load, names, encoding):
    vertex = with_columns([f"float {name}" for name in names.split()], UV.tolist())
    np.testing.assert_array_equal(quarters(load(vertex, encoding=encoding, comments=[FOUR])), TEXTURE)


def test_other_spellings_of_the_header(load):
    vertex = with_columns(["float s", "float t"], UV.tolist())
    mesh = load(vertex, comments=["made by hand", "texturefile  FOUR.PNG  "], newline="\r\n")
    np.testing.assert_array_equal(quarters(mesh), TEXTURE)
    mesh = load(
        vertex, ([INDICES.replace("indices", "index").replace("uchar int", "int uint")], TRIANGLES), comments=[FOUR]
    )
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert area(load(newline="\r")) == pytest.approx(1)


def texcoord(corners):
    return [x for corner in corners for x in UV[corner]]


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize(
    "polygons", [[[0, 1, 2], [0, 2, 3]], [[0, 1, 2, 3]], [[3, 0, 1, 2], [0, 1, 4]], [[0, 1, 2], [2, 3, 5, 0]]]
)
def test_coordinates_per_corner(load, polygons, encoding):
    """On triangles, quadrilaterals, and both: vertices 4 and 5 lie on the square's sides."""
    more = np.array([[0.5, -1, 0], [0, 0.5, 0]])
    corners = [*CORNERS.tolist(), *more.tolist()]
    rows = [[polygon, [x for k in polygon for x in corners[k][:2]]] for polygon in polygons]
    face = ([INDICES, "list uchar float texcoord"], rows)
    mesh = load((XYZ, corners), face, encoding=encoding, comments=[FOUR])
    np.testing.assert_array_equal(quarters(mesh), TEXTURE)
    assert area(mesh) == pytest.approx(1.5 if 4 in polygons[-1] else 1)


def test_coordinates_per_corner_cut_vertices_apart(load):
    rows = [[[0, 1, 2], texcoord([0, 1, 2])], [[0, 2, 3], [0.5, 0.5] * 3]]
    mesh = load(face=([INDICES, "list uchar float texcoord"], rows), comments=[FOUR])
    np.testing.assert_array_equal(mesh.vertices, [*CORNERS, CORNERS[0], CORNERS[2]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [4, 5, 3]])


def test_a_face_without_coordinates_has_no_texture(load):
    rows = [[[0, 1, 2], texcoord([0, 1, 2])], [[0, 2, 3], []]]
    mesh = load(face=([INDICES, "list uchar float texcoord"], rows), comments=[FOUR])
    np.testing.assert_array_equal(quarters(mesh)[1, 1], [255, 255, 255])
    np.testing.assert_array_equal(color_at(mesh, 0.75, 0.25), [1, 1, 1])
    np.testing.assert_array_equal(color_at(mesh, 0.2, 0.3), [1, 1, 1])


@pytest.mark.parametrize("encoding", FORMATS)
def test_several_textures(load, encoding):
    """Each face says which is its own; the third has none, and shows the colours of its vertices instead."""
    corners = np.concatenate([CORNERS, CORNERS + np.array([2, 0, 0]), CORNERS + np.array([4, 0, 0])])
    vertex = ([*XYZ, "uchar red", "uchar green", "uchar blue"], [[*p, 51, 102, 153] for p in corners.tolist()])
    rows = [[[*range(4 * k, 4 * k + 4)], texcoord(range(4)), number] for k, number in enumerate([1, 0, -1])]
    face = ([INDICES, "list uchar float texcoord", "int texnumber"], rows)
    mesh = load(vertex, face, encoding=encoding, comments=[FOUR, "TextureFile inverse.png"])
    for row in range(2):
        for column in range(2):
            x, y = 0.25 + 0.5 * column, 0.75 - 0.5 * row
            np.testing.assert_allclose(color_at(mesh, x, y), 1 - TEXTURE[row, column] / 255)
            np.testing.assert_allclose(color_at(mesh, x + 2, y), TEXTURE[row, column] / 255)
            np.testing.assert_allclose(color_at(mesh, x + 4, y), [0.2, 0.4, 0.6], atol=1e-6)


def test_colors_of_faces(load):
    face = ([INDICES, "uchar red", "uchar green", "uchar blue"], [[[0, 1, 2], 255, 0, 0], [[0, 2, 3], 0, 0, 255]])
    mesh = load(face=face)
    np.testing.assert_array_equal(mesh.colors, np.repeat([[1, 0, 0], [0, 0, 1]], 3, axis=0))


@pytest.mark.parametrize("encoding", FORMATS)
def test_mixed_polygons_and_lists_elsewhere(load, encoding):
    """Rows of different length, before and behind which other values stand, in elements that nobody asked for."""
    ell = [[1, 2], [1, 1], [2, 1], [2, 0], [0, 0], [0, 2]]
    points = [*CORNERS.tolist(), *([x + 5, y, 0] for x, y in ell)]
    vertex = (
        ["list uchar short junk", *XYZ, "double quality"],
        [[[7] * (k % 3), *p, 0.5] for k, p in enumerate(points)],
    )
    rows = [[1, [0, 1, 2], 2.5], [2, [0, 2, 3], 3.5], [3, [*range(4, 10)], 4.5], [4, [0, 1], 5.5]]
    face = (["uchar flags", "list ushort uint vertex_indices", "float area"], rows)
    mesh = load(vertex, face, more={"edge": (["int vertex1", "int vertex2"], [[0, 1]])}, encoding=encoding)
    np.testing.assert_array_equal(mesh.vertices, points)
    assert area(mesh) == pytest.approx(1 + 3)


@pytest.mark.parametrize("encoding", FORMATS)
def test_strips(load, encoding):
    strips = (["list int int vertex_indices"], [[[0, 1, 3, 2, -1, 0, 1, 3]], [[1, 2, 3]]])
    mesh = load(face=None, more={"tristrips": strips}, encoding=encoding)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [1, 2, 3], [0, 1, 3], [1, 2, 3]])


@pytest.mark.parametrize("encoding", FORMATS)
def test_vertices_that_no_triangle_uses(load, encoding):
    nan = float("nan")
    for stray in ([10, 0, 0], [nan, 0, nan], [1e30, 0, 0]):
        vertex = ([*XYZ, "float nx", "float ny", "float nz"], [[*p, 0, 0, 1] for p in [*CORNERS.tolist(), stray]])
        vertex[1][4][3:] = [nan, nan, nan]
        mesh = load(vertex, encoding=encoding)
        assert mesh.vertices.shape == (5, 3)
        np.testing.assert_array_equal(mesh.bounds, [[0, 0, 0], [1, 1, 0]])
        assert mesh.diameter == pytest.approx(np.sqrt(2))
        assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.normals).all()


@pytest.mark.parametrize("normal", [[0, 0, 0], [float("nan")] * 3])
def test_normals_that_are_none(load, normal):
    vertex = with_columns(["float nx", "float ny", "float nz"], [normal, [0.6, 0, 0.8], [0.6, 0, 0.8], normal])
    expected = [[0, 0, 1], [0.6, 0, 0.8], [0.6, 0, 0.8], [0, 0, 1]]
    np.testing.assert_allclose(load(vertex).normals, expected, atol=1e-6)


REFUSED = {
    r"faces point to vertices 0\.\.9; 0\.\.3 are there": {"face": ([INDICES], [[[0, 1, 9]]])},
    r"faces point to vertices -1\.\.2": {"face": ([INDICES], [[[0, -1, 2]]])},
    "vertices have no x, y, z but x, y": {"vertex": (XYZ[:2], [[0, 0]] * 4)},
    "element 'face' has no list vertex_indices but quality": {"face": (["float quality"], [[1]])},
    "element 'multi_texture_face', which": {"more": {"multi_texture_face": (["uchar tx"], [[1]])}},
    r"texture from gone\.png, which does not exist": {"comments": ["TextureFile gone.png"]},
    r"texture from four\.png, but its vertices and faces have no texture coord": {"comments": [FOUR]},
    "face 0 has 3 corners and 4 numbers in texcoord": {
        "face": ([INDICES, "list uchar float texcoord"], [[[0, 1, 2], [0, 0, 1, 1]]])
    },
    "names 2 texture files, but its faces do not say": {
        "face": ([INDICES, "list uchar float texcoord"], [[[0, 1, 2], texcoord([0, 1, 2])]]),
        "comments": [FOUR, "TextureFile inverse.png"],
    },
    r"texture numbers 0\.\.5, of 1 texture files": {
        "face": (
            [INDICES, "list uchar float texcoord", "int texnumber"], [[[0, 1, 2], [0] * 6, 5], [[0, 2, 3], [0] * 6, 0]],
        ),
        "comments": [FOUR],
    },
    "Mesh vertices must be finite": {"vertex": (XYZ, [[float("nan"), 0, 0], *CORNERS[1:].tolist()])},
}  # fmt: skip


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("message", REFUSED)
def test_refused_by_name(load, message, encoding):
    with pytest.raises(ValueError, match=rf"mesh\.ply cannot be read: .*{message}"):
        load(**REFUSED[message], encoding=encoding)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"format ascii 1.0", b"format klingon 1.0"), "line 'format klingon 1.0', which is not understood"),
        ((b"format ascii 1.0\n", b""), "no format line"),
        ((b"property float x", b"property quux x"), "line 'property quux x'"),
        ((b"end_header", b"end_heade"), "line 'end_heade'"),
        ((b"element vertex 4", b"element vertex 4000000000"), "declares 4000000000 rows of 'vertex'"),
        ((b"element vertex 4", b"element vertex 5"), "a list in it has the length 0.5|was cut off|point to vertices"),
        ((b"3 0 2 3", b"3 0 2 3 8"), "holds 21 values, 1 more than its header declares"),
        ((b"3 0 2 3", b"3 0 2"), r"cut off: it ends in row 2 of 2 of 'face'|cut off"),
        ((b"3 0 2 3", b"3 0 2 x"), "'x' is no number"),
        ((b"3 0 2 3", b"1e99 0 2 3"), "length 1e\\+99"),
    ],
)  # fmt: skip
def test_damaged_headers_and_bodies(tmp_path, change, message):
    whole = ply({"vertex": (XYZ, CORNERS.tolist()), "face": ([INDICES], TRIANGLES)})
    assert change[0] in whole
    (tmp_path / "mesh.ply").write_bytes(whole.replace(*change))
    with pytest.raises(ValueError, match=rf"mesh\.ply cannot be read: .*({message})"):
        Mesh.load(tmp_path / "mesh.ply")
