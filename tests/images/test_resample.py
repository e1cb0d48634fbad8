"""Images brought to another number of pixels, against repetition and counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sldiff_jax._images.resample import average, reduce_color, reduce_depth, reduce_mask

sizes = st.integers(1, 20)
cases = given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.integers(0, 2**32 - 1))


def blocks(image, new):
    """Each new pixel as the list of its equal parts: old pixels repeated new times, cut into blocks of old."""
    old = image.shape[:2]
    repeated = image.repeat(new[0], axis=0).repeat(new[1], axis=1)
    parts = repeated.reshape(new[0], old[0], new[1], old[1], *image.shape[2:])
    return np.moveaxis(parts, 2, 1).reshape(*new, old[0] * old[1], *image.shape[2:])


@cases
def test_colour_is_the_mean_over_the_area(old, new, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*old, 3), dtype=np.uint8)
    expected = blocks(image / 255, new).mean(axis=2)
    np.testing.assert_allclose(reduce_color(image, new[1], new[0]), expected, atol=1e-5)
    floating = reduce_color(image / 255, new[1], new[0])
    assert floating.dtype == np.float64
    np.testing.assert_allclose(floating, expected, atol=1e-12)


@cases
def test_any_image_is_averaged(old, new, seed):
    image = np.random.default_rng(seed).normal(size=old).astype(np.float32)
    averaged = average(image, new[1], new[0])
    assert averaged.dtype == np.float32
    np.testing.assert_allclose(averaged, blocks(image, new).mean(axis=2), atol=1e-5)


@cases
def test_a_mask_is_what_covers_half_of_a_pixel(old, new, seed):
    mask = np.random.default_rng(seed).random(old) > 0.5
    expected = 2 * blocks(mask, new).sum(axis=2) >= old[0] * old[1]
    np.testing.assert_array_equal(reduce_mask(mask, new[1], new[0]), expected)


def test_a_soft_mask_becomes_binary():
    assert reduce_mask(np.float32([[0.3, 0.6, 0.5, 0.5]]), 2, 1).tolist() == [[False, True]]
    assert reduce_mask(np.float32([[0.3, 0.5]]), 2, 1).tolist() == [[False, True]]


@cases
def test_a_depth_is_measured_or_missing(old, new, seed):
    depth = np.random.default_rng(seed).choice(np.float32([0, 0.5, 0.51, 1.2]), old)
    reduced = reduce_depth(depth, new[1], new[0])
    assert reduced.shape == new and reduced.dtype == np.float32
    assert set(np.unique(reduced)) <= {0, *np.unique(depth)}


@given(st.tuples(sizes, sizes), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(0, 2**32 - 1))
def test_enlarging_repeats(old, factor, seed):
    depth = np.random.default_rng(seed).random(old).astype(np.float32)
    larger = depth.repeat(factor[0], axis=0).repeat(factor[1], axis=1)
    for reduced in (reduce_depth, average):
        np.testing.assert_allclose(reduced(depth, *reversed(larger.shape)), larger, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_depth_is_the_median_of_what_was_measured(dtype):
    depth = dtype([[0.5, 0.5, 0, 0.7, 0, 0], [0.5, 1.2, 0.9, 0.8, 0, 0.6]])
    reduced = reduce_depth(depth, 3, 1)
    assert reduced.dtype == dtype
    np.testing.assert_array_equal(reduced, dtype([[0.5, 0.8, 0]]))
