"""Random starts: at the promised distance, in all directions, and the same for the same key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analytic import random_scene
from derivatives import QUICK_COMPILATION
from scipy.spatial.transform import Rotation

import sldiff_jax as sl


@pytest.fixture(scope="module")
def scene():
    return random_scene(0)[0]


def draw(seed, scene, count, **distances):
    compiled = jax.jit(lambda key: sl.random_starts(key, scene, count, **distances), compiler_options=QUICK_COMPILATION)
    return compiled(jax.random.key(seed))


def offsets(scene, starts):
    """(K, N, 3) rotation vectors and (K, N, 3) translations, both in the frame of the object."""
    change = np.linalg.inv(np.asarray(scene.T_world_object, np.float64)) @ np.asarray(starts, np.float64)
    turns = Rotation.from_matrix(change[..., :3, :3].reshape(-1, 3, 3)).as_rotvec().reshape(*change.shape[:2], 3)
    return turns, change[..., :3, 3]


def test_the_first_is_the_scenes_own_and_all_others_are_at_the_distance(scene):
    starts = draw(0, scene, 5, rotation=0.3, translation=0.02)
    assert starts.shape == (5, 3, 4, 4) and starts.dtype == jnp.float32
    np.testing.assert_allclose(starts[0], scene.T_world_object, atol=1e-6)
    turns, shifts = offsets(scene, starts)
    np.testing.assert_allclose(np.linalg.norm(turns[1:], axis=-1), 0.3, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(shifts[1:], axis=-1), 0.02, atol=1e-6)
    R = np.asarray(starts)[..., :3, :3]
    np.testing.assert_allclose(R @ np.swapaxes(R, -1, -2), np.broadcast_to(np.eye(3), R.shape), atol=1e-5)


def test_each_object_has_its_own_length(scene):
    own = np.array([0.01, 0.05, 0.2])
    starts = draw(1, scene, 4, rotation=0.0, translation=own)
    turns, shifts = offsets(scene, starts)
    np.testing.assert_allclose(turns, 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(shifts[1:], axis=-1), np.tile(own, (3, 1)), atol=1e-6)


def test_directions_are_uniform(scene):
    starts = draw(2, scene, 400, rotation=1.0, translation=0.5)
    for vectors, length in zip(offsets(scene, starts[1:]), (1.0, 0.5)):
        directions = vectors.reshape(-1, 3) / length
        np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.07)  # 4 standard deviations of 1197 directions
        np.testing.assert_allclose(directions.T @ directions / len(directions), np.eye(3) / 3, atol=0.05)


def test_the_key_decides(scene):
    first = draw(0, scene, 3, rotation=0.3, translation=0.02)
    np.testing.assert_array_equal(first, draw(0, scene, 3, rotation=0.3, translation=0.02))
    eager = sl.random_starts(jax.random.key(0), scene, 3, rotation=0.3, translation=0.02)
    np.testing.assert_allclose(first, eager, atol=1e-6)
    assert np.abs(np.asarray(first - draw(1, scene, 3, rotation=0.3, translation=0.02))[1:]).max() > 1e-2


def test_one_start_is_the_scenes_own(scene):
    one = draw(0, scene, 1, rotation=0.3, translation=0.02)
    np.testing.assert_allclose(one[0], scene.T_world_object, atol=1e-6)


@pytest.mark.parametrize("count", [0, -3])
def test_no_start_is_refused(scene, count):
    with pytest.raises(ValueError, match=f"count must be at least 1, got {count}"):
        sl.random_starts(jax.random.key(0), scene, count, rotation=0.1, translation=0.1)
