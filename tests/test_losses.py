"""The losses: zero where they should be, right by hand, differentiable, and blind to what they promise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl

H, W = 9, 12
RGB_LOSSES = [sl.photometric_loss, sl.zncc_loss]
ALL = [*RGB_LOSSES, sl.depth_loss, sl.silhouette_loss, sl.default_loss]


@pytest.fixture
def rendering():
    rng = np.random.default_rng(0)
    mask = np.zeros((H, W), np.float32)
    mask[2:7, 3:9] = 1
    depth = mask * (0.5 + 0.01 * rng.random((H, W), np.float32))
    return sl.Rendering(jnp.asarray(rng.random((H, W, 3), np.float32)), jnp.asarray(depth), jnp.asarray(mask))


def observed(rendering, **changes):
    return sl.Observation(**({"rgb": rendering.rgb, "depth": rendering.depth, "mask": rendering.mask} | changes))


@pytest.mark.parametrize("loss", ALL)
def test_a_perfect_match_costs_nothing(rendering, loss):
    assert abs(float(loss(rendering, observed(rendering)))) < 1e-5


@pytest.mark.parametrize("loss", ALL)
def test_gradients_are_finite_at_a_match_and_away_from_it(rendering, loss):
    other = observed(rendering, rgb=1 - rendering.rgb, depth=rendering.depth * 1.01)
    for observation in (observed(rendering), other):
        gradient = jax.jit(jax.grad(loss))(rendering, observation)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), rendering)
    np.testing.assert_allclose(jax.vmap(lambda r: loss(r, other))(batch), loss(rendering, other), rtol=1e-5)


@pytest.mark.parametrize("loss", ALL)
def test_nothing_rendered_is_a_finite_loss_with_finite_gradient(rendering, loss):
    empty = sl.Rendering(rendering.rgb, rendering.depth * 0, rendering.mask * 0)
    value, gradient = jax.value_and_grad(loss)(empty, observed(rendering))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_photometric_loss_by_hand(rendering):
    observation = observed(rendering, rgb=jnp.clip(rendering.rgb, 0, 0.5))
    difference = np.asarray(rendering.rgb) - np.clip(np.asarray(rendering.rgb), 0, 0.5)
    expected = np.mean(np.sqrt(difference**2 + 1e-4) - 1e-2)
    np.testing.assert_allclose(sl.photometric_loss(rendering, observation), expected, rtol=1e-5)


def test_zncc_is_blind_to_gain_and_offset_and_to_what_is_outside(rendering):
    lit = 0.2 + 0.6 * rendering.rgb * jnp.array([1.0, 0.5, 0.25])
    lit = jnp.where(rendering.mask[..., None] > 0, lit, 0.9)
    assert abs(float(sl.zncc_loss(rendering, observed(rendering, rgb=lit)))) < 1e-4
    assert float(sl.zncc_loss(rendering, observed(rendering, rgb=1 - rendering.rgb))) == pytest.approx(2, abs=1e-3)
    flat = observed(rendering, rgb=jnp.full((H, W, 3), 0.5))
    assert float(sl.zncc_loss(rendering, flat)) == pytest.approx(1, abs=1e-3)


def test_depth_loss_by_hand(rendering):
    depth = np.asarray(rendering.depth).copy()
    depth[2, 3:9] += 0.005  # costs a half
    depth[3, 3:9] += 1.0  # an outlier costs the limit
    depth[4, 3:9] = 0  # not measured
    expected = (6 * 0.5 + 6 * 3.0) / 24
    np.testing.assert_allclose(sl.depth_loss(rendering, observed(rendering, depth=depth)), expected, rtol=1e-4)
    nothing = sl.depth_loss(rendering, observed(rendering, depth=depth * 0))
    assert float(nothing) == 3.0
    np.testing.assert_allclose(
        sl.depth_loss(rendering, observed(rendering, depth=depth), scale=0.02, limit=1.0),
        (6 * 0.25 + 6) / 24,
        rtol=1e-4,
    )


def test_silhouette_loss_counts_neither_match_nor_occluder(rendering):
    mask = np.asarray(rendering.mask).copy()
    mask[:, 8] = 0
    without_depth = sl.Observation(mask=mask)
    np.testing.assert_allclose(sl.silhouette_loss(rendering, without_depth), 1 - 25 / 30, rtol=1e-6)
    depth = np.asarray(rendering.depth).copy()
    depth[:, 8] = 0.3  # something in front hides the missing column
    np.testing.assert_allclose(sl.silhouette_loss(rendering, observed(rendering, mask=mask, depth=depth)), 0, atol=1e-6)
    depth[:, 8] = 0.9  # something behind does not
    loss = sl.silhouette_loss(rendering, observed(rendering, mask=mask, depth=depth))
    np.testing.assert_allclose(loss, 1 - 25 / 30, rtol=1e-6)


def test_default_loss_uses_what_is_there(rendering):
    observation = observed(rendering, rgb=1 - rendering.rgb, depth=rendering.depth * 1.01)
    parts = [sl.zncc_loss, sl.depth_loss, sl.silhouette_loss]
    expected = sum(loss(rendering, observation) for loss in parts)
    np.testing.assert_allclose(sl.default_loss(rendering, observation), expected, rtol=1e-6)
    only_depth = sl.Observation(depth=observation.depth)
    np.testing.assert_allclose(sl.default_loss(rendering, only_depth), sl.depth_loss(rendering, only_depth), rtol=1e-6)


@pytest.mark.parametrize("loss", ALL)
def test_a_loss_names_what_is_missing_and_what_does_not_fit(rendering, loss):
    smaller = sl.Observation(jnp.zeros((3, 3, 3)), jnp.zeros((3, 3)), jnp.ones((3, 3)))
    with pytest.raises(ValueError, match=r"observation is \(height, width\) = \(3, 3\), the rendering \(9, 12\)"):
        loss(rendering, smaller)
    if loss is not sl.default_loss:
        missing = {sl.depth_loss: "depth", sl.silhouette_loss: "mask"}.get(loss, "rgb")
        others = eqx.tree_at(lambda o: getattr(o, missing), observed(rendering), None)
        with pytest.raises(ValueError, match=f"compares {missing}, and the observation has none"):
            loss(rendering, others)
