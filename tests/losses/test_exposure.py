"""Gain and offset of a photo: recovered, applied, and differentiated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl

GAIN, OFFSET = np.array([0.7, 1.15, 0.9]), np.array([0.1, 0.03, 0.02])
HEIGHT, WIDTH = 24, 32


def rendering(seed=0) -> sl.Rendering:
    rng = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH))
    mask[4:20, 6:26] = 1
    rgb = np.where(mask[..., None] > 0, rng.uniform(0.1, 0.8, (HEIGHT, WIDTH, 3)), 0.0)
    return sl.Rendering(jnp.asarray(rgb), jnp.asarray(0.5 * mask), jnp.asarray(mask))


def taken(look: sl.Rendering, mask: bool = True) -> sl.Observation:
    return sl.Observation(rgb=GAIN * np.asarray(look.rgb) + OFFSET, mask=look.mask if mask else None)


@pytest.mark.parametrize("mask", [True, False])
def test_gain_and_offset_are_recovered(mask):
    look = rendering()
    found = sl.match_exposure(look, taken(look, mask))
    assert found.gain == pytest.approx(GAIN, abs=2e-4)
    assert found.offset == pytest.approx(OFFSET, abs=2e-4)


def test_the_fit_is_that_of_numpy():
    """With noise: ordinary least squares over the object without its outline, per channel."""
    look = rendering()
    photo = taken(look)
    noisy = np.clip(np.asarray(photo.rgb) + np.random.default_rng(1).normal(0, 0.05, photo.rgb.shape), 0, 1)
    found = sl.match_exposure(look, sl.Observation(rgb=noisy, mask=photo.mask))
    inner = np.zeros((HEIGHT, WIDTH), bool)
    inner[5:19, 7:25] = True
    for channel in range(3):
        slope, intercept = np.polyfit(np.asarray(look.rgb)[inner, channel], noisy[inner, channel], 1)
        assert float(found.gain[channel]) == pytest.approx(slope, abs=1e-3)
        assert float(found.offset[channel]) == pytest.approx(intercept, abs=1e-3)


def test_a_channel_that_does_not_vary_has_an_offset_alone():
    look = rendering()
    flat = eqx.tree_at(lambda r: r.rgb, look, look.rgb.at[..., 1].set(0.5 * look.mask))
    photo = sl.Observation(rgb=jnp.clip(flat.rgb + 0.1, 0, 1), mask=flat.mask)
    found = sl.match_exposure(flat, photo)
    assert found.gain == pytest.approx(np.ones(3), abs=1e-3) and found.offset == pytest.approx(0.1, abs=1e-3)


def test_where_nothing_is_compared_nothing_changes():
    look = rendering()
    elsewhere = sl.Observation(rgb=look.rgb, mask=1 - look.mask)
    found = sl.match_exposure(look, elsewhere)
    assert found.gain == pytest.approx(np.ones(3)) and found.offset == pytest.approx(np.zeros(3))


def test_the_negative_is_no_exposure():
    look = rendering()
    found = sl.match_exposure(look, sl.Observation(rgb=1 - look.rgb, mask=look.mask))
    assert np.all(np.asarray(found.gain) > 0)


@pytest.mark.parametrize(
    "loss",
    [sl.l1_loss, sl.photometric_loss, sl.pyramid(sl.l2_loss, 2), sl.blurred(sl.l1_loss, 1.0)],
)
def test_a_loss_does_not_feel_the_exposure(loss):
    look = rendering()
    photo = taken(look)
    bare = float(loss(look, photo))
    assert float(sl.exposed(loss)(look, photo)) < 0.02 * bare
    parts = sl.exposed(loss).residuals(look, photo)
    assert sum(float(part.cost()) for part in parts) == pytest.approx(float(sl.exposed(loss)(look, photo)), rel=1e-5)


def test_inside_of_blur_too():
    """Smoothed colours of the object are adjusted as the picture is."""
    look = rendering()
    photo = taken(look)
    for loss in (sl.l1_loss, sl.edge_loss):
        inside = float(sl.blurred(sl.exposed(loss), 1.0)(look, photo))
        same = float(sl.blurred(loss, 1.0)(look, sl.Observation(rgb=look.rgb, mask=look.mask)))
        assert inside == pytest.approx(same, abs=0.02)


def test_forward_reverse_and_differences_agree(x64):
    look = jax.tree.map(lambda x: x.astype(jnp.float64), rendering())
    noise = np.random.default_rng(1).normal(0, 0.1, look.rgb.shape)
    photo = sl.Observation(rgb=np.clip(np.asarray(taken(look).rgb) + noise, 0, 1), mask=look.mask)
    direction = jnp.asarray(np.random.default_rng(2).normal(size=look.rgb.shape))

    def along(step):
        return sl.exposed(sl.l2_loss)(eqx.tree_at(lambda r: r.rgb, look, look.rgb + step * direction), photo)

    _, forward = jax.jvp(along, (0.0,), (1.0,))
    difference = (along(1e-5) - along(-1e-5)) / 2e-5
    assert float(forward) == pytest.approx(float(difference), rel=1e-6)
    assert float(jax.grad(along)(0.0)) == pytest.approx(float(difference), rel=1e-6)
    assert abs(float(difference)) > 1e-4


def test_jit_and_vmap():
    look = rendering()
    photo = taken(look)
    batch = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), look)
    found = jax.jit(jax.vmap(sl.match_exposure, in_axes=(0, None)))(batch, photo)
    assert found.gain == pytest.approx(np.stack([GAIN, 2 * GAIN]), rel=2e-3)


def test_a_photo_is_needed():
    look = rendering()
    with pytest.raises(ValueError, match="compares rgb, and the observation has none"):
        sl.match_exposure(look, sl.Observation(depth=look.depth))
