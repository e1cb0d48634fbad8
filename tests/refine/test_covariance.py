"""The covariance of fits: against their scatter, and its form."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import sldiff_jax as sl
from sldiff_jax._refine.covariance import pose_covariance
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

CAMERA = sl.Camera.from_fov(0.5, width=72, height=72)
DRAWS = 30


@pytest.mark.slow
@pytest.mark.parametrize(
    "mesh", [demo_mesh(), box_mesh((0.1, 0.07, 0.05)), sphere_mesh(0.05, seed=2)], ids=["demo", "box", "ball"]
)
def test_it_is_that_of_fits_to_noisy_images(mesh):
    """Within a factor of two of the standard deviation along every axis, over 30 renderings with noise.

    Each shows the object a little elsewhere, so that pixels cut its outline anew.
    """
    renderer, errors, predicted = sl.MeshRenderer([mesh], buffers="core"), [], []
    middle = np.eye(4)
    middle[:3, :3] = Rotation.random(random_state=4).as_matrix()
    middle[:3, 3] = [0, 0, 2.6 * mesh.diameter]
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        size = np.repeat([1.0, mesh.diameter], 3)
        T_true = sl.apply_twist(jnp.asarray(middle), jnp.asarray(rng.normal(size=6) * 0.04 * size))
        start = sl.apply_twist(T_true, jnp.asarray(rng.normal(size=6) * 0.006 * size))
        images = sl.render(sl.Scene(T_true[None], CAMERA), renderer)
        rgb = np.clip(0.1 + 0.8 * images.rgb + 0.02 * rng.normal(size=images.rgb.shape), 0, 1)
        depth = images.depth * (1 + 0.003 * rng.normal(size=images.depth.shape))
        observation = sl.Observation(rgb, depth, images.mask > 0.5)
        found = sl.refine_poses(
            sl.Scene(start[None], CAMERA), observation, renderer, stages="auto", steps=40, tolerance=1e-6
        )
        errors.append(sl.se3_log(jnp.linalg.inv(T_true) @ found.scene.T_world_object[0]))
        predicted.append(found.covariance[0])
    scatter = np.sqrt(np.mean(np.square(errors), axis=0))
    ratio = np.sqrt(np.diagonal(np.mean(predicted, axis=0))) / scatter
    assert np.all((ratio > 0.5) & (ratio < 2)), ratio


def test_least_squares_have_the_textbook_covariance():
    rng = np.random.default_rng(0)
    J = rng.normal(size=(400, 6)) * [1, 2, 3, 1, 1, 0.5]
    sigma, unit = 0.1, np.array([[1, 1, 1, 0.2, 0.2, 0.2]])
    # The loss is the sum of squares: its gradient is 2 J^T r, its curvature 2 J^T J.
    covariance = pose_covariance(2 * (J.T @ J)[None], 4 * sigma**2 * (J.T @ J)[None], jnp.asarray(unit))
    expected = sigma**2 * np.linalg.inv(J.T @ J) * np.outer(unit[0], unit[0])
    np.testing.assert_allclose(covariance[0], expected, rtol=1e-4)


def test_a_motion_that_does_not_show_is_not_known():
    curvature = np.diag([1.0, 1, 0, 1, 1, 1])[None]
    covariance = pose_covariance(curvature, 1e-6 * curvature, jnp.asarray([[1, 1, 1, 0.2, 0.2, 0.2]]))
    np.testing.assert_allclose(np.diagonal(covariance[0]), [1e-6, 1e-6, 1, 4e-8, 4e-8, 4e-8], rtol=1e-5)


def test_fits_that_are_not_judged_have_none():
    mesh = box_mesh((0.1, 0.07, 0.05))
    scene = sl.Scene(np.block([[np.eye(3), np.array([[0], [0], [0.4]])], [np.zeros(3), 1.0]])[None], CAMERA)
    renderer = sl.MeshRenderer([mesh], buffers="core")
    images = sl.render(scene, renderer)
    found = sl.refine_poses(scene, sl.Observation(images.rgb, mask=images.mask), renderer, steps=2)
    assert found.covariance is None
    assert found.score is None
    assert found.alternatives.shape == (0, 1, 4, 4)
