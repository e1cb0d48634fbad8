"""`refine_poses`: it finds the pose, keeps the best iterate, and takes any renderer, optimiser and number of starts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh

WIDTH, HEIGHT = 64, 48
OFFSET = jnp.array([[0.05, -0.04, 0.06, 0.004, -0.003, 0.006]])


@pytest.fixture(scope="module")
def renderer():
    return sl.MeshRenderer([box_mesh((0.12, 0.10, 0.06), seed=3)], buffers="core")


@pytest.fixture(scope="module")
def truth():
    T = sl.se3_exp(jnp.array([0.4, 0.5, 0.2, 0.0, 0.0, 0.0])).at[:3, 3].set(jnp.array([0.0, 0.01, 0.4]))
    return sl.Scene(T[None], sl.Camera.from_fov(0.6, width=WIDTH, height=HEIGHT))


@pytest.fixture(scope="module")
def observation(truth, renderer):
    rendering = sl.render(truth, renderer)
    return sl.Observation(rendering.rgb, rendering.depth, rendering.mask)


def start_of(truth, offset=OFFSET):
    return eqx.tree_at(lambda s: s.T_world_object, truth, truth.T_world_object @ jax.vmap(sl.se3_exp)(offset))


def errors(fit, truth):
    """Degrees and millimetres."""
    twist = sl.se3_log(jnp.linalg.inv(truth.T_world_object[0]) @ fit.scene.T_world_object[0])
    return np.degrees(np.linalg.norm(twist[:3])), 1e3 * np.linalg.norm(twist[3:])


def test_it_finds_the_pose(truth, renderer, observation):
    fit = sl.refine_poses(start_of(truth), observation, renderer, steps=60)
    degrees, millimetres = errors(fit, truth)
    assert degrees < 0.5
    assert millimetres < 0.5
    assert fit.loss_history.shape == (60, 1)
    assert fit.T_world_object_history.shape == (60, 1, 1, 4, 4)
    assert fit.loss == fit.loss_history.min() == fit.loss_history[fit.best_step, fit.best_start]
    np.testing.assert_array_equal(fit.scene.T_world_object, fit.T_world_object_history[fit.best_step, 0])


def test_the_best_iterate_is_returned_not_the_last(truth, renderer, observation):
    restless = optax.sgd(lambda step: jnp.where(step < 3, 1e-3, 1.0))
    fit = sl.refine_poses(start_of(truth), observation, renderer, optimizer=restless, steps=8)
    assert fit.best_step < 7
    assert fit.loss < fit.loss_history[-1, 0]


def test_several_starts_at_once(truth, renderer, observation):
    far = jnp.array([[0.6, 0.5, -0.6, 0.02, 0.02, 0.05]])
    starts = jnp.stack([start_of(truth, far).T_world_object, start_of(truth).T_world_object])
    fit = sl.refine_poses(truth, observation, renderer, starts=starts, steps=25)
    assert fit.best_start == 1
    assert fit.loss_history.shape == (25, 2)
    alone = sl.refine_poses(start_of(truth), observation, renderer, steps=25)
    np.testing.assert_allclose(fit.loss_history[:5, 1], alone.loss_history[:5, 0], rtol=2e-2)


def test_without_jit_it_is_the_same(truth, renderer, observation):
    compiled = sl.refine_poses(start_of(truth), observation, renderer, steps=4)
    seen = []

    def eager_only(scene):
        seen.append(np.asarray(scene.T_world_object))  # raises under trace
        return renderer(scene)

    eager = sl.refine_poses(start_of(truth), observation, eager_only, steps=4, jit=False)
    np.testing.assert_allclose(eager.loss_history, compiled.loss_history, rtol=1e-3)
    assert len(seen) == 5


def test_the_callback_sees_progress_and_can_stop(truth, renderer, observation):
    seen = []

    def callback(step, loss, scene):
        seen.append((step, loss))
        assert isinstance(scene, sl.Scene)
        return step == 2

    fit = sl.refine_poses(start_of(truth), observation, renderer, steps=50, callback=callback)
    assert [step for step, _ in seen] == [0, 1, 2]
    assert seen[-1][1] == fit.loss
    assert len(fit.loss_history) == 3


def test_an_optimizer_that_asks_for_the_parameters(truth, renderer, observation):
    fit = sl.refine_poses(start_of(truth), observation, renderer, optimizer=optax.lion(2e-3), steps=40)
    assert fit.loss < 0.5 * fit.loss_history[0, 0]


def test_random_starts(truth):
    starts = sl.random_starts(jax.random.key(0), truth, 5, rotation=0.3, translation=0.02)
    np.testing.assert_allclose(starts[0], truth.T_world_object, atol=1e-7)
    for T in starts[1:, 0]:
        change = jnp.linalg.inv(truth.T_world_object[0]) @ T
        assert float(jnp.linalg.norm(sl.se3_log(change)[:3])) == pytest.approx(0.3, abs=1e-5)
        assert float(jnp.linalg.norm(change[:3, 3])) == pytest.approx(0.02, abs=1e-6)
    again = sl.random_starts(jax.random.key(0), truth, 5, rotation=0.3, translation=0.02)
    np.testing.assert_array_equal(starts, again)


def test_what_it_refuses(truth, renderer, observation, unchecked_types):
    refine = sl.refine_poses
    with pytest.raises(ValueError, match="steps must be a positive integer, got 0"):
        refine(truth, observation, renderer, steps=0)
    with pytest.raises(ValueError, match=r"observation is \(height, width\) = \(3, 3\)"):
        refine(truth, sl.Observation(mask=jnp.ones((3, 3))), renderer)
    with pytest.raises(ValueError, match=r"starts must have shape \(starts, 1, 4, 4\), got \(1, 4, 4\)"):
        refine(truth, observation, renderer, starts=truth.T_world_object)
    with pytest.raises(ValueError, match="one start only, got 2"):
        refine(truth, observation, renderer, starts=jnp.stack([truth.T_world_object] * 2), jit=False)
    hidden = eqx.tree_at(lambda s: s.T_world_object, truth, truth.T_world_object.at[:, 2, 3].set(-1.0))
    with pytest.raises(ValueError, match=r"labelled \[1\] are not visible"):
        refine(hidden, observation, renderer)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        sl.random_starts(jax.random.key(0), truth, 0, rotation=0.1, translation=0.1)
