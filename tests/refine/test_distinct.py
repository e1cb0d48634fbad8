"""Which poses are one, which are alternatives, and where a box puts an object."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sldiff_jax._refine.distinct import alternatives, distinct
from sldiff_jax._refine.placement import Box, measured_distance, place

DIAMETERS = np.array([0.2])


def turned(degrees: float, shift: float = 0.0) -> np.ndarray:
    """(1, 4, 4): about z, and along x."""
    T = np.eye(4)[None].copy()
    T[0, :3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    T[0, 0, 3] = shift
    return T


def test_poses_nearby_are_one():
    T = np.stack([turned(0), turned(5), turned(20), turned(20, 0.01), turned(20, 0.02), turned(0.5)])
    np.testing.assert_array_equal(distinct(T, np.array([3.0, 2, 1, 0.5, 4, np.inf]), DIAMETERS), [3, 1])
    np.testing.assert_array_equal(distinct(T, np.array([3.0, 2, 1, 9, 4, 0.1]), DIAMETERS), [5, 2, 4])


def test_symmetries_make_poses_one():
    flip = turned(180)
    T = np.stack([turned(10), turned(190), turned(100)])
    losses = np.array([1.0, 1.01, 1.02])
    np.testing.assert_array_equal(distinct(T, losses, DIAMETERS), [0, 1, 2])
    np.testing.assert_array_equal(distinct(T, losses, DIAMETERS, [flip]), [0, 2])
    np.testing.assert_array_equal(alternatives(T, losses, DIAMETERS, [flip]), T[[2]])


def test_of_several_objects_all_must_be_the_same():
    T = np.stack([np.concatenate([turned(0), turned(0)]), np.concatenate([turned(0), turned(90)])])
    np.testing.assert_array_equal(distinct(T, np.array([0.1, 0.2]), np.array([0.2, 0.2])), [0, 1])
    quarter = np.concatenate([turned(90), turned(180), turned(270)])
    np.testing.assert_array_equal(distinct(T, np.array([0.1, 0.2]), np.array([0.2, 0.2]), [None, quarter]), [0])


def test_alternatives_lose_little():
    T = np.stack([turned(degrees) for degrees in (0, 60, 120, 180)])
    found = alternatives(T, np.array([1.0, 1.11, 1.13, np.inf]), DIAMETERS)
    np.testing.assert_array_equal(found, T[[1]])
    assert alternatives(T[:1], np.array([1.0]), DIAMETERS).shape == (0, 1, 4, 4)


@pytest.mark.parametrize("distance", [None, 0.7])
def test_objects_fill_their_box(distance):
    rng = np.random.default_rng(0)
    vertices, rotations = rng.normal(size=(60, 3)) * [0.02, 0.04, 0.03], Rotation.random(20, random_state=1).as_matrix()
    fx, fy, cx, cy = intrinsics = np.array([500.0, 480.0, 330.0, 200.0])
    box = Box(100.0, 220.0, 60.0, 90.0)
    T = place(rotations, vertices, intrinsics, box, distance=distance)
    np.testing.assert_array_equal(T[:, :3, :3], rotations)
    for pose in T:
        x, y, z = (vertices @ pose[:3, :3].T + pose[:3, 3]).T
        u, v = fx * x / z + cx, fy * y / z + cy
        assert abs(0.5 * (u.min() + u.max()) - 130) < 1
        assert abs(0.5 * (v.min() + v.max()) - 265) < 1
        if distance is None:
            assert abs(np.ptp(u) * np.ptp(v) / (60 * 90) - 1) < 0.05
        else:
            assert abs(0.5 * (z.min() + z.max()) - distance) < 0.03


def test_depth_tells_the_distance():
    depth = np.zeros((40, 60))
    mask = np.zeros((40, 60), bool)
    mask[10:20, 20:40] = True
    assert measured_distance(depth, mask, Box.around(mask), 0.1) is None
    depth[:] = 2.0
    depth[mask] = 0.5
    assert measured_distance(depth, mask, Box.around(mask), 0.1) == pytest.approx(0.53)
    assert measured_distance(depth, None, Box(20, 10, 20, 10), 0.1) == pytest.approx(0.53)
    assert Box.around(mask) == (20, 10, 20, 10)
