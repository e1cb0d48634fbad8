"""An even grid of rotations: they are rotations, evenly spread, and always the same."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import sldiff_jax as sl


def gaps(rotations: np.ndarray) -> np.ndarray:
    """From random rotations to the nearest of the grid, radians."""
    cosine = np.einsum("nij,mij->nm", Rotation.random(1500, random_state=0).as_matrix(), rotations)
    return np.arccos(np.clip(0.5 * (cosine.max(axis=1) - 1), -1, 1))


def test_they_are_rotations():
    R = np.asarray(sl.even_rotations(200))
    assert R.shape == (200, 3, 3)
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.broadcast_to(np.eye(3), R.shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-6)
    np.testing.assert_array_equal(R, sl.even_rotations(200))


@pytest.mark.parametrize(("count", "degrees"), [(100, 50.5), (1000, 22.5)])
def test_they_leave_small_gaps(count, degrees):
    even = gaps(np.asarray(sl.even_rotations(count)))
    chance = gaps(Rotation.random(count, random_state=1).as_matrix())
    assert np.degrees(even.max()) < degrees
    assert even.max() < 0.8 * chance.max()
    assert even.mean() < 0.95 * chance.mean()


@pytest.mark.parametrize("count", [0, -1, True])
def test_bad_counts(count):
    with pytest.raises(ValueError, match="positive integer"):
        sl.even_rotations(count)
