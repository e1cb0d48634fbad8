"""Patches of a print, found in another image, and the motion on which they agree."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

import sldiff_jax as sl
from sldiff_jax._gradients.black_box import differentiable
from sldiff_jax._refine.found_again import agreed_motion, found_again
from sldiff_jax._refine.patches import Matches, eroded, find_patches

SIZE = 96


def printed(seed=0) -> np.ndarray:
    """Blobs of all colours."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.random((SIZE, SIZE, 3)), (2, 2, 0))
    return (blobs - blobs.min()) / (blobs.max() - blobs.min())


def square(low=24, high=72) -> np.ndarray:
    inside = np.zeros((SIZE, SIZE), bool)
    inside[low:high, low:high] = True
    return inside


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-6.5, 2.25)])
def test_patches_are_found_where_they_were_moved_to_in_other_light(shift):
    picture, inside = printed(), square()
    photo = ndimage.shift(0.4 * picture + 0.3, (*shift, 0), order=3, mode="nearest")
    matches = find_patches(picture, inside, photo, radius=5, reach=9)
    assert len(matches.scores) > 50 and matches.scores.min() > 0.9
    np.testing.assert_allclose(matches.shifts, np.tile(shift[::-1], (len(matches.scores), 1)), atol=0.3)
    assert inside[tuple(matches.places.T)].all()


def test_the_correlation_by_hand():
    """One patch, cut by the object's edge, against loops."""
    picture, photo, inside = printed(), printed(1), square(40, 52)
    matches = find_patches(picture, inside, photo, radius=4, reach=3)
    assert len(matches.scores)
    for (row, column), shift, score in list(zip(*matches))[::5]:
        best, place = -1.0, (0, 0)
        for down in range(-3, 4):
            for right in range(-3, 4):
                a, b = [], []
                for i in range(-4, 5):
                    for j in range(-4, 5):
                        if inside[row + i, column + j]:
                            a.append(picture[row + i, column + j])
                            b.append(photo[row + i + down, column + j + right])
                a, b = (np.array(x) - np.mean(x, axis=0) for x in (a, b))
                value = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
                if value > best:
                    best, place = value, (right, down)
        np.testing.assert_allclose(score, best, rtol=1e-6)
        assert np.abs(shift - place).max() <= 0.5


def test_plain_surfaces_and_patches_at_the_end_of_the_reach_are_left_out():
    picture, inside = printed(), square()
    assert not len(find_patches(np.full_like(picture, 0.5), inside, picture, radius=5, reach=5).scores)
    assert not len(find_patches(picture, np.zeros_like(inside), picture, radius=5, reach=5).scores)
    away = np.roll(picture, 8, axis=1)
    found = find_patches(picture, inside, away, radius=5, reach=5)
    assert np.abs(found.shifts).max(initial=0) < 5.5 and (found.scores < 0.9).all()


def test_eroded():
    inside = square()
    inside[:30] = True
    np.testing.assert_array_equal(eroded(inside), ndimage.binary_erosion(inside))


CAMERA = sl.Camera.from_intrinsics(200, 200, 48, 48, width=SIZE, height=SIZE)


def shifts_of(motion: np.ndarray, places: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Where points of the surface go when they are moved in the camera's frame."""
    z = depth[tuple(places.T)]
    x, y = (places[:, 1] + 0.5 - 48) / 200 * z, (places[:, 0] + 0.5 - 48) / 200 * z
    moved = np.stack([x, y, z], axis=-1) @ motion[:3, :3].T + motion[:3, 3]
    after = 200 * moved[:, :2] / moved[:, 2:] + 48
    return after - (places[:, ::-1] + 0.5)


def test_half_of_the_patches_may_be_anywhere():
    rng = np.random.default_rng(0)
    places = rng.integers(20, 76, size=(80, 2))
    depth = 0.5 + 0.1 * rng.random((SIZE, SIZE))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([0.02, -0.03, 0.05]).as_matrix()
    motion[:3, 3] = [0.005, 0.004, 0.01]
    shifts = shifts_of(motion, places, depth)
    shifts[::2] = rng.uniform(-10, 10, size=(40, 2))
    found = agreed_motion(Matches(places, shifts, np.full(80, 0.7)), depth, CAMERA, 2.0, rng)
    assert found is not None
    T, share = found
    assert 0.45 < share < 0.7
    errors = np.linalg.norm(shifts_of(T, places, depth) - shifts_of(motion, places, depth), axis=-1)
    assert errors.max() < 0.5


def test_no_motion_without_enough_patches_or_agreement():
    rng = np.random.default_rng(0)
    depth = np.full((SIZE, SIZE), 0.5)
    few = Matches(rng.integers(20, 76, size=(7, 2)), np.zeros((7, 2)), np.ones(7))
    assert agreed_motion(few, depth, CAMERA, 2.0, rng) is None
    places = rng.integers(20, 76, size=(12, 2))
    chaos = Matches(places, rng.uniform(-40, 40, size=(12, 2)), np.ones(12))
    assert agreed_motion(chaos, depth, CAMERA, 1.0, rng) is None


@pytest.mark.parametrize("T_world_camera", [np.eye(4), None])
def test_a_printed_square_is_found_from_afar_behind_an_occluder_in_other_light(T_world_camera):
    if T_world_camera is None:
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
        T_world_camera[:3, 3] = [0.4, -0.2, 0.7]
    T_world_camera = jnp.asarray(T_world_camera, jnp.float32)
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * 0.06
    texture = (255 * printed()).astype(np.uint8)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    renderer = sl.MeshRenderer([sl.Mesh(corners, faces, uv=(corners[:, :2] + 0.06) / 0.12, texture=texture)])
    camera = sl.Camera.from_intrinsics(220, 220, 48, 48, width=SIZE, height=SIZE, T_world_camera=T_world_camera)
    true = jnp.eye(4).at[:3, :3].set(Rotation.from_rotvec([0.3, 0.2, 0]).as_matrix()).at[2, 3].set(0.4)
    true = T_world_camera @ true
    image = sl.render(sl.Scene(true[None], camera), renderer)
    photo = np.where(np.asarray(image.mask)[..., None] > 0, 0.5 * np.asarray(image.rgb) + 0.2, printed(1) ** 2)
    photo[50:, 50:] = 0.9  # something in front
    start = sl.apply_twist(true, jnp.array([0.1, -0.1, 0.12, 0.012, 0.01, 0.0]))
    observation = sl.Observation(rgb=photo.astype(np.float32))
    T, share = found_again(differentiable(renderer), True, sl.Scene(start[None], camera), observation)
    assert share > 0.4
    away = np.linalg.inv(np.asarray(true)) @ np.asarray(T[0])
    assert np.degrees(Rotation.from_matrix(away[:3, :3]).magnitude()) < 4
    assert np.linalg.norm(away[:3, 3]) < 0.012 < np.linalg.norm(np.asarray(start - true)[:3, 3])
