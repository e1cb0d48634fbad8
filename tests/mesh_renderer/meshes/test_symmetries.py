"""Symmetries found from meshes, against the symmetry groups of known bodies."""

import numpy as np
import pytest
import trimesh

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh


def plain(shape: trimesh.Trimesh) -> sl.Mesh:
    return sl.Mesh(shape.vertices, shape.faces)


def tetrahedron() -> sl.Mesh:
    corners = 0.05 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return sl.Mesh(corners, [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])


@pytest.mark.parametrize(
    ("mesh", "order"),
    [
        (plain(trimesh.creation.box((0.1, 0.1, 0.1))), 24),
        (plain(trimesh.creation.box((0.06, 0.06, 0.1))), 8),
        (plain(trimesh.creation.box((0.05, 0.07, 0.1))), 4),
        (tetrahedron(), 12),
        *((plain(trimesh.creation.cylinder(0.03, 0.1, sections=sides)), 2 * sides) for sides in (3, 4, 5, 6)),
    ],
    ids=["cube", "square prism", "box", "tetrahedron", "3-prism", "4-prism", "5-prism", "6-prism"],
)
def test_orders_of_groups(mesh, order):
    found = sl.find_symmetries(mesh)
    assert not found.continuous
    assert len(found.discrete) == order - 1
    transforms = np.asarray(found.transforms())
    assert transforms.shape == (order, 4, 4)
    # Each takes every vertex to a vertex.
    vertices = np.unique(np.asarray(mesh.vertices, np.float64), axis=0)
    for T in transforms:
        turned = vertices @ T[:3, :3].T + T[:3, 3]
        assert np.linalg.norm(turned[:, None] - vertices, axis=-1).min(axis=1).max() < 0.03 * mesh.diameter


def test_bodies_of_revolution():
    can = plain(trimesh.creation.cylinder(0.03, 0.1, sections=128).apply_translation([0.02, 0, 0.01]))
    found = sl.find_symmetries(can)
    [revolution] = found.continuous
    np.testing.assert_allclose(revolution["axis"], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(revolution["offset"][:2], [0.02, 0], atol=5e-4)
    assert len(found.discrete) == 1  # upside down
    cone = sl.find_symmetries(plain(trimesh.creation.cone(0.03, 0.1, sections=128)))
    assert len(cone.continuous) == 1
    assert not len(cone.discrete)
    ball = sphere_mesh(0.05)
    assert len(sl.find_symmetries(ball, texture=False).continuous) == 3
    assert not sl.find_symmetries(ball)


def test_what_has_none():
    assert not sl.find_symmetries(demo_mesh())
    # A mug: the handle is small.
    cup, handle = trimesh.creation.cylinder(0.03, 0.08), trimesh.creation.box((0.01, 0.01, 0.05))
    mug = plain(trimesh.util.concatenate([cup, handle.apply_translation([0.04, 0, 0])]))
    found = sl.find_symmetries(mug)
    assert not found.continuous
    assert all(T[2, 2] < 0 for T in found.discrete)  # about z it does not turn


def test_colors_break_symmetries():
    box = box_mesh((0.05, 0.05, 0.05))
    assert not sl.find_symmetries(box)
    assert len(sl.find_symmetries(box, texture=False).discrete) == 23


def test_the_tolerance_is_in_metres():
    almost = plain(trimesh.creation.box((0.1, 0.104, 0.15)))
    assert len(sl.find_symmetries(almost, tolerance=0.0005).discrete) == 3
    assert len(sl.find_symmetries(almost, tolerance=0.004).discrete) == 7
    with pytest.raises(ValueError, match="tolerance must be positive"):
        sl.find_symmetries(almost, tolerance=0.0)
