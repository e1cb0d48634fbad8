"""What holds an object near where a stage begins: against the formula, and where nothing shows a turn."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import sldiff_jax as sl
from sldiff_jax._refine.hold import held
from sldiff_jax._refine.least_squares import NormalEquations, solve

UNIT = np.array([[1.0, 1, 1, 0.2, 0.2, 0.2], [0.5, 0.5, 0.5, 2, 2, 2]])


def random_poses(seed, angle=1.0):
    rng = np.random.default_rng(seed)
    T = np.tile(np.eye(4), (2, 1, 1))
    T[:, :3, :3] = Rotation.from_rotvec(angle * rng.normal(size=(2, 3))).as_matrix()
    T[:, :3, 3] = rng.normal(size=(2, 3))
    return T


def nothing(objects=2):
    return NormalEquations(jnp.zeros(()), jnp.zeros((objects, 6)), jnp.zeros((objects, 6, 6)))


def cost(T, T_anchor, hold):
    turn = Rotation.from_matrix(np.swapaxes(T_anchor[:, :3, :3], 1, 2) @ T[:, :3, :3]).magnitude() / UNIT[:, 0]
    way = np.linalg.norm(T[:, :3, 3] - T_anchor[:, :3, 3], axis=-1) / UNIT[:, 3]
    return 0.5 * hold * float(np.sum(turn**2 + way**2))


def test_value_and_gradient_are_those_of_the_distance(x64):
    T, T_anchor = random_poses(0, 0.3), random_poses(1, 0.3)
    equations = held(nothing(), jnp.asarray(T), jnp.asarray(T_anchor), jnp.asarray(UNIT), 0.7)
    np.testing.assert_allclose(equations.loss, cost(T, T_anchor, 0.7), rtol=1e-9)
    assert not np.any(equations.curvature) and equations.hold == 0.7
    step = 1e-6
    for k in range(2):
        for i in range(6):
            delta = np.zeros((2, 6))
            delta[k, i] = step
            after, before = (
                cost(np.asarray(jax.vmap(sl.apply_twist)(jnp.asarray(T), jnp.asarray(s * delta * UNIT))), T_anchor, 0.7)
                for s in (1, -1)
            )
            np.testing.assert_allclose(equations.gradient[k, i], (after - before) / (2 * step), rtol=1e-5, atol=1e-8)


def test_nothing_holds_at_the_anchor_and_a_hold_of_zero_changes_nothing():
    T = jnp.asarray(random_poses(2), jnp.float32)
    at_anchor = held(nothing(), T, T, jnp.asarray(UNIT, jnp.float32), 3.0)
    np.testing.assert_allclose(at_anchor.loss, 0, atol=1e-5)
    free = held(nothing(), T, jnp.asarray(random_poses(3), jnp.float32), jnp.asarray(UNIT, jnp.float32), 0.0)
    assert float(free.loss) == 0 and not np.any(free.gradient)


def test_a_direction_without_evidence_goes_back_and_the_others_stay(x64):
    """Away by 0.3 in a direction that nothing shows, and home in one that the images show well."""
    T = np.tile(np.eye(4), (1, 1, 1))
    T[0, :3, :3] = Rotation.from_rotvec([0, 0, 0.3]).as_matrix()
    curvature = np.diag([50.0, 50, 0, 500, 500, 500])[None]
    equations = dataclasses.replace(nothing(1), curvature=jnp.asarray(curvature))
    equations = held(equations, jnp.asarray(T), jnp.eye(4)[None], jnp.ones((1, 6)), 0.5)
    step = np.asarray(solve(equations, 0.0, 1.0))[0]
    np.testing.assert_allclose(step, [0, 0, -0.3 * 0.5 / (0.5 + 0.05), 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("hold", [-1.0, math.nan, math.inf])
def test_bad_holds(hold):
    with pytest.raises(ValueError, match="The hold of a stage must be a number, not negative, got"):
        sl.Stage(3, hold=hold)


def round_table() -> sl.Mesh:
    """A disc of 256 corners, seen from above: nothing shows how it is turned."""
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    rim = 0.1 * np.stack([np.cos(angles), np.sin(angles), np.zeros(256)], axis=-1)
    corners = np.concatenate([np.zeros((1, 3)), rim]).astype(np.float32)
    i = np.arange(256)
    return sl.Mesh(corners, np.stack([np.zeros(256, int), 1 + i, 1 + (i + 1) % 256], axis=-1))


def test_a_turn_that_nothing_shows_does_not_appear():
    """Depth with noise and a mask with ragged edges pull everywhere a little; the disc is 2 cm beside its place."""
    renderer = sl.MeshRenderer([round_table()], buffers="core")
    camera = sl.Camera.from_intrinsics(90, 90, 24, 24, width=48, height=48)
    true = jnp.eye(4).at[:3, :3].set(Rotation.from_rotvec([0.5, 0.2, 0]).as_matrix()).at[2, 3].set(0.5)
    image = sl.render(sl.Scene(true[None], camera), renderer)
    rng = np.random.default_rng(0)
    depth = np.asarray(image.depth) + 0.004 * rng.normal(size=image.depth.shape) * np.asarray(image.mask)
    mask = np.clip(np.asarray(image.mask) + 0.3 * rng.normal(size=depth.shape) * (np.asarray(image.mask) % 1 > 0), 0, 1)
    observation = sl.Observation(depth=depth.astype(np.float32), mask=mask.astype(np.float32))
    start = sl.Scene(sl.apply_twist(true, jnp.array([0.1, -0.1, 0, 0.02, 0, 0.01]))[None], camera)
    fit = sl.refine_poses(start, observation, renderer, stages="auto", steps=20)
    away = np.linalg.inv(np.asarray(start.T_world_object[0])) @ np.asarray(fit.scene.T_world_object[0])
    assert abs(np.degrees(Rotation.from_matrix(away[:3, :3]).as_rotvec()[2])) < 1.0
    middle = np.asarray(fit.scene.T_world_object[0, :3, 3])
    np.testing.assert_allclose(middle, true[:3, 3], atol=2e-3)
    normal = np.asarray(fit.scene.T_world_object[0, :3, 2])
    assert np.degrees(np.arccos(normal @ np.asarray(true[:3, 2]))) < 3
