"""Refinements where the program's dtype is another than the file's, and refinements that are saved and resumed."""

import pickle

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_refine import HEIGHT, SHEET, TARGET, WIDTH, at, square

import sldiff_jax as sl

METHODS = {
    "lm": sl.LevenbergMarquardt(),
    "gn": sl.GaussNewton(),
    "adam": optax.adam(0.1),
}


pytestmark = pytest.mark.usefixtures("quick_compilation")


def scene(pose_dtype, camera_dtype) -> sl.Scene:
    focal = np.asarray(20.0, camera_dtype)
    camera = sl.Camera.from_intrinsics(focal, focal, WIDTH / 2, HEIGHT / 2, width=WIDTH, height=HEIGHT)
    return sl.Scene(jnp.asarray(at(0.75)[None], pose_dtype), camera)


def depth(dtype) -> sl.Observation:
    return sl.Observation(depth=np.full((HEIGHT, WIDTH), TARGET, dtype))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("pose", "camera", "observed"),
    [
        (np.float32, np.float32, np.float32),
        (np.float32, np.float32, np.float64),
        (np.float32, np.float64, np.float32),
        (np.float16, np.float64, np.float64),
        (np.float64, np.float32, np.float32),
    ],
)
def test_dtypes_are_brought_together_under_x64(method, pose, camera, observed, x64):
    options = {"loss": square, "optimizer": METHODS[method], "steps": 3, "translation_unit": np.float32(1)}
    fit = sl.refine_poses(scene(pose, camera), depth(observed), SHEET, **options)
    plain = sl.refine_poses(scene(np.float64, np.float64), depth(np.float64), SHEET, **options)
    assert fit.scene.T_world_object.dtype == fit.scene.camera.projection.dtype == jnp.float64
    # Turns of the sheet hardly show; its distance does.
    distances = [np.asarray(f.scene.T_world_object)[0, 2, 3] for f in (fit, plain)]
    assert distances[0] == pytest.approx(distances[1], abs=0.01)
    assert fit.loss < 0.02


@pytest.mark.parametrize("method", ["lm", "gn"])
def test_half_precision_becomes_the_default(method):
    fit = sl.refine_poses(
        scene(jnp.bfloat16, np.float16), depth(np.float16), SHEET, loss=square, optimizer=METHODS[method], steps=3,
        translation_unit=1.0,
    )  # fmt: skip
    assert fit.scene.T_world_object.dtype == jnp.result_type(float)
    assert fit.loss < 0.02


def test_render_jvp_where_poses_and_camera_differ(x64):
    mixed, plain = scene(np.float32, np.float64), scene(np.float64, np.float64)
    delta = np.array([[0, 0, 0, 0, 0, 1.0]])
    changes = [sl.render_jvp(s, SHEET, delta)[1].depth for s in (mixed, plain)]
    np.testing.assert_allclose(*changes, rtol=1e-6)
    np.testing.assert_allclose(changes[0], 1, rtol=1e-6)


def test_a_refinement_that_was_saved_goes_on_as_if_it_had_not_been():
    start, seen = scene(np.float32, np.float32), depth(np.float32)
    loss = square + 0.1 * sl.depth_loss.using(scale=0.5)
    stages = [
        sl.Stage(2, loss=loss, optimizer=sl.LevenbergMarquardt()),
        sl.Stage(2, optimizer=sl.GaussNewton(), loss=loss),
    ]
    first = sl.refine_poses(
        start, seen, SHEET, stages=stages, translation_unit=1.0, tolerance=0.0, callback=lambda step, *_: step == 0
    )
    assert first.status is sl.Status.STOPPED
    saved = pickle.loads(pickle.dumps(first))
    assert saved.status is sl.Status.STOPPED and saved.loss == first.loss
    went_on, resumed = (
        sl.refine_poses(start, seen, SHEET, steps=1, translation_unit=1.0, tolerance=0.0, resume=fit)
        for fit in (first, saved)
    )
    assert resumed.stage_history.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(resumed.loss_history, went_on.loss_history)
    np.testing.assert_array_equal(resumed.T_world_object_history, went_on.T_world_object_history)
