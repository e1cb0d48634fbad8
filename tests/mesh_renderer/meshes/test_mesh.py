"""`Mesh` from arrays, and the shapes built in code."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sldiff_jax.mesh_renderer import Mesh, box_mesh, demo_mesh, sphere_mesh

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
UV = np.zeros((4, 2))


def test_defaults():
    mesh = Mesh(VERTICES, FACES)
    assert mesh.num_triangles == 4
    assert mesh.colors is None
    np.testing.assert_array_equal(mesh.materials.texels, [[255, 255, 255, 255]])
    np.testing.assert_array_equal(mesh.bounds, [[0, 0, 0], [1, 1, 1]])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(mesh)} == {"float32", "int32", "uint8"}


def test_computed_normals_point_outwards_and_are_weighted_by_angle():
    mesh = Mesh(VERTICES, FACES)
    # Three right angles meet at the origin.
    np.testing.assert_allclose(mesh.normals[0], -np.ones(3) / np.sqrt(3), atol=1e-6)
    center = VERTICES.mean(axis=0)
    assert (((VERTICES - center) * np.asarray(mesh.normals)).sum(axis=1) > 0).all()
    cube = box_mesh((1.0, 1.0, 1.0))
    merged, number = np.unique(np.asarray(cube.vertices), axis=0, return_inverse=True)
    smooth = Mesh(merged, number.ravel()[np.asarray(cube.faces)]).normals
    # However the sides are split into triangles, each has the same angle at a corner.
    np.testing.assert_allclose(smooth, np.sign(merged) / np.sqrt(3), atol=1e-6)


def test_unused_vertices_and_degenerate_faces_have_finite_normals():
    normals = np.asarray(Mesh([*VERTICES, [5, 5, 5]], [[0, 0, 1], [0, 1, 1]]).normals)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_triangles_that_are_there_twice_count_once():
    """A sheet whose two sides are both there has normals: those of the side that comes first."""
    faces = np.concatenate([FACES[:1], FACES[:1, ::-1], FACES[:1, [1, 2, 0]]])
    np.testing.assert_allclose(np.asarray(Mesh(VERTICES, faces).normals)[:3], [[0, 0, -1]] * 3, atol=1e-6)
    np.testing.assert_allclose(
        Mesh(VERTICES, np.concatenate([FACES, FACES[2:, ::-1]])).normals, Mesh(VERTICES, FACES).normals, atol=1e-6
    )


def test_slivers_have_no_say_in_normals():
    """A triangle whose corners lie on a line, but for rounding, where three angles of a large one meet."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 1e-9, 0.5e-9]])
    normals = np.asarray(Mesh(points, [[0, 1, 2], [0, 3, 1]]).normals)
    np.testing.assert_allclose(normals[:3], [[0, 0, 1]] * 3, atol=1e-6)


@pytest.mark.parametrize("bad", [[0, 0, 0], [np.nan, 0, 1], [np.inf, 0, 0], [1e200, 0, 0]])
def test_normals_that_are_none_are_computed(bad):
    normals = np.tile([0.6, 0, 0.8], (4, 1))
    normals[1] = bad
    computed = np.asarray(Mesh(VERTICES, FACES).normals)
    mended = np.asarray(Mesh(VERTICES, FACES, normals=normals).normals)
    np.testing.assert_allclose(mended[1], computed[1], atol=1e-6)
    np.testing.assert_allclose(mended[[0, 2, 3]], np.tile([0.6, 0, 0.8], (3, 1)), atol=1e-6)


@pytest.mark.parametrize("stray", [[10, 0, 0], [np.nan, 0, 0], [np.inf, -np.inf, 1e30], [1e300, 0, 0]])
def test_unused_vertices_do_not_count(stray):
    colors = np.full((5, 3), 0.5)
    colors[4] = np.nan
    mesh = Mesh([*VERTICES, stray], FACES, colors=colors)
    np.testing.assert_array_equal(mesh.bounds, [[0, 0, 0], [1, 1, 1]])
    assert mesh.diameter == pytest.approx(np.sqrt(2))
    for leaf in jax.tree.leaves(mesh):
        assert np.isfinite(np.asarray(leaf)).all()


@pytest.mark.parametrize("distance", [1e5, 4e6])
def test_far_from_the_origin_is_refused(distance):
    far = 0.1 * VERTICES + [distance, 0, 0]
    with pytest.raises(ValueError, match=r"too far from the origin: float32 has steps of .* Subtract \["):
        Mesh(far, FACES)
    Mesh(far * 1e-3 - [1e-3 * distance, 0, 0], FACES)
    Mesh(distance * VERTICES, FACES)  # large, but not far
    Mesh(0.1 * VERTICES + [50, 0, 0], FACES)


def test_given_normals_are_normalised():
    np.testing.assert_allclose(
        Mesh(VERTICES, FACES, normals=3 * np.eye(4)[:, 1:] + [0, 0, 4]).normals[1], [0.6, 0, 0.8]
    )


def test_colors_and_textures_as_bytes_or_floats():
    bytes_, floats = np.array([[0, 51, 255, 7]] * 4, np.uint8), np.array([[0, 0.2, 1.0]] * 4)
    np.testing.assert_allclose(Mesh(VERTICES, FACES, colors=bytes_).colors, floats, atol=1e-6)
    np.testing.assert_allclose(Mesh(VERTICES, FACES, colors=floats).colors, floats, atol=1e-6)
    image = np.random.default_rng(0).integers(0, 256, size=(3, 5, 3), dtype=np.uint8)
    for texture, scale in ((image, 1), (image / 255.0, 255)):
        materials = Mesh(VERTICES, FACES, uv=UV, texture=texture).materials
        assert materials.texels.dtype == (np.uint8 if scale == 1 else np.float32)  # floats keep what they are
        np.testing.assert_allclose(scale * materials.texels[:, :3], image.reshape(-1, 3), atol=1e-4)
        np.testing.assert_array_equal(materials.textures, [[0, 5, 3]])


def test_several_materials():
    texture = [None, np.zeros((2, 3, 3)), np.ones((4, 1, 4))]
    base_color = [[1, 0, 0], [0, 1, 0], [0, 0, 1.0]]
    mesh = Mesh(VERTICES, FACES, uv=UV, texture=texture, base_color=base_color, face_material=[0, 1, 2, 1])
    np.testing.assert_array_equal(mesh.materials.textures, [[0, 1, 1], [1, 3, 2], [7, 1, 4]])
    np.testing.assert_array_equal(mesh.materials.base_colors, base_color)
    assert mesh.materials.texels.shape == (11, 4)


def test_diameter():
    points = np.random.default_rng(0).normal(size=(60, 3))
    faces = np.arange(60).reshape(-1, 3)
    brute = np.linalg.norm(points[:, None] - points, axis=-1).max()
    assert Mesh(points, faces).diameter == pytest.approx(brute, rel=1e-5)
    flat = Mesh(points * [1, 1, 0], faces)
    assert flat.diameter == pytest.approx(np.linalg.norm((points[:, None] - points)[..., :2], axis=-1).max(), rel=1e-5)
    assert sphere_mesh(0.05).diameter == pytest.approx(0.1, rel=1e-3)


def test_diameter_is_kept(monkeypatch):
    mesh = Mesh(VERTICES, FACES)
    first = mesh.diameter
    monkeypatch.setattr("sldiff_jax.mesh_renderer.meshes.mesh.farthest_pair", None)
    assert mesh.diameter == first == pytest.approx(np.sqrt(2))
    assert "diameter" not in vars(mesh.transformed(np.diag([2.0, 2, 2, 1])))  # of another mesh


def test_transformed():
    R = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = 0.5 * R, [1, 2, 3]
    mesh = Mesh(VERTICES, FACES)
    moved = mesh.transformed(T)
    np.testing.assert_allclose(moved.vertices, 0.5 * VERTICES @ R.T + [1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(moved.normals, np.asarray(mesh.normals) @ R.T, atol=1e-6)
    assert moved.diameter == pytest.approx(0.5 * mesh.diameter)


@pytest.mark.parametrize("T", [np.diag([1, 2, 1, 1.0]), np.diag([-1, 1, 1, 1.0]), np.zeros((4, 4))])
def test_transformed_takes_uniform_scale_only(T):
    with pytest.raises(ValueError, match="rotation times one positive scale"):
        Mesh(VERTICES, FACES).transformed(T)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vertices": VERTICES[:, :2]}, r"Mesh vertices must have shape \(any, 3\), got \(4, 2\)"),
        ({"vertices": VERTICES * np.nan}, "Mesh vertices must be finite"),
        ({"vertices": VERTICES * 1e300}, "Mesh vertices must be finite in float32, .* huge numbers in 3 places"),
        ({"uv": UV + 1e200}, "Mesh uv must be finite"),
        ({"vertices": np.zeros((0, 3)), "faces": np.zeros((0, 3), int)}, "Mesh is empty"),
        ({"faces": np.zeros((0, 3), int)}, "Mesh is empty"),
        ({"faces": FACES + 1}, r"vertex numbers in 0\.\.3, got 1\.\.4"),
        ({"faces": FACES - 1}, r"vertex numbers in 0\.\.3, got -1\.\.2"),
        ({"faces": FACES * 1.0}, "Mesh faces must have a dtype of kind integer"),
        ({"faces": [[0, 1, 2, 3]]}, r"Mesh faces must have shape \(any, 3\)"),
        ({"normals": VERTICES[:2]}, r"Mesh normals must have shape \(4, 3\)"),
        ({"colors": VERTICES * 255}, r"Mesh colors must be uint8 or lie in \[0, 1\]"),
        ({"colors": VERTICES[:2]}, r"Mesh colors must have shape \(4, 3\)"),
        ({"colors": UV}, "Mesh colors must have 3 or 4 channels"),
        ({"uv": VERTICES}, r"Mesh uv must have shape \(4, 2\)"),
        ({"texture": np.ones((2, 2, 3))}, "Mesh texture needs uv"),
        ({"texture": np.ones((2, 2)), "uv": UV}, "Mesh texture must have 3 or 4 channels"),
        ({"texture": np.ones((2, 3)), "uv": UV}, r"Mesh texture must have shape \(any, any, 3\)"),
        ({"texture": np.ones((0, 2, 3)), "uv": UV}, "Mesh texture must not be empty"),
        ({"texture": [], "uv": UV}, "Mesh texture must not be empty"),
        ({"base_color": [1, 2, 3]}, "Mesh base_color must be uint8 or lie in"),
        ({"base_color": np.ones((2, 3))}, r"Mesh base_color must have shape \(1, 3\)"),
        ({"face_material": [0, 0, 0, 1]}, r"face_material must lie in 0\.\.0, got 0\.\.1"),
        ({"face_material": [0]}, r"face_material must have shape \(4\)"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_invalid_arrays(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mesh(**({"vertices": VERTICES, "faces": FACES} | arguments))


@pytest.mark.parametrize("mesh", [demo_mesh(), box_mesh(), sphere_mesh()], ids=["demo", "box", "sphere"])
def test_shapes_are_closed_centred_and_wound_outwards(mesh):
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
    np.testing.assert_allclose(mesh.bounds.sum(axis=0), 0, atol=1e-6)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    areas = np.cross(b - a, c - a) / 2
    np.testing.assert_allclose(areas.sum(axis=0), 0, atol=1e-9)  # closed
    assert (a * areas).sum() > 0  # positive volume
    assert ((areas * np.asarray(mesh.normals)[faces].mean(axis=1)).sum(axis=1) >= 0).all()


def test_demo_object_is_of_the_promised_size_and_has_no_symmetry():
    mesh = demo_mesh()
    assert 0.08 <= mesh.diameter <= 0.12
    vertices = np.asarray(mesh.vertices, np.float64)
    moments = np.linalg.eigvalsh(np.cov(vertices.T))
    assert (np.diff(moments) / moments[1:] > 0.1).all()  # three different axes
    skewness = (vertices**3).mean(axis=0) / vertices.std(axis=0) ** 3
    assert (np.abs(skewness) > 0.02).all()  # none of them mirrored
    assert np.asarray(mesh.materials.texels)[:, :3].std(axis=0).min() > 30


def test_seeds_change_the_texture():
    first, again, other = (np.asarray(sphere_mesh(seed=k).materials.texels) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 20
