"""The kernel behind backpropagation of 8-bit images, against the plain NumPy loop and the same in XLA."""

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import sldiff_jax as sl
from sldiff_jax._gradients.pose_gradients import _backpropagate_in_xla

backpropagate = jax.jit(sl.backpropagate_gradient_to_poses)
SOURCES = {"solids": analytic.random_scene, "patches": analytic.random_buffers}


def assert_close_to_largest(got, expected, relative=2e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * np.abs(expected).max(initial=1e-6))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_oracle(source, seed):
    scene, result = SOURCES[source](seed, uint8=True)
    assert result.rgb.dtype == jnp.uint8
    cotangent = analytic.random_cotangent(seed)
    expected = oracle.backpropagate(oracle.view(scene, result), cotangent)
    assert np.abs(expected).max() > 1
    assert_close_to_largest(backpropagate(scene, result, cotangent), expected)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (1, 5), (3, 3), (33, 2), (70, 9)])
def test_any_size_down_to_one_pixel(width, height):
    scene, result = analytic.random_buffers(3, width=width, height=height, uint8=True)
    cotangent = analytic.random_cotangent(3, height, width)
    expected = oracle.backpropagate(oracle.view(scene, result), cotangent)
    assert_close_to_largest(backpropagate(scene, result, cotangent), expected)


@pytest.mark.parametrize("width", [12, 13])
def test_single_pixels_in_an_empty_image(width):
    scene, result = analytic.random_buffers(4, labels=(7,), width=width, height=width, uint8=True)
    cotangent = analytic.random_cotangent(4, width, width)
    for column in range(width):  # that width, and others, are passed over several pixels at a time
        row = (5 * column + 2) % width
        alone = np.zeros((width, width), np.int16)
        alone[row, column] = 7
        points = np.asarray(result.coord_depth).copy()
        points[row, column] = (0.01, -0.02, 0.03, 0.75)
        shown = sl.RenderResult(rgb=result.rgb, coord_depth=points, instance_index=alone)
        expected = oracle.backpropagate(oracle.view(scene, shown), cotangent)
        assert np.abs(expected).max() > 0
        assert_close_to_largest(backpropagate(scene, shown, cotangent), expected)


def test_labels_that_the_scene_does_not_have_hide_and_count_for_nobody():
    scene, result = analytic.random_buffers(5, uint8=True)
    without_last = sl.Scene(scene.T_world_object[:-1], scene.camera, scene.instance_index[:-1])
    cotangent = analytic.random_cotangent(5)
    got = backpropagate(without_last, result, cotangent)
    assert_close_to_largest(got, oracle.backpropagate(oracle.view(scene, result), cotangent)[:-1])


@pytest.mark.parametrize("width", [12, 13])
def test_negative_labels_hide_and_count_for_nobody(width):
    scene, result = analytic.random_buffers(8, width=width, height=9, uint8=True)
    labels = np.where(result.instance_index == 5, -1, result.instance_index).astype(np.int16)
    labels[::2, -1] = -1
    shown = sl.RenderResult(rgb=result.rgb, coord_depth=result.coord_depth, instance_index=labels)
    cotangent = analytic.random_cotangent(8, 9, width)
    expected = oracle.backpropagate(oracle.view(scene, shown), cotangent)
    assert np.abs(expected).max() > 1
    assert_close_to_largest(backpropagate(scene, shown, cotangent), expected)


def test_objects_behind_the_camera_get_nothing():
    scene, result = analytic.random_buffers(6, uint8=True)
    behind = scene.T_world_object.at[0].set(scene.camera.T_world_camera @ jnp.eye(4).at[2, 3].set(-2.0))
    moved = sl.Scene(behind, scene.camera, scene.instance_index)
    points = jnp.where((result.instance_index == scene.instance_index[0])[..., None], 0.0, result.coordinates)
    coord_depth = jnp.concatenate([points, result.coord_depth[..., 3:]], axis=-1)
    shown = sl.RenderResult(rgb=result.rgb, coord_depth=coord_depth, instance_index=result.instance_index)
    got = backpropagate(moved, shown, analytic.random_cotangent(6))
    np.testing.assert_array_equal(got[0], 0)
    assert np.abs(got[1:]).max() > 0


def test_a_batch_is_one_call_and_equals_its_members():
    pairs = [analytic.random_buffers(seed, uint8=True) for seed in range(3)]
    cotangents = jnp.stack([analytic.random_cotangent(seed) for seed in range(3)])
    scenes, results = jax.tree.map(lambda *x: jnp.stack(x), *pairs)
    batch = jax.jit(jax.vmap(sl.backpropagate_gradient_to_poses))(scenes, results, cotangents)
    for i, (scene, result) in enumerate(pairs):
        assert_close_to_largest(batch[i], backpropagate(scene, result, cotangents[i]), 1e-6)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_derivatives_by_cotangent_and_poses_are_those_of_xla(mode):
    scene, result = analytic.random_buffers(7, uint8=True)
    at = (scene.T_world_object, analytic.random_cotangent(7))
    direction = jnp.asarray(np.random.default_rng(7).normal(size=(3, 6)))

    def derivatives(function):
        def objective(T_world_object, cotangent):
            moved = sl.Scene(T_world_object, scene.camera, scene.instance_index)
            return jnp.sum(function(moved, result, cotangent) * direction)

        if mode == "reverse":
            return jax.grad(objective, argnums=(0, 1))(*at)
        return [jax.jvp(objective, at, jax.tree.map(jnp.ones_like, at))[1]]

    expected = derivatives(_backpropagate_in_xla)
    for ours, theirs in zip(derivatives(sl.backpropagate_gradient_to_poses), expected, strict=True):
        assert np.abs(theirs).max() > 0
        assert_close_to_largest(ours, theirs)
