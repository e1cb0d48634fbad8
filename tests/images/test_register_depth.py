"""Depth of another camera: compared with rays that are cast from both cameras into a scene written down here."""

import dataclasses
import math

import jax
import numpy as np
import pytest

import sldiff_jax as sl


def pose(rotation_vector, translation) -> np.ndarray:
    x, y, z = rotation_vector
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0.0]])
    angle = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    T = np.eye(4)
    T[:3, :3] += math.sin(angle) / angle * K + (1 - math.cos(angle)) / angle**2 * K @ K
    T[:3, 3] = translation
    return T


def cast(width, height, fx, fy, cx, cy, T_world_camera):
    """Depth of a ball in front of a slanted wall, pixel by pixel, and the world point that each pixel sees."""
    depth, points = np.zeros((height, width)), np.zeros((height, width, 3))
    center, radius = np.array([0.02, -0.03, 0.8]), 0.15
    normal, offset = np.array([0.2, 0.1, -1.0]), -1.3
    for i in range(height):
        for j in range(width):
            ray = np.array([(j + 0.5 - cx) / fx, (i + 0.5 - cy) / fy, 1])
            d, o = T_world_camera[:3, :3] @ ray, T_world_camera[:3, 3]
            z = (offset - normal @ o) / (normal @ d)
            a, b, c = d @ d, d @ (o - center), (o - center) @ (o - center) - radius**2
            if b * b > a * c:
                z = min(z, (-b - math.sqrt(b * b - a * c)) / a)
            depth[i, j], points[i, j] = z, o + z * d
    return depth, points


COLOR = {"width": 120, "height": 90, "fx": 140.0, "fy": 138.0, "cx": 59.0, "cy": 46.0}
T_WORLD_COLOR = pose((0.02, -0.01, 0.01), (0.01, 0.0, 0.02))
T_WORLD_DEPTH = pose((-0.03, 0.05, 0.03), (-0.06, 0.01, 0.0))


def camera(parameters, T) -> sl.Camera:
    return sl.Camera.from_intrinsics(**parameters, T_world_camera=T)


@pytest.mark.parametrize("fineness", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("T_world_depth", [T_WORLD_DEPTH, T_WORLD_DEPTH @ pose((0, 0, math.pi / 2), (0, 0, 0))])
def test_it_is_what_the_colour_camera_would_have_measured(fineness, T_world_depth):
    side = round(110 * fineness)
    other = {
        "width": side,
        "height": side,
        "fx": 120.0 * fineness,
        "fy": 121.0 * fineness,
        "cx": 0.5 * side,
        "cy": 0.48 * side,
    }
    depth, _ = cast(**other, T_world_camera=T_world_depth)
    expected, points = cast(**COLOR, T_world_camera=T_WORLD_COLOR)
    made = sl.register_depth(depth, camera(other, T_world_depth), camera(COLOR, T_WORLD_COLOR))
    assert made.shape == expected.shape and made.dtype == np.float32

    # What the depth camera sees too: the point is in its frame, and nothing there is nearer.
    at_depth = (points - T_world_depth[:3, 3]) @ T_world_depth[:3, :3]
    u = other["fx"] * at_depth[..., 0] / at_depth[..., 2] + other["cx"]
    v = other["fy"] * at_depth[..., 1] / at_depth[..., 2] + other["cy"]
    framed = (u > 1) & (u < side - 1) & (v > 1) & (v < side - 1)
    j, i = (np.clip(x, 0, side - 1).astype(int) for x in (u, v))
    seen = framed & (np.abs(depth[i, j] - at_depth[..., 2]) < 0.02)
    hidden = framed & (at_depth[..., 2] > depth[i, j] + 0.2)
    assert seen.mean() > 0.6 and hidden.sum() > 20
    assert (made[seen] > 0).mean() > 0.97
    errors = np.abs(made - expected)[seen & (made > 0)]
    assert np.median(errors) < 2e-3
    assert (errors > 0.02).mean() < 0.02  # at the ball's outline
    assert (made[hidden] > 0).mean() < 0.35
    outside = (u < -2) | (u > side + 2) | (v < -2) | (v > side + 2)
    assert not made[outside].any()


def test_a_camera_registered_with_itself_and_with_a_finer_one():
    depth, _ = cast(**COLOR, T_world_camera=T_WORLD_COLOR)
    depth[10:20, 30:40] = 0
    one = camera(COLOR, T_WORLD_COLOR)
    np.testing.assert_allclose(sl.register_depth(depth, one, one), depth, rtol=1e-5)
    fine = sl.register_depth(depth, one, one.resized(3 * COLOR["width"], 3 * COLOR["height"]))
    np.testing.assert_allclose(fine, np.kron(depth, np.ones((3, 3))), rtol=1e-5)


def test_the_nearer_of_two_points_wins_and_what_is_behind_the_camera_is_left_out():
    parameters = {"width": 5, "height": 5, "fx": 5.0, "fy": 5.0, "cx": 2.5, "cy": 2.5}
    depth = np.zeros((5, 5))
    depth[2, 2] = 2.0
    ahead = camera(parameters, pose((0, 0, 0), (0, 0, 1.0)))
    expected = np.zeros((5, 5), np.float32)
    expected[2, 2] = 1.0  # twice as large, and so around pixel centres of itself alone
    made = sl.register_depth(depth, camera(parameters, np.eye(4)), ahead)
    assert made[2, 2] == pytest.approx(1) and (made > 0).sum() in (1, 4, 9)
    beyond = camera(parameters, pose((0, 0, 0), (0, 0, 3.0)))
    assert not sl.register_depth(depth, camera(parameters, np.eye(4)), beyond).any()
    # Two columns that fall on one, seen from the side.
    depth = np.zeros((5, 5))
    depth[2, 1], depth[2, 3] = 1.0, 3.0
    side = camera(parameters | {"width": 1, "fx": 1.0, "cx": 0.5}, np.eye(4))
    assert sl.register_depth(depth, camera(parameters, np.eye(4)), side)[2, 0] in (0, 1)


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_refused():
    one = camera(COLOR, T_WORLD_COLOR)
    ones = np.ones((90, 120))
    with pytest.raises(ValueError, match=r"size .* of its camera, \(90, 120\), got \(45, 120\)"):
        sl.register_depth(ones[:45], one, one)
    for value in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and not negative"):
            sl.register_depth(value * ones, one, one)
    with pytest.raises(ValueError, match="works on the host"):
        jax.jit(lambda d: sl.register_depth(d, one, one))(ones)
    assert not sl.register_depth(0 * ones, one, dataclasses.replace(one, width=7)).any()
