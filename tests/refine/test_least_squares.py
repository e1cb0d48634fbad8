"""The normal equations against `jax.grad` and explicit Jacobians, their solution against NumPy, and the damping."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analytic import HEIGHT, WIDTH, random_scene
from derivatives import QUICK_COMPILATION

import sldiff_jax as sl
from sldiff_jax._gradients.black_box import BlackBox
from sldiff_jax._refine.least_squares import NormalEquations, Trust, first_trust, judge, normal_equations, solve

UNIT = np.array([[0.5, 0.5, 0.5, 0.1, 0.1, 0.1], [1, 1, 1, 0.2, 0.2, 0.2], [2, 2, 2, 1, 1, 1]])


@pytest.fixture
def problem(x64):
    """A scene of three objects, its buffers, and an observation of something else; float64."""
    scene, result = random_scene(1, dtype=jnp.float64)
    rng = np.random.default_rng(1)
    rendering = sl.render(scene, lambda _: result)
    observation = sl.Observation(
        rgb=jnp.asarray(rng.random((HEIGHT, WIDTH, 3))),
        depth=rendering.depth + 0.01 * jnp.asarray(rng.random((HEIGHT, WIDTH))) * rendering.mask,
        mask=jnp.asarray(0.2 + 0.8 * rng.random((HEIGHT, WIDTH))),
    )
    return scene, result, observation


def equations_of(loss, problem):
    scene, result, observation = problem
    compiled = jax.jit(
        lambda scene, result, observation: normal_equations(
            loss, scene, BlackBox(None), result, observation, jnp.asarray(UNIT)
        ),
        compiler_options=QUICK_COMPILATION,
    )
    return compiled(scene, result, observation)


LOSSES = {
    "default": sl.default_loss,
    "blurred sum": 0.5 * sl.photometric_loss + sl.blurred(sl.huber_loss, 0.7),
    "its own call": sl.neg_iou_loss,
}


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_of_the_loss(problem, name):
    loss = LOSSES[name]
    scene, result, observation = problem

    def after(twist):
        T = jax.vmap(sl.apply_twist)(scene.T_world_object, twist * UNIT)
        moved = eqx.tree_at(lambda s: s.T_world_object, scene, T)
        return loss(sl.render(moved, lambda _: result), observation)

    equations = equations_of(loss, problem)
    value, gradient = jax.jit(jax.value_and_grad(after), compiler_options=QUICK_COMPILATION)(jnp.zeros((3, 6)))
    np.testing.assert_allclose(equations.loss, value, rtol=1e-9)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(equations.gradient, gradient, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())
    H = np.asarray(equations.curvature)
    assert H.shape == (3, 6, 6)
    np.testing.assert_allclose(H, np.swapaxes(H, -1, -2), atol=1e-12 * np.abs(H).max())
    assert np.linalg.eigvalsh(H).min() > -1e-10 * np.abs(H).max()
    assert np.linalg.matrix_rank(H).min() >= 3


def test_curvature_is_the_product_of_the_jacobian_with_itself(problem):
    """Mean squared colour difference: the second derivative of a linear residual, per object, exactly."""
    scene, result, observation = problem
    basis = jnp.eye(18).reshape(18, 3, 6) * UNIT
    columns = jax.vmap(lambda delta: sl.render_jvp(scene, lambda _: result, delta)[1].rgb)(basis)
    J = np.asarray(columns).reshape(3, 6, -1)
    weight = np.repeat(np.asarray(observation.mask).ravel(), 3)
    weight = weight / weight.sum()
    equations = equations_of(sl.l2_loss, problem)
    np.testing.assert_allclose(equations.curvature, 2 * np.einsum("nip,p,njp->nij", J, weight, J), rtol=1e-5, atol=1e-8)
    r = np.asarray(sl.render(scene, lambda _: result).rgb - observation.rgb).ravel()
    np.testing.assert_allclose(equations.gradient, 2 * np.einsum("nip,p->ni", J, weight * r), rtol=1e-5, atol=1e-8)


def test_an_invisible_object_does_not_move(problem):
    scene, result, observation = problem
    labels = np.where(np.asarray(result.instance_index) == 32767, 0, np.asarray(result.instance_index))
    hidden = sl.RenderResult(rgb=result.rgb, coord_depth=result.coord_depth, instance_index=labels)
    equations = equations_of(sl.l2_loss, (scene, hidden, observation))
    assert not np.any(equations.gradient[1]) and not np.any(equations.curvature[1])
    step = np.asarray(solve(equations, 0.01, 0.3))
    assert np.isfinite(step).all()
    assert not np.any(step[1]) and np.any(step[0]) and np.any(step[2])


# --- the step ---------------------------------------------------------------------------------------------------------


def random_equations(seed=0, scale=1.0, loss=1.0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(2, 20, 6))
    H = np.einsum("npi,npj->nij", A, A)
    return NormalEquations(jnp.asarray(loss), jnp.asarray(scale * rng.normal(size=(2, 6))), jnp.asarray(H))


@pytest.mark.parametrize("damping", [0.0, 0.5, 100.0])
def test_the_step_is_the_minimum_of_the_damped_model(x64, damping):
    equations = random_equations()
    H, g = np.asarray(equations.curvature), np.asarray(equations.gradient)
    unseen = 1e-4 * np.stack([np.diagonal(h).max() * np.eye(6) for h in H])
    damped = H + damping * np.stack([np.diag(np.diagonal(h)) for h in H]) + unseen
    expected = -np.stack([np.linalg.solve(h, v) for h, v in zip(damped, g)])
    np.testing.assert_allclose(solve(equations, damping, 1e9), expected, rtol=1e-4)


def test_a_long_step_is_shortened_per_object(x64):
    equations = eqx.tree_at(lambda e: e.gradient, random_equations(), random_equations().gradient.at[0].multiply(1e3))
    free, bounded = np.asarray(solve(equations, 0.0, 1e9)), np.asarray(solve(equations, 0.0, 0.3))
    assert np.linalg.norm(free[0]) > 1 > 0.3 > np.linalg.norm(free[1])
    np.testing.assert_allclose(bounded[0], 0.3 * free[0] / np.linalg.norm(free[0]), rtol=1e-9)
    np.testing.assert_array_equal(bounded[1], free[1])


def test_singular_and_broken_models_give_finite_steps():
    equations = random_equations()
    flat = jnp.asarray(equations.curvature).at[0, 2].set(0).at[0, :, 2].set(0)  # one direction shows nothing
    step = np.asarray(solve(NormalEquations(jnp.asarray(1.0), equations.gradient.at[0, 2].set(0), flat), 0.0, 0.3))
    assert np.isfinite(step).all() and step[0, 2] == 0 and np.any(step[0])
    nan = NormalEquations(jnp.asarray(1.0), equations.gradient.at[0].set(jnp.nan), equations.curvature)
    step = np.asarray(solve(nan, 0.0, 0.3))
    assert not np.any(step[0]) and np.any(step[1])


# --- trust ------------------------------------------------------------------------------------------------------------


def test_the_damping_follows_success():
    method = sl.LevenbergMarquardt(damping=0.1, increase=5.0, decrease=0.5)
    poses = [jnp.full((2, 4, 4), float(k)) for k in range(4)]

    def judged(trust, poses, equations):
        return judge(method, trust, Trust(poses, jnp.ones((), bool), equations, trust.damping))

    trust = judged(first_trust(method, poses[0]), poses[0], random_equations(loss=3.0))
    np.testing.assert_allclose(trust.damping, 0.1, rtol=1e-6)  # the first step's
    better = judged(trust, poses[1], random_equations(seed=1, loss=2.0))
    np.testing.assert_allclose(better.damping, 0.05, rtol=1e-6)
    np.testing.assert_array_equal(better.T_world_object, poses[1])
    np.testing.assert_array_equal(better.equations.gradient, random_equations(seed=1).gradient)
    for loss in (2.5, jnp.nan, jnp.inf):
        worse = judged(better, poses[2], random_equations(seed=2, loss=loss))
        np.testing.assert_allclose(worse.damping, 0.25, rtol=1e-6)
        np.testing.assert_array_equal(worse.T_world_object, poses[1])
        np.testing.assert_array_equal(worse.equations.gradient, better.equations.gradient)
        np.testing.assert_array_equal(worse.equations.loss, better.equations.loss)


def test_a_step_that_hides_an_object_is_taken_back_though_it_lowers_the_loss():
    method = sl.LevenbergMarquardt()
    here, there = jnp.zeros((2, 4, 4)), jnp.ones((2, 4, 4))
    for before, after, moved in ((True, True, True), (True, False, False), (False, False, True), (False, True, True)):
        trust = Trust(here, jnp.asarray(before), random_equations(loss=2.0), jnp.asarray(0.1))
        kept = judge(method, trust, Trust(there, jnp.asarray(after), random_equations(loss=1.0), trust.damping))
        np.testing.assert_array_equal(kept.T_world_object, there if moved else here)
