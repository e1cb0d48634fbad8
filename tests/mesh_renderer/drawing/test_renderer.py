"""`MeshRenderer` as users call it: transformations of JAX, options, errors."""

from __future__ import annotations

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import MeshRenderer, box_mesh, sphere_mesh

VIEW = sl.Camera.from_fov(0.7, width=36, height=28, near=0.05)


@pytest.fixture(scope="module")
def renderer() -> MeshRenderer:
    return MeshRenderer([box_mesh(), sphere_mesh(0.03)])


def poses(key: int = 0) -> jax.Array:
    """Poses (2, 4, 4) of a box and a sphere that partly hides it."""
    tilt = np.random.default_rng(key).normal(size=(2, 3, 3))
    R = np.linalg.qr(tilt)[0]
    T = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    T[:, :3, :3] = R * np.linalg.det(R)[:, None, None]
    T[:, :3, 3] = [[0, 0, 0.2 + 0.01 * key], [0.02, 0.01, 0.12]]
    return jnp.asarray(T)


def scene_at(T_world_object: jax.Array) -> sl.Scene:
    return sl.Scene(T_world_object, VIEW, np.array([7, 3]))


def assert_same(result, expected):
    jax.tree.map(np.testing.assert_array_equal, result, expected)


def test_dtypes_and_shapes(renderer):
    result = renderer(scene_at(poses()))
    described = {name: (value.dtype.name, value.shape[2:]) for name, value in vars(result).items()}
    assert described == {
        "rgb": ("uint8", (4,)),
        "coord_depth": ("float32", (4,)),
        "instance_index": ("int16", ()),
        "class_index": ("int16", ()),
        "normals": ("float32", (4,)),
        "vertex_indices": ("int32", (3,)),
        "barycentric_coeffs": ("float32", (3,)),
        "cam_coordinates": ("float32", (4,)),
    }
    assert set(np.unique(result.instance_index)) == {0, 3, 7}


def test_buffers_agree_with_each_other(renderer):
    T = poses()
    result = jax.tree.map(np.asarray, renderer(scene_at(T)))
    for label, mesh, T_camera_object in ((7, box_mesh(), T[0]), (3, sphere_mesh(0.03), T[1])):
        seen = result.instance_index == label
        corners = np.asarray(mesh.vertices)[result.vertex_indices[seen] - 1]
        points = (result.barycentric_coeffs[seen][..., None] * corners).sum(axis=1)
        np.testing.assert_allclose(result.coord_depth[seen][:, :3], points, atol=1e-6)
        p_camera = points @ np.asarray(T_camera_object)[:3, :3].T + np.asarray(T_camera_object)[:3, 3]
        np.testing.assert_allclose(result.cam_coordinates[seen][:, :3], p_camera, atol=1e-6)
        np.testing.assert_allclose(result.coord_depth[seen][:, 3], p_camera[:, 2], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(result.normals[seen][:, :3], axis=1), 1, atol=1e-5)
        pixel = np.stack(np.nonzero(seen)[::-1], -1) + 0.5
        fx, fy, cx, cy = np.asarray(VIEW.intrinsics)
        projected = p_camera[:, :2] / p_camera[:, 2:] * [fx, fy] + [cx, cy]
        np.testing.assert_allclose(projected, pixel, atol=2e-3)


def test_camera_pose_is_used(renderer):
    """Moving camera and objects together changes nothing."""
    move = jnp.asarray(np.array([[0, -1, 0, 0.3], [0, 0, -1, -0.2], [1, 0, 0, 5.0], [0, 0, 0, 1]], np.float32))
    moved = sl.Scene(move @ poses(), sl.Camera(VIEW.projection, move, width=36, height=28), np.array([7, 3]))
    still, result = renderer(scene_at(poses())), renderer(moved)
    assert (np.asarray(still.instance_index) != np.asarray(result.instance_index)).sum() <= 2
    same = np.asarray(still.instance_index) == np.asarray(result.instance_index)
    np.testing.assert_allclose(np.asarray(still.coord_depth)[same], np.asarray(result.coord_depth)[same], atol=1e-4)


def test_lights_belong_to_the_world():
    """Turning camera, objects and lights together changes nothing; leaving the lights behind does."""
    turn = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], np.float32)
    move = jnp.eye(4).at[:3, :3].set(turn)
    moved = sl.Scene(move @ poses(), sl.Camera(VIEW.projection, move, width=36, height=28), np.array([7, 3]))
    direction = np.array([[0.3, 0.5, 0.8]])

    def image(scene, directions):
        light = {"light_directions": directions, "light_colors": np.full((1, 3), 4.0)}
        return np.asarray(MeshRenderer([box_mesh(), sphere_mesh(0.03)], shading="phong", **light)(scene).rgb, float)

    still = image(scene_at(poses()), direction)
    assert np.abs(image(moved, direction @ turn.T) - still).mean() < 0.2
    assert np.abs(image(moved, direction) - still).mean() > 2


def test_jit_closed_over_and_as_argument(renderer):
    scene = scene_at(poses())
    expected = renderer(scene)
    assert_same(jax.jit(lambda scene: renderer(scene))(scene), expected)
    assert_same(eqx.filter_jit(lambda renderer, scene: renderer(scene))(renderer, scene), expected)


@pytest.mark.parametrize("options", [{}, {"buffers": "core", "supersample": 2}])
def test_vmap_is_the_loop(options):
    renderer = MeshRenderer([box_mesh(), sphere_mesh(0.03)], **options)
    T = jnp.stack([poses(k) for k in range(6)])
    rows = [renderer(scene_at(row)) for row in T]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    render = lambda T: renderer(scene_at(T))  # noqa: E731
    assert_same(jax.vmap(render)(T), expected)
    assert_same(jax.jit(jax.vmap(render))(T), expected)
    nested = jax.vmap(jax.jit(jax.vmap(render)))(T.reshape(2, 3, 2, 4, 4))
    assert_same(jax.tree.map(lambda leaf: leaf.reshape(6, *leaf.shape[2:]), nested), expected)


def test_vmap_over_camera_and_poses_on_different_axes(renderer):
    T = jnp.stack([poses(k) for k in range(3)])
    projections = jnp.stack([VIEW.projection, VIEW.projection.at[0, 0].multiply(1.3)])

    def render(P, T):
        return renderer(sl.Scene(T, sl.Camera(P, width=36, height=28)))

    result = jax.vmap(lambda P: jax.vmap(lambda T: render(P, T))(T))(projections)
    for i, P in enumerate(projections):
        for j, row in enumerate(T):
            assert_same(jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], result), render(P, row))


def test_a_batch_is_one_launch_and_shares_the_meshes(renderer):
    T = jnp.stack([poses(k) for k in range(5)])
    jaxpr = str(jax.make_jaxpr(jax.vmap(lambda T: renderer(scene_at(T))))(T))
    assert jaxpr.count("ffi_call[") == 1
    assert "scan" not in jaxpr and "while" not in jaxpr
    vertices = renderer.geometry.vertices.shape[0]
    assert f"f32[5,{vertices},3]" not in jaxpr


def test_vmap_over_renderers():
    """Backgrounds differ along the batch, so each row is a launch."""
    backgrounds = jnp.array([[0.0, 0, 1], [1, 0, 0]], jnp.float32)
    base = MeshRenderer([box_mesh(), sphere_mesh(0.03)])
    scene = scene_at(poses())

    def render(color):
        return eqx.tree_at(lambda r: r.background, base, color.reshape(1, 1, 3))(scene).rgb

    result = jax.vmap(render)(backgrounds)
    assert_same(result, jnp.stack([render(color) for color in backgrounds]))
    assert not np.array_equal(result[0], result[1])


def test_buffers_are_constants_to_autodiff(renderer):
    def depth(T):
        return renderer(scene_at(T)).coord_depth.sum()

    assert not np.asarray(jax.grad(depth)(poses())).any()
    assert not np.asarray(jax.vmap(jax.grad(depth))(jnp.stack([poses(0), poses(1)]))).any()


@pytest.mark.usefixtures("x64")
def test_64_bit_mode(renderer):
    result = renderer(sl.Scene(poses().astype(jnp.float64), VIEW))
    assert result.coord_depth.dtype == jnp.float32
    assert np.asarray(result.instance_index).any()
    mesh = sphere_mesh(0.03)
    assert MeshRenderer([mesh])(sl.Scene(np.eye(4)[None] + np.diag([0, 0, 0, 0.0]), VIEW)).rgb.shape == (28, 36, 4)


def test_core_buffers_are_those_of_all():
    meshes = [box_mesh(), sphere_mesh(0.03)]
    everything, core = (MeshRenderer(meshes, buffers=kind)(scene_at(poses())) for kind in ("all", "core"))
    for name in ("rgb", "coord_depth", "instance_index"):
        np.testing.assert_array_equal(getattr(core, name), getattr(everything, name))
    for name in ("class_index", "normals", "vertex_indices", "barycentric_coeffs", "cam_coordinates"):
        assert getattr(core, name) is None


def test_zero_objects():
    renderer = MeshRenderer([], background=[0.0, 1.0, 0.2])
    scene = sl.Scene(jnp.zeros((0, 4, 4)), VIEW)
    result = renderer(scene)
    assert not np.asarray(result.instance_index).any()
    np.testing.assert_array_equal(result.coord_depth, 3000.0)
    np.testing.assert_array_equal(np.unique(np.asarray(result.rgb).reshape(-1, 4), axis=0), [[0, 255, 51, 0]])
    batch = jax.vmap(lambda P: renderer(sl.Scene(scene.T_world_object, sl.Camera(P, width=36, height=28))))
    assert batch(jnp.stack([VIEW.projection] * 3)).rgb.shape == (3, 28, 36, 4)


def test_class_index():
    meshes = [box_mesh(), sphere_mesh(0.03)]
    default = MeshRenderer(meshes)(scene_at(poses()))
    np.testing.assert_array_equal(default.class_index, np.asarray(default.instance_index) > 0)
    result = MeshRenderer(meshes, class_index=[12, 5])(scene_at(poses()))
    np.testing.assert_array_equal(
        result.class_index, np.select([np.asarray(result.instance_index) == k for k in (7, 3)], [12, 5])
    )


def test_the_same_mesh_twice_is_stored_once():
    mesh = sphere_mesh()
    once, twice = MeshRenderer([mesh]), MeshRenderer([mesh, mesh])
    assert twice.geometry.vertices.shape == once.geometry.vertices.shape
    assert twice.geometry.texels.shape == once.geometry.texels.shape
    T = poses().at[:2, :3, 3].set(jnp.array([[-0.05, 0, 0.3], [0.05, 0, 0.3]], poses().dtype))
    expected = MeshRenderer([mesh, sphere_mesh()])(scene_at(T))
    assert_same(twice(scene_at(T)), expected)


def test_background_image():
    image = np.random.default_rng(0).integers(0, 256, size=(28, 36, 3), dtype=np.uint8)
    result = MeshRenderer([box_mesh(), sphere_mesh(0.03)], background=image)(scene_at(poses()))
    empty = np.asarray(result.instance_index) == 0
    np.testing.assert_array_equal(np.asarray(result.rgb)[empty][:, :3], image[empty])
    np.testing.assert_array_equal(np.asarray(result.rgb)[..., 3], np.where(empty, 0, 255))


@pytest.mark.parametrize("samples", [2, 3])
def test_supersampled_colour_is_the_mean_of_a_larger_image(samples):
    image = np.random.default_rng(0).random((28, 36, 3))
    large_image = image.repeat(samples, axis=0).repeat(samples, axis=1)
    meshes, scene = [box_mesh(), sphere_mesh(0.03)], scene_at(poses())
    plain = MeshRenderer(meshes, background=image)(scene)
    result = MeshRenderer(meshes, background=image, supersample=samples)(scene)
    large_scene = sl.Scene(scene.T_world_object, VIEW.resized(36 * samples, 28 * samples))
    large = np.asarray(MeshRenderer(meshes, background=large_image)(large_scene).rgb).astype(float)
    mean = large.reshape(28, samples, 36, samples, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(np.asarray(result.rgb).astype(float), mean, atol=1.01)
    assert (np.asarray(result.rgb)[..., 3] % 255 != 0).any()
    for name in ("coord_depth", "instance_index", "class_index", "normals", "vertex_indices", "barycentric_coeffs"):
        np.testing.assert_array_equal(getattr(result, name), getattr(plain, name))


@pytest.mark.usefixtures("unchecked_types")
def test_a_single_mesh_is_not_a_list():
    with pytest.raises(ValueError, match=r"got a single one: pass \[mesh\]"):
        MeshRenderer(box_mesh())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shading": "pbr"}, 'shading must be "flat" or "phong"'),
        ({"buffers": "some"}, 'buffers must be "all" or "core"'),
        ({"supersample": 0}, "supersample must be a positive integer"),
        ({"supersample": 1.5}, "supersample must be a positive integer"),
        ({"class_index": [1, 2]}, "class_index must hold 1 integers"),
        ({"class_index": [0]}, r"class_index must lie in 1\.\.32767"),
        ({"background": [1.0, 2.0, 3.0]}, r"background must be uint8 or lie in \[0, 1\]"),
        ({"background": np.zeros((4, 4))}, r"background must be a \(3,\) colour or an \(H, W, 3\) image"),
        ({"background": np.zeros((4, 4, 2))}, "background must have 3 or 4 channels"),
        ({"exposure": 1.0}, 'need shading="phong"'),
        ({"shading": "phong"}, "needs light"),
        ({"shading": "phong", "light_directions": [[0, 0, 1]]}, "go together"),
        ({"shading": "phong", "light_colors": [[1, 1, 1]], "ambient_light": [1, 1, 1]}, "go together"),
        ({"shading": "phong", "light_directions": [[0, 0, 1]], "light_colors": [1, 1, 1]}, "light_colors must have"),
        ({"shading": "phong", "light_directions": [0, 0, 1], "light_colors": [[1, 1, 1]]}, "light_directions must"),
        ({"shading": "phong", "ambient_light": 1.0}, "ambient_light must have shape"),
        ({"shading": "phong", "ambient_light": [-1, 0, 0]}, "ambient_light must not be negative"),
        ({"shading": "phong", "ambient_light": [1, 1, 1], "exposure": [1, 2]}, "exposure must have shape"),
        ({"shading": "phong", "ambient_light": [1, 1, 1], "shininess": -1.0}, "shininess must not be negative"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        MeshRenderer([box_mesh()], **options)


@pytest.mark.usefixtures("unchecked_types")
def test_invalid_meshes():
    with pytest.raises(ValueError, match=r"must be a list of sldiff_jax\.Mesh, got str"):
        MeshRenderer(["box.ply"])  # pyright: ignore[reportArgumentType]


def test_wrong_number_of_objects(renderer):
    with pytest.raises(ValueError, match=r"one object per mesh of the renderer \(2\), got 3"):
        jax.jit(lambda scene: renderer(scene))(sl.Scene(jnp.tile(jnp.eye(4), (3, 1, 1)), VIEW))


def test_wrong_size_of_the_background():
    renderer = MeshRenderer([box_mesh()], background=np.zeros((36, 28, 3)))
    with pytest.raises(ValueError, match=r"camera's image \(28, 36\), got \(36, 28\)"):
        renderer(sl.Scene(jnp.eye(4)[None], VIEW))


def test_warp_is_imported_on_first_use_and_is_quiet():
    code = """
import sys
import sldiff_jax as sl
from sldiff_jax.mesh_renderer import MeshRenderer, box_mesh
renderer = MeshRenderer([box_mesh()])
assert not {"warp", "trimesh"} & set(sys.modules)
import jax.numpy as jnp
renderer(sl.Scene(jnp.eye(4)[None], sl.Camera.from_fov(0.5, width=4, height=3)))
import warp
assert warp.config.log_level == warp.LOG_INFO
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
