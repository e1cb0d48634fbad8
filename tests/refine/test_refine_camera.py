"""`refine_camera`: focal length, aspect, principal point, each found again with the pose; and what is refused."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sldiff_jax as sl
from sldiff_jax._gradients.black_box import differentiable
from sldiff_jax._refine.free_camera import JointProblem, freed_projection, joint_equations, joint_gradient
from sldiff_jax.mesh_renderer import demo_mesh

WIDTH, HEIGHT = 96, 72
FX, CX, CY = 132.0, 49.0, 35.0


pytestmark = pytest.mark.usefixtures("quick_compilation")


def camera(fx=FX, fy=FX, cx=CX, cy=CY) -> sl.Camera:
    return sl.Camera.from_intrinsics(fx, fy, cx, cy, width=WIDTH, height=HEIGHT)


T_TRUE = sl.se3_exp(jnp.array([0.4, -0.7, 0.3, 0, 0, 0])).at[:3, 3].set(jnp.array([0.005, -0.004, 0.25]))
T_START = T_TRUE @ sl.se3_exp(jnp.array([0.06, -0.06, 0.06, 0.002, -0.002, 0.002]))


@pytest.fixture(scope="module")
def renderer() -> sl.MeshRenderer:
    return sl.MeshRenderer([demo_mesh()], buffers="core")


@pytest.fixture(scope="module")
def seen(renderer) -> sl.Rendering:
    return sl.render(sl.Scene(T_TRUE[None], camera()), renderer)


def errors(fit) -> tuple[float, float]:
    """Degrees and millimetres."""
    T, T_true = np.asarray(fit.scene.T_world_object[0], np.float64), np.asarray(T_TRUE, np.float64)
    cosine = (np.trace(T[:3, :3].T @ T_true[:3, :3]) - 1) / 2
    return math.degrees(math.acos(min(1, cosine))), 1e3 * float(np.linalg.norm(T[:3, 3] - T_true[:3, 3]))


# --- recovered


@pytest.mark.slow
def test_a_focal_length_that_is_ten_percent_off_by_colour_alone(renderer, seen):
    start = sl.Scene(T_START[None], camera(fx=1.1 * FX, fy=1.1 * FX))
    fit = sl.refine_camera(start, sl.Observation(rgb=seen.rgb), renderer, loss=sl.photometric_loss)
    assert fit.status.trusted and fit.loss < 0.01 * fit.loss_history[0]
    fx, fy, cx, cy = fit.scene.camera.intrinsics
    assert float(fx) == pytest.approx(FX, rel=0.01) and float(fy) == pytest.approx(float(fx), rel=1e-6)
    assert (float(cx), float(cy)) == pytest.approx((CX, CY), abs=1e-3)
    angle, distance = errors(fit)
    assert angle < 0.3 and distance < 3
    # With the focal length as it was guessed, the distance stays wrong by as much.
    fixed = sl.refine_poses(
        start, sl.Observation(rgb=seen.rgb), renderer, loss=sl.photometric_loss, steps=30,
        optimizer=sl.LevenbergMarquardt(),
    )  # fmt: skip
    assert errors(fixed)[1] > 10 and fixed.loss > 3 * fit.loss

    assert fit.intrinsics_history.shape == (len(fit.loss_history), 4)
    assert np.allclose(fit.intrinsics_history[0], (1.1 * FX, 1.1 * FX, CX, CY), atol=1e-3)
    assert np.allclose(fit.intrinsics_history[fit.best_step], fit.scene.camera.intrinsics)
    assert np.allclose(fit.T_world_object_history[0, 0], T_START)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("free", "wrong"),
    [
        ("principal_point", {"cx": CX + 8, "cy": CY - 6}),
        (("principal_point", "aspect", "focal_length"), {"fx": 1.1 * FX, "fy": 1.02 * FX, "cx": CX + 6}),
    ],
)
def test_with_depth_all_of_the_camera(renderer, seen, free, wrong):
    observation = sl.Observation(rgb=seen.rgb, depth=seen.depth)
    fit = sl.refine_camera(
        sl.Scene(T_START[None], camera(**wrong)), observation, renderer, free=free,
        loss=sl.photometric_loss + sl.depth_loss,
    )  # fmt: skip
    assert fit.status.trusted
    fx, fy, cx, cy = map(float, fit.scene.camera.intrinsics)
    assert (fx, fy) == pytest.approx((FX, FX), rel=0.01)
    assert (cx, cy) == pytest.approx((CX, CY), abs=1)
    angle, distance = errors(fit)
    assert angle < 0.5 and distance < 2


@pytest.mark.slow
def test_by_an_optimizer_of_optax(renderer, seen):
    start = sl.Scene(T_START[None], camera(fx=1.1 * FX, fy=1.1 * FX))
    observation = sl.Observation(rgb=seen.rgb, depth=seen.depth)
    adam = optax.adam(optax.cosine_decay_schedule(0.02, 120, alpha=0.05))
    fit = sl.refine_camera(
        start, observation, renderer, loss=sl.photometric_loss + sl.depth_loss, optimizer=adam, steps=120
    )
    assert fit.status.trusted and float(fit.scene.camera.intrinsics[0]) == pytest.approx(FX, rel=0.01)
    assert errors(fit)[1] < 2


@pytest.mark.slow
def test_the_exposure_with_the_pose(renderer, seen):
    """Beside pose and focal length, gain and offset of each channel."""
    gain, offset = np.array([0.7, 0.9, 0.8]), np.array([0.1, 0.05, 0.02])
    photo = sl.Observation(rgb=np.clip(gain * np.asarray(seen.rgb) + offset, 0, 1), mask=seen.mask > 0.5)
    start = sl.Scene(T_START[None], camera(fx=1.1 * FX, fy=1.1 * FX))
    fit = sl.refine_camera(start, photo, renderer, loss=sl.exposed(sl.l2_loss) + sl.silhouette_loss)
    assert float(fit.scene.camera.intrinsics[0]) == pytest.approx(FX, rel=0.03)
    found = sl.match_exposure(sl.render(fit.scene, renderer), photo)
    assert found.gain == pytest.approx(gain, abs=0.03) and found.offset == pytest.approx(offset, abs=0.02)


# --- what it is made of


@pytest.mark.parametrize("free", ["focal_length", "aspect", "principal_point"])
def test_free_numbers_are_those_of_the_intrinsics(free):
    freed = {"focal_length": [0.2], "aspect": [0.1], "principal_point": [0.05, -0.1]}[free]
    before = camera(fx=120.0, fy=130.0)
    P = freed_projection(before, (free,), jnp.array(freed))
    expected = {
        "focal_length": camera(fx=120 * math.exp(0.2), fy=130 * math.exp(0.2)),
        "aspect": camera(fx=120.0, fy=130 * math.exp(0.1)),
        "principal_point": camera(fx=120.0, fy=130.0, cx=CX + 0.05 * 120, cy=CY - 0.1 * 130),
    }[free]
    assert np.allclose(P, expected.projection, atol=1e-5)
    window = before.cropped(10, 5, 40, 30)
    assert np.allclose(
        freed_projection(window, (free,), jnp.array(freed)), expected.cropped(10, 5, 40, 30).projection, atol=1e-5
    )


def problem_of(renderer, seen, free=("focal_length", "principal_point")) -> JointProblem:
    observation = sl.Observation(rgb=seen.rgb, mask=seen.mask > 0.5)
    unit = jnp.asarray([[1.0, 1, 1, 0.1, 0.1, 0.1]])
    scene = sl.Scene(T_START[None], camera(fx=1.05 * FX))
    return JointProblem(scene, observation, differentiable(renderer), sl.l2_loss, sl.apply_twist, unit, free)


@pytest.mark.parametrize("kind", ["mesh renderer", "black box"])
def test_least_squares_know_the_gradient_and_the_products_of_the_columns(renderer, seen, kind):
    own = renderer if kind == "mesh renderer" else lambda scene: renderer(scene)
    problem = problem_of(own, seen)
    freed = jnp.array([0.02, 0.01, -0.01])
    T = problem.scene.T_world_object
    drawing = problem.renderer.draw(problem.at(T, freed))
    model, reverse = joint_equations(problem, T, freed, drawing), joint_gradient(problem, T, freed, drawing)
    largest = float(jnp.abs(reverse.gradient).max())
    assert largest > 1e-3
    assert model.gradient == pytest.approx(np.asarray(reverse.gradient), abs=2e-3 * largest)
    assert float(model.loss) == pytest.approx(float(reverse.loss))
    # The mean squared difference of colours inside of the mask: H = 2 J^T W J, coupled throughout.
    scene = problem.at(T, freed)

    def column(k):
        delta = jnp.zeros(9).at[k].set(1.0)
        P = [freed_projection(problem.scene.camera, problem.free, freed + sign * 1e-3 * delta[6:]) for sign in (1, -1)]
        return problem.renderer.change(
            scene, drawing, (delta[:6] * problem.unit[0])[None], projection=(P[0] - P[1]) / 2e-3
        ).rgb

    J = np.stack([np.asarray(column(k)).ravel() for k in range(9)])
    weight = np.repeat(np.asarray(problem.observation.mask).ravel(), 3)
    H = 2 * (J * weight / weight.sum()) @ J.T
    assert np.abs(H[:6, 6:]).max() > 0.01 * np.abs(H).max()
    assert np.asarray(model.curvature) == pytest.approx(H, abs=2e-3 * float(np.abs(H).max()))


def test_a_renderer_that_is_not_traced_and_two_optimizers(renderer, seen):
    """A few steps lower the loss; the callback sees them, and stops."""

    def eager(scene):
        assert not isinstance(scene.camera.projection, jax.core.Tracer)
        return renderer(scene)

    told = []

    def callback(step, loss, scene):
        told.append((step, loss, np.asarray(scene.camera.intrinsics)))
        return step == 3

    start, photo = sl.Scene(T_START[None], camera(fx=1.1 * FX, fy=1.1 * FX)), sl.Observation(rgb=seen.rgb)
    fit = sl.refine_camera(
        start, photo, eager, loss=sl.l2_loss, optimizer=sl.GaussNewton(max_step=0.05), jit=False, callback=callback
    )
    assert fit.status is sl.Status.STOPPED and [step for step, *_ in told] == [0, 1, 2, 3]
    assert told[-1][1] == fit.loss == fit.loss_history.min() < fit.loss_history[0]
    assert np.allclose([K for *_, K in told], fit.intrinsics_history)


# --- refused


def test_bad_input(renderer, seen, unchecked_types):
    scene, photo = sl.Scene(T_START[None], camera()), sl.Observation(rgb=seen.rgb)

    def refused(match, *, scene=scene, photo=photo, renderer=renderer, **options):
        with pytest.raises(ValueError, match=match):
            sl.refine_camera(scene, photo, renderer, **options)

    for free in ("f", "", (), ("focal_length", "zoom")):
        refused("free must name one or more of focal_length, aspect, principal_point, got", free=free)
    refused("steps must be a positive integer, got 0", steps=0)
    refused("optimizer must be GaussNewton", optimizer="adam")
    refused("needs a Loss, which has residuals", loss=lambda rendering, observation: jnp.sum(rendering.mask))
    refused(r"observation is \(height, width\) = \(36, 48\)", photo=photo.resized(48, 36))
    refused("Units must be positive", rotation_unit=0.0)
    refused("not visible in the first rendering", scene=sl.Scene(T_START[None].at[0, 0, 3].set(9.0), camera()))
    with pytest.raises(ValueError, match="outside of jit, vmap and grad"):
        jax.jit(lambda T: sl.refine_camera(sl.Scene(T, camera()), photo, renderer).loss)(T_START[None])


def test_a_renderer_whose_change_knows_no_projection(renderer, seen):
    class Own(eqx.Module):
        own: sl.MeshRenderer

        def draw(self, scene):
            return self.own.draw(scene)

        def buffers(self, scene, drawing):
            return self.own.buffers(scene, drawing)

        def images(self, scene, drawing, *, object_masks=False):
            return self.own.images(scene, drawing, object_masks=object_masks)

        def change(self, scene, drawing, delta):
            return self.own.change(scene, drawing, delta)

    with pytest.raises(ValueError, match=r"change.* takes no projection.*an optimiser of optax"):
        sl.refine_camera(
            sl.Scene(T_START[None], camera()), sl.Observation(rgb=seen.rgb), Own(renderer), loss=sl.l2_loss
        )
