"""Faces of many corners: triangles cover the polygon, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sldiff_jax.mesh_renderer.meshes.formats.polygons import triangulate

ELL = [(1, 2), (1, 1), (2, 1), (2, 0), (0, 0), (0, 2)]
COMB = [(0, 0), (7, 0), (7, 3), (6, 3), (6, 1), (5, 1), (5, 3), (4, 3), (4, 1), (3, 1), (3, 3), (0, 3)]
# A square with a square hole, joined by a cut that is passed twice.
RING = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)]
SPIRAL = [(0, 0), (5, 0), (5, 5), (1, 5), (1, 2), (3, 2), (3, 3), (2, 3), (2, 4), (4, 4), (4, 1), (0, 1)]
SHAPES = {
    "notch": [(1, -1), (0, 1), (-1, -1), (0, 0)],
    "notch at second corner": [(0, 0), (1, -1), (0, 1), (-1, -1)],
    "ell": ELL,
    "comb": COMB,
    "ring": RING,
    "spiral": SPIRAL,
    "side halved": [(0, 0), (1, 0), (2, 0), (2, 2), (0, 2)],
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "quadrilateral with a corner on its side": [(0, 0), (1, 0), (2, 0), (0, 2)],
}


def shoelace(points) -> float:
    x, y = np.asarray(points, float).T
    return 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def signed_areas(points, triangles) -> np.ndarray:
    (ax, ay), (bx, by), (cx, cy) = np.asarray(points, float)[triangles].transpose(1, 2, 0)
    return 0.5 * ((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))


def assert_covers(points, triangles):
    """Triangles of one orientation whose areas sum to the polygon's neither overlap nor leave anything out."""
    areas = signed_areas(points, triangles)
    assert (areas >= -1e-9).all() or (areas <= 1e-9).all()
    assert abs(areas.sum()) == pytest.approx(shoelace(points))


def turned(points, seed: int) -> np.ndarray:
    """The polygon somewhere in space."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.column_stack([points, np.zeros(len(points))]) @ Q + rng.normal(size=3)


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name, backwards, first):
    points = np.roll(np.array(SHAPES[name], float), first, axis=0)[:: -1 if backwards else 1]
    for seed in range(3):
        triangles, owner = triangulate(turned(points, seed), np.array([len(points)]))
        assert len(triangles) == len(points) - 2
        assert (owner == 0).all()
        assert_covers(points, triangles)


@given(st.integers(4, 24), st.integers(0, 10**6))
def test_random_stars(corners, seed):
    """Polygons around a point, with spikes."""
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * (np.arange(corners) + rng.uniform(0.1, 0.9, corners)) / corners
    points = rng.uniform(0.2, 3, corners)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    triangles, _ = triangulate(turned(points, seed), np.array([corners]))
    assert_covers(points, triangles)


def test_many_polygons_keep_their_order():
    shapes = [SHAPES["square"], ELL, [(0, 0), (1, 0), (0, 1)], COMB, [(0, 0), (1, 1)], SHAPES["notch"], ELL]
    points = np.concatenate([np.column_stack([shape, np.full(len(shape), 7.0)]) for shape in shapes])
    sizes = np.array([len(shape) for shape in shapes])
    triangles, owner = triangulate(points, sizes)
    np.testing.assert_array_equal(owner, np.repeat(np.arange(7), np.maximum(sizes - 2, 0)))
    for k, shape in enumerate(shapes):
        if len(shape) > 2:
            assert_covers(shape, triangles[owner == k] - sizes[:k].sum())


def test_a_bent_face_is_cut_as_seen_along_its_mean_normal():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = np.column_stack([ELL, rng.uniform(-0.1, 0.1, 6)])
        triangles, _ = triangulate(points, np.array([6]))
        assert_covers(ELL, triangles)


def test_far_from_the_origin():
    triangles, _ = triangulate(np.column_stack([ELL, np.zeros(6)]) + np.array([5e5, 4e6, 100]), np.array([6]))
    assert_covers(ELL, triangles)


@pytest.mark.parametrize(
    "points", [np.zeros((6, 3)), np.column_stack([np.arange(6.0)] * 3), np.full((5, 3), np.nan), np.eye(6, 3)]
)
def test_what_is_no_polygon_ends_in_triangles_all_the_same(points):
    triangles, _ = triangulate(points, np.array([len(points)]))
    assert triangles.shape == (len(points) - 2, 3)
