"""Camera: projection, pose, validation, transformations."""

import dataclasses
import math

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives

import sldiff_jax as sl

INTRINSICS = (600.0, 610.0, 321.5, 238.25)


def camera(**kwargs) -> sl.Camera:
    return sl.Camera.from_intrinsics(*INTRINSICS, width=640, height=480, **kwargs)


def project(cam: sl.Camera, point):
    clip = np.asarray(cam.projection, np.float64) @ np.append(point, 1.0)
    return clip, clip[:3] / clip[3]


def test_projection_maps_points_to_pixels():
    fx, fy, cx, cy = INTRINSICS
    point = np.array([0.1, -0.2, 0.7])
    clip, ndc = project(camera(), point)
    pixel = (ndc[:2] + 1) / 2 * [640, 480]
    np.testing.assert_allclose(clip[3], 0.7, rtol=1e-6)  # clip w is the depth
    np.testing.assert_allclose(pixel, [fx * 0.1 / 0.7 + cx, fy * -0.2 / 0.7 + cy], rtol=1e-5)


def test_projection_maps_near_and_far_to_minus_and_plus_one():
    cam = camera(near=0.2, far=5.0)
    np.testing.assert_allclose(project(cam, [0, 0, 0.2])[1][2], -1, atol=1e-5)
    np.testing.assert_allclose(project(cam, [0, 0, 5.0])[1][2], 1, atol=1e-5)


def test_image_corners_are_the_corners_of_ndc():
    fx, fy, cx, cy = INTRINSICS
    for u, v, x, y in [(0, 0, -1, -1), (640, 480, 1, 1)]:  # row 0 is at y = -1
        _, ndc = project(camera(), [(u - cx) / fx, (v - cy) / fy, 1.0])
        np.testing.assert_allclose(ndc[:2], [x, y], atol=1e-5)


def test_intrinsics_round_trip():
    np.testing.assert_allclose(camera().intrinsics, INTRINSICS, rtol=1e-6)


def test_a_window_may_have_its_principal_point_outside():
    window = camera().cropped(400, -10, 100, 50)
    np.testing.assert_allclose(window.intrinsics, [600, 610, -78.5, 248.25], rtol=1e-5)


def test_from_fov_is_centred_with_square_pixels():
    cam = sl.Camera.from_fov(math.radians(60), width=200, height=100)
    np.testing.assert_allclose(cam.intrinsics, [100 / math.tan(math.radians(30))] * 2 + [100, 50], rtol=1e-6)


def test_resized_sees_the_same():
    small = camera().resized(320, 120)
    assert (small.width, small.height) == (320, 120)
    np.testing.assert_array_equal(small.projection, camera().projection)
    np.testing.assert_allclose(small.intrinsics, np.array(INTRINSICS) * [1 / 2, 1 / 4, 1 / 2, 1 / 4], rtol=1e-6)


def test_T_camera_world_inverts_the_pose():
    T = analytic.rigid(np.random.default_rng(0), (1.0, -2.0, 3.0))
    np.testing.assert_allclose(camera(T_world_camera=T).T_camera_world @ T, np.eye(4), atol=1e-5)


def test_default_pose_is_the_identity():
    np.testing.assert_array_equal(camera().T_world_camera, np.eye(4))


def test_gradient_reaches_the_intrinsics(x64):
    def projection(k):
        return sl.Camera.from_intrinsics(k[0], k[1], k[2], k[3], width=64, height=48).projection

    assert_derivatives(projection, INTRINSICS, step=1e-3)
    assert_derivatives(lambda fov: sl.Camera.from_fov(fov, width=64, height=48).projection, 0.9)


def test_vmap_and_jit_make_batches():
    focal = jnp.array([100.0, 200.0, 300.0])
    make = jax.jit(jax.vmap(lambda f: sl.Camera.from_intrinsics(f, f, 32.0, 24.0, width=64, height=48)))
    batch = make(focal)
    assert batch.projection.shape == (3, 4, 4) and batch.width == 64
    np.testing.assert_allclose(jax.vmap(lambda c: c.intrinsics)(batch)[:, 0], focal, rtol=1e-6)


def test_dtype_follows_the_input(x64):
    assert sl.Camera(jnp.eye(4, dtype=jnp.float32), width=4, height=3).T_world_camera.dtype == jnp.float32
    assert sl.Camera(np.eye(4), width=4, height=3).projection.dtype == jnp.float64


def test_size_is_static_and_camera_is_frozen():
    leaves = jax.tree.leaves(camera())
    assert [leaf.shape for leaf in leaves] == [(4, 4), (4, 4)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        camera().width = 3


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"projection": np.eye(3)}, r"projection must have shape \(4, 4\), got \(3, 3\)"),
        ({"projection": np.eye(4) * 1j}, "projection must be real"),
        ({"T_world_camera": np.eye(4)[:3]}, r"T_world_camera must have shape \(4, 4\), got \(3, 4\)"),
        ({"width": 0}, "width must be a positive integer.*got 0"),
        ({"width": True}, "width must be a positive integer.*got True"),
        ({"height": 4.5}, "height must be a positive integer.*got 4.5"),
    ],
)
def test_constructor_refuses(unchecked_types, kwargs, match):
    with pytest.raises(ValueError, match=match):
        sl.Camera(**{"projection": np.eye(4), "width": 4, "height": 3, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"fx": np.ones(2)}, "fx must have shape"),
        ({"fy": np.ones(2)}, "fy must have shape"),
        ({"cx": np.ones(2)}, "cx must have shape"),
        ({"cy": np.ones(2)}, "cy must have shape"),
        ({"fx": 0.0}, "focal lengths must be positive .*fx=0, fy=1"),
        ({"fy": -1.0}, "focal lengths must be positive .*fx=1, fy=-1"),
        ({"fx": np.nan}, "focal lengths must be positive .*fx=nan"),
        ({"cx": 4.0}, r"inside of the image of 4x3 pixels, got cx=4, cy=1\. .*another resolution.*\.resized"),
        ({"cy": 3.5}, r"inside of the image of 4x3 pixels, got cx=1, cy=3\.5"),
        ({"cx": -0.5}, r"inside of the image of 4x3 pixels, got cx=-0\.5.*\.cropped"),
        ({"cy": np.nan}, r"inside of the image .* cy=nan"),
        ({"near": 0.0}, "0 < near < far.*near=0.0"),
        ({"near": 5.0, "far": 5.0}, "0 < near < far.*far=5.0"),
        ({"width": -1}, "width must be a positive integer"),
        ({"height": "3"}, "height must be a positive integer"),
        ({"T_world_camera": np.eye(3)}, "T_world_camera must have shape"),
    ],
)
def test_from_intrinsics_refuses(unchecked_types, kwargs, match):
    with pytest.raises(ValueError, match=match):
        sl.Camera.from_intrinsics(**{"fx": 1.0, "fy": 1.0, "cx": 1.0, "cy": 1.0, "width": 4, "height": 3, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"fov_x": 60.0}, "fov_x must lie in .*radians"),
        ({"fov_x": 0.0}, "fov_x must lie in"),
        ({"fov_x": np.ones(3)}, "fov_x must have shape"),
        ({"width": 0}, "width must be a positive integer"),
        ({"near": -1.0}, "near"),
    ],
)
def test_from_fov_refuses(unchecked_types, kwargs, match):
    with pytest.raises(ValueError, match=match):
        sl.Camera.from_fov(**{"fov_x": 1.0, "width": 4, "height": 3, **kwargs})


def test_resized_refuses(unchecked_types):
    with pytest.raises(ValueError, match="width must be a positive integer"):
        camera().resized(0, 4)
    with pytest.raises(ValueError, match="height must be a positive integer"):
        camera().resized(4, 1.5)
