"""OBJ and MTL files as programs and people write them."""

from __future__ import annotations

import numpy as np
import pytest
from looks import CORNERS, FACES, TEXTURE, UV, area, color_at, lookup, quarters
from PIL import Image

from sldiff_jax.mesh_renderer import Mesh

POSITIONS = [f"v {x} {y} {z}" for x, y, z in CORNERS]
TEXTURE_POINTS = [f"vt {u} {v}" for u, v in UV]
MAPPED = ["f 1/1 2/2 3/3", "f 1/1 3/3 4/4"]
PLAIN = ["f 1 2 3", "f 1 3 4"]
TEXTURED = ["mtllib a.mtl", *POSITIONS, *TEXTURE_POINTS, "usemtl a", *MAPPED]
MTL = "newmtl a\nKd 1 1 1\nmap_Kd four.png\n"


@pytest.fixture
def load(tmp_path):
    """Writes an OBJ file, from lines or bytes, beside a texture and a library, and loads it."""
    Image.fromarray(TEXTURE).save(tmp_path / "four.png")
    (tmp_path / "a.mtl").write_text(MTL)

    def write_and_load(content, **libraries):
        for name, text in libraries.items():
            (tmp_path / f"{name}.mtl").write_text(text)
        data = content if isinstance(content, bytes) else "\n".join(content).encode()
        (tmp_path / "mesh.obj").write_bytes(data)
        return Mesh.load(tmp_path / "mesh.obj")

    write_and_load.folder = tmp_path
    return write_and_load


SPELLINGS = {
    "plain": "\n".join(TEXTURED).encode(),
    "tabs": "\n".join(TEXTURED).replace(" ", "\t").encode(),
    "indented, with spaces at the end": "\n".join(f"  {line.replace(' ', '   ')} \t" for line in TEXTURED).encode(),
    "byte order mark": b"\xef\xbb\xbf" + "\n".join(TEXTURED).encode(),
    "UTF-16": "\n".join(TEXTURED).encode("utf-16"),
    "UTF-16, the other byte order": b"\xfe\xff" + "\n".join(TEXTURED).encode("utf-16-be"),
    "Windows": "\r\n".join(TEXTURED).encode(),
    "old Mac": "\r".join(TEXTURED).encode(),
    "continuation lines": "\n".join(line.replace(" ", " \\\n") for line in TEXTURED).encode(),
    "continuation lines on Windows": "\r\n".join(line.replace(" ", " \\\r\n") for line in TEXTURED).encode(),
    "capitals": "\n".join(
        line.replace("f ", "F ").replace("v ", "V ").replace("vt ", "VT ").replace("usemtl", "UseMTL")
        for line in TEXTURED
    ).encode(),
    "comments": "\n".join(f"{line} # 1 2 3" if line[0] in "vf" else line for line in ["#", *TEXTURED]).encode(),
    "no newline at the end, empty lines": "\n\n".join(TEXTURED).encode(),
    "Latin-1": "\n".join(["# \xfcber", *TEXTURED]).encode("latin-1"),
    "counted from behind": "\n".join(
        [*TEXTURED[:-2], "f -4/-4 -3/-3 -2/-2", "f -4/-4 -2/-2 -1/-1"]
    ).encode(),
    "one polygon": "\n".join([*TEXTURED[:-2], "f 1/1 2/2 3/3 4/4"]).encode(),
    "statements that say nothing about triangles": "\n".join(
        [*TEXTURED[:-2], "o thing", "g a b", "s off", "l 1 2", "p 1", "vp 0.1", "lod 3", *MAPPED]
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(load, name):
    mesh = load(SPELLINGS[name])
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    assert area(mesh) == pytest.approx(1)
    np.testing.assert_array_equal(quarters(mesh), TEXTURE)


def test_numbers_below_zero_count_back_from_their_line(load):
    lines = []
    for k in range(5):
        shift = CORNERS[:3] + np.array([3 * k, 0, k])
        lines += [*(f"v {x} {y} {z}" for x, y, z in shift), "vn 0 0 1", "f -3//-1 -2//-1 -1//-1"]
    mesh = load(lines)
    np.testing.assert_array_equal(mesh.faces, np.arange(15).reshape(5, 3))
    assert area(mesh) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="line 4 refers to -4, before the first of 3"):
        load([*POSITIONS[:3], "f -4 -2 -1", POSITIONS[3]])


def test_vertices_keep_their_order_and_further_corners_come_behind(load):
    lines = [*POSITIONS, "v 9 9 9", "vt 0 0", "vt 0.5 0.5", "vn 0 0 1", "vn 0 1 0"]
    mesh = load([*lines, "f 1/1/1 2/1/1 3/1/1", "f 1/2/1 3/1/1 4/1/2", "f 1/2/1 3/1/2 4/1/2"])
    np.testing.assert_array_equal(mesh.vertices, [*CORNERS, [9, 9, 9], CORNERS[0], CORNERS[2]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [5, 2, 3], [5, 6, 3]])
    np.testing.assert_array_equal(mesh.uv[5], [0.5, 0.5])
    np.testing.assert_array_equal(mesh.normals[6], [0, 1, 0])


@pytest.mark.parametrize(("limit", "written"), [(1, [1, 0.5, 0.25]), (255, [255, 127.5, 63.75])])
@pytest.mark.parametrize("opacity", [False, True])
def test_vertex_colors(load, written, limit, opacity):
    words = " ".join(map(str, [*written, *([limit] if opacity else [])]))
    mesh = load([*(f"{line} {words}" for line in POSITIONS), *PLAIN])
    np.testing.assert_allclose(mesh.colors, [[1, 0.5, 0.25]] * 4)


def test_a_fourth_coordinate_is_no_color_and_some_vertices_may_have_none(load):
    assert load([*(f"{line} 1.0" for line in POSITIONS), *PLAIN]).colors is None
    mesh = load([f"{POSITIONS[0]} 0 0 1", *POSITIONS[1:], *PLAIN])
    np.testing.assert_array_equal(mesh.colors, [[0, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]])


@pytest.mark.parametrize("normal", ["0 0 0", "nan nan nan", "-nan(ind) 0 1", "1.#QNAN 0 0", "inf 0 0", "-1.#IND00 0 1"])
def test_normals_that_are_none_are_computed(load, normal):
    mesh = load([*POSITIONS, f"vn {normal}", "vn 0.6 0 0.8", "f 1//1 2//1 3//1", "f 1//1 3//1 4//2"])
    np.testing.assert_allclose(mesh.normals, [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0.6, 0, 0.8]], atol=1e-6)


def test_some_faces_without_normals(load):
    mesh = load([*POSITIONS, "vn 0.6 0 0.8", "f 1//1 2//1 3//1", "f 1 3 4"])
    np.testing.assert_allclose(mesh.normals[np.asarray(mesh.faces)[0]], [[0.6, 0, 0.8]] * 3, atol=1e-6)
    np.testing.assert_allclose(mesh.normals[np.asarray(mesh.faces)[1]], [[0, 0, 1]] * 3, atol=1e-6)


LIBRARIES = {
    "two names in a line": ["mtllib b.mtl a.mtl"],
    "two lines": ["mtllib b.mtl", "mtllib a.mtl"],
    "one is missing but not needed": ["mtllib gone.mtl a.mtl"],
    "case of letters": ["MTLLIB A.MTL"],
    "a path of another computer": [r"mtllib C:\Users\me\a.mtl"],
    "quotes": ['mtllib "a.mtl"'],
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries(load, name):
    mesh = load([*LIBRARIES[name], *TEXTURED[1:]], b="newmtl b\nKd 0 0 1\n")
    np.testing.assert_array_equal(quarters(mesh), TEXTURE)


def test_a_library_with_spaces_in_its_name(load):
    (load.folder / "my things.mtl").write_text("newmtl a\nmap_Kd four.png")
    np.testing.assert_array_equal(quarters(load(["mtllib my things.mtl", *TEXTURED[1:]])), TEXTURE)


MAPS = {
    "small letters": "map_kd four.png",
    "capitals": "MAP_KD FOUR.PNG",
    "tabs": "\tmap_Kd\tfour.png\t",
    "options that change nothing": "map_Kd -blendu on -s 1 1 1 -o 0 0 0 -mm 0 1 -texres 512 -bm 1 four.png",
    "path of another computer": r"map_Kd C:\textures\four.png",
    "path of another folder": "map_Kd /home/somebody/four.png",
    "the other kind of slash": r"map_Kd .\four.png",
    "beside a library in a folder": "map_Kd four.png",
}


@pytest.mark.parametrize("name", MAPS)
def test_texture_statements(load, name):
    np.testing.assert_array_equal(quarters(load(TEXTURED, a=f"newmtl a\nKd 0.1 0.1 0.1\n{MAPS[name]}\n")), TEXTURE)


@pytest.mark.parametrize("statement", ["map_Kd inner.png", "map_Kd sub/inner.png"])
def test_a_library_in_a_folder(load, statement):
    (load.folder / "sub").mkdir()
    Image.fromarray(TEXTURE).save(load.folder / "sub" / "inner.png")
    (load.folder / "sub" / "s.mtl").write_text(f"newmtl a\n{statement}")
    np.testing.assert_array_equal(quarters(load(["mtllib sub/s.mtl", *TEXTURED[1:]])), TEXTURE)


def test_texture_with_spaces_in_its_name(load):
    Image.fromarray(TEXTURE).save(load.folder / "four of them.png")
    np.testing.assert_array_equal(quarters(load(TEXTURED, a="newmtl a\nmap_Kd four of them.png")), TEXTURE)


def test_scaled_and_clamped_coordinates(load):
    """The square shares its vertices with another material, whose texture is not moved."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(image).save(load.folder / "noise.png")
    library = "newmtl a\nmap_Kd -s 2 3 1 -o 0.25 -0.5 -clamp on noise.png\nnewmtl b\nmap_Kd noise.png"
    mesh = load([*TEXTURED[:-2], MAPPED[0], "usemtl b", MAPPED[1]], a=library)
    for x, y in rng.uniform(0, 1, (60, 2)):
        if x > y:
            expected = lookup(image / 255, 2 * x + 0.25, 3 * y - 0.5, ("clamp", "clamp"))
        else:
            expected = lookup(image / 255, x, y, ("repeat", "repeat"))
        np.testing.assert_allclose(color_at(mesh, x, y), expected, atol=2e-5)


def test_faces_with_and_without_coordinates_in_one_material(load):
    mesh = load([*TEXTURED[:-1], "f 1 3 4"], a="newmtl a\nKd 0.2 0.4 0.6\nmap_Kd four.png")
    np.testing.assert_allclose(color_at(mesh, 0.75, 0.25), [1, 1, 1])
    np.testing.assert_allclose(color_at(mesh, 0.25, 0.75), [0.2, 0.4, 0.6], atol=1e-6)


def test_materials_without_textures(load):
    library = "newmtl one\nKd 0.5\nnewmtl Two\nKd 0 0.25 1.0 # blue\nnewmtl none at all\nNs 5\n"
    lines = [*POSITIONS, "usemtl one", PLAIN[0], "usemtl TWO", PLAIN[1], "usemtl none at all", "f 2 3 4"]
    mesh = load(["mtllib a.mtl", *lines], a=library)
    np.testing.assert_allclose(mesh.materials.base_colors, [[0.5] * 3, [0, 0.25, 1], [1, 1, 1]])
    np.testing.assert_array_equal(mesh.face_material, [0, 1, 2])


@pytest.mark.parametrize("name", ["None", "(null)", ""])
def test_names_that_mean_no_material(load, name):
    np.testing.assert_array_equal(load([*POSITIONS, f"usemtl {name}", *PLAIN]).faces, FACES)


REFUSED_LINES = {
    r"face points to vertex 9; 1\.\.4 are there": [*POSITIONS, "f 1 2 9"],
    r"face points to vertex 0; 1\.\.4 are there": [*POSITIONS, "f 0 1 2"],
    r"face points to normal 1; 1\.\.0 are there": [*POSITIONS, "f 1//1 2//1 3//1"],
    r"face points to vertex 99999999999999999999; 1\.\.4": [*POSITIONS, "f 1 2 99999999999999999999"],
    "corner '1/1/1/4', which is not": [*POSITIONS, "vt 0 0", "vn 0 0 1", "f 1/1/1/4 1 2"],
    "corner 'x', which is not": [*POSITIONS, "f 1 2 x"],
    "corner without vertex": [*POSITIONS, "vt 0 0", "f /1 /1 /1"],
    "line 5 begins with 'trefoil'": [*POSITIONS, "trefoil 1 2", *PLAIN],
    r"line 6 is free-form geometry \(curv\)": [*POSITIONS, PLAIN[0], "curv 0 1 2"],
    "vertex 2 has 2 numbers": [POSITIONS[0], "v 1 2", *POSITIONS[2:], *PLAIN],
    r"in a v statement, '1,5' is no number": ["v 1,5 0 0", *POSITIONS[1:], *PLAIN],
    r"vn number 1\) needs 3 numbers": [*POSITIONS, "vn 0 1", *PLAIN],
    r"vertex colours lie in -3\.\.9": [*(f"{line} -3 0 9" for line in POSITIONS), *PLAIN],
    r"material 'a' from gone\.mtl, which does not exist": ["mtllib gone.mtl", *TEXTURED[1:]],
    r"material 'a' is defined by none of its MTL files \(it names none\)": TEXTURED[1:],
    r"material 'zzz' is defined by none of its MTL files \('a'\)": [*TEXTURED[:-3], "usemtl zzz", *MAPPED],
    "material 'a' has the texture four.png, but no face has": [*TEXTURED[:-2], *PLAIN],
    "Mesh vertices must be finite": ["v nan 0 0", *POSITIONS[1:], *PLAIN],
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED_LINES)
def test_refused_by_name(load, message):
    with pytest.raises(ValueError, match=rf"mesh\.obj cannot be read: .*{message}"):
        load(REFUSED_LINES[message])


REFUSED_MATERIALS = {
    r"texture from gone\.png, which does not exist beside it": "map_kd gone.png",
    r"its texture text\.png is no image": "map_Kd text.png",
    r"its texture cut\.png cannot be read as an image": "map_Kd cut.png",
    r"material 'a' \(a\.mtl, line 2\): Kd is given as spectral": "Kd spectral file.rfl",
    r"Kd must lie in 0\.\.1": "Kd 255 128 64",
    "Kd needs three numbers": "Kd 1 2",
    "the option -imfchan of map_Kd is not supported": "map_Kd -imfchan r four.png",
    "the option -mm of map_Kd is not supported": "map_Kd -mm 0.5 1 four.png",
    "map_Kd names no image": "map_Kd",
}


@pytest.mark.parametrize("message", REFUSED_MATERIALS)
def test_materials_refused_by_name(load, message):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(load.folder / "whole.png")
    (load.folder / "cut.png").write_bytes((load.folder / "whole.png").read_bytes()[:4000])
    (load.folder / "text.png").write_text("not a PNG")
    with pytest.raises(ValueError, match=rf"mesh\.obj cannot be read: .*{message}") as caught:
        load(TEXTURED, a=f"newmtl a\n{REFUSED_MATERIALS[message]}\n")
    assert "\n" not in str(caught.value)
