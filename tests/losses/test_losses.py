"""The losses: zero where they should be, right by hand, differentiable, and blind to what they promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import QUICK_COMPILATION
from loss_images import HEIGHT, WIDTH, make_rendering, observed

import sldiff_jax as sl

LOSSES = {
    "l1": sl.l1_loss,
    "l2": sl.l2_loss,
    "huber": sl.huber_loss,
    "photometric": sl.photometric_loss,
    "zncc": sl.zncc_loss,
    "edge": sl.edge_loss,
    "depth": sl.depth_loss,
    "silhouette": sl.silhouette_loss,
    "dice": sl.dice_loss,
    "neg_iou": sl.neg_iou_loss,
    "default": sl.default_loss,
}
COMPARES = {"depth": "depth", "silhouette": "mask", "dice": "mask", "neg_iou": "mask"}  # the others: rgb
OF_MASKS = [name for name, image in COMPARES.items() if image == "mask"]


@pytest.fixture(scope="module")
def rendering():
    return make_rendering()


# --- by hand, in float64 ----------------------------------------------------------------------------------------------


def smoothly_absolute(x, below):
    return np.sqrt(x**2 + below**2) - below


def huber(x, delta=0.1):
    return np.where(np.abs(x) <= delta, 0.5 * x**2, delta * (np.abs(x) - 0.5 * delta))


def colour(cost):
    def loss(p, t, hidden):
        w = (t.weight if t.mask is None else t.weight * t.mask)[..., None]
        return (w * cost(p.rgb - t.rgb)).sum() / (3 * w.sum())

    return loss


def region(p, t, hidden):
    return t.weight * p.mask * (1 if t.mask is None else t.mask)


def least_around(w):
    w = np.pad(w, 1, mode="edge")
    return np.min([w[i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3)], axis=0)


def surface(p, t):
    """Pixels of the outline, which are mixed with the background, are left out."""
    return t.weight * least_around(p.mask) * (1 if t.mask is None else t.mask)


def correlation(p, t, hidden):
    w = surface(p, t)
    scores = []
    for c in range(3):
        a, b = p.rgb[..., c], t.rgb[..., c]
        a, b = a - (w * a).sum() / w.sum(), b - (w * b).sum() / w.sum()
        scores.append((w * a * b).sum() / np.sqrt((w * a**2).sum() * (w * b**2).sum()))
    return 1 - np.mean(scores)


def edges(p, t, hidden):
    """Central differences; they reach one pixel around their own, which must lie in the region."""
    w = least_around(surface(p, t))

    def gradients(rgb):
        brightness = np.pad(rgb @ [0.299, 0.587, 0.114], 1, mode="edge")
        g = np.stack([brightness[1:-1, 2:] - brightness[1:-1, :-2], brightness[2:, 1:-1] - brightness[:-2, 1:-1]])
        return g / np.sqrt((w * g**2).sum() / w.sum())

    return (w * smoothly_absolute(gradients(p.rgb) - gradients(t.rgb), 0.1)).sum() / (2 * w.sum())


def depth(p, t, hidden):
    w = region(p, t, hidden) * (t.depth > 0) * (p.depth > 0)
    return (w * np.minimum(smoothly_absolute((p.depth - t.depth) / 0.01, 0.1), 3)).sum() / w.sum()


def overlap(denominator):
    def loss(p, t, hidden):
        w = t.weight * (1 - hidden)
        return (w * (p.mask - t.mask) ** 2).sum() / (w * denominator(p.mask, t.mask)).sum()

    return loss


def negative_iou(p, t, hidden):
    """stillleben's formula, with weights."""
    w = t.weight * (1 - hidden)
    return 1 - (w * p.mask * t.mask).sum() / ((w * (p.mask + t.mask - p.mask * t.mask)).sum() + 1e-6)


silhouette = overlap(lambda p, t: p**2 + t**2 - p * t)
BY_HAND = {
    "l1": colour(np.abs),
    "l2": colour(np.square),
    "huber": colour(huber),
    "photometric": colour(lambda x: smoothly_absolute(x, 0.01)),
    "zncc": correlation,
    "edge": edges,
    "depth": depth,
    "silhouette": silhouette,
    "dice": overlap(lambda p, t: p**2 + t**2),
    "neg_iou": negative_iou,
    "default": lambda *images: correlation(*images) + depth(*images) + silhouette(*images),
}


def in_numpy(images):
    fields = {
        field.name: None if getattr(images, field.name) is None else np.asarray(getattr(images, field.name), np.float64)
        for field in dataclasses.fields(images)
    }
    fields["weight"] = np.ones((HEIGHT, WIDTH)) if fields.get("weight") is None else fields["weight"]
    return type("Images", (), fields)


def differing(rendering, **changes):
    """An observation that differs in everything: colour, depth with outliers and holes, and a soft, shifted mask."""
    rng = np.random.default_rng(3)
    depth = np.array(rendering.depth + 0.008 * rng.random((HEIGHT, WIDTH)) * rendering.mask)
    depth[3, 4:6], depth[4, 4:7] = 1.5, 0
    mask = np.roll(np.asarray(rendering.mask), 1, axis=1) * (0.5 + 0.5 * rng.random((HEIGHT, WIDTH)))
    rgb = np.clip(0.6 * np.asarray(rendering.rgb) + 0.5 * rng.random((HEIGHT, WIDTH, 3)), 0, 1)
    return observed(rendering, **({"rgb": rgb, "depth": depth, "mask": mask} | changes))


def check_by_hand(name, rendering, observation, hidden=0.0):
    expected = BY_HAND[name](in_numpy(rendering), in_numpy(observation), hidden)
    assert expected > 0.005
    atol = 1e-3 if name in ("l1", "zncc", "edge", "default") else 1e-6  # floors, and what is smooth at zero
    np.testing.assert_allclose(LOSSES[name](rendering, observation), expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", LOSSES)
def test_by_hand(rendering, name):
    check_by_hand(name, rendering, differing(rendering))


@pytest.mark.parametrize("name", LOSSES)
def test_by_hand_with_weights(rendering, name):
    weight = np.random.default_rng(4).random((HEIGHT, WIDTH))
    weight[weight < 0.05] = 0
    check_by_hand(name, rendering, differing(rendering, weight=weight.astype(np.float32)))
    everything = differing(rendering, weight=np.full((HEIGHT, WIDTH), 2.5, np.float32))
    np.testing.assert_allclose(
        LOSSES[name](rendering, everything), LOSSES[name](rendering, differing(rendering)), rtol=1e-4
    )


@pytest.mark.parametrize("name", [name for name in LOSSES if COMPARES.get(name) != "mask" and name != "default"])
def test_by_hand_without_a_mask(rendering, name):
    check_by_hand(name, rendering, differing(rendering, mask=None))


@pytest.mark.parametrize("name", LOSSES)
def test_by_hand_with_an_occluder(rendering, name):
    """Something nearer, outside of the observed mask, hides the last column of the object."""
    seen = differing(rendering)
    depth, mask, hidden = np.asarray(seen.depth).copy(), np.asarray(seen.mask).copy(), np.zeros((HEIGHT, WIDTH))
    depth[1:8, 8:10], mask[1:8, 8:10], hidden[1:8, 8:10] = 0.3, 0, 1
    check_by_hand(name, rendering, differing(rendering, depth=depth, mask=mask), hidden)


def test_an_occluder_is_not_missed_and_what_is_behind_is(rendering):
    mask, depth = np.asarray(rendering.mask).copy(), np.asarray(rendering.depth).copy()
    mask[:, 8], depth[:, 8] = 0, 0.3
    share = 25 / 30
    for loss, expected in ((sl.silhouette_loss, 1 - share), (sl.neg_iou_loss, 1 - share), (sl.dice_loss, 5 / 55)):
        np.testing.assert_allclose(loss(rendering, observed(rendering, mask=mask, depth=depth)), 0, atol=1e-6)
        depth_behind = np.where(depth == 0.3, 0.9, depth)
        behind = loss(rendering, observed(rendering, mask=mask, depth=depth_behind))
        np.testing.assert_allclose(behind, expected, rtol=1e-5)
        np.testing.assert_allclose(loss(rendering, sl.Observation(mask=mask)), expected, rtol=1e-5)


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_by_hand(rendering):
    seen = differing(rendering)
    difference = np.asarray(rendering.rgb - seen.rgb, np.float64)
    for loss, cost in (
        (sl.photometric_loss.using(epsilon=0.2), lambda x: smoothly_absolute(x, 0.2)),
        (sl.huber_loss.using(delta=0.02), lambda x: huber(x, 0.02)),
    ):
        weight = np.asarray(seen.mask)[..., None]
        expected = (weight * cost(difference)).sum() / (3 * weight.sum())
        np.testing.assert_allclose(loss(rendering, seen), expected, rtol=1e-5)
    depth = np.asarray(rendering.depth).copy()
    depth[2, 3:9] += 0.02
    depth[3:, 3:9] *= 3
    np.testing.assert_allclose(
        sl.depth_loss(rendering, observed(rendering, depth=depth), scale=0.02, limit=0.5), 0.5, rtol=1e-5
    )
    depth[3:, 3:9] = 0
    np.testing.assert_allclose(
        sl.depth_loss(rendering, observed(rendering, depth=depth), scale=0.02), np.sqrt(1.01) - 0.1, rtol=1e-4
    )
    smooth = sl.edge_loss(rendering, seen, epsilon=1.0)
    assert 0 < float(smooth) < float(sl.edge_loss(rendering, seen))


def test_default_loss_uses_what_is_there(rendering):
    seen = differing(rendering)
    for images in (("rgb",), ("depth",), ("mask",), ("rgb", "mask"), ("depth", "mask")):
        some = sl.Observation(**{name: getattr(seen, name) for name in images})
        parts = {"rgb": sl.zncc_loss, "depth": sl.depth_loss, "mask": sl.silhouette_loss}
        expected = sum(float(parts[name](rendering, some)) for name in images)
        np.testing.assert_allclose(sl.default_loss(rendering, some), expected, rtol=1e-5)


# --- what is promised of values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_match_costs_nothing(rendering, name):
    weight = np.random.default_rng(5).random((HEIGHT, WIDTH)).astype(np.float32)
    for changes in ({}, {"weight": weight}):
        np.testing.assert_allclose(LOSSES[name](rendering, observed(rendering, **changes)), 0, atol=1e-4)


@pytest.mark.parametrize("gain", [(1.0, 1.0, 1.0), (0.6, 0.3, 0.45)])
def test_correlation_and_edges_are_blind_to_the_lighting(rendering, gain):
    seen = differing(rendering)
    before = [float(loss(rendering, seen)) for loss in (sl.zncc_loss, sl.edge_loss)]
    lit = dataclasses.replace(seen, rgb=seen.rgb * jnp.asarray(gain) * 0.8 + 0.1)
    after = [float(loss(rendering, lit)) for loss in (sl.zncc_loss, sl.edge_loss)]
    np.testing.assert_allclose(after[0], before[0], atol=2e-3)
    if len(set(gain)) == 1:  # brightness mixes the channels
        np.testing.assert_allclose(after[1], before[1], atol=5e-3)
    lit_match = observed(rendering, rgb=0.1 + 0.8 * rendering.rgb * jnp.asarray(gain))
    np.testing.assert_allclose(sl.zncc_loss(rendering, lit_match), 0, atol=2e-3)


def test_the_range_of_the_correlation(rendering):
    inverted = observed(rendering, rgb=1 - rendering.rgb)
    np.testing.assert_allclose(sl.zncc_loss(rendering, inverted), 2, atol=1e-3)
    flat = observed(rendering, rgb=jnp.full((HEIGHT, WIDTH, 3), 0.5))
    np.testing.assert_allclose(sl.zncc_loss(rendering, flat), 1, atol=1e-3)


def test_what_lies_outside_of_object_and_mask_is_not_compared(rendering):
    for name in ("zncc", "edge", "depth"):
        changed = differing(
            rendering,
            rgb=jnp.where(rendering.mask[..., None] > 0, differing(rendering).rgb, 0.9),
            depth=jnp.where(rendering.mask > 0, differing(rendering).depth, 0.9),
        )
        value = LOSSES[name](rendering, differing(rendering))
        np.testing.assert_allclose(LOSSES[name](rendering, changed), value, rtol=1e-5)


def test_an_object_nearer_than_rendered_is_no_occluder(rendering):
    """Both depths are measured, so they are compared."""
    seen = sl.Observation(depth=rendering.depth - 0.02 * rendering.mask)
    np.testing.assert_allclose(sl.depth_loss(rendering, seen), np.sqrt(4.01) - 0.1, rtol=1e-4)


def test_a_slanted_match_is_compared_everywhere(rendering):
    """One row has the wrong depth; it must be seen, with a mask and without."""
    slant = np.asarray(rendering.mask) * (0.5 + 0.01 * np.arange(HEIGHT)[:, None])
    slanted = sl.Rendering(rendering.rgb, jnp.asarray(slant, jnp.float32), rendering.mask)
    for mask in (rendering.mask, None):
        np.testing.assert_allclose(sl.depth_loss(slanted, sl.Observation(depth=slant, mask=mask)), 0, atol=1e-5)
        wrong = slant.copy()
        wrong[2, 3:9] += 0.01
        np.testing.assert_allclose(
            sl.depth_loss(slanted, sl.Observation(depth=wrong, mask=mask)), (np.sqrt(1.01) - 0.1) / 5, rtol=1e-3
        )


# --- under transformations --------------------------------------------------------------------------------------------


def variants(rendering):
    """Observations and renderings that leave little or nothing to compare."""
    nothing = sl.Rendering(rendering.rgb, 0 * rendering.depth, 0 * rendering.mask)
    elsewhere = np.zeros((HEIGHT, WIDTH), np.float32)
    elsewhere[0, :2] = 1
    flat = jnp.full((HEIGHT, WIDTH, 3), 0.5)
    return {
        "match": (rendering, observed(rendering)),
        "different": (rendering, differing(rendering)),
        "nothing rendered": (nothing, differing(rendering)),
        "nothing observed inside": (rendering, observed(rendering, depth=elsewhere, mask=elsewhere)),
        "flat": (sl.Rendering(flat, rendering.depth, rendering.mask), observed(rendering, rgb=flat)),
    }


BAD = {"zncc": 1, "edge": 1, "depth": 3, "silhouette": 1, "dice": 1, "neg_iou": 1, "default": 5}


@pytest.mark.parametrize("name", LOSSES)
def test_eager_jit_vmap_and_grad_are_finite(rendering, name):
    loss = LOSSES[name]
    cases = variants(rendering)
    batch = jax.tree.map(lambda *x: jnp.stack(x), *cases.values())
    evaluate = jax.jit(jax.vmap(jax.value_and_grad(loss)), compiler_options=QUICK_COMPILATION)
    values, gradients = evaluate(*batch)
    for value, (case, images) in zip(np.asarray(values), cases.items()):
        assert np.isfinite(value)
        if case in ("match", "different"):
            np.testing.assert_allclose(value, loss(*images), rtol=1e-5, atol=1e-5)
        elif name in BAD and case != "flat":
            np.testing.assert_allclose(value, BAD[name], rtol=1e-3, err_msg=case)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert any(np.any(leaf[1]) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "default"])
def test_gradients_are_those_of_central_differences(x64, name):
    """By the image that is compared; which pixels count is not differentiated."""
    rendering = make_rendering(dtype=jnp.float64)
    image = COMPARES.get(name, "rgb")
    seen = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), differing(rendering))
    direction = jnp.asarray(np.random.default_rng(6).normal(size=getattr(rendering, image).shape))
    if image == "depth":
        direction = direction * rendering.mask  # where there is none, none may arise

    def along(step):
        changed = {field.name: getattr(rendering, field.name) for field in dataclasses.fields(rendering)}
        return LOSSES[name](sl.Rendering(**changed | {image: changed[image] + step * direction}), seen)

    h = 1e-6
    numerical = (along(h) - along(-h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(along)(0.0), numerical, rtol=2e-3 if name in ("zncc", "edge") else 1e-5)
    assert abs(float(numerical)) > 1e-4


@pytest.mark.parametrize("name", LOSSES)
def test_residuals_add_up_to_the_loss(rendering, name):
    hard = differing(rendering, mask=np.roll(np.asarray(rendering.mask), 1, axis=1))  # for neg_iou_loss
    parts = LOSSES[name].residuals(rendering, hard)
    value = sum(float(part.cost()) for part in parts)
    np.testing.assert_allclose(value, LOSSES[name](rendering, hard), rtol=1e-5)
    for part in parts:
        assert (np.asarray(part.curvature()) >= 0).all()


def test_the_negative_iou_of_soft_masks_is_stilllebens():
    rng = np.random.default_rng(7)
    p, t = rng.random((2, HEIGHT, WIDTH)).astype(np.float32)
    rendering = sl.Rendering(jnp.zeros((HEIGHT, WIDTH, 3)), jnp.zeros((HEIGHT, WIDTH)), jnp.asarray(p))
    expected = 1 - (p * t).sum() / ((p + t - p * t).sum() + 1e-6)
    np.testing.assert_allclose(sl.neg_iou_loss(rendering, sl.Observation(mask=t)), expected, rtol=1e-6)
    assert float(sl.neg_iou_loss(rendering, sl.Observation(mask=p))) > 0.1  # soft masks never match
    assert float(sl.silhouette_loss(rendering, sl.Observation(mask=p))) < 1e-6


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_names_what_is_missing_and_what_does_not_fit(rendering, name):
    smaller = sl.Observation(jnp.zeros((3, 3, 3)), jnp.zeros((3, 3)), jnp.ones((3, 3)))
    with pytest.raises(ValueError, match=r"observation is \(height, width\) = \(3, 3\), the rendering \(9, 12\)"):
        LOSSES[name](rendering, smaller)
    if name != "default":
        missing = COMPARES.get(name, "rgb")
        with pytest.raises(ValueError, match=f"compares {missing}, and the observation has none"):
            LOSSES[name](rendering, observed(rendering, **{missing: None}))


# --- surfaces without contrast ----------------------------------------------------------------------------------------


def disc(contrast: float, *, radius: float = 9.3, height: int = 33, width: int = 40) -> sl.Rendering:
    """A round object with an antialiased outline before black, with a print of that contrast."""
    y, x = np.mgrid[:height, :width] + 0.5
    mask = np.clip(radius - np.hypot(x - width / 2, y - height / 2) + 0.5, 0, 1)
    print_ = 0.6 + contrast * np.random.default_rng(8).normal(size=(height, width, 3)).clip(-1, 1)
    return sl.Rendering(*(jnp.asarray(a, jnp.float32) for a in (print_ * mask[..., None], 0.5 * mask, mask)))


def photo_of(rendering: sl.Rendering) -> sl.Observation:
    shape = rendering.rgb.shape
    return sl.Observation(jnp.asarray(np.random.default_rng(9).random(shape), jnp.float32), mask=rendering.mask)


OF_CONTRAST = {
    "zncc": sl.zncc_loss,
    "edge": sl.edge_loss,
    "blurred": sl.blurred(sl.zncc_loss, 2.0),
    "blurred edges": sl.blurred(sl.edge_loss, 2.0),
    "pyramid": sl.pyramid(sl.zncc_loss, 2),
}


@pytest.mark.parametrize("name", OF_CONTRAST)
def test_a_surface_of_one_colour_has_neither_gradient_nor_curvature(name):
    """Whatever moves its outline: there the rendering changes from its colour to the background's."""
    loss, flat = OF_CONTRAST[name], disc(0.0)
    rim = (np.asarray(flat.mask) < 1)[..., None]
    tangent = jnp.asarray(rim * np.random.default_rng(10).normal(size=flat.rgb.shape), jnp.float32)

    def moved(step, rendering):
        return dataclasses.replace(rendering, rgb=rendering.rgb + step * tangent)

    seen = photo_of(flat)
    value, slope = jax.value_and_grad(lambda step: loss(moved(step, flat), seen))(0.0)
    np.testing.assert_allclose([value, slope], [1, 0], atol=1e-4)
    for part in range(len(loss.residuals(flat, seen))):
        _, change = jax.jvp(lambda step, k=part: loss.residuals(moved(step, flat), seen)[k].values, (0.0,), (1.0,))
        curvature = np.sum(np.asarray(loss.residuals(flat, seen)[part].curvature()) * np.asarray(change) ** 2)
        assert curvature < 1e-6
    printed = disc(0.3)
    assert abs(float(jax.grad(lambda step: loss(disc_moved(step), photo_of(printed)))(0.0))) > 1e-4


def disc_moved(step):
    printed = disc(0.3)
    change = jnp.asarray(np.random.default_rng(11).normal(size=printed.rgb.shape), jnp.float32)
    return dataclasses.replace(printed, rgb=printed.rgb + step * change * printed.mask[..., None])


@pytest.mark.parametrize("name", OF_CONTRAST)
def test_contrast_comes_in_smoothly(name):
    seen = photo_of(disc(0.3))

    def steepness(contrast):
        gradient = jax.grad(lambda rgb: OF_CONTRAST[name](dataclasses.replace(disc(contrast), rgb=rgb), seen))
        return float(jnp.linalg.norm(gradient(disc(contrast).rgb)))

    slopes = [steepness(contrast) for contrast in (0.0, 1e-4, 1e-3, 1e-2, 0.1)]
    assert slopes[0] < 1e-4 and slopes[1] < 1e-2 * max(slopes) and slopes[-1] > 0
    assert max(slopes) < 60 * slopes[-1]


def test_a_channel_without_contrast_takes_nothing_from_the_others():
    printed = disc(0.3)
    seen = photo_of(printed)
    one_flat = dataclasses.replace(printed, rgb=printed.rgb.at[..., 2].set(0.4 * printed.mask))
    two = [float(sl.zncc_loss(keep(printed, k), keep_seen(seen, k))) for k in (0, 1)]
    np.testing.assert_allclose(sl.zncc_loss(one_flat, seen), np.mean(two), rtol=1e-3)


def keep(rendering, channel):
    return dataclasses.replace(rendering, rgb=jnp.repeat(rendering.rgb[..., channel, None], 3, axis=-1))


def keep_seen(seen, channel):
    return dataclasses.replace(seen, rgb=jnp.repeat(seen.rgb[..., channel, None], 3, axis=-1))


def test_the_background_is_not_blurred_into_the_object():
    """Neither black around the rendering, nor what stands beside the object in the photo."""
    printed = disc(0.3)
    inside = np.asarray(printed.mask)[..., None]
    values = []
    for beside in (0.0, 1.0):
        rgb = jnp.asarray(np.asarray(printed.rgb) + (1 - inside) * beside, jnp.float32)
        values.append(float(sl.blurred(sl.zncc_loss, 2.0)(printed, sl.Observation(rgb, mask=printed.mask))))
    np.testing.assert_allclose(values[0], values[1], atol=1e-3)
    assert values[0] < 1e-3
