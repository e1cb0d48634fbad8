"""`refine_poses`: what each argument does and how each start ends, on a sheet whose descent has a closed form, and that
it finds the poses of boxes.

The sheet fills the image at the depth z of its pose. With the mean squared depth difference as the loss and plain
gradient descent at rate r, every step multiplies the distance to the target by 1 - 2 r unit^2.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh

WIDTH, HEIGHT = 12, 9
START, TARGET = 1.0, 0.6
STEPS = 6
DESCENT = optax.sgd(0.1)  # one object, so that compiled functions are shared


pytestmark = pytest.mark.usefixtures("quick_compilation")


class Sheet(eqx.Module):
    """Draws the first object as a sheet that fills the image, between 0.1 m and 2 m; grey."""

    def __call__(self, scene: sl.Scene) -> sl.RenderResult:
        height, width = scene.camera.height, scene.camera.width
        fx, fy, cx, cy = scene.camera.intrinsics
        T = scene.T_camera_object[0]
        z = T[2, 3]
        seen = jnp.broadcast_to((z > 0.1) & (z < 2.0), (height, width))
        x, y = jnp.meshgrid((jnp.arange(width) + 0.5 - cx) / fx, (jnp.arange(height) + 0.5 - cy) / fy)
        points = (z * jnp.stack([x, y, jnp.ones_like(x)], axis=-1) - T[:3, 3]) @ T[:3, :3]
        coord_depth = jnp.concatenate([points, jnp.full((height, width, 1), z)], axis=-1)
        return sl.RenderResult(
            rgb=jnp.where(seen[..., None], 0.5, jnp.zeros((height, width, 4))),
            coord_depth=jnp.where(seen[..., None], coord_depth, 3000.0),
            instance_index=jnp.where(seen, scene.instance_index[0], 0).astype(jnp.int16),
        )


@sl.residual_loss
def square(rendering, observation):
    """Mean squared depth difference."""
    return sl.Residuals(rendering.depth - observation.depth, 1 / rendering.depth.size)


def square_function(rendering, observation):
    """The same as a plain function."""
    return jnp.mean((rendering.depth - observation.depth) ** 2)


def at(z: float) -> jax.Array:
    return jnp.eye(4).at[2, 3].set(z)


SCENE = sl.Scene(at(START)[None], sl.Camera.from_fov(0.6, width=WIDTH, height=HEIGHT))
SEEN = sl.Observation(depth=np.full((HEIGHT, WIDTH), TARGET, np.float32))
SHEET = Sheet()


def descend(**options):
    """The sheet, in metres; ``options`` override."""
    defaults = {"loss": square, "optimizer": DESCENT, "translation_unit": 1.0}
    if not {"stages", "steps"} & set(options):
        defaults["steps"] = STEPS
    return sl.refine_poses(SCENE, SEEN, SHEET, **(defaults | options))


def depths(fit, start: int = 0) -> np.ndarray:
    return fit.T_world_object_history[:, start, 0, 2, 3]


def closed_form(steps: int = STEPS, factor: float = 0.8, z: float = START) -> np.ndarray:
    return TARGET + (z - TARGET) * factor ** np.arange(steps)


# --- the outcome ------------------------------------------------------------------------------------------------------


def test_every_iterate_is_recorded():
    fit = descend()
    np.testing.assert_allclose(depths(fit), closed_form(), rtol=1e-5)
    np.testing.assert_allclose(fit.loss_history[:, 0], (closed_form() - TARGET) ** 2, rtol=1e-4)
    assert fit.loss_history.shape == (STEPS, 1) and fit.T_world_object_history.shape == (STEPS, 1, 1, 4, 4)
    np.testing.assert_array_equal(fit.stage_history, np.zeros(STEPS))
    assert (fit.best_step, fit.best_start) == (STEPS - 1, 0)
    assert fit.loss == fit.loss_history[-1, 0]
    np.testing.assert_array_equal(fit.scene.T_world_object, fit.T_world_object_history[-1, 0])
    assert fit.status is sl.Status.STEP_LIMIT and fit.statuses == (sl.Status.STEP_LIMIT,)
    assert f"{fit.status:>12}" == "  STEP_LIMIT" and str(fit.status) == "STEP_LIMIT"
    assert 0 < fit.seconds_per_step < fit.seconds


def test_nothing_of_the_size_of_an_image_is_kept():
    fit = descend()
    sizes = [np.size(leaf) for leaf in jax.tree.leaves(fit)]
    assert max(sizes) <= max(STEPS * 16, 16) < HEIGHT * WIDTH


def test_the_best_iterate_is_returned_not_the_last():
    restless = optax.sgd(lambda step: jnp.where(step < 2, 0.2, -0.3))  # two steps down, and up again
    fit = descend(optimizer=restless)
    assert fit.best_step == 2
    assert fit.loss == fit.loss_history.min() < fit.loss_history[0, 0] < fit.loss_history[-1, 0]
    np.testing.assert_array_equal(fit.scene.T_world_object, fit.T_world_object_history[2, 0])
    assert fit.status is sl.Status.DIVERGED


def test_a_plain_function_and_a_transformed_camera(unchecked_types):
    """A loss need not be a `Loss`; moving camera and world together changes nothing."""
    T = sl.se3_exp(jnp.array([0.3, -0.2, 0.5, 0.1, 0.2, -0.3]))
    camera = sl.Camera(SCENE.camera.projection, T, width=WIDTH, height=HEIGHT)
    scene = sl.Scene(T @ SCENE.T_world_object, camera, np.array([77]))
    fit = sl.refine_poses(
        scene, SEEN, SHEET, loss=square_function, optimizer=DESCENT, steps=STEPS, translation_unit=1.0
    )
    np.testing.assert_allclose(fit.loss_history[:, 0], (closed_form() - TARGET) ** 2, rtol=1e-3)
    np.testing.assert_array_equal(fit.scene.instance_index, [77])
    np.testing.assert_array_equal(fit.scene.camera.T_world_camera, T)


# --- how a start ends -------------------------------------------------------------------------------------------------


def test_a_short_step_ends_the_stage():
    fit = descend(tolerance=0.05)  # steps are 0.08, 0.064, 0.0512, 0.041
    assert fit.status is sl.Status.CONVERGED and len(fit.loss_history) == 4
    np.testing.assert_allclose(depths(fit), closed_form(4), rtol=1e-5)


def test_a_loss_that_stopped_falling_has_converged():
    fit = descend(optimizer=optax.sgd(0.45), steps=16, tolerance=0.0)
    assert fit.status is sl.Status.CONVERGED and len(fit.loss_history) == 16


def test_an_object_that_leaves_the_image_is_reported():
    fit = descend(optimizer=optax.sgd(2.0))  # to z = -0.6, behind the camera
    assert fit.status is sl.Status.NOT_VISIBLE
    assert len(fit.loss_history) == 2  # nothing can improve any more
    np.testing.assert_allclose(depths(fit), [START, START - 4 * (START - TARGET)], rtol=1e-5)
    np.testing.assert_allclose(fit.loss_history[1, 0], TARGET**2, rtol=1e-5)


def test_a_loss_that_is_not_finite_has_diverged_and_is_not_the_best():
    def fragile(rendering, observation):
        value = square_function(rendering, observation)
        return jnp.where(value < 0.1, jnp.nan, value)

    fit = descend(loss=fragile)  # 0.16, 0.1024, NaN
    assert fit.status is sl.Status.DIVERGED
    assert fit.best_step == 1 and np.isfinite(fit.loss)
    assert np.isnan(fit.loss_history[2, 0]) and len(fit.loss_history) == 3


# --- callback ---------------------------------------------------------------------------------------------------------


def test_the_callback_sees_progress_and_can_stop():
    seen = []

    def callback(step, loss, scene):
        seen.append((step, loss, float(scene.T_world_object[0, 2, 3])))
        return step == 2

    fit = descend(callback=callback)
    assert fit.status is sl.Status.STOPPED and len(fit.loss_history) == 3
    assert [step for step, *_ in seen] == [0, 1, 2]
    np.testing.assert_allclose([loss for _, loss, _ in seen], (closed_form(3) - TARGET) ** 2, rtol=1e-4)
    np.testing.assert_allclose([z for *_, z in seen], closed_form(3), rtol=1e-5)
    quiet = descend(callback=lambda step, loss, scene: None)
    np.testing.assert_array_equal(quiet.loss_history, descend().loss_history)


def test_the_callback_reports_the_best_start_and_counts_over_stages():
    seen = []
    stages = [sl.Stage(2), sl.Stage(2)]
    starts = jnp.stack([at(1.4), at(0.8)])[:, None]
    descend(stages=stages, starts=starts, callback=lambda *event: seen.append(event))
    assert [step for step, *_ in seen] == [0, 1, 2, 3]
    z = [float(scene.T_world_object[0, 2, 3]) for *_, scene in seen]
    best_of_first = closed_form(2, z=0.8)
    np.testing.assert_allclose(z, [*best_of_first, *closed_form(2, z=best_of_first[-1])], rtol=1e-5)


# --- units, retraction ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [0.5, np.array([0.5], np.float32)])
def test_the_unit_of_translation(unit):
    np.testing.assert_allclose(depths(descend(translation_unit=unit)), closed_form(factor=1 - 0.2 * 0.25), rtol=1e-5)


def test_the_default_unit_is_the_visible_diameter():
    tan = np.tan(0.3)
    sides = 2 * START * tan * np.array([WIDTH - 1, HEIGHT - 1]) / WIDTH  # between the outer pixels' centres
    expected = closed_form(factor=1 - 0.2 * (sides @ sides))
    np.testing.assert_allclose(depths(descend(translation_unit=None)), expected, rtol=1e-4)


@sl.residual_loss
def tilt(rendering, observation):
    """Falls when the sheet's top recedes and all of it approaches."""
    down = jnp.linspace(-1.0, 1.0, rendering.depth.shape[0])[:, None]
    weights = jnp.full_like(rendering.depth, 1 / rendering.depth.size)
    return sl.Residuals(rendering.depth + 2 * down * rendering.depth, weights)


def test_the_unit_of_rotation():
    """The gradient grows with the unit, and so does what is made of it."""
    gentle = optax.sgd(1e-2)
    turns, moves = [], []
    for unit in (1.0, 2.0):
        T = descend(loss=tilt, optimizer=gentle, steps=2, rotation_unit=unit).T_world_object_history[1, 0, 0]
        twist = np.asarray(sl.se3_log(jnp.linalg.inv(at(START)) @ T))
        turns.append(np.linalg.norm(twist[:3]))
        moves.append(twist[5])
    assert turns[0] > 1e-4
    np.testing.assert_allclose(turns[1] / turns[0], 4, rtol=1e-2)
    np.testing.assert_allclose(moves[1], moves[0], rtol=1e-2)


def test_both_retractions_are_nearly_the_same():
    gentle = optax.sgd(1e-2)
    twist = descend(loss=tilt, optimizer=gentle, steps=2)
    delta = descend(loss=tilt, optimizer=gentle, steps=2, retraction=sl.apply_pose_delta)
    change = np.abs(twist.T_world_object_history[1] - twist.T_world_object_history[0]).max()
    assert change > 5e-3
    np.testing.assert_allclose(twist.T_world_object_history, delta.T_world_object_history, atol=0.03 * change)
    R = np.asarray(delta.scene.T_world_object[0, :3, :3])
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-6)


# --- starts and hypotheses --------------------------------------------------------------------------------------------


def test_several_starts_are_as_each_alone():
    starts = jnp.stack([at(1.4), at(0.8), at(1.1)])[:, None]
    fit = descend(starts=starts)
    assert fit.loss_history.shape == (STEPS, 3) and len(fit.statuses) == 3
    for start, z in enumerate((1.4, 0.8, 1.1)):
        np.testing.assert_allclose(depths(fit, start), closed_form(z=z), rtol=1e-5)
    assert (fit.best_step, fit.best_start) == (STEPS - 1, 1)
    assert fit.loss == fit.loss_history[-1, 1] == fit.losses[1]


def test_one_start_may_be_hidden_and_lost():
    fit = descend(starts=jnp.stack([at(-1.0), at(0.8), at(1.1)])[:, None])
    assert fit.statuses == (sl.Status.NOT_VISIBLE, sl.Status.STEP_LIMIT, sl.Status.STEP_LIMIT)
    assert fit.best_start == 1 and fit.status is sl.Status.STEP_LIMIT


def dark(rendering, observation):
    """Brightness: least where nothing is seen."""
    return jnp.mean(rendering.rgb)


def test_poses_that_do_not_show_are_worse_than_all_that_do():
    starts = jnp.stack([at(-1.0), at(1.4), at(0.9)])[:, None]
    fit = descend(loss=dark, starts=starts, stages=[sl.Stage(1, keep=1), sl.Stage(1)])
    assert fit.loss_history[0].argmin() == 0 and fit.best_start == 1
    assert fit.statuses[0] is sl.Status.PRUNED
    assert np.isinf(fit.losses[0])
    np.testing.assert_allclose(fit.scene.T_world_object[0], at(1.4))
    reports = []
    descend(loss=dark, starts=starts[:2], steps=1, callback=lambda *report: reports.append(report))
    assert reports[0][1] == fit.loss_history[0, 1]


def first_poses(**options):
    return descend(hypotheses=3, **options).T_world_object_history[0, :, 0]


def test_hypotheses_are_seeded_and_as_far_as_asked():
    first = first_poses(translation_unit=0.5)
    np.testing.assert_allclose(first[0], at(START), atol=1e-6)
    change = np.linalg.inv(np.asarray(at(START))) @ first[1:]
    angles = np.degrees(np.arccos((np.trace(change[:, :3, :3], axis1=1, axis2=2) - 1) / 2))
    np.testing.assert_allclose(angles, 20, rtol=1e-3)  # the default
    np.testing.assert_allclose(np.linalg.norm(change[:, :3, 3], axis=-1), 0.1 * 0.5, rtol=1e-4)
    np.testing.assert_array_equal(first, first_poses(translation_unit=0.5))
    np.testing.assert_array_equal(first, first_poses(translation_unit=0.5, key=jax.random.key(0)))
    others = first_poses(translation_unit=0.5, key=jax.random.key(1))
    assert np.abs(others - first)[1:].max() > 1e-2
    near = first_poses(translation_unit=0.5, spread=(0.0, 0.02))
    np.testing.assert_allclose(near[:, :3, :3], np.tile(np.eye(3), (3, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm((near - near[0])[1:, :3, 3], axis=-1), 0.01, rtol=1e-3)


# --- stages -----------------------------------------------------------------------------------------------------------


def test_stages_prune_and_begin_with_the_best():
    starts = jnp.stack([at(1.2), at(0.8), at(1.1)])[:, None]
    overshooting = optax.sgd(lambda step: jnp.where(step < 2, 0.1, 1.02))  # the third step makes it worse
    stages = [sl.Stage(4, keep=2, optimizer=overshooting), sl.Stage(2, keep=1), sl.Stage(2)]
    fit = descend(stages=stages, starts=starts)
    np.testing.assert_array_equal(fit.stage_history, [0, 0, 0, 0, 1, 1, 2, 2])
    assert fit.statuses == (sl.Status.PRUNED, sl.Status.STEP_LIMIT, sl.Status.PRUNED)
    assert fit.best_start == 1 and fit.best_step == 7
    ends = [2, 7, 5]  # the best step of each start in its last stage
    np.testing.assert_array_equal(fit.losses, fit.loss_history[ends, range(3)])
    np.testing.assert_array_equal(fit.T_world_object, fit.T_world_object_history[ends, range(3)])
    np.testing.assert_array_equal(
        np.isnan(fit.loss_history), [[False] * 3] * 4 + [[True, False, False]] * 2 + [[True, False, True]] * 2
    )
    np.testing.assert_array_equal(np.isnan(fit.T_world_object_history).all((2, 3, 4)), np.isnan(fit.loss_history))
    best = fit.loss_history[:4].argmin(axis=0)
    assert (best == 2).all()
    for start in (1, 2):
        np.testing.assert_array_equal(fit.T_world_object_history[4, start], fit.T_world_object_history[2, start])
    np.testing.assert_allclose(depths(fit, 1)[6:], closed_form(2, z=depths(fit, 1)[5]), rtol=1e-5)


def test_the_scale_of_a_stage_is_that_of_its_images():
    sizes = []

    def recording(scene):
        sizes.append((scene.camera.height, scene.camera.width))
        return SHEET(scene)

    stages = [sl.Stage(STEPS, scale=0.5), sl.Stage(STEPS)]
    fit = sl.refine_poses(
        SCENE, SEEN, recording, loss=square, optimizer=DESCENT, stages=stages, translation_unit=1.0, jit=False
    )
    # Each stage after the first also looks at the start, which it must be better than, and at both ends of the last.
    assert sizes[-2 * STEPS - 3 :] == [(4, 6)] * STEPS + [(9, 12)] * (3 + STEPS)
    z = np.concatenate([closed_form(), closed_form(z=closed_form()[-1])])
    np.testing.assert_allclose(depths(fit), z, rtol=1e-4)
    assert (fit.scene.camera.height, fit.scene.camera.width) == (9, 12)


def test_the_blur_of_a_stage():
    """One wrong pixel of colour; blurred, it costs what the blurred image costs."""
    rgb = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    rgb[4, 6] = 1.0
    seen = sl.Observation(rgb=rgb, depth=SEEN.depth)
    loss = sl.l2_loss + square
    fit = sl.refine_poses(
        SCENE, seen, SHEET, loss=loss, optimizer=DESCENT, translation_unit=1.0, stages=[sl.Stage(1, blur=1.0)]
    )
    rendering = sl.render(SCENE, SHEET)
    np.testing.assert_allclose(fit.loss, sl.blurred(loss, 1.0)(rendering, seen), rtol=1e-5)
    assert fit.loss < loss(rendering, seen) - 1e-4


def test_the_default_optimiser_descends_in_every_stage():
    fit = descend(optimizer=None, stages=[sl.Stage(2), sl.Stage(2)])
    moved = -np.diff(depths(fit))
    np.testing.assert_allclose(moved[0], 0.02, rtol=2e-2)  # Adam's first step is its rate
    np.testing.assert_allclose(moved[2], 0.01, rtol=2e-2)  # halved


# --- resume -----------------------------------------------------------------------------------------------------------

SCHEDULED = optax.adam(optax.cosine_decay_schedule(0.05, 8))


@sl.residual_loss
def saturated(rendering, observation):
    """A residual that levels off: from far away, Gauss-Newton jumps too far."""
    difference = 12 * (rendering.depth - observation.depth)
    return sl.Residuals(jnp.arctan(difference), 1 / difference.size)


TRUST = sl.LevenbergMarquardt(damping=0.05, max_step=10.0)
RESUMABLE = {
    "adam with a schedule": {"optimizer": SCHEDULED},
    "Levenberg-Marquardt": {"loss": saturated, "optimizer": TRUST},
    "without jit": {"optimizer": SCHEDULED, "jit": False},
}


@pytest.mark.parametrize("name", RESUMABLE)
def test_resuming_is_as_if_it_had_not_stopped(name):
    options = {"tolerance": 0.0} | RESUMABLE[name]
    start = {"steps": 14, "starts": at(0.75)[None, None]}
    whole = descend(**start, **options)
    parts = descend(**start, **options, callback=lambda step, *_: step == 2)
    assert parts.status is sl.Status.STOPPED and len(parts.loss_history) == 3
    fit = descend(steps=11, resume=parts, **options)
    assert len(fit.loss_history) == 14
    np.testing.assert_array_equal(fit.loss_history, whole.loss_history)
    np.testing.assert_array_equal(fit.T_world_object_history, whole.T_world_object_history)
    np.testing.assert_array_equal(fit.scene.T_world_object, whole.scene.T_world_object)
    assert (fit.loss, fit.best_step, fit.status) == (whole.loss, whole.best_step, whole.status)


def test_resuming_goes_on_in_the_last_stage_with_the_starts_that_are_left():
    starts = jnp.stack([at(1.4), at(0.8)])[:, None]
    whole = descend(stages=[sl.Stage(2, keep=1), sl.Stage(4)], starts=starts)
    part = descend(stages=[sl.Stage(2, keep=1), sl.Stage(2)], starts=starts)
    seen = []
    fit = descend(steps=2, resume=part, callback=lambda step, *_: seen.append(step))
    np.testing.assert_array_equal(fit.loss_history, whole.loss_history)
    np.testing.assert_array_equal(fit.stage_history, whole.stage_history)
    assert fit.statuses == whole.statuses and fit.best_start == 1
    assert seen == [4, 5]


def test_what_has_converged_does_not_go_on():
    part = descend(tolerance=0.05)
    fit = descend(tolerance=0.05, resume=part)
    np.testing.assert_array_equal(fit.loss_history, part.loss_history)
    assert fit.status is sl.Status.CONVERGED


# --- least squares ----------------------------------------------------------------------------------------------------


def test_gauss_newton_solves_a_linear_problem_in_one_step():
    fit = descend(optimizer=sl.GaussNewton(max_step=10.0))
    np.testing.assert_allclose(depths(fit)[1:], TARGET, rtol=1e-4)
    assert fit.status is sl.Status.CONVERGED


def test_no_step_is_longer_than_allowed():
    T = descend(optimizer=sl.GaussNewton(max_step=0.1)).T_world_object_history[:, 0, 0]
    np.testing.assert_allclose(T[0, 2, 3] - T[1, 2, 3], 0.1, rtol=1e-3)
    steps = jax.vmap(sl.se3_log)(jnp.linalg.inv(T[:-1]) @ T[1:])
    assert (np.linalg.norm(steps, axis=-1) < 0.1 * (1 + 1e-3)).all()


def test_what_the_images_do_not_show_stays():
    """The sheet may slide and spin in its plane unseen; rounding errors shall not make it."""
    T = descend(optimizer=sl.GaussNewton(max_step=0.1)).T_world_object_history[:, 0, 0]
    np.testing.assert_allclose(T[:, :2, 3], 0, atol=5e-3)
    np.testing.assert_allclose(T[:, 0, 1], 0, atol=5e-3)


def test_levenberg_marquardt_takes_back_what_raises_the_loss():
    options = {"loss": saturated, "steps": 14, "starts": at(0.75)[None, None], "tolerance": 0.0}
    fit = descend(optimizer=TRUST, **options)
    losses, z = fit.loss_history[:, 0], depths(fit)
    rejected = [step for step in range(1, len(z) - 1) if losses[step] >= losses[:step].min()]
    assert 1 in rejected  # it jumped too far
    for step in rejected[:2]:
        assert abs(z[step + 1] - z[0]) < abs(z[step] - z[0])  # again from the start, with more damping
    assert fit.loss < 1e-4 * losses[0]


def test_levenberg_marquardt_takes_back_a_step_out_of_the_image():
    """From farther away, the first step ends behind the camera."""
    options = {"loss": saturated, "steps": 14, "starts": at(0.85)[None, None], "tolerance": 0.0}
    fit = descend(optimizer=TRUST, **options)
    assert depths(fit)[1] < 0
    assert fit.status is not sl.Status.NOT_VISIBLE
    np.testing.assert_allclose(fit.scene.T_world_object[0, 2, 3], TARGET, atol=1e-2)


# --- compiled once, and not at all ------------------------------------------------------------------------------------


def test_a_second_call_does_not_compile_again():
    traces = []

    @sl.residual_loss
    def counted(rendering, observation):
        traces.append(None)
        return sl.Residuals(rendering.depth - observation.depth, 1 / rendering.depth.size)

    fit = descend(loss=counted)
    count = len(traces)
    assert count > 0
    other = sl.Scene(at(0.8)[None], SCENE.camera, np.array([9]))
    seen = sl.Observation(depth=SEEN.depth + 0.1)
    again = sl.refine_poses(
        other, seen, Sheet(), loss=counted, optimizer=DESCENT, steps=STEPS, translation_unit=np.float32(2.0)
    )
    assert len(traces) == count
    assert again.loss != fit.loss


@pytest.mark.parametrize("starts", [1, 2])
def test_without_jit_it_is_the_same(starts):
    seen = []

    def untraceable(scene):
        seen.append(np.asarray(scene.T_world_object))  # raises under trace
        return SHEET(scene)

    options = {"starts": jnp.stack([at(1.0), at(0.8)])[:starts, None]}
    compiled = descend(**options)
    calls = []
    eager = sl.refine_poses(SCENE, SEEN, untraceable, loss=square, optimizer=DESCENT, steps=STEPS, jit=False,
                            translation_unit=1.0, callback=lambda *e: calls.append(e), **options)  # fmt: skip
    np.testing.assert_allclose(eager.loss_history, compiled.loss_history, rtol=1e-5)
    np.testing.assert_allclose(eager.T_world_object_history, compiled.T_world_object_history, atol=1e-6)
    assert (eager.status, eager.best_step, eager.best_start) == (compiled.status, compiled.best_step, starts - 1)
    assert len(seen) == starts * (STEPS + 1)  # one more for the check that all is visible
    assert len(calls) == STEPS


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"steps": 2.5}, "steps must be a positive integer, got 2.5"),
        ({"stages": []}, "at least one Stage"),
        ({"starts": np.eye(4)[None]}, r"starts must have shape \(starts, 1, 4, 4\), got \(1, 4, 4\)"),
        ({"starts": np.zeros((0, 1, 4, 4))}, r"starts must have shape .* got \(0, 1, 4, 4\)"),
        ({"starts": np.eye(4)[None, None], "hypotheses": 2}, "starts or hypotheses, not both"),
        ({"hypotheses": 0}, "hypotheses must be a positive integer, got 0"),
        ({"translation_unit": 0.0}, "Units must be positive"),
        ({"rotation_unit": -1.0}, "Units must be positive"),
        ({"loss": square_function, "optimizer": sl.GaussNewton()}, "GaussNewton needs a Loss"),
        ({"loss": square_function, "optimizer": sl.LevenbergMarquardt()}, "LevenbergMarquardt needs a Loss"),
        ({"loss": square_function, "stages": [sl.Stage(2, blur=1.0)]}, "blur needs a Loss"),
        ({"starts": at(-1.0)[None, None]}, r"labelled \[1\] are not visible"),
        ({"stages": [sl.Stage(2), sl.Stage(2, optimizer="adam")]}, "got 'adam'"),
        ({"optimizer": "adam"}, r"LevenbergMarquardt\(\) or one of optax's, .* got 'adam'"),
        ({"optimizer": optax.lbfgs()}, "searches along a line"),
    ],
)
def test_what_it_refuses(unchecked_types, options, match):
    with pytest.raises(ValueError, match=match):
        descend(**options)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        ({"depth": np.zeros((HEIGHT, WIDTH), np.float32)}, "depth is zero everywhere"),
        ({"depth": np.full((HEIGHT, WIDTH), 600.0, np.float32)}, r"depth is \d+ times .* must be in metres"),
        (
            {"mask": np.eye(HEIGHT, WIDTH, dtype=bool), "weight": 1.0 - np.eye(HEIGHT, WIDTH, dtype=np.float32)},
            "no pixel counts",
        ),
    ],
)
def test_it_refuses_an_observation_with_which_nothing_compares(images, match):
    whole = {"depth": np.ones((HEIGHT, WIDTH), np.float32)}
    with pytest.raises(ValueError, match=match):
        sl.refine_poses(SCENE, sl.Observation(**(whole | images)), SHEET)


def test_a_renderer_that_cannot_be_traced_is_told_how():
    def eager(scene):
        return SHEET(sl.Scene(np.asarray(scene.T_world_object), scene.camera))

    with pytest.raises(ValueError, match="jit=False"):
        sl.refine_poses(SCENE, SEEN, eager, loss=square, optimizer=DESCENT, steps=1)


def test_resuming_checks_the_stages_that_follow(unchecked_types):
    stages = [sl.Stage(2), sl.Stage(2, optimizer=sl.GaussNewton())]
    first = descend(stages=stages, callback=lambda *_: True)
    with pytest.raises(ValueError, match="GaussNewton needs a Loss"):
        descend(resume=first, steps=1, loss=square_function)


def test_resuming_goes_on_to_the_stages_that_were_not_reached():
    stages = [sl.Stage(3), sl.Stage(2), sl.Stage(2)]
    whole = descend(stages=stages)
    first = descend(stages=stages, callback=lambda step, *_: step == 3)
    assert first.status is sl.Status.STOPPED and len(first.loss_history) == 4
    rest = descend(resume=first, steps=1)
    np.testing.assert_array_equal(rest.stage_history, whole.stage_history)
    np.testing.assert_allclose(rest.T_world_object_history, whole.T_world_object_history, rtol=1e-6)
    small = sl.Observation(depth=np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="Resize the observation"):
        sl.refine_poses(SCENE, small, SHEET, resume=first)


def test_it_refuses_to_be_traced():
    def refined(T_world_object):
        return sl.refine_poses(sl.Scene(T_world_object, SCENE.camera), SEEN, SHEET).scene.T_world_object

    for traced in (refined, lambda T: descend(starts=T[None]).T_world_object):
        with pytest.raises(ValueError, match="outside of jit, vmap and grad"):
            jax.jit(traced)(SCENE.T_world_object)


def test_an_optimizer_may_ask_for_the_loss():
    fit = descend(optimizer=optax.polyak_sgd(max_learning_rate=1.0), steps=4)
    error = np.abs(depths(fit) - TARGET)  # for a square, Polyak's step halves the error
    np.testing.assert_allclose(error, error[0] * 0.5 ** np.arange(4), rtol=1e-4)


def test_an_optimizer_may_rest():
    fit = descend(optimizer=optax.MultiSteps(DESCENT, 2).gradient_transformation(), steps=5)
    np.testing.assert_allclose(depths(fit), closed_form(3)[[0, 0, 1, 1, 2]], rtol=1e-5)


def test_it_refuses_sizes_that_differ_and_a_resume_that_begins_anew(unchecked_types):
    small = sl.Observation(depth=np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"observation is \(height, width\) = \(3, 3\), the camera's image \(9, 12\)"):
        sl.refine_poses(SCENE, small, SHEET)
    fit = descend()
    for options in ({"stages": [sl.Stage(2)]}, {"starts": at(1.0)[None, None]}, {"hypotheses": 2}):
        with pytest.raises(ValueError, match="leave out stages, starts and hypotheses"):
            descend(resume=fit, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": 0}, "steps must be a positive integer"),
        ({"steps": True}, "steps must be a positive integer"),
        ({"scale": 0.0}, r"scale of a stage must lie in \(0, 1\]"),
        ({"scale": 1.5}, r"scale of a stage must lie in \(0, 1\]"),
        ({"blur": -1.0}, "blur of a stage"),
        ({"blur": float("inf")}, "blur of a stage"),
        ({"keep": 0}, "keep must be a positive integer or None"),
    ],
)
def test_a_stage_refuses(unchecked_types, options, match):
    with pytest.raises(ValueError, match=match):
        sl.Stage(**({"steps": 3} | options))


# --- boxes ------------------------------------------------------------------------------------------------------------

BOXES = sl.MeshRenderer([box_mesh((0.12, 0.10, 0.06), seed=3)], buffers="core")
BOX_SCENE = sl.Scene(
    sl.se3_exp(jnp.array([0.4, 0.5, 0.2, 0.0, 0.0, 0.0])).at[:3, 3].set(jnp.array([0.0, 0.01, 0.4]))[None],
    sl.Camera.from_fov(0.6, width=48, height=36),
)
OFFSET = np.array([0.05, -0.04, 0.06, 0.004, -0.003, 0.006], np.float32)


def moved(scene, offset):
    T = jax.vmap(sl.apply_twist)(
        scene.T_world_object, jnp.broadcast_to(jnp.asarray(offset), (len(scene.T_world_object), 6))
    )
    return eqx.tree_at(lambda s: s.T_world_object, scene, T)


def observe(scene, renderer):
    rendering = sl.render(scene, renderer)
    return sl.Observation(rendering.rgb, rendering.depth, rendering.mask)


def errors(fit, truth):
    """Degrees and millimetres, the largest of all objects."""
    twists = jax.vmap(sl.se3_log)(jnp.linalg.inv(truth.T_world_object) @ fit.scene.T_world_object)
    return np.degrees(np.linalg.norm(twists[:, :3], axis=-1).max()), 1e3 * np.linalg.norm(twists[:, 3:], axis=-1).max()


def test_the_defaults_find_the_pose_of_a_box():
    fit = sl.refine_poses(moved(BOX_SCENE, OFFSET), observe(BOX_SCENE, BOXES), BOXES, steps=60)
    degrees, millimetres = errors(fit, BOX_SCENE)
    assert degrees < 0.5 and millimetres < 0.5


def test_levenberg_marquardt_finds_it_in_fifteen_steps_also_without_jit():
    start, seen = moved(BOX_SCENE, OFFSET), observe(BOX_SCENE, BOXES)
    fit = sl.refine_poses(start, seen, BOXES, optimizer=sl.LevenbergMarquardt(), steps=15)
    degrees, millimetres = errors(fit, BOX_SCENE)
    assert degrees < 0.5 and millimetres < 0.5
    assert fit.status is sl.Status.CONVERGED

    def untraceable(scene):
        np.asarray(scene.T_world_object)
        return BOXES(scene)

    eager = sl.refine_poses(start, seen, untraceable, optimizer=sl.LevenbergMarquardt(), steps=15, jit=False)
    traced = sl.refine_poses(start, seen, lambda s: BOXES(s), optimizer=sl.LevenbergMarquardt(), steps=15)
    np.testing.assert_allclose(eager.loss_history[:3], traced.loss_history[:3], rtol=1e-3)
    degrees, millimetres = errors(eager, BOX_SCENE)
    assert degrees < 0.5 and millimetres < 0.5


def test_boxes_that_hide_each_other_are_found_together():
    renderer = sl.MeshRenderer([box_mesh((0.12, 0.10, 0.06), seed=3), box_mesh((0.05, 0.07, 0.06), seed=4)])
    near = sl.se3_exp(jnp.array([-0.3, 0.4, 0.1, 0.0, 0.0, 0.0])).at[:3, 3].set(jnp.array([0.03, 0.0, 0.3]))
    truth = sl.Scene(jnp.stack([BOX_SCENE.T_world_object[0], near]), BOX_SCENE.camera, np.array([5, 2]))
    labels = np.asarray(renderer(truth).instance_index)
    alone = np.asarray(BOXES(sl.Scene(truth.T_world_object[:1], truth.camera)).instance_index)
    assert ((labels == 2) & (alone == 1)).sum() > 50  # hidden pixels
    offset = np.stack([OFFSET, -OFFSET])
    T = jax.vmap(sl.apply_twist)(truth.T_world_object, jnp.asarray(offset))
    start = eqx.tree_at(lambda s: s.T_world_object, truth, T)
    fit = sl.refine_poses(start, observe(truth, renderer), renderer, optimizer=sl.LevenbergMarquardt(), steps=20)
    degrees, millimetres = errors(fit, truth)
    assert degrees < 1.0 and millimetres < 1.0
    assert fit.T_world_object_history.shape[1:] == (1, 2, 4, 4)
