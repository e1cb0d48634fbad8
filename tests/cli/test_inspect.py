"""``sldiff-jax inspect``: its lines, its picture, its hints."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from PIL import Image

from sldiff_jax.cli import main
from sldiff_jax.cli._mesh_facts import is_of_one_color
from sldiff_jax.cli._six_sides import PIXELS, TITLE, six_sides
from sldiff_jax.cli._symmetry_hints import symmetry_hints
from sldiff_jax.mesh_renderer import Mesh, box_mesh, demo_mesh, sphere_mesh
from sldiff_jax.mesh_renderer.meshes.surface_samples import surface_samples


def lines(said: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in said.splitlines():
        if line.startswith("  "):
            found.setdefault(line[2:18].strip(), []).append(line[18:].strip())
    return found


@pytest.fixture
def box(tmp_path):
    """A box of 20 x 40 x 60 mm, of one colour, with a stray vertex, a triangle twice and one without area."""
    shape = trimesh.creation.box((20, 40, 60))
    vertices = np.concatenate([shape.vertices, [[500, 0, 0]]])
    faces = np.concatenate([shape.faces, shape.faces[:1], [[0, 0, 1]]])
    trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / "box.ply")
    return tmp_path / "box.ply"


def test_what_is_said_of_a_box(box, capsys):
    assert main(["inspect", str(box), "--mesh-scale", "0.001", "--output", str(box.parent / "out")]) == 0
    said = lines(capsys.readouterr().out)
    assert said["size"] == ["0.02 x 0.04 x 0.06 m along x, y, z (scale 0.001 m per unit)"]
    assert said["diameter"] == [f"{np.sqrt(0.02**2 + 0.04**2 + 0.06**2):.4g} m"]
    assert said["triangles"] == ["14 (1 without area, 1 there twice), 9 vertices (1 unused)"]
    assert said["surface"] == ["closed; 3 edges have more than two"]
    assert said["materials"] == ["1: plain"]
    assert sorted(said["symmetry"]) == [f"about {axis}, every 180 degrees" for axis in "xyz"]
    [warning] = said["warning"]
    assert warning.startswith("it is of one colour")
    with Image.open(box.parent / "out" / "box.ply.png") as picture:
        assert picture.size == (3 * PIXELS, 2 * (PIXELS + TITLE))


def test_wrong_units_are_doubted(box, capsys):
    main(["inspect", str(box), "--output", str(box.parent / "out")])
    assert any("try --mesh-scale 0.001" in text for text in lines(capsys.readouterr().out)["warning"])


def test_several_files_one_of_them_damaged(box, tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "box.ply").write_bytes(box.read_bytes())
    (tmp_path / "cut.ply").write_bytes(box.read_bytes()[:-20])
    paths = [str(box), str(tmp_path / "cut.ply"), str(tmp_path / "sub" / "box.ply"), str(tmp_path / "gone.obj")]
    assert main(["inspect", *paths, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err.count("sldiff-jax: error: Mesh file") == 2
    assert "cut.ply cannot be read: it was cut off" in said.err
    assert "gone.obj" in said.err
    assert len(lines(said.out)["size"]) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1_box.ply.png", "3_box.ply.png"]


@pytest.mark.parametrize("scale", ["0", "-1", "nan"])
def test_bad_scale(box, capsys, scale):
    assert main(["inspect", str(box), "--mesh-scale", scale]) == 2
    assert "--mesh-scale must be a positive number" in capsys.readouterr().err


def prism(sides: int) -> Mesh:
    shape = trimesh.creation.cylinder(0.03, 0.1, sections=sides)
    return Mesh(shape.vertices, shape.faces)


@pytest.mark.parametrize("sides", [3, 4, 5, 6])
def test_turns_of_prisms(sides):
    hints = {str(hint).partition(",")[0]: hint for hint in symmetry_hints(prism(sides))}
    assert hints["about z"].order == sides
    assert hints["about z"].colors


def test_turns_of_round_things():
    [about_z, *others] = sorted(symmetry_hints(prism(200)), key=lambda hint: hint.order)
    assert about_z.order == 0
    np.testing.assert_array_equal(about_z.axis, [0, 0, 1])
    assert all(hint.order == 2 for hint in others)
    ball = symmetry_hints(sphere_mesh(0.05))
    assert len(ball) >= 3
    assert all(hint.order == 0 and not hint.colors for hint in ball)


def test_no_turns():
    assert symmetry_hints(demo_mesh()) == []
    # A mug: the handle is small.
    cup, handle = trimesh.creation.cylinder(0.03, 0.08), trimesh.creation.box((0.01, 0.01, 0.05))
    handle.apply_translation([0.04, 0, 0])
    mug = trimesh.util.concatenate([cup, handle])
    assert all(hint.axis[2] < 0.9 for hint in symmetry_hints(Mesh(mug.vertices, mug.faces)))


def test_colors_break_symmetries():
    [*hints] = symmetry_hints(box_mesh((0.05, 0.05, 0.05)))
    assert hints
    assert not any(hint.colors for hint in hints)


def test_samples_lie_evenly_and_have_the_colors_of_their_place():
    left = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    mesh = Mesh(
        np.concatenate([left, left + np.array([1, 0, 0])]),
        [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]],
        uv=np.tile(left[:, :2], (2, 1)),
        colors=np.full((8, 3), 0.5),
        texture=[np.array([[[255, 0, 0]], [[0, 255, 0]]], np.uint8), None],
        base_color=[[1, 1, 1], [0.2, 0.4, 0.6]],
        face_material=[0, 0, 1, 1],
    )
    points, colors = surface_samples(mesh, 4000, seed=0)
    assert np.abs(points.mean(axis=0) - [1, 0.5, 0]).max() < 0.03
    expected = np.where(points[:, :1] > 1, [0.1, 0.2, 0.3], np.where(points[:, 1:2] > 0.5, [0.5, 0, 0], [0, 0.5, 0]))
    np.testing.assert_allclose(colors, expected, atol=1e-6)
    assert not is_of_one_color(mesh)


def test_six_sides_show_what_is_there():
    """A box whose sides have colours of their own, seen with z up, or y up along z."""
    size = np.array([0.02, 0.04, 0.06])
    shape = trimesh.creation.box(size)
    side = np.abs(shape.face_normals).argmax(axis=1) * 2 + (shape.face_normals.min(axis=1) < -0.5)
    palette = np.array([[255, 0, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255], [0, 0, 255], [255, 255, 0]])
    faces = np.arange(36).reshape(12, 3)
    mesh = Mesh(shape.vertices[shape.faces].reshape(-1, 3), faces, colors=np.repeat(palette[side], 3, axis=0) / 255)
    picture = six_sides(mesh, lit=False)
    for k, (axis, sign) in enumerate([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]):
        row, column = divmod(k, 3)
        tile = picture[row * (PIXELS + TITLE) + TITLE :][:PIXELS, column * PIXELS :][:, :PIXELS]
        np.testing.assert_array_equal(tile[PIXELS // 2, PIXELS // 2], palette[2 * axis + sign])
        seen = (tile != tile[0, 0]).any(axis=2)
        height, width = seen.any(axis=1).sum(), seen.any(axis=0).sum()
        up = 2 if axis != 2 else 1
        across = ({0, 1, 2} - {axis, up}).pop()
        assert height / width == pytest.approx(size[up] / size[across], rel=0.06)


def test_a_lamp_shows_the_shape_of_what_has_one_color():
    mesh = prism(200)
    assert is_of_one_color(mesh)
    flat, lit = (six_sides(mesh, lit=lamp)[TITLE:PIXELS, :PIXELS].astype(int) for lamp in (False, True))
    inside = (flat == 255).all(axis=2)
    assert np.ptp(flat[inside]) == 0
    assert np.ptp(lit[inside]) > 40
