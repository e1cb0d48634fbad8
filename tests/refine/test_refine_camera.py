"""`refine_camera`: focal length, aspect, principal point, each found again with the pose; and what is refused."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage

import sldiff_jax as sl
from sldiff_jax._gradients.black_box import differentiable
from sldiff_jax._refine.free_camera import POWERS, JointProblem, freed_projection, joint_equations, joint_gradient
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


LENS = np.array([-0.22, 0.05, 0.01, -0.008, 0.01])
WIDE = sl.Camera.from_intrinsics(130.0, 130.0, 94.0, 74.0, width=192, height=144)


@pytest.fixture(scope="module")
def four() -> sl.Scene:
    """Objects in all corners of a wide image: what a lens does to one of them, a motion can do as well."""
    places = [(-0.1, -0.07, 0.25), (0.11, -0.08, 0.28), (-0.12, 0.08, 0.27), (0.1, 0.07, 0.24)]
    turns = [(0.4, -0.7, 0.3), (1.4, 0.2, -0.8), (-0.6, 0.5, 1.0), (2.0, -0.4, 0.1)]
    T = [sl.se3_exp(jnp.array([*turn, 0, 0, 0])).at[:3, 3].set(jnp.array(at)) for turn, at in zip(turns, places)]
    return sl.Scene(jnp.stack(T), WIDE)


def bent(renderer, lens, scene: sl.Scene, fine: int = 4) -> sl.Observation:
    """What the lens makes of a scene: for each point of the photo the ray is looked for that it bends to there."""
    k1, k2, p1, p2, k3 = lens
    width, height = scene.camera.width, scene.camera.height
    large = scene.camera.resized(fine * width, fine * height)
    rendering = sl.render(sl.Scene(scene.T_world_object, large), renderer)
    fx, fy, cx, cy = np.asarray(large.intrinsics, np.float64)
    row, column = np.mgrid[: fine * height, : fine * width] + 0.5
    there = np.stack([(column - cx) / fx, (row - cy) / fy])
    x, y = there
    for _ in range(60):
        r2 = x**2 + y**2
        factor = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        more = np.stack([2 * p1 * x * y + p2 * (r2 + 2 * x**2), p1 * (r2 + 2 * y**2) + 2 * p2 * x * y])
        x, y = (there - more) / factor
    places = [fy * y + cy - 0.5, fx * x + cx - 0.5]

    def sample(image):
        image = scipy.ndimage.map_coordinates(np.asarray(image), places, order=1, mode="nearest")
        return image.reshape(height, fine, width, fine).mean((1, 3))

    rgb = np.stack([sample(channel) for channel in np.moveaxis(np.asarray(rendering.rgb), -1, 0)], axis=-1)
    depth = scipy.ndimage.map_coordinates(np.asarray(rendering.depth), places, order=0)[
        fine // 2 :: fine, fine // 2 :: fine
    ]
    return sl.Observation(rgb=rgb, depth=depth, mask=sample(rendering.mask) > 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lens", "free"),
    [(LENS * [1, 0, 0, 0, 0], "k1"), (LENS * [-0.5, 0, 1, 1, 0], ("focal_length", "k1", "p1", "p2"))],
)
def test_a_lens_is_found_with_the_poses(four, lens, free):
    """By outlines and colours; with the focal length by depth, too."""
    renderer = sl.MeshRenderer([demo_mesh()] * 4, buffers="core")
    photo = bent(renderer, lens, four)
    loss, wrong = sl.photometric_loss + 2.0 * sl.silhouette_loss, 130.0
    if "focal_length" in free:
        loss, wrong = loss + sl.depth_loss, 137.0
    loss = sl.blurred(loss, 1.0)  # the photo was sampled twice
    off = sl.se3_exp(jnp.array([0.03, -0.03, 0.03, 0.001, -0.001, 0.001]))
    guess = sl.Camera.from_intrinsics(wrong, wrong, 94.0, 74.0, width=192, height=144)
    fit = sl.refine_camera(sl.Scene(four.T_world_object @ off, guess), photo, renderer, free=free, loss=loss, steps=40)
    assert fit.status.trusted and fit.loss < 0.2 * fit.loss_history[0]
    assert fit.distortion == pytest.approx(lens, abs=0.025)
    assert float(fit.scene.camera.intrinsics[0]) == pytest.approx(130, rel=0.02)
    assert fit.distortion_history.shape == (len(fit.loss_history), 5) and not fit.distortion_history[0].any()
    apart = np.linalg.norm(fit.scene.T_world_object[:, :3, 3] - four.T_world_object[:, :3, 3], axis=-1)
    assert apart.max() < 0.003


# --- what it is made of


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("lens", [LENS, -LENS])
def test_images_through_a_known_lens_are_those_of_undistort(four, lens, known):
    renderer = sl.MeshRenderer([demo_mesh()] * 4, buffers="core")
    photo = dataclasses.replace(bent(renderer, lens, four), weight=jnp.ones((144, 192)))
    straight = sl.undistort(photo, four.camera, lens)
    free = ("k3",) if known else tuple(POWERS)
    problem = JointProblem(
        four, photo, differentiable(renderer), sl.l2_loss, sl.apply_twist, jnp.ones((4, 6)), free,
        jnp.asarray(lens if known else 0 * lens),
    )  # fmt: skip
    corner = math.hypot(98 / 130, 74 / 130)
    freed = jnp.zeros(1) if known else jnp.asarray(lens * [corner**power for power in POWERS.values()])
    assert problem.lens(freed) == pytest.approx(lens, abs=1e-6)
    seen = problem.seen(freed)
    for name in ("rgb", "weight"):
        np.testing.assert_allclose(getattr(seen, name), getattr(straight, name), atol=2e-4)
    assert np.mean(np.asarray(seen.depth) != np.asarray(straight.depth)) < 1e-3
    assert np.mean((np.asarray(seen.mask) > 0.5) != np.asarray(straight.mask)) < 1e-3
    assert (np.asarray(seen.weight).min() == 0) == (lens[0] > 0)  # then the corners lie outside of the photo


def test_the_gradient_by_a_lens_is_that_of_differences(four):
    """Also in the model of least squares."""
    renderer = sl.MeshRenderer([demo_mesh()] * 4, buffers="core")
    photo = sl.Observation(rgb=bent(renderer, LENS, four).rgb, weight=jnp.ones((144, 192)))
    problem = JointProblem(
        four, photo, differentiable(renderer), sl.l2_loss, sl.apply_twist, jnp.ones((4, 6)), ("focal_length", *POWERS),
        jnp.zeros(5),
    )  # fmt: skip
    drawing = problem.renderer.draw(four)
    T, freed = four.T_world_object, jnp.asarray([0.0, -0.15, -0.05, 0.005, 0.005, -0.03])  # all is seen
    model, reverse = joint_equations(problem, T, freed, drawing), joint_gradient(problem, T, freed, drawing)
    rendering = problem.renderer.images(problem.at(T, freed), drawing)

    def loss(freed):
        return float(problem.loss(rendering, problem.seen(freed)))

    for k in range(1, 6):
        step = jnp.zeros(6).at[k].set(2e-4)
        assert model.gradient[24 + k] == pytest.approx((loss(freed + step) - loss(freed - step)) / 4e-4, rel=0.05)
    assert model.gradient == pytest.approx(
        np.asarray(reverse.gradient), abs=2e-3 * float(jnp.abs(reverse.gradient).max())
    )
    assert np.linalg.eigvalsh(np.asarray(model.curvature, np.float64)).min() > -1e-6


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

    for lens in ([0.1] * 3, [0.1] * 8, [np.nan] * 5, 0.1):
        refused(r"distortion must be \(4,\) or \(5,\) finite k1, k2, p1, p2, k3", distortion=lens)
    for free in ("f", "", (), ("focal_length", "zoom")):
        refused(
            "free must name one or more of focal_length, aspect, principal_point, k1, k2, p1, p2, k3, got", free=free
        )
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
