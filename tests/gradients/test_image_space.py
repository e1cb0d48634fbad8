"""Image-space gradients, the occlusion mask and the silhouette dilation."""

import dataclasses

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from derivatives import assert_derivatives

import sldiff_jax as sl

gradients = jax.jit(sl.compute_image_space_gradients)
dilate = jax.jit(sl.dilate_silhouettes)

SOURCES = {"solids": analytic.random_scene, "patches": analytic.random_buffers}


def picture(labels, depth=None, color=None) -> tuple[sl.Scene, sl.RenderResult]:
    """A hand-made image with objects 1 and 2 in the scene; coordinates hold (column, row, label)."""
    labels = np.asarray(labels, np.int16)
    height, width = labels.shape
    depth = np.where(labels == 0, analytic.BACKGROUND, 1.0 if depth is None else np.asarray(depth))
    rows, columns = np.indices(labels.shape)
    coord_depth = np.stack([columns, rows, labels, depth], axis=-1).astype(np.float64)
    coord_depth[labels == 0] = analytic.BACKGROUND
    color = np.zeros((height, width, 3)) if color is None else color
    result = analytic.make_result(analytic.Buffers(color, coord_depth, labels))
    poses = np.stack([np.eye(4, dtype=np.float32)] * 2)
    return sl.Scene(poses, analytic.make_camera(width, height)), result


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(6))
def test_gradients_equal_the_oracle(x64, source, seed):
    scene, result = SOURCES[source](seed, dtype=jnp.float64, uint8=seed % 2 == 1)
    grad_x, grad_y, valid = gradients(scene, result)
    expected_x, expected_y, expected_valid = oracle.image_space_gradients(oracle.view(scene, result))
    np.testing.assert_array_equal(valid, expected_valid)
    np.testing.assert_allclose(grad_x, expected_x, atol=1e-13)
    np.testing.assert_allclose(grad_y, expected_y, atol=1e-13)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(6))
def test_dilation_equals_the_oracle(source, seed):
    scene, result = SOURCES[source](seed)
    mask, coordinates = dilate(scene, result)
    v = oracle.view(scene, result)
    for k, label in enumerate(v.object_labels):
        expected_mask, expected_coordinates = oracle.dilate(v, label)
        np.testing.assert_array_equal(mask[k], expected_mask)
        np.testing.assert_array_equal(coordinates[k], expected_coordinates.astype(np.float32))


def test_the_random_pictures_have_what_the_oracle_should_see():
    """The comparison above means something: there are invalid pixels, and pixels that dilate into two objects."""
    invalid = shared = 0
    for seed in range(6):
        v = oracle.view(*analytic.random_buffers(seed))
        invalid += int((~oracle.valid_pixels(v)).sum())
        shared += int((np.sum([oracle.dilate(v, label)[0] for label in v.object_labels], axis=0) > 1).sum())
    assert invalid > 20 and shared > 20


def test_sign_and_unit_of_a_ramp():
    rows, columns = np.indices((4, 6))
    color = np.stack([columns / 10, rows / 10, np.zeros((4, 6))], axis=-1)
    grad_x, grad_y, valid = gradients(*picture(np.zeros((4, 6)), color=color))
    inside = (slice(1, -1), slice(1, -1))
    assert bool(valid.all())
    # A pixel is 2 / W of NDC wide, and the colour moves with the surface: minus 0.1 per pixel is minus 0.1 * W / 2.
    np.testing.assert_allclose(grad_x[inside][..., 0], -0.1 * 6 / 2, rtol=1e-5)
    np.testing.assert_allclose(grad_y[inside][..., 1], -0.1 * 4 / 2, rtol=1e-5)
    np.testing.assert_allclose(grad_x[..., 1], 0, atol=1e-6)
    np.testing.assert_allclose(grad_y[..., 0], 0, atol=1e-6)


def test_border_is_replicated():
    color = np.full((4, 6, 3), 0.7)
    grad_x, grad_y, _ = gradients(*picture(np.zeros((4, 6)), color=color))
    np.testing.assert_array_equal(grad_x, 0)  # zero padding would draw a false edge around the frame
    np.testing.assert_array_equal(grad_y, 0)


def test_valid_is_false_only_behind_an_occluder():
    labels = [[1, 1, 2, 2, 0, 2]]
    depth = [[1.0, 1.0, 2.0, 2.0, 9.9, 2.0]]
    assert gradients(*picture(labels, depth))[2].tolist() == [[True, True, False, True, True, True]]


def test_equal_depth_does_not_occlude():
    scene, result = picture([[1, 1, 2, 2]])
    assert bool(gradients(scene, result)[2].all())
    mask, _ = dilate(scene, result)
    assert mask[:, 0].tolist() == [[True, True, True, False], [False, True, True, True]]


def test_a_label_that_the_scene_does_not_know_still_occludes():
    labels = [[1, 1, 9, 0, 0, 1]]
    scene, result = picture(labels, [[1.0, 1.0, 0.5, 9.9, 9.9, 1.0]])
    assert gradients(scene, result)[2].tolist() == [[True, False, True, True, True, True]]
    mask, _ = dilate(scene, result)
    assert mask[0, 0].tolist() == [True, True, False, False, True, True]


def test_dilation_borrows_from_the_last_match_of_the_scan():
    labels = [[1, 1, 1], [1, 0, 1], [0, 0, 0], [1, 0, 0]]
    mask, coordinates = dilate(*picture(labels))
    assert mask[0].tolist() == [[True] * 3, [True] * 3, [True] * 3, [True, True, False]]
    assert coordinates[0, 1, 1].tolist() == [2, 1, 1]  # right neighbour: nothing inside in the row below
    assert coordinates[0, 2, 0].tolist() == [0, 3, 1]  # the pixel below, though two above match as well
    assert coordinates[0, 3, 2].tolist() == [3000] * 3
    assert coordinates[1].min() == 3000 and not bool(mask[1].any())


def test_dilation_stops_at_pixels_that_are_not_valid():
    labels = [[1, 0, 2, 1]]
    mask, _ = dilate(*picture(labels, [[1.0, 9.9, 2.0, 1.0]]))
    # The pixel of object 2 lies behind its right neighbour: no window that holds it may grow an object.
    assert mask[:, 0].tolist() == [[True, False, False, True], [False, False, True, False]]


@pytest.mark.parametrize("label", [-5, 40000])
def test_labels_outside_the_range_are_nobody(label):
    scene, result = picture([[0, 1, 1, 0]])
    labels = jnp.where(result.instance_index == 1, label, 0).astype(jnp.int32)
    scene = sl.Scene(scene.T_world_object, scene.camera, np.array([32767, 1]))
    mask, coordinates = dilate(scene, dataclasses.replace(result, instance_index=labels))
    assert not bool(mask.any()) and bool((coordinates == 3000).all())


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int32])
def test_label_images_of_other_integer_types(dtype):
    scene, result = picture([[1, 1, 0, 2], [0, 0, 0, 2]])
    scene = sl.Scene(scene.T_world_object, scene.camera, np.array([1, 258]))  # 258 is 2 in eight bits
    mask, _ = dilate(scene, dataclasses.replace(result, instance_index=result.instance_index.astype(dtype)))
    assert bool(mask[0].any()) and not bool(mask[1].any())


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (2, 2)])
def test_tiny_images(size):
    labels = np.arange(size[0] * size[1]).reshape(size) % 2 + 1
    color = np.random.default_rng(0).random((*size, 3))
    scene, result = picture(labels, np.where(labels == 1, 1.0, 2.0), color)
    v = oracle.view(scene, result)
    for got, expected in zip(gradients(scene, result), oracle.image_space_gradients(v)):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    mask, coordinates = dilate(scene, result)
    for k in range(2):
        expected_mask, expected_coordinates = oracle.dilate(v, k + 1)
        np.testing.assert_array_equal(mask[k], expected_mask)
        np.testing.assert_array_equal(coordinates[k], expected_coordinates)


def test_no_objects():
    scene, result = analytic.random_buffers(0, labels=())
    mask, coordinates = dilate(scene, result)
    assert mask.shape == (0, analytic.HEIGHT, analytic.WIDTH) and mask.dtype == jnp.bool_
    assert coordinates.shape == (0, analytic.HEIGHT, analytic.WIDTH, 3)
    assert gradients(scene, result)[0].shape == (analytic.HEIGHT, analytic.WIDTH, 3)


def test_eager_jit_and_vmap_agree():
    batch = [analytic.random_buffers(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batch)
    for function, jitted in ((sl.compute_image_space_gradients, gradients), (sl.dilate_silhouettes, dilate)):
        mapped = jax.jit(jax.vmap(function))(*stacked)
        for k, (scene, result) in enumerate(batch):
            for eager, compiled, of_batch in zip(function(scene, result), jitted(scene, result), mapped):
                np.testing.assert_allclose(compiled, eager, atol=1e-6)
                np.testing.assert_allclose(of_batch[k], eager, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtypes(x64, dtype):
    scene, result = analytic.random_scene(0, dtype=dtype)
    grad_x, grad_y, valid = gradients(scene, result)
    assert (grad_x.dtype, grad_y.dtype, valid.dtype) == (dtype, dtype, jnp.bool_)
    assert dilate(scene, result)[1].dtype == dtype


def test_derivatives_with_respect_to_the_image(x64):
    scene, result = analytic.random_scene(1, width=5, height=4, dtype=jnp.float64)

    def function(rgb):
        grad_x, grad_y, _ = sl.compute_image_space_gradients(scene, dataclasses.replace(result, rgb=rgb))
        return jnp.stack([grad_x, grad_y])

    assert_derivatives(function, result.rgb)


def test_derivatives_of_the_dilated_coordinates(x64):
    scene, result = analytic.random_scene(1, width=5, height=4, dtype=jnp.float64)

    def function(coordinates):
        coord_depth = jnp.concatenate([coordinates, result.depth[..., None]], axis=-1)
        return sl.dilate_silhouettes(scene, dataclasses.replace(result, coord_depth=coord_depth))[1]

    assert_derivatives(function, result.coordinates)


@pytest.mark.parametrize("function", [sl.compute_image_space_gradients, sl.dilate_silhouettes])
def test_another_image_size_than_the_camera_is_refused(unchecked_types, function):
    scene, result = analytic.random_scene(0)
    scene = dataclasses.replace(scene, camera=scene.camera.resized(4, 3))
    with pytest.raises(ValueError, match=r"(?s)(3.*4.*11.*15|11.*15.*3.*4|4.*3.*15.*11|15.*11.*4.*3)"):
        function(scene, result)
