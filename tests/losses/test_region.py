"""Regions: what looks like the object, learned from a silhouette that is only somewhat right."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._losses.region import object_probability

SIZE = 48


def square(place: int = 0) -> np.ndarray:
    x = np.arange(SIZE) + 0.5
    return np.outer((x > 14) & (x < 34), (x > 14 + place) & (x < 34 + place)).astype(np.float32)


def rendering(place: int = 0) -> sl.Rendering:
    mask = jnp.asarray(square(place))
    return sl.Rendering(jnp.zeros((SIZE, SIZE, 3)), 0.5 * mask, mask)


def photo(**changes) -> sl.Observation:
    """Two colours on the object, others around it, noise on all of them."""
    rng = np.random.default_rng(0)
    inside = square()[..., None] > 0
    stripes = np.where((np.arange(SIZE) // 4 % 2)[:, None, None] == 0, [0.8, 0.2, 0.1], [0.9, 0.8, 0.2])
    around = np.where(rng.random((SIZE, SIZE, 1)) < 0.5, [0.2, 0.3, 0.3], [0.5, 0.55, 0.6])
    rgb = np.clip(np.where(inside, stripes, around) + 0.02 * rng.normal(size=(SIZE, SIZE, 3)), 0, 1)
    return sl.Observation(**({"rgb": rgb.astype(np.float32)} | changes))


@pytest.mark.parametrize("place", [0, 5, 9])
def test_the_object_is_told_from_its_surroundings_also_by_a_silhouette_beside_it(place):
    p = np.asarray(object_probability(rendering(place), photo()))
    inside = square() > 0
    assert p[inside].mean() > 0.9 and p[~inside].mean() < 0.2


def test_a_mask_teaches_where_the_silhouette_misleads():
    p = np.asarray(object_probability(rendering(19), photo(mask=square())))
    inside = square() > 0
    assert p[inside].mean() > 0.9 and p[~inside].mean() < 0.1


def test_depth_parts_what_colours_do_not():
    grey = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    depth = np.where(square() > 0, 0.5, 0.8).astype(np.float32)
    depth[::7] = 0  # nothing measured
    p = np.asarray(object_probability(rendering(4), photo(rgb=grey, depth=depth)))
    inside, measured = square() > 0, depth > 0
    assert p[inside & measured].mean() > 0.9 and p[~inside & measured].mean() < 0.1
    np.testing.assert_allclose(p[~measured], 0.5, atol=0.15)


def test_the_loss_by_hand():
    p = np.asarray(object_probability(rendering(3), photo()), np.float64)
    loss = sl.region_loss.prepared(rendering(3), photo())
    for place in (0, 3, 9):
        expected = ((square(place) - p) ** 2).sum() / (p**2).sum()
        np.testing.assert_allclose(loss(rendering(place), photo()), expected, rtol=1e-4)
    np.testing.assert_allclose(sl.region_loss(rendering(3), photo()), loss(rendering(3), photo()), rtol=1e-5)


def test_the_loss_falls_towards_the_object_and_values_at_different_places_compare():
    loss = sl.region_loss.prepared(rendering(6), photo())
    values = [float(loss(rendering(place), photo())) for place in (0, 2, 4, 6, 9, 12)]
    assert values == sorted(values) and values[0] < 0.15 < values[-1]


def test_something_nearer_that_does_not_look_like_the_object_does_not_count():
    depth = np.where(square() > 0, 0.5, 0.8).astype(np.float32)
    hidden = np.zeros_like(depth)
    hidden[:, 28:] = square()[:, 28:]
    rgb = np.where(hidden[..., None] > 0, 0.0, np.asarray(photo().rgb)).astype(np.float32)
    in_front = np.where(hidden > 0, 0.3, depth).astype(np.float32)
    behind = np.where(hidden > 0, 0.9, depth).astype(np.float32)
    visible = square() * (1 - hidden)
    seen, missing = (photo(rgb=rgb, depth=d, mask=visible) for d in (in_front, behind))
    values = [float(sl.region_loss.prepared(rendering(), o)(rendering(), o)) for o in (seen, missing)]
    assert values[0] < 0.1 < values[1]


def test_weights_blur_and_sums_go_through():
    weight = np.ones((SIZE, SIZE), np.float32)
    weight[:, :10] = 0
    changed = np.asarray(photo().rgb).copy()
    changed[:, :10] = 0.99
    weighed = [photo(weight=weight), photo(rgb=changed, weight=weight)]
    values = [float(sl.region_loss.prepared(rendering(4), o)(rendering(4), o)) for o in weighed]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    loss = sl.blurred(2 * sl.region_loss + sl.zncc_loss, 1.5)
    assert loss.learns and not sl.zncc_loss.learns
    learned = loss.prepared(rendering(4), photo())
    assert not jax.tree.all(jax.tree.map(lambda x: x is None, learned.loss.first.loss.posterior))
    assert float(learned(rendering(0), photo())) < float(learned(rendering(8), photo()))
    with pytest.raises(ValueError, match="region_loss learned at"):
        sl.pyramid(sl.region_loss.prepared(rendering(), photo()), 2)(rendering(), photo())


def test_eager_jit_vmap_and_grad():
    loss = sl.region_loss.prepared(rendering(3), photo())

    def at(shift, loss):
        x = jnp.arange(SIZE) + 0.5
        row, column = (
            jax.nn.sigmoid((x - low) / 1.5) * jax.nn.sigmoid((low + 20 - x) / 1.5) for low in (14, 14 + shift)
        )
        return loss(dataclasses.replace(rendering(), mask=jnp.outer(row, column)), photo())

    value, slope = jax.value_and_grad(at)(4.0, loss)
    assert value > 0 and slope > 1e-3  # less to the left, where the object is
    numerical = (at(4.01, loss) - at(3.99, loss)) / 0.02
    np.testing.assert_allclose(slope, numerical, rtol=2e-2)
    batch = jax.jit(jax.vmap(at, in_axes=(0, None)))(jnp.array([0.0, 4.0]), loss)
    np.testing.assert_allclose(batch[1], value, rtol=1e-5)
    assert batch[0] < batch[1]
    for part in loss.residuals(rendering(4), photo()):
        assert (np.asarray(part.curvature()) >= 0).all()


def test_bad_input():
    with pytest.raises(ValueError, match="compares rgb, and the observation has none"):
        sl.region_loss(rendering(), sl.Observation(mask=square()))
    with pytest.raises(ValueError, match="The observation is"):
        sl.region_loss(rendering(), sl.Observation(rgb=np.zeros((3, 3, 3), np.float32)))
