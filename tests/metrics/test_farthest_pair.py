"""The farthest two points: against all pairs, and how the work grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sldiff_jax.metrics import _farthest_pair
from sldiff_jax.metrics._farthest_pair import farthest_pair


def brute(points) -> float:
    return np.sqrt(max(((points - p) ** 2).sum(axis=1).max() for p in points))


def found(points) -> float:
    first, second = farthest_pair(points)
    return float(np.linalg.norm(points[first] - points[second]))


def ball(count: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


SHAPES = {
    "cloud": lambda rng, n: rng.normal(size=(n, 3)),
    "ball": lambda rng, n: ball(n),
    "bowl": lambda rng, n: ball(n) * [1, 1, 0.3] * np.sign(ball(n)[:, 2:]),
    "circle": lambda rng, n: np.stack([np.cos(np.arange(n)), np.sin(np.arange(n)), np.zeros(n)], axis=1),
    "line": lambda rng, n: rng.normal(size=(n, 1)) * [1, 2, 3],
    "two clusters": lambda rng, n: 1e-3 * rng.normal(size=(n, 3)) + 5 * rng.integers(0, 2, (n, 1)),
    "grid": lambda rng, n: rng.integers(0, 4, (n, 3)).astype(float),
    "one place": lambda rng, n: np.full((n, 3), 0.7),
    "far away": lambda rng, n: rng.normal(size=(n, 3)) + 1e6,
    "cap": lambda rng, n: ball(n)[ball(n)[:, 2] > 0.8],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [40, 700])
def test_against_all_pairs(shape, count):
    for seed in range(5):
        points = SHAPES[shape](np.random.default_rng(seed), count)
        assert found(points) == pytest.approx(brute(points), rel=1e-12)


@given(st.integers(1, 60), st.integers(0, 10**6), st.sampled_from([0, 1, 2]))
def test_few_points(count, seed, flat):
    rng = np.random.default_rng(seed)
    points = rng.integers(-3, 4, (count, 3)) * rng.uniform(0.1, 1, 3)
    points[:, :flat] = 0
    assert found(points) == pytest.approx(brute(points), rel=1e-12)


@pytest.mark.parametrize("stretch", [(1, 1, 1), (1, 1, 0.4), (1, 0.7, 0.4), (1, 1, 0)])
def test_work_grows_little_faster_than_the_number_of_points(monkeypatch, stretch):
    """Counted in pairs of boxes, on round shapes, where every point has one almost as far away as any."""
    pairs = []
    bound = _farthest_pair._largest_squared_distance
    monkeypatch.setattr(
        _farthest_pair, "_largest_squared_distance", lambda boxes, a, b: (pairs.append(len(a)), bound(boxes, a, b))[1]
    )
    work = []
    for count in (4000, 32000):
        pairs.clear()
        points = ball(count) * stretch
        if not stretch[2]:
            points /= np.linalg.norm(points, axis=1, keepdims=True)
        farthest_pair(points)
        work.append(sum(pairs))
    assert work[1] < 16 * work[0]  # all pairs would be 64 times as many
    assert work[1] < 40 * 32000
