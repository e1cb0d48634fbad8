"""Which evidence leads to which stages, and which results are borne out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sldiff_jax as sl
from sldiff_jax._refine.recipe import choose_recipe, find_evidence
from sldiff_jax._refine.refinement import Agreement, End, judge_start
from sldiff_jax._refine.verdict import agreement, find_doubts, unseen_motions

SIZE = 40


def look(contrast: float = 0.3, place: int = 0) -> sl.Rendering:
    """A square object, printed or plain, before black."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[10:30, 10 + place : 30 + place] = 1
    rgb = 0.5 + contrast * (np.random.default_rng(0).random((SIZE, SIZE, 3)) - 0.5)
    rgb = np.roll(rgb, place, axis=1)
    return sl.Rendering(*(jnp.asarray(x, jnp.float32) for x in (rgb * mask[..., None], 0.5 * mask, mask)))


def seen(*names: str) -> sl.Observation:
    images = look()
    rgb = jnp.where(images.mask[..., None] > 0, images.rgb, 0.05)
    depth = jnp.where(images.mask > 0, images.depth, 0.8)
    return sl.Observation(**{name: {"rgb": rgb, "depth": depth, "mask": images.mask}[name] for name in names})


def parts(loss: sl.Loss) -> set[str]:
    """Names of what a sum is made of."""
    if hasattr(loss, "first"):
        return parts(loss.first) | parts(loss.second)
    inner = getattr(loss, "loss", loss)
    return {name for name in ("zncc_loss", "depth_loss", "silhouette_loss", "region_loss") if of_kind(inner, name)}


def of_kind(loss, name):
    known = getattr(sl, name)
    return type(loss) is type(known) and getattr(loss, "function", None) is getattr(known, "function", None)


@pytest.mark.parametrize(
    ("images", "contrast", "expected"),
    [
        (("rgb", "depth", "mask"), 0.3, {"zncc_loss", "depth_loss", "silhouette_loss"}),
        (("rgb", "depth", "mask"), 0.0, {"depth_loss", "silhouette_loss"}),
        (("rgb", "mask"), 0.3, {"zncc_loss", "silhouette_loss"}),
        (("rgb", "mask"), 0.0, {"silhouette_loss"}),
        (("rgb", "depth"), 0.3, {"zncc_loss", "depth_loss", "region_loss"}),
        (("rgb", "depth"), 0.0, {"depth_loss", "region_loss"}),
        (("rgb",), 0.3, {"zncc_loss", "region_loss"}),
        (("rgb",), 0.0, {"region_loss"}),
        (("depth",), 0.0, {"depth_loss"}),
        (("mask",), 0.3, {"silhouette_loss"}),
    ],
)
def test_stages_follow_from_the_evidence(images, contrast, expected):
    recipe = choose_recipe(look(contrast), seen(*images))
    assert list(recipe.stages) == ["outline", "blurred", "fine"]
    assert sum(stage.steps for stage in recipe.stages.values()) == 50
    assert all(parts(getattr(stage.loss, "loss", stage.loss)) == expected for stage in recipe.stages.values())
    assert [stage.scale for stage in recipe.stages.values()] == [0.5, 0.5, 1.0]
    assert all(stage.hold > 0 for stage in recipe.stages.values())
    assert not hasattr(recipe.stages["fine"].loss, "sigma") and recipe.stages["blurred"].keep == 1
    assert recipe.stages["blurred"].loss.sigma > 0
    assert (recipe.stages["outline"].loss.sigma == 0) == ("mask" in images)
    assert bool(recipe.notes) == (contrast == 0 and "rgb" in images)


def test_a_loss_of_ones_own_is_used_in_all_stages():
    recipe = choose_recipe(look(), seen("rgb", "mask"), 20, loss=sl.l1_loss)
    assert list(recipe.stages) == ["blurred", "fine"]
    assert recipe.stages["blurred"].loss.loss == recipe.stages["fine"].loss == sl.l1_loss
    assert list(choose_recipe(look(), seen("rgb"), 1).stages) == ["fine"]


IMAGES = [("rgb", "depth", "mask"), ("rgb", "mask"), ("rgb", "depth"), ("rgb",), ("depth",)]


@pytest.mark.parametrize("images", IMAGES)
def test_coarse_stages_and_those_without_colours_are_compiled_as_one(images):
    recipe = choose_recipe(look(), seen(*images))
    losses = [stage.loss for each in (recipe, recipe.without_color()) for stage in each.stages.values()]
    coarse = {jax.tree.structure(loss) for number, loss in enumerate(losses) if number % 3 < 2}
    fine = {jax.tree.structure(loss) for loss in losses[2::3]}
    assert len(coarse) == len(fine) == 1


@pytest.mark.parametrize(("images", "count"), [(("rgb", "depth", "mask"), False), (("rgb", "mask"), True)])
def test_colours_count_for_an_outline_unless_mask_and_depth_tell(images, count):
    loss, rendering, observation = choose_recipe(look(), seen(*images)).stages["outline"].loss, look(), seen(*images)
    darker = sl.Rendering(rendering.rgb[:, ::-1], rendering.depth, rendering.mask)
    assert (float(loss(darker, observation)) != float(loss(rendering, observation))) == count


def test_the_outline_of_a_plain_object_is_no_texture():
    assert not find_evidence(look(0.0), seen("rgb")).texture
    assert not find_evidence(look(0.03), seen("rgb")).texture
    assert find_evidence(look(0.3), seen("rgb")).texture


# --- results ----------------------------------------------------------------------------------------------------------


def doubts(images, place, contrast=0.3, moved=0.1):
    observation, rendering = seen(*images), look(contrast, place)
    evidence = find_evidence(rendering, observation)
    agreed = agreement(rendering, observation, evidence)
    return find_doubts(agreed, evidence, moved=moved, loss=0.1, curvature=np.zeros((1, 6, 6)))


@pytest.mark.parametrize("images", IMAGES)
def test_a_result_that_fits_is_borne_out_and_one_beside_is_not(images):
    assert doubts(images, 0) == ()
    assert doubts(images, 11)


def test_an_outline_alone_is_thin_evidence():
    assert "nothing but the outline" in doubts(("rgb",), 0, contrast=0.0)[0]
    assert doubts(("rgb", "mask"), 0, contrast=0.0) == ()


def test_a_fit_by_colour_that_went_far_is_doubted():
    assert "went far" in doubts(("rgb",), 0, moved=0.7)[0]
    assert doubts(("rgb", "depth"), 0, moved=0.7) == ()


def test_motions_that_nothing_shows_are_named():
    curvature = np.diag([5.0, 5.0, 1e-3, 40.0, 40.0, 40.0])[None]
    assert unseen_motions(0.1, curvature) == ["a turn about (0.0, 0.0, 1.0)"]
    assert unseen_motions(0.1, np.diag([5.0, 5, 5, 40, 40, 1e-4])[None]) == ["a shift along (0.0, 0.0, 1.0)"]
    assert unseen_motions(0.1, np.eye(6)[None] * 10) == []
    assert unseen_motions(0.1, np.zeros((1, 6, 6))) == []  # not known
    agreed = Agreement(0.95, None, None, None, None)
    evidence = find_evidence(look(), seen("rgb", "mask"))
    (line,) = find_doubts(agreed, evidence, moved=0.1, loss=0.1, curvature=curvature)
    assert line == "a turn about (0.0, 0.0, 1.0) hardly shows in the images"


# --- how a start ends -------------------------------------------------------------------------------------------------

FINE = End(start_loss=1.0, last=0.1, visible=True, length=1e-6, longest=0.1, newton=1e-6, pull=0.1, moved=0.2)
FALLING = np.linspace(1.0, 0.1, 20)


@pytest.mark.parametrize(
    ("changes", "losses", "status"),
    [
        ({}, FALLING, sl.Status.CONVERGED),
        ({"length": 0.1}, FALLING, sl.Status.STEP_LIMIT),
        ({"start_loss": 0.05}, FALLING, sl.Status.NOT_BETTER),
        ({"start_loss": 0.05, "newton": 0.5, "moved": 0.5}, FALLING, sl.Status.NOT_BETTER),
        ({"start_loss": 0.05, "newton": 0.5, "moved": 0.001}, FALLING, sl.Status.CONVERGED),
        ({"start_loss": 0.0, "last": 0.0}, np.zeros(20), sl.Status.CONVERGED),
        ({"start_loss": 1.0, "last": 1.0, "pull": 0.0, "longest": 0.0}, np.ones(1), sl.Status.NO_PULL),
        ({"start_loss": 1.0, "last": 1.0, "overlap": False}, np.ones(20), sl.Status.NO_PULL),
        ({"start_loss": 1.0, "overlap": False}, FALLING, sl.Status.CONVERGED),
        ({"length": np.inf, "longest": 1e-6}, np.ones(20), sl.Status.STEP_LIMIT),
        ({"last": np.nan}, FALLING, sl.Status.DIVERGED),
        ({"last": 2.0}, FALLING, sl.Status.DIVERGED),
        ({"visible": False}, FALLING, sl.Status.NOT_VISIBLE),
    ],
)
def test_how_a_start_ends(changes, losses, status):
    end = FINE._replace(newton=changes.pop("newton", 0.5 if "start_loss" in changes else FINE.newton), **changes)
    assert judge_start(losses, end, tolerance=1e-4, stopped=False) is status
    assert status.trusted == (status in (sl.Status.CONVERGED, sl.Status.STEP_LIMIT))


# --- whole fits -------------------------------------------------------------------------------------------------------


def printed_square() -> sl.MeshRenderer:
    """20 cm on a side."""
    print_ = (np.random.default_rng(1).random((8, 8, 3)) * 255).astype(np.uint8)
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * 0.1
    mesh = sl.Mesh(square, np.array([[0, 1, 2], [0, 2, 3]]), uv=(square[:, :2] + 0.1) / 0.2, texture=print_)
    return sl.MeshRenderer([mesh], buffers="core")


CAMERA = sl.Camera.from_intrinsics(60, 60, 24, 24, width=48, height=48)


def at(x: float) -> sl.Scene:
    return sl.Scene(jnp.eye(4).at[:3, 3].set(jnp.array([x, 0.0, 0.6]))[None], CAMERA)


def test_a_start_that_does_not_overlap_is_told_from_one_that_came_home():
    renderer = printed_square()
    truth = sl.render(at(0.12), renderer)
    observation = sl.Observation(mask=truth.mask)
    lm = sl.LevenbergMarquardt()
    options = {"loss": sl.silhouette_loss, "optimizer": lm, "steps": 8, "translation_unit": 0.2}
    lost = sl.refine_poses(at(-0.12), observation, renderer, **options)
    assert lost.status is sl.Status.NO_PULL and not lost.status.trusted
    np.testing.assert_allclose(lost.scene.T_world_object, at(-0.12).T_world_object, atol=1e-6)
    home = sl.refine_poses(at(0.08), observation, renderer, **options)
    assert home.status.trusted and abs(float(home.scene.T_world_object[0, 0, 3]) - 0.12) < 0.02


@pytest.mark.parametrize("first_rate", [1e-6, 1e-5, 0.0])
def test_an_optimiser_that_begins_slowly_is_not_done_at_once(first_rate):
    renderer = printed_square()
    seen = sl.Observation(mask=sl.render(at(0.0), renderer).mask)
    slow = optax.adam(optax.warmup_cosine_decay_schedule(first_rate, 0.03, 8, 30))
    fit = sl.refine_poses(
        at(0.02), seen, renderer, loss=sl.silhouette_loss, optimizer=slow, steps=30, translation_unit=0.2
    )
    assert len(fit.loss_history) > 8 and fit.loss < 0.2 * fit.loss_history[0, 0]


def leave(rendering, observation):
    """A loss that leads away."""
    return -jnp.mean(rendering.mask * jnp.linspace(0, 1, 48))


def test_a_later_stage_that_is_worse_than_the_start_gives_the_start_back():
    """Two stages lead away on purpose; the last, which has one step, cannot come back."""
    renderer = printed_square()
    truth = sl.render(at(0.0), renderer)
    away = sl.Observation(mask=truth.mask)
    stages = [
        *[sl.Stage(6, loss=leave, optimizer=optax.sgd(1.0))] * 2,
        sl.Stage(1, loss=sl.silhouette_loss, optimizer=sl.LevenbergMarquardt()),
    ]
    fit = sl.refine_poses(at(0.01), away, renderer, stages=stages, translation_unit=0.2)
    moved = fit.T_world_object_history[-1, 0, 0, 0, 3]
    assert moved > 0.011  # it did leave
    np.testing.assert_allclose(fit.scene.T_world_object, at(0.01).T_world_object, atol=1e-6)
    start_loss = float(sl.silhouette_loss(sl.render(at(0.01), renderer), away))
    np.testing.assert_allclose(fit.loss, start_loss, rtol=1e-4)
    assert fit.best_step == 0 and fit.losses[0] == fit.loss


def test_a_start_led_away_goes_on_from_before():
    renderer = printed_square()
    away = sl.Observation(mask=sl.render(at(0.0), renderer).mask)
    stages = [
        sl.Stage(6, loss=leave, optimizer=optax.sgd(1.0)),
        sl.Stage(6, loss=sl.silhouette_loss, optimizer=sl.LevenbergMarquardt()),
    ]
    fit = sl.refine_poses(at(0.01), away, renderer, stages=stages, translation_unit=0.2)
    x = fit.T_world_object_history[:, 0, 0, 0, 3]
    assert x[5] > 0.011 and x[6] == x[0]
    assert abs(float(fit.scene.T_world_object[0, 0, 3])) < 1e-3


def test_auto_fits_and_says_how_well(unchecked_types):
    renderer = printed_square()
    truth = sl.render(at(0.0), renderer)
    observation = sl.Observation(jnp.where(truth.mask[..., None] > 0, truth.rgb, 0.1), truth.depth, truth.mask)
    fit = sl.refine_poses(at(0.02), observation, renderer, stages="auto", steps=20)
    assert fit.status is sl.Status.CONVERGED and fit.doubts == ()
    assert fit.agreement.overlap > 0.95 and fit.agreement.inliers > 0.9 and fit.agreement.correlation > 0.9
    assert abs(float(fit.scene.T_world_object[0, 0, 3])) < 1e-3
    with pytest.raises(ValueError, match="stages must be a list of Stage, or \"auto\", got 'best'"):
        sl.refine_poses(at(0.02), observation, renderer, stages="best")
