"""Which triangle a pixel sees: against ray casting, and where rasterisers go wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ray_caster import cast_rays

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer, box_mesh, sphere_mesh

NEAR, FAR = 0.5, 6.0


def soup(corners) -> Mesh:
    """A mesh of separate triangles, (F, 3, 3)."""
    corners = np.asarray(corners, np.float32)
    return Mesh(corners.reshape(-1, 3), np.arange(corners.size // 3).reshape(-1, 3))


def camera(width=23, height=17, **kwargs) -> sl.Camera:
    options = {"fx": 14.0, "fy": 15.0, "cx": 11.3, "cy": 8.1, "near": NEAR, "far": FAR} | kwargs
    return sl.Camera.from_intrinsics(width=width, height=height, **options)


def draw(corners, view: sl.Camera | None = None) -> sl.RenderResult:
    scene = sl.Scene(jnp.eye(4)[None], camera() if view is None else view)
    return MeshRenderer([soup(corners)])(scene)


def compare_with_rays(corners) -> float:
    """Checks what can be decided; returns the share of pixels that see something."""
    result = draw(corners)
    hits = cast_rays(corners, 14.0, 15.0, 11.3, 8.1, 23, 17, NEAR, FAR)
    assert hits.clear.mean() > 0.9
    seen = np.asarray(result.vertex_indices)[..., 0]  # 1-based first corner of triangle n is 3 n + 1
    np.testing.assert_array_equal(np.where(seen > 0, (seen - 1) // 3, -1)[hits.clear], hits.triangle[hits.clear])
    both = hits.clear & (hits.triangle >= 0)
    np.testing.assert_allclose(np.asarray(result.depth)[both], hits.depth[both], rtol=1e-4)
    np.testing.assert_allclose(np.asarray(result.barycentric_coeffs)[both], hits.weights[both], atol=2e-3)
    return both.mean()


@pytest.mark.parametrize("seed", range(4))
def test_triangles_in_front_of_the_camera(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform([-2, -2, 1], [2, 2, 5], size=(12, 3, 3))
    assert compare_with_rays(corners) > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_triangles_that_cross_the_camera_plane(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform([-2, -2, -3], [2, 2, 3], size=(8, 3, 3))
    corners[:, 0, 2], corners[:, 1, 2] = rng.uniform(1, 4, 8), rng.uniform(-4, -0.2, 8)
    assert compare_with_rays(corners) > 0.1


def test_a_floor_from_behind_the_camera_to_the_horizon():
    floor = [[[-50, 1, -30], [50, 1, -30], [0, 1, 90]]]
    result = draw(floor)
    rows = np.flatnonzero(np.asarray(result.instance_index).any(axis=1))
    # Depth 1 / tan(elevation): between the near and the far plane.
    depth = 15.0 / (np.arange(17) + 0.5 - 8.1)
    np.testing.assert_array_equal(rows, np.flatnonzero((depth > NEAR) & (depth < FAR)))
    np.testing.assert_allclose(result.depth[rows, 11], depth[rows], rtol=1e-5)


def test_near_and_far_planes_cut():
    def wall(z):
        return [[[-20, -20, z], [60, -20, z], [-20, 60, z]]]

    for z, seen in [(0.49, False), (0.51, True), (5.99, True), (6.01, False), (-1.0, False)]:
        assert bool(draw(wall(z)).instance_index.all()) == bool(draw(wall(z)).instance_index.any()) == seen


@pytest.mark.parametrize("distance", [0.25, 0.7, 3.0, 30.0])
def test_shared_edges_leave_no_gap(distance):
    """A finely divided wall that fills the image covers every pixel, at any scale, with pixel centres on its edges."""
    grid = np.linspace(-1, 1, 41) * 4 * distance
    x, y = np.meshgrid(grid, grid)
    number = np.arange(x.size).reshape(x.shape)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    tilt = distance + 0.1 * x.ravel()
    wall = Mesh(np.stack([x.ravel(), y.ravel(), tilt], -1), faces)
    for size in [(64, 64), (63, 47), (640, 480)]:
        view = sl.Camera.from_fov(1.0, width=size[0], height=size[1], near=1e-3, far=100.0)
        result = MeshRenderer([wall], buffers="core")(sl.Scene(jnp.eye(4)[None], view))
        assert bool((result.instance_index == 1).all())


def test_closed_surface_shows_no_holes():
    """Through a hole in the nearer side of the sphere, a pixel would see its farther side."""
    view = sl.Camera.from_fov(0.8, width=401, height=301, near=0.01)
    T = jnp.eye(4).at[2, 3].set(0.2)
    result = MeshRenderer([sphere_mesh(0.05, rings=100, segments=200)])(sl.Scene(T[None], view))
    seen = np.asarray(result.instance_index) == 1
    depth = np.asarray(result.depth)[seen]
    assert depth.max() < 0.2
    rays = np.asarray(result.cam_coordinates)[seen][:, :3] / depth[:, None]
    discriminant = 0.2**2 - (rays**2).sum(-1) * (0.2**2 - 0.05**2)
    inner = discriminant > 1e-5
    expected = (0.2 - np.sqrt(discriminant[inner])) / (rays[inner] ** 2).sum(-1)
    np.testing.assert_allclose(depth[inner], expected, atol=3e-4)  # the facets lie inside the sphere


def test_degenerate_triangles_are_not_drawn():
    point, line = [[0, 0, 2]] * 3, [[-1, 0, 2], [0, 0, 2], [1, 0, 2]]
    edge_on = [[0, 0, 1], [0, 0, 2], [0.0, 0, 3]]
    result = draw([point, line, edge_on], camera(cx=11.5, cy=8.5))
    assert not np.asarray(result.instance_index).any()
    assert np.isfinite(result.coord_depth).all()


def test_both_sides_are_drawn():
    triangle = np.array([[-1.0, -1, 2], [1, -1, 2], [0, 1, 2]])
    front, back = draw([triangle]), draw([triangle[::-1]])
    assert np.asarray(front.instance_index).any()
    np.testing.assert_array_equal(front.instance_index, back.instance_index)
    seen = np.asarray(front.instance_index) > 0
    for side in (front, back):  # both towards the camera
        np.testing.assert_allclose(side.normals[..., :3], np.where(seen[..., None], [0.0, 0.0, -1.0], 0.0), atol=1e-6)


def test_equal_depth_goes_to_the_first_object():
    triangle = [[[-5, -5, 2], [5, -5, 2], [0, 5, 2]]]
    scene = sl.Scene(jnp.tile(jnp.eye(4), (2, 1, 1)), camera(), np.array([9, 4]))
    result = MeshRenderer([soup(triangle), soup(triangle)])(scene)
    assert set(np.unique(result.instance_index)) == {9}


@pytest.mark.parametrize("shift", [(0, 0, -2.0), (50.0, 0, 0), (0, -50.0, 0), (0, 0, 20.0)])
def test_object_outside_the_view_is_not_drawn(shift):
    T = jnp.eye(4).at[:3, 3].set(jnp.array([0, 0, 1.5]) + jnp.array(shift))
    result = MeshRenderer([box_mesh((0.5, 0.5, 0.5))])(sl.Scene(T[None], camera()))
    assert not np.asarray(result.instance_index).any()


def test_cut_off_image_is_a_part_of_the_whole():
    mesh, T = box_mesh((1.0, 1.0, 1.0)), jnp.eye(4).at[:3, 3].set(jnp.array([0.3, 0.2, 2.0]))
    whole = MeshRenderer([mesh])(sl.Scene(T[None], camera(40, 40, cx=20.0, cy=20.0)))
    part = MeshRenderer([mesh])(sl.Scene(T[None], camera(12, 9, cx=20.0 - 17, cy=20.0 - 16)))
    assert np.asarray(part.instance_index).any()
    np.testing.assert_array_equal(part.instance_index, np.asarray(whole.instance_index)[16:25, 17:29])
    np.testing.assert_allclose(part.coord_depth, np.asarray(whole.coord_depth)[16:25, 17:29], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 7), (5, 1), (31, 33)])
def test_any_image_size(width, height):
    view = sl.Camera.from_fov(0.5, width=width, height=height)
    T = jnp.eye(4).at[2, 3].set(1.0)
    result = MeshRenderer([box_mesh((9.0, 9.0, 0.2))])(sl.Scene(T[None], view))
    assert result.rgb.shape == (height, width, 4)
    assert bool((result.instance_index == 1).all())
    np.testing.assert_allclose(result.depth, 0.9, rtol=1e-5)


def test_broken_pose_draws_nothing():
    T = jnp.full((4, 4), jnp.nan)
    result = MeshRenderer([box_mesh()])(sl.Scene(T[None], camera()))
    assert not np.asarray(result.instance_index).any()


def test_repeatable():
    T = jnp.stack([jnp.eye(4).at[:3, 3].set(jnp.array([0.01 * k, 0, 0.2])) for k in range(5)])
    scene = sl.Scene(T, sl.Camera.from_fov(0.6, width=97, height=61))
    renderer = MeshRenderer([sphere_mesh(seed=k) for k in range(5)])
    first, second = renderer(scene), renderer(scene)
    jax.tree.map(np.testing.assert_array_equal, first, second)
