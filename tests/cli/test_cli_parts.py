"""What the command is made of: losses by name, stages, scores, units."""

import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._refine.recipe import shares
from sldiff_jax.cli._errors import InputError
from sldiff_jax.cli._fit import count_steps
from sldiff_jax.cli._named_losses import LOSSES, parse_loss
from sldiff_jax.cli._scores import depth_residual, pose_distance, score
from sldiff_jax.cli._units import Seen, check_units

# --- losses and stages


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("huber", sl.huber_loss),
        ("zncc+depth+3*silhouette", sl.zncc_loss + sl.depth_loss + 3.0 * sl.silhouette_loss),
        (" 0.5*edge + dice", 0.5 * sl.edge_loss + sl.dice_loss),
        ("2*pyramid:l1+neg_iou", 2.0 * sl.pyramid(sl.l1_loss, 3) + sl.neg_iou_loss),
    ],
)
def test_losses_by_name(text, loss):
    assert parse_loss(text) == loss


def test_every_public_loss_has_a_name():
    named = {id(loss) for loss in LOSSES.values()}
    losses = {name for name in dir(sl) if isinstance(value := getattr(sl, name), sl.Loss) and id(value) not in named}
    assert losses == {"default_loss"}


@pytest.mark.parametrize("text", ["", "+", "zncc+", "zncc depth", "3*", "pyramid:", "*zncc", "zncc*3"])
def test_what_is_no_loss(text):
    with pytest.raises(InputError, match=r"--loss .*(each term must be one of l1|factors must be positive)"):
        parse_loss(text)


def test_steps_are_divided_in_proportion_and_the_last_stage_gets_one():
    assert shares(50, (0.3, 0.3, 0.4)) == [15, 15, 20]
    assert shares(50, (0.0, 0.4, 0.6)) == [0, 20, 30]
    assert shares(1, (0.3, 0.3, 0.4)) == [0, 0, 1]
    for steps in range(1, 20):
        parts = shares(steps, (0.3, 0.6, 0.1))
        assert sum(parts) == steps and min(parts) >= 0 < parts[-1]


def test_least_squares_need_fewer_steps():
    assert count_steps("lm", None) == count_steps("gn", None) < count_steps("adam", None)
    assert count_steps("adam", 7) == 7


# --- scores


def test_scores_leave_out_what_stands_in_front():
    rendered = np.float32([[0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    mask = np.array([[False, True, True, False, False, False]])
    depth = np.float32([[0.5, 1.002, 0, 0.9, 1.1, 0]])
    assert score(rendered, mask, None).iou == pytest.approx(2 / 5)
    seen = score(rendered, mask, depth)  # at 0.9 m something hides the object
    assert seen.iou == pytest.approx(2 / 4)
    assert seen.depth_residual == pytest.approx(0.002, rel=1e-3)
    np.testing.assert_array_equal(np.isfinite(depth_residual(rendered, mask, depth)), [[0, 1, 0, 0, 0, 0]])
    assert score(rendered, None, None) == (None, None)
    assert score(0 * rendered, mask, depth) == (0.0, None)


@pytest.mark.parametrize("degrees", [1e-4, 10.0, 90.0, 179.9])
def test_distance_of_poses(degrees):
    axis = np.array([0.6, 0.0, 0.8]) * np.radians(degrees)
    T = np.eye(4)
    T[:3, :3] = np.asarray(sl.se3_exp(np.float32([*axis, 0, 0, 0])))[:3, :3]
    T[:3, 3] = [0.001, 0.002, 0.002]
    assert pose_distance(np.eye(4), T) == pytest.approx((degrees, 3.0), rel=1e-3)


# --- units

GOOD = Seen(
    diameter=0.1, distance=0.8, focal_length=1400, mask_extent=200, measured_depth=0.79, mesh_scale=1e-3,
    pose_scale=1e-3, depth_scale=1e-3,
)  # fmt: skip


@pytest.mark.parametrize("mask_extent", [None, 200.0, 40.0])
@pytest.mark.parametrize("measured_depth", [None, 0.79, 0.4])
def test_units_that_fit_pass(mask_extent, measured_depth):
    check_units(GOOD._replace(mask_extent=mask_extent, measured_depth=measured_depth))


@pytest.mark.parametrize("factor", [1e3, 1e-3])
@pytest.mark.parametrize("mask_extent", [None, 200.0])
@pytest.mark.parametrize(
    ("culprit", "field", "measured_depth"),
    [
        ("mesh", "diameter", None),
        ("mesh", "diameter", 0.79),
        ("pose", "distance", None),
        ("pose", "distance", 0.79),
        ("depth", "measured_depth", 0.79),
    ],
)
def test_the_wrong_unit_is_named(culprit, field, measured_depth, factor, mask_extent):
    seen = GOOD._replace(mask_extent=mask_extent, measured_depth=measured_depth)
    scale = f"{culprit}_scale"
    wrong = seen._replace(**{field: factor * getattr(seen, field), scale: factor * 1e-3})
    with pytest.raises(InputError, match=rf"wrong units: try --{culprit}-scale 0\.001\.$"):
        check_units(wrong)


def test_sizes_that_no_unit_explains_name_no_remedy():
    with pytest.raises(InputError, match="Check --mesh-scale"):
        check_units(GOOD._replace(diameter=7e4))


@pytest.mark.parametrize("measured_depth", [None, 0.79])
@pytest.mark.parametrize(("factor", "remedy"), [(10, 1e-4), (100, 1e-5), (0.1, 1e-2), (0.01, 1e-1)])
def test_a_mesh_in_decimetres_or_centimetres_is_noticed_on_either_side(factor, remedy, measured_depth):
    """An object nine times as large as its mask, with depth and pose that agree: no occluder stands there."""
    seen = GOOD._replace(
        mask_extent=200.0, measured_depth=measured_depth, hidden=None if measured_depth is None else 0.0
    )
    with pytest.raises(InputError, match=rf"try --mesh-scale {remedy:g}\.$"):
        check_units(seen._replace(diameter=factor * seen.diameter))


def test_an_object_that_shows_in_part_may_be_larger_than_its_mask():
    check_units(GOOD._replace(mask_extent=30.0))
    check_units(GOOD._replace(mask_extent=15.0, hidden=0.9))
    with pytest.raises(InputError, match="Sizes do not fit"):
        check_units(GOOD._replace(mask_extent=30.0, hidden=0.1))
