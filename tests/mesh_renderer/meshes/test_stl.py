"""STL files, binary and ascii."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import trimesh

from sldiff_jax.mesh_renderer import Mesh


@pytest.fixture
def box(tmp_path):
    """A box of 2 x 4 x 6 as a path of either kind."""

    def write(kind):
        path = tmp_path / "box.stl"
        shape = trimesh.creation.box((2, 4, 6))
        data = shape.export(file_type=kind)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_boxes(box, kind):
    mesh = Mesh.load(box(kind), scale=1e-3)
    np.testing.assert_allclose(mesh.bounds, [[-1e-3, -2e-3, -3e-3], [1e-3, 2e-3, 3e-3]], rtol=1e-6)
    assert mesh.num_triangles == 12
    vertices, normals = np.asarray(mesh.vertices), np.asarray(mesh.normals)
    assert (vertices * normals).sum(axis=1).min() > 0  # outwards, and one direction per side
    np.testing.assert_allclose(np.abs(normals).max(axis=1), 1, atol=1e-6)


def test_a_binary_file_that_begins_as_an_ascii_one(box):
    path = box("stl")
    path.write_bytes(b"solid vertex facet".ljust(80) + path.read_bytes()[80:])
    assert Mesh.load(path).num_triangles == 12


def test_names_and_several_solids(box):
    path = box("stl_ascii")
    text = path.read_text()
    again = text.replace("solid", "solid vertex group").upper().replace("\n", "\r\n")
    path.write_text(text + again)
    assert Mesh.load(path).num_triangles == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-30], r"declares 12 triangles and holds 11\.4"),
        (lambda data: data[:80] + struct.pack("<I", 2**31) + data[84:], "declares 2147483648 triangles and holds 12"),
        (lambda data: data + b"x", "declares 12 triangles and holds 12.02"),
        (lambda data: b"zz", "declares 0 triangles and holds 0"),
    ],
)
def test_damaged_binary_files(box, change, message):
    path = box("stl")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"box\.stl cannot be read: it {message}"):
        Mesh.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "no 'endsolid'"),
        (lambda text: text.replace("vertex", "", 1), "has 35 corners in 12 facets"),
        (lambda text: text.replace("vertex", "vertex 1", 1), "has 36 corners in 12 facets"),
        (lambda text: text.replace("vertex -1", "vertex abc", 1).replace("vertex 1", "vertex abc", 1), "no number"),
    ],
)
def test_damaged_ascii_files(box, change, message):
    path = box("stl_ascii")
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=rf"box\.stl cannot be read: .*{message}"):
        Mesh.load(path)
