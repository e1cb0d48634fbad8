"""Blur and reduction against SciPy; depth is never averaged with what is not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from loss_images import make_rendering, observed

from sldiff_jax._losses.filters import BINOMIAL, gaussian, reach, smooth, smooth_observation, smooth_rendering


def filtered(image: np.ndarray, kernel, stride: int = 1) -> np.ndarray:
    for axis in (0, 1):
        image = scipy.ndimage.correlate1d(np.asarray(image, np.float64), kernel, axis=axis, mode="nearest")
    return image[::stride, ::stride]


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 1.7])
def test_gaussian_weights(sigma):
    impulse = np.zeros(41)
    impulse[20] = 1
    expected = scipy.ndimage.gaussian_filter1d(impulse, sigma, radius=int(np.ceil(3 * sigma)))
    with jax.enable_x64(True):
        kernel, wider = (np.array(gaussian(sigma, reach(sigma) + more)) for more in (0, 2))
    np.testing.assert_allclose(kernel, expected[expected > 0], rtol=1e-12)
    assert len(kernel) % 2 == 1
    np.testing.assert_allclose(wider[2:-2] / wider[2:-2].sum(), kernel, rtol=1e-12)


def test_no_blur_is_exact():
    assert gaussian(0.0, reach(0.0)) == 1.0
    assert gaussian(jnp.asarray(0.0), 2).tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("kernel", [BINOMIAL, gaussian(1.0, 3), np.ones(1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(9, 12), (10, 7, 3)])
def test_smooth_is_scipys_filter(kernel, stride, shape):
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    result = smooth(jnp.asarray(image), kernel, stride=stride)
    np.testing.assert_allclose(result, filtered(image, kernel, stride), atol=1e-6)
    compiled = jax.jit(smooth, static_argnames="stride")
    np.testing.assert_allclose(compiled(jnp.asarray(image), kernel, stride=stride), result, atol=1e-6)


def test_smoothing_commutes_with_vmap_and_keeps_constants():
    images = jnp.asarray(np.random.default_rng(1).random((2, 9, 12)), jnp.float32)
    batch = jax.vmap(lambda image: smooth(image, BINOMIAL, stride=2))(images)
    np.testing.assert_allclose(batch[1], smooth(images[1], BINOMIAL, stride=2), atol=1e-6)
    np.testing.assert_allclose(smooth(jnp.full((9, 12, 3), 0.7), gaussian(2.0, 6)), 0.7, rtol=1e-6)


@pytest.mark.parametrize("kernel", [BINOMIAL, gaussian(1.3, 4)])
def test_depth_is_averaged_over_the_pixels_that_have_one(kernel):
    rng = np.random.default_rng(2)
    depth = np.where(rng.random((11, 14)) < 0.35, 0, 0.5 + 0.1 * rng.random((11, 14))).astype(np.float32)
    share = filtered(depth > 0, kernel)
    mean = filtered(depth, kernel) / np.maximum(share, 1e-12)
    rendering = make_rendering(height=11, width=14)
    for result in (
        smooth_rendering(rendering.__class__(rendering.rgb, jnp.asarray(depth), rendering.mask), kernel).depth,
        smooth_observation(observed(rendering, depth=depth), kernel).depth,
    ):
        result = np.asarray(result)
        clear = np.abs(share - 0.5) > 1e-4
        np.testing.assert_allclose(result[clear], np.where(share > 0.5, mean, 0)[clear], atol=1e-5)
        assert result[result > 0].min() >= depth[depth > 0].min() - 1e-5
        assert result.max() <= depth.max() + 1e-5
        assert (result == 0).any() and (result > 0).any()


def test_all_images_are_smoothed_and_what_is_missing_stays_missing():
    rendering = make_rendering()
    masks = jnp.stack([rendering.mask, 1 - rendering.mask])
    rendering = rendering.__class__(rendering.rgb, rendering.depth, rendering.mask, masks)
    result = smooth_rendering(rendering, BINOMIAL, stride=2)
    np.testing.assert_allclose(result.rgb, filtered(rendering.rgb, BINOMIAL, 2), atol=1e-6)
    np.testing.assert_allclose(result.mask, filtered(rendering.mask, BINOMIAL, 2), atol=1e-6)
    np.testing.assert_allclose(result.object_masks[1], filtered(masks[1], BINOMIAL, 2), atol=1e-6)
    weight = np.random.default_rng(3).random(rendering.mask.shape).astype(np.float32)
    seen = smooth_observation(observed(rendering, rgb=None, depth=None, weight=weight), BINOMIAL, stride=2)
    assert seen.rgb is None and seen.depth is None
    np.testing.assert_allclose(seen.weight, filtered(weight, BINOMIAL, 2), atol=1e-6)
    np.testing.assert_allclose(seen.mask, filtered(rendering.mask, BINOMIAL, 2), atol=1e-6)


def test_a_hole_in_the_depth_has_finite_derivatives():
    rendering = make_rendering()

    def total(depth):
        return jnp.sum(smooth_rendering(rendering.__class__(rendering.rgb, depth, rendering.mask), BINOMIAL).depth)

    gradient = np.asarray(jax.grad(total)(rendering.depth))
    assert np.isfinite(gradient).all() and np.any(gradient)
