"""Scene: poses, labels, validation, transformations."""

import dataclasses

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl


def poses(n: int = 3) -> np.ndarray:
    rng = np.random.default_rng(n)
    return np.stack([analytic.rigid(rng, rng.normal(size=3)) for _ in range(n)])


def test_default_labels_are_one_to_n():
    scene = sl.Scene(poses(3), analytic.make_camera())
    np.testing.assert_array_equal(scene.instance_index, [1, 2, 3])
    assert scene.instance_index.dtype == jnp.int32


def test_labels_are_arbitrary():
    scene = sl.Scene(poses(3), analytic.make_camera(), np.array([32767, 1, 40]))
    np.testing.assert_array_equal(scene.instance_index, [32767, 1, 40])


def test_no_objects():
    scene = sl.Scene(np.zeros((0, 4, 4)), analytic.make_camera())
    assert scene.instance_index.shape == (0,)
    assert scene.T_clip_object.shape == (0, 4, 4)


def test_frames_chain():
    T_world_camera = analytic.rigid(np.random.default_rng(5), (0.3, -1.0, 0.5))
    scene = sl.Scene(poses(2), analytic.make_camera(T_world_camera=T_world_camera))
    T_camera_object = np.linalg.inv(T_world_camera) @ poses(2)
    P = analytic.projection(analytic.WIDTH, analytic.HEIGHT)
    np.testing.assert_allclose(scene.T_camera_object, T_camera_object, atol=1e-5)
    np.testing.assert_allclose(scene.T_clip_object, P @ T_camera_object, atol=1e-5)


def test_vmap_jit_and_grad():
    camera = analytic.make_camera()
    batch = jnp.stack([jnp.asarray(poses(2), jnp.float32)] * 3) * jnp.arange(1, 4)[:, None, None, None]
    scenes = jax.jit(jax.vmap(lambda T: sl.Scene(T, camera)))(batch)
    assert scenes.T_world_object.shape == (3, 2, 4, 4) and scenes.instance_index.shape == (3, 2)
    clip = jax.vmap(lambda s: s.T_clip_object)(scenes)
    np.testing.assert_allclose(clip[2], 3 * clip[0], rtol=1e-4, atol=1e-5)
    grad = jax.grad(lambda T: sl.Scene(T, camera).T_clip_object.sum())(batch[0])
    assert bool(jnp.isfinite(grad).all()) and bool((grad != 0).any())


def test_labels_under_trace_pass_through():
    make = jax.jit(lambda labels: sl.Scene(poses(2), analytic.make_camera(), labels).instance_index)
    np.testing.assert_array_equal(make(jnp.array([9, 4])), [9, 4])


def test_dtype_follows_the_input(x64):
    scene = sl.Scene(jnp.asarray(poses(2), jnp.float32), analytic.make_camera())
    assert scene.T_clip_object.dtype == jnp.float32
    assert sl.Scene(poses(2), analytic.make_camera(dtype=jnp.float64)).T_clip_object.dtype == jnp.float64


def test_scene_is_frozen():
    scene = sl.Scene(poses(1), analytic.make_camera())
    with pytest.raises(dataclasses.FrozenInstanceError):
        scene.camera = None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((np.eye(4), None), r"T_world_object must have shape \(any, 4, 4\), got \(4, 4\)\..*array\[None\]"),
        ((poses(2)[None], None), r"must have shape \(any, 4, 4\), got \(1, 2, 4, 4\)\. For a batch, use jax\.vmap"),
        ((np.zeros((2, 3, 4)), None), r"T_world_object must have shape \(any, 4, 4\), got \(2, 3, 4\)"),
        ((poses(2), [1, 2, 3]), r"instance_index must have shape \(2,\), got \(3,\)"),
        ((poses(2), [0, 1]), r"instance_index must lie in 1\.\.32767 .*got \[0, 1\]"),
        ((poses(2), [1, 32768]), r"instance_index must lie in 1\.\.32767"),
        ((poses(2), [4, 4]), "instance_index must not repeat a label"),
        ((poses(2), [1.0, 2.0]), "instance_index must be integers, got dtype float64"),
    ],
)
def test_constructor_refuses(unchecked_types, arguments, match):
    with pytest.raises(ValueError, match=match):
        sl.Scene(arguments[0], analytic.make_camera(), arguments[1])


def test_constructor_refuses_a_bare_matrix_for_the_camera(unchecked_types):
    with pytest.raises(ValueError, match=r"camera must be a sldiff_jax\.Camera, got ndarray"):
        sl.Scene(poses(1), np.eye(4))


def test_constructor_refuses_a_wrong_number_of_traced_labels(unchecked_types):
    with pytest.raises(ValueError, match=r"one label per object, shape \(2,\), got \(3,\)"):
        jax.jit(lambda labels: sl.Scene(poses(2), analytic.make_camera(), labels).instance_index)(jnp.arange(1, 4))
