"""Losses of blurred images and of pyramids, against SciPy."""

import jax
import numpy as np
import pytest
import scipy.ndimage
from loss_images import make_rendering, observed

import sldiff_jax as sl

HEIGHT, WIDTH = 33, 40
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


@pytest.fixture(scope="module")
def rendering():
    return make_rendering(height=HEIGHT, width=WIDTH)


@pytest.fixture(scope="module")
def observation():
    other = make_rendering(seed=1, height=HEIGHT, width=WIDTH)
    return sl.Observation(rgb=other.rgb)


def mean_square(a, b):
    return float(np.mean((a - b) ** 2))


def reduced(image):
    for axis in (0, 1):
        image = scipy.ndimage.correlate1d(image, BINOMIAL, axis=axis, mode="nearest")
    return image[::2, ::2]


def images(rendering, observation):
    return np.asarray(rendering.rgb, np.float64), np.asarray(observation.rgb, np.float64)


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_blurred_by_hand(rendering, observation, sigma):
    a, b = (
        scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0))
        for radius in [int(np.ceil(3 * sigma))]
        for image in images(rendering, observation)
    )
    np.testing.assert_allclose(sl.blurred(sl.l2_loss, sigma)(rendering, observation), mean_square(a, b), rtol=1e-4)


@pytest.mark.parametrize("levels", [2, 3])
def test_pyramid_by_hand(rendering, observation, levels):
    a, b = images(rendering, observation)
    costs = []
    for _ in range(levels):
        costs.append(mean_square(a, b))
        a, b = reduced(a), reduced(b)
    np.testing.assert_allclose(sl.pyramid(sl.l2_loss, levels)(rendering, observation), np.mean(costs), rtol=1e-4)


def test_no_blur_and_one_level_change_nothing(rendering, observation):
    plain = sl.l2_loss(rendering, observation)
    np.testing.assert_allclose(sl.blurred(sl.l2_loss, 0.0)(rendering, observation), plain, rtol=1e-6)
    np.testing.assert_allclose(sl.blurred(sl.l2_loss, 0)(rendering, observation), plain, rtol=1e-6)
    np.testing.assert_allclose(sl.pyramid(sl.l2_loss, 1)(rendering, observation), plain, rtol=1e-6)


WRAPPED = {
    "blurred": sl.blurred(sl.default_loss, 1.0),
    "pyramid": sl.pyramid(sl.default_loss, 2),
    "both, and a sum": sl.blurred(sl.pyramid(0.5 * sl.l2_loss + sl.depth_loss, 2), 0.7),
    "of neg_iou": sl.pyramid(sl.neg_iou_loss, 2),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_under_transformations(rendering, name):
    loss = WRAPPED[name]
    other = make_rendering(seed=1, height=HEIGHT, width=WIDTH)
    mask = np.roll(np.asarray(rendering.mask), 2, axis=1)
    seen = observed(rendering, rgb=other.rgb, depth=1.004 * rendering.depth, mask=mask, weight=0.5 + other.mask)
    value, gradient = jax.jit(jax.value_and_grad(loss))(rendering, seen)
    assert float(value) > 0.01
    np.testing.assert_allclose(value, loss(rendering, seen), rtol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    if "iou" not in name:  # whose residuals are those of another loss
        costs = sum(float(part.cost()) for part in loss.residuals(rendering, seen))
        np.testing.assert_allclose(costs, value, rtol=1e-4)


@pytest.mark.parametrize("name", ["blurred", "pyramid", "both, and a sum"])  # soft masks never match for neg_iou_loss
def test_a_match_stays_a_match(rendering, name):
    np.testing.assert_allclose(WRAPPED[name](rendering, observed(rendering)), 0, atol=1e-3)


def test_depth_is_not_mixed_with_holes(rendering):
    """A constant offset stays what it is at every level, whatever the outline and the holes."""
    holes = np.asarray(rendering.depth + 0.004 * rendering.mask).copy()
    holes[10:14, 12:17] = 0
    seen = sl.Observation(depth=holes, mask=rendering.mask)
    plain = float(sl.depth_loss(rendering, seen))
    for loss in (sl.blurred(sl.depth_loss, 1.5), sl.pyramid(sl.depth_loss, 2)):
        np.testing.assert_allclose(loss(rendering, seen), plain, rtol=1e-2)


def test_what_is_refused(rendering, observation, unchecked_types):
    for sigma in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="sigma"):
            sl.blurred(sl.l2_loss, sigma)
    for levels in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="levels must be a positive integer"):
            sl.pyramid(sl.l2_loss, levels)  # pyright: ignore
    with pytest.raises(ValueError, match=r"4 levels.*\(33, 40\).*At least 8"):
        sl.pyramid(sl.l2_loss, 4)(rendering, observation)
    with pytest.raises(ValueError, match=r"observation is \(height, width\) = \(9, 9\)"):
        sl.pyramid(sl.l2_loss, 2)(rendering, sl.Observation(np.zeros((9, 9, 3), np.float32)))
