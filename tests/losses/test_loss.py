"""Losses as things: sums, multiples, options, weights per pixel, and the residuals that least squares looks at."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_images import HEIGHT, WIDTH, make_rendering, observed

import sldiff_jax as sl


@pytest.fixture(scope="module")
def rendering():
    return make_rendering()


@pytest.fixture(scope="module")
def observation(rendering):
    return observed(rendering, rgb=1 - rendering.rgb, depth=1.01 * rendering.depth)


@sl.residual_loss
def gain(rendering: sl.Rendering, observation: sl.Observation, *, target: float = 0.25) -> sl.Residuals:
    """How far the colours' sum is from a target."""
    return sl.Residuals(jnp.sum(rendering.rgb) - target, 3.0)


# --- algebra ----------------------------------------------------------------------------------------------------------


def test_sums_and_multiples(rendering, observation):
    photometric, zncc, depth = (
        float(loss(rendering, observation)) for loss in (sl.photometric_loss, sl.zncc_loss, sl.depth_loss)
    )
    for loss, expected in (
        (sl.photometric_loss + sl.depth_loss, photometric + depth),
        (sl.photometric_loss + 0.5 * sl.zncc_loss + 2 * sl.depth_loss, photometric + 0.5 * zncc + 2 * depth),
        (sl.photometric_loss + (sl.zncc_loss + sl.depth_loss), photometric + zncc + depth),
        (3 * (sl.photometric_loss + sl.depth_loss) * 0.5, 1.5 * (photometric + depth)),
        (sl.zncc_loss * np.float32(0.25), 0.25 * zncc),
        (jnp.asarray(0.25) * sl.zncc_loss, 0.25 * zncc),
        (0 * sl.zncc_loss, 0.0),
    ):
        assert isinstance(loss, sl.Loss)
        np.testing.assert_allclose(loss(rendering, observation), expected, rtol=1e-5)
        parts = loss.residuals(rendering, observation)
        np.testing.assert_allclose(sum(float(part.cost()) for part in parts), expected, rtol=1e-5, atol=1e-7)


def test_a_factor_can_be_differentiated(rendering, observation):
    value = sl.zncc_loss(rendering, observation)
    slope = jax.grad(lambda factor: (factor * sl.zncc_loss + sl.depth_loss)(rendering, observation))(2.0)
    np.testing.assert_allclose(slope, value, rtol=1e-6)


def test_sums_of_lists_and_quotients(rendering, observation):
    both = sum([sl.zncc_loss, sl.l2_loss])
    expected = sl.zncc_loss(rendering, observation) + sl.l2_loss(rendering, observation)
    np.testing.assert_allclose(both(rendering, observation), expected, rtol=1e-6)
    np.testing.assert_allclose((both / 4)(rendering, observation), expected / 4, rtol=1e-6)
    with pytest.raises(ValueError, match="must not be negative"):
        both / -2


@pytest.mark.parametrize("factor", [-1, -0.5, float("nan"), np.float32(-1), jnp.asarray(-1.0)])
def test_a_negative_factor_is_refused(factor):
    with pytest.raises(ValueError, match="must not be negative"):
        factor * sl.zncc_loss


def test_what_is_no_loss_cannot_be_added(unchecked_types):
    def plain(rendering, observation):
        return jnp.sum(rendering.rgb)

    for attempt in (
        lambda: sl.zncc_loss + plain,  # pyright: ignore
        lambda: plain + sl.zncc_loss,  # pyright: ignore
        lambda: sl.zncc_loss + 1,  # pyright: ignore
        lambda: sl.zncc_loss * sl.depth_loss,  # pyright: ignore
    ):
        with pytest.raises(TypeError, match="unsupported operand"):
            attempt()


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_at_the_call_and_for_good(rendering, observation):
    default = float(sl.depth_loss(rendering, observation))
    wide = sl.depth_loss.using(scale=0.02)
    value = float(wide(rendering, observation))
    assert value < 0.6 * default
    assert float(sl.depth_loss(rendering, observation, scale=0.02)) == value
    assert float(sl.depth_loss(rendering, observation)) == default  # it was left as it is
    both = wide.using(limit=0.1)
    np.testing.assert_allclose(both(rendering, observation), 0.1, rtol=1e-6)
    np.testing.assert_allclose(both(rendering, observation, limit=3.0), value, rtol=1e-6)
    for attempt in (
        lambda: sl.depth_loss(rendering, observation, width=1),
        lambda: sl.depth_loss.using(scale=0.1, width=1),
    ):
        with pytest.raises(ValueError, match=r"depth_loss has the options \['scale', 'limit'\], got \['width'\]"):
            attempt()


def test_a_loss_of_a_function_without_a_name_or_with_any_options(rendering, observation):
    def scaled(rendering, observation, **options):
        return sl.Residuals(options.get("gain", 1.0) * rendering.rgb)

    whole = sl.residual_loss(scaled)
    double = whole.using(gain=2.0)(rendering, observation)
    np.testing.assert_allclose(double, 4 * whole(rendering, observation), rtol=1e-6)
    partial = sl.residual_loss(functools.partial(scaled, gain=2.0))
    np.testing.assert_allclose(partial(rendering, observation), double, rtol=1e-6)


def test_only_renderings_and_observations_are_compared(rendering, observation, unchecked_types):
    result = sl.RenderResult(
        rgb=jnp.zeros((9, 12, 4)), coord_depth=jnp.zeros((9, 12, 4)), instance_index=jnp.zeros((9, 12), int)
    )
    with pytest.raises(ValueError, match=r"render\(scene, renderer\) returns.*got RenderResult and Observation"):
        sl.l2_loss(result, observation)
    with pytest.raises(ValueError, match="got Rendering and Rendering"):
        (2 * sl.l2_loss)(rendering, rendering)


# --- your own ---------------------------------------------------------------------------------------------------------


def test_a_residual_loss_of_ones_own(rendering, observation):
    total = float(np.sum(np.asarray(rendering.rgb, np.float64)))
    assert isinstance(gain, sl.ResidualLoss)
    assert gain.__name__ == "gain"
    assert gain.__doc__ == "How far the colours' sum is from a target."
    np.testing.assert_allclose(gain(rendering, observation), 3 * (total - 0.25) ** 2, rtol=1e-5)
    np.testing.assert_allclose(gain(rendering, observation, target=total + 1), 3, rtol=1e-3)
    np.testing.assert_allclose((gain + gain)(rendering, observation), 6 * (total - 0.25) ** 2, rtol=1e-5)


def test_several_residuals_of_one_loss(rendering, observation):
    @sl.residual_loss
    def two(rendering, observation):
        return sl.Residuals(rendering.mask, 2.0), sl.Residuals(rendering.depth, jnp.ones(()), jnp.sqrt, offset=7.0)

    pixels = np.asarray(rendering.mask).sum()
    np.testing.assert_allclose(two(rendering, observation), 2 * pixels + 0.5 * pixels + 7, rtol=1e-6)
    assert len(two.residuals(rendering, observation)) == 2


# --- as arguments -----------------------------------------------------------------------------------------------------


def test_a_loss_is_an_argument_of_a_jitted_function(rendering, observation):
    traces = []

    @jax.jit
    def evaluate(loss, rendering, observation):
        traces.append(loss)
        return loss(rendering, observation)

    for scale in (0.01, 0.02):
        loss = jnp.asarray(0.5) * sl.depth_loss.using(scale=jnp.asarray(scale)) + sl.zncc_loss
        np.testing.assert_allclose(
            evaluate(loss, rendering, observation), loss(rendering, observation), rtol=1e-5, atol=1e-6
        )
    assert len(traces) == 1  # options are data


@pytest.mark.parametrize("loss", [sl.depth_loss, sl.default_loss, sl.neg_iou_loss, 0.5 * sl.zncc_loss + sl.depth_loss])
def test_a_loss_can_itself_be_transformed(rendering, observation, loss):
    value = float(loss(rendering, observation))
    np.testing.assert_allclose(jax.jit(loss)(rendering, observation), value, rtol=1e-5)
    gradient = jax.grad(loss)(rendering, observation)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


# --- weights per pixel ------------------------------------------------------------------------------------------------


def test_weighted_is_as_the_weight_of_the_observation(rendering, observation):
    rng = np.random.default_rng(1)
    own, theirs = rng.random((2, HEIGHT, WIDTH)).astype(np.float32)
    loss = sl.photometric_loss + sl.depth_loss
    with_theirs = observed(rendering, rgb=observation.rgb, depth=observation.depth, weight=theirs)
    with_own = observed(rendering, rgb=observation.rgb, depth=observation.depth, weight=own)
    with_both = observed(rendering, rgb=observation.rgb, depth=observation.depth, weight=own * theirs)
    value = sl.weighted(loss, own)(rendering, observation)
    np.testing.assert_allclose(value, loss(rendering, with_own), rtol=1e-6)
    np.testing.assert_allclose(sl.weighted(loss, own)(rendering, with_theirs), loss(rendering, with_both), rtol=1e-6)
    assert abs(float(value) - float(loss(rendering, observation))) > 1e-4
    costs = [float(part.cost()) for part in sl.weighted(loss, own).residuals(rendering, observation)]
    np.testing.assert_allclose(sum(costs), value, rtol=1e-6)


def test_weights_of_one_part_of_a_sum(rendering, observation):
    nowhere = np.zeros((HEIGHT, WIDTH), np.float32)
    nowhere[2, 3] = 1
    loss = sl.weighted(sl.depth_loss, nowhere) + sl.l2_loss
    expected = sl.depth_loss(rendering, observation) + sl.l2_loss(rendering, observation)  # flat depth
    np.testing.assert_allclose(loss(rendering, observation), expected, rtol=1e-5)


def test_weights_belong_around_a_pyramid(rendering, observation):
    weight = np.random.default_rng(2).random((HEIGHT, WIDTH)).astype(np.float32)
    with pytest.raises(ValueError, match=r"shape \(5, 5\), the rendering \(9, 12\).*around pyramid"):
        sl.weighted(sl.l2_loss, np.ones((5, 5)))(rendering, observation)
    large = make_rendering(height=16, width=20)
    weight = np.ones((16, 20), np.float32)
    np.testing.assert_allclose(
        sl.weighted(sl.pyramid(sl.l2_loss, 2), weight)(large, observed(large, rgb=1 - large.rgb)),
        sl.pyramid(sl.l2_loss, 2)(large, observed(large, rgb=1 - large.rgb)),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match="around pyramid"):
        sl.pyramid(sl.weighted(sl.l2_loss, weight), 2)(large, observed(large))


# --- residuals --------------------------------------------------------------------------------------------------------

VALUES = np.array([[-1.5, -0.2, 0.0], [0.05, 0.6, 3.0]], np.float32)
WEIGHTS = np.array([0.5, 1.0, 2.0], np.float32)
KERNELS = {
    "charbonnier": lambda squared: jnp.sqrt(squared + 0.01) - 0.1,
    "cut off": lambda squared: jnp.minimum(squared, 1.0),
    "Geman-McClure": lambda squared: squared / (squared + 0.5),
}


def test_cost_and_curvature_of_least_squares():
    part = sl.Residuals(jnp.asarray(VALUES), jnp.asarray(WEIGHTS), offset=0.25)
    np.testing.assert_allclose(part.cost(), (WEIGHTS * VALUES**2).sum() + 0.25, rtol=1e-6)
    assert part.curvature().shape == VALUES.shape

    def cost(values):
        return sl.Residuals(values, jnp.asarray(WEIGHTS)).cost()

    hessian = np.asarray(jax.hessian(cost)(jnp.asarray(VALUES))).reshape(6, 6)
    np.testing.assert_allclose(np.asarray(part.curvature()).ravel(), np.diagonal(hessian), rtol=1e-6)
    np.testing.assert_allclose(hessian - np.diag(np.diagonal(hessian)), 0, atol=1e-7)
    np.testing.assert_allclose(sl.Residuals(jnp.asarray(VALUES)).cost(), (VALUES**2).sum(), rtol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_a_robust_curvature_is_that_of_the_parabola_that_touches(name):
    kernel = KERNELS[name]

    def cost(value):
        return sl.Residuals(value, jnp.asarray(2.0), kernel).cost()

    others = np.linspace(-4, 4, 81)
    for value in VALUES.ravel():
        curvature = float(sl.Residuals(jnp.asarray(value), jnp.asarray(2.0), kernel).curvature())
        assert curvature >= 0
        np.testing.assert_allclose(curvature * value, jax.grad(cost)(jnp.asarray(value)), rtol=1e-4, atol=1e-6)
        # From above: a step to the parabola's minimum never raises the cost.
        parabola = float(cost(jnp.asarray(value))) + 0.5 * curvature * (others**2 - value**2)
        assert (2 * np.asarray(kernel(jnp.asarray(others**2))) <= parabola + 1e-4).all()


def test_weights_and_offsets_are_not_differentiated():
    def cost(values, weights, offset):
        return sl.Residuals(values, weights, offset=offset).cost()

    by_values, by_weights, by_offset = jax.grad(cost, (0, 1, 2))(jnp.asarray(VALUES), jnp.asarray(WEIGHTS), 1.0)
    np.testing.assert_allclose(by_values, 2 * WEIGHTS * VALUES, rtol=1e-6)
    assert not np.any(by_weights) and not np.any(by_offset)


@pytest.mark.parametrize(
    ("weight", "match"),
    [(-np.ones((9, 12)), "not negative"), (np.full((9, 12), np.nan), "finite"), (np.zeros((9, 12)), "zero everywhere")],
)
def test_weights_of_a_loss_are_those_of_an_observation(weight, match):
    with pytest.raises(ValueError, match=match):
        sl.weighted(sl.l2_loss, weight)
