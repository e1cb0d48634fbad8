"""Backpropagation to poses, its transpose, and the pose Jacobian."""

import dataclasses
import functools

import analytic
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.ndimage
from derivatives import QUICK_COMPILATION, assert_derivatives
from hypothesis import given
from scipy.spatial.transform import Rotation

import sldiff_jax as sl

backpropagate = jax.jit(sl.backpropagate_gradient_to_poses)
image_change = jax.jit(sl.image_change)
pose_jacobian = jax.jit(sl.pose_jacobian)
visible_objects = jax.jit(sl.visible_objects)
gradient_maps = jax.jit(sl.pose_gradient_maps)

SOURCES = {"solids": analytic.random_scene, "patches": analytic.random_buffers}
LABELS = (7, 32767, 300)


def random_delta(seed: int, objects: int = 3, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(2000 + seed).normal(size=(objects, 6)), dtype)


def assert_close_to_largest(got, expected, relative: float) -> None:
    """Equal but for a fraction of the largest entry: rows of a gradient cancel over the pixels."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * np.abs(expected).max(initial=1e-6))


# --- against the oracle ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(6))
def test_backpropagation_equals_the_oracle(x64, source, seed):
    scene, result = SOURCES[source](seed, dtype=jnp.float64, uint8=seed % 2 == 1)
    cotangent = analytic.random_cotangent(seed, dtype=jnp.float64)
    expected = oracle.backpropagate(oracle.view(scene, result), cotangent)
    assert np.abs(expected).max() > 1
    assert_close_to_largest(backpropagate(scene, result, cotangent), expected, 1e-12)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(3))
def test_backpropagation_in_single_precision(source, seed):
    scene, result = SOURCES[source](seed)
    cotangent = analytic.random_cotangent(seed)
    got = backpropagate(scene, result, cotangent)
    assert got.dtype == jnp.float32
    assert_close_to_largest(got, oracle.backpropagate(oracle.view(scene, result), cotangent), 1e-5)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(3))
def test_pose_jacobian_equals_the_oracle(x64, source, seed):
    scene, result = SOURCES[source](seed, dtype=jnp.float64)
    assert_close_to_largest(pose_jacobian(scene, result), oracle.pose_jacobian(oracle.view(scene, result)), 1e-12)


@pytest.mark.parametrize("source", SOURCES)
def test_transposed_pose_jacobian_is_backpropagation_without_dilation(x64, source):
    scene, result = SOURCES[source](3, dtype=jnp.float64)
    cotangent = analytic.random_cotangent(3, dtype=jnp.float64)
    per_pixel = jnp.einsum("hwcd,chw->hwd", pose_jacobian(scene, result), cotangent)
    rows = jnp.stack([per_pixel[result.instance_index == label].sum(axis=0) for label in LABELS])
    expected = oracle.backpropagate(oracle.view(scene, result), cotangent, dilation=False)
    assert_close_to_largest(rows, expected, 1e-12)


def test_more_than_twenty_objects(x64):
    labels = tuple(int(label) for label in np.random.default_rng(0).permutation(32767)[:25] + 1)
    scene, result = analytic.random_buffers(0, labels=labels, width=25, height=21, dtype=jnp.float64)
    cotangent = analytic.random_cotangent(0, 21, 25, jnp.float64)
    assert bool(visible_objects(scene, result).all())
    expected = oracle.backpropagate(oracle.view(scene, result), cotangent)
    assert_close_to_largest(backpropagate(scene, result, cotangent), expected, 1e-12)


def test_per_pixel_maps_sum_to_the_gradient(x64):
    scene, result = analytic.random_buffers(4, dtype=jnp.float64)
    cotangent = analytic.random_cotangent(4, dtype=jnp.float64)
    maps = gradient_maps(scene, result, cotangent)
    assert maps.shape == (3, 6, analytic.HEIGHT, analytic.WIDTH)
    assert_close_to_largest(maps.sum(axis=(2, 3)), backpropagate(scene, result, cotangent), 1e-12)
    v = oracle.view(scene, result)
    for k, label in enumerate(LABELS):  # a pixel counts for the objects whose dilated silhouette holds it
        np.testing.assert_array_equal(np.asarray(maps[k])[:, ~oracle.dilate(v, label)[0]], 0)


@pytest.mark.parametrize("function", [sl.backpropagate_gradient_to_poses, sl.image_change])
def test_no_memory_per_pixel_and_object(function):
    height, width = 48, 64

    def temporary_bytes(objects: int) -> int:
        labels = tuple(range(10, 10 + objects))
        scene, result = analytic.random_buffers(0, labels=labels, width=width, height=height)
        cotangent = analytic.random_cotangent(0, height, width)
        argument = jnp.zeros((objects, 6)) if function is sl.image_change else cotangent
        return jax.jit(function).lower(scene, result, argument).compile().memory_analysis().temp_size_in_bytes

    one_bit_mask_each = 1000 * height * width
    assert temporary_bytes(1000) - temporary_bytes(1) < one_bit_mask_each / 2


# --- against images that really move ---------------------------------------------------------------------------------


def solid_scene(seed: int, width: int, height: int):
    """A smooth solid, well inside the frame, before a tilted camera, and its image after a small motion."""
    rng = np.random.default_rng(seed)
    T_world_camera = analytic.rigid(rng, rng.normal(size=3))
    (solid,) = analytic.random_solids(rng, (1,), T_world_camera, wave=8.0, spread=0.05)
    P = analytic.projection(width, height)

    def image(delta: np.ndarray, supersample: int = 1) -> analytic.Buffers:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = Rotation.from_rotvec(delta[:3]).as_matrix(), delta[3:]
        moved = solid._replace(T_world_object=solid.T_world_object @ T)
        return analytic.ray_cast([moved], P, T_world_camera, width, height, supersample=supersample)

    scene = sl.Scene(solid.T_world_object[None], analytic.make_camera(width, height, T_world_camera, jnp.float64))
    return scene, image


@pytest.mark.parametrize("seed", range(3))
def test_pose_jacobian_predicts_the_moving_image(x64, seed):
    scene, image = solid_scene(seed, 120, 96)
    buffers = image(np.zeros(6))
    # Where the whole window shows the object; at its outline the image is a step.
    inside = ~scipy.ndimage.binary_dilation(buffers.labels == 0, np.ones((5, 5)), border_value=1)
    assert inside.sum() > 200
    jacobian = np.asarray(pose_jacobian(scene, analytic.make_result(buffers, jnp.float64)))[inside]
    for degree in range(6):
        delta = np.eye(6)[degree] * 1e-5
        measured = (image(delta).color - image(-delta).color)[inside] / 2e-5
        assert np.linalg.norm(jacobian[..., degree] - measured) < 0.02 * np.linalg.norm(measured)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_follows_the_moving_silhouette(x64, seed):
    """Translations against central differences of an antialiased image under a smooth loss, outline included.

    Rotations are no test of the code here: near the outline of a round solid, one pixel inside, the surface already
    moves quite differently from the outline itself, and an image of 60 x 48 pixels has many such pixels.
    """
    width, height = 60, 48
    scene, image = solid_scene(seed, width, height)
    rows, columns = np.mgrid[0:height, 0:width]
    cotangent = np.stack([np.sin(columns / 9 + c) * np.cos(rows / 7 - c) for c in range(3)])
    result = analytic.make_result(image(np.zeros(6), 6), jnp.float64)
    measured = np.zeros(3)
    for axis in range(3):
        delta = np.eye(6)[3 + axis] * 0.004
        change = image(delta, 6).color - image(-delta, 6).color
        measured[axis] = np.einsum("chw,hwc->", cotangent, change) / 0.008
    gradient = np.asarray(backpropagate(scene, result, jnp.asarray(cotangent)))[0, 3:]
    without_dilation = np.einsum("hwcd,chw->d", pose_jacobian(scene, result), cotangent)[3:]
    assert np.linalg.norm(gradient - measured) < 0.08 * np.linalg.norm(measured)
    assert np.linalg.norm(without_dilation - measured) > 0.2 * np.linalg.norm(measured)


# --- the transpose ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(3))
def test_image_change_is_the_exact_transpose(x64, source, seed):
    scene, result = SOURCES[source](seed, dtype=jnp.float64)
    cotangent, delta = analytic.random_cotangent(seed, dtype=jnp.float64), random_delta(seed, dtype=jnp.float64)
    change = image_change(scene, result, delta)
    assert change.shape == (analytic.HEIGHT, analytic.WIDTH, 3)
    left = float(jnp.einsum("hwc,chw->", change, cotangent))
    right = float((delta * backpropagate(scene, result, cotangent)).sum())
    assert abs(left - right) <= 1e-12 * float(jnp.abs(change).max() * jnp.abs(cotangent).sum())
    transposed = jax.jit(jax.linear_transpose(lambda d: sl.image_change(scene, result, d), delta))
    assert_close_to_largest(
        transposed(jnp.moveaxis(cotangent, 0, -1))[0], backpropagate(scene, result, cotangent), 1e-12
    )


def test_image_change_without_silhouettes_is_the_jacobian(x64):
    scene, result = analytic.random_scene(2, dtype=jnp.float64)
    delta = random_delta(2, dtype=jnp.float64)
    change = np.asarray(image_change(scene, result, delta))
    dilated = np.stack([oracle.dilate(oracle.view(scene, result), label)[0] for label in LABELS])
    shown = np.stack([np.asarray(result.instance_index) == label for label in LABELS])
    only_own = ~(dilated & ~shown).any(axis=0)
    own_delta = np.einsum("nhw,nd->hwd", shown, delta)
    expected = np.einsum("hwcd,hwd->hwc", pose_jacobian(scene, result), own_delta)
    np.testing.assert_allclose(change[only_own], expected[only_own], atol=1e-11)
    assert np.abs(change[~only_own]).max() > 0.1


# --- objects that are not there --------------------------------------------------------------------------------------


def test_an_invisible_object_has_an_exact_zero_row():
    scene, result = analytic.random_buffers(1)
    scene = sl.Scene(scene.T_world_object, scene.camera, np.array([7, 32767, 8]))  # nobody is 8
    cotangent = analytic.random_cotangent(1)
    gradient = backpropagate(scene, result, cotangent)
    assert visible_objects(scene, result).tolist() == [True, True, False]
    np.testing.assert_array_equal(gradient[2], 0)
    assert bool((gradient[:2] != 0).all())
    full = backpropagate(*analytic.random_buffers(1), cotangent)
    np.testing.assert_array_equal(gradient[:2], full[:2])
    alone = image_change(scene, result, jnp.zeros((3, 6)).at[2].set(1.0))
    np.testing.assert_array_equal(alone, 0)


def test_no_objects():
    scene, result = analytic.random_buffers(0, labels=())
    cotangent = analytic.random_cotangent(0)
    assert backpropagate(scene, result, cotangent).shape == (0, 6)
    assert visible_objects(scene, result).shape == (0,)
    np.testing.assert_array_equal(pose_jacobian(scene, result), np.zeros((analytic.HEIGHT, analytic.WIDTH, 3, 6)))
    np.testing.assert_array_equal(image_change(scene, result, jnp.zeros((0, 6))), 0)


@pytest.mark.parametrize("label", [-5, 40000, -32769])
def test_labels_outside_the_range_are_nobody(label):
    scene, result = analytic.random_buffers(0)
    labels = jnp.where(result.instance_index == 0, 0, label).astype(jnp.int32)
    result = dataclasses.replace(result, instance_index=labels)
    np.testing.assert_array_equal(backpropagate(scene, result, analytic.random_cotangent(0)), 0)
    np.testing.assert_array_equal(pose_jacobian(scene, result), 0)
    assert not bool(visible_objects(scene, result).any())


# --- no NaN anywhere -------------------------------------------------------------------------------------------------


def degenerate(name: str) -> tuple[sl.Scene, sl.RenderResult]:
    scene, result = analytic.random_buffers(2)
    labels = np.asarray(result.instance_index)
    if name == "only background":
        labels = np.zeros_like(labels)
    elif name == "one-pixel object":
        labels = np.zeros_like(labels)
        labels[4, 6] = 7
    elif name == "one-pixel object in the corner":
        labels = np.zeros_like(labels)
        labels[-1, -1] = 32767
    elif name == "behind the camera":
        behind = np.asarray(scene.camera.T_world_camera) @ np.diag([1.0, 1.0, -1.0, 1.0])
        scene = dataclasses.replace(scene, T_world_object=scene.T_world_object.at[0].set(behind))
    elif name == "in the camera plane":  # a pixel whose clip w is exactly zero
        scene = dataclasses.replace(scene, T_world_object=scene.T_world_object.at[0].set(scene.camera.T_world_camera))
        coord_depth = jnp.where((labels == 7)[..., None], jnp.array([0.0, 0.0, 0.0, 0.5]), result.coord_depth)
        result = dataclasses.replace(result, coord_depth=coord_depth)
        scene = dataclasses.replace(scene, camera=analytic.make_camera())
        scene = dataclasses.replace(scene, T_world_object=scene.T_world_object.at[0].set(jnp.eye(4)))
    coord_depth = jnp.where((labels == 0)[..., None], analytic.BACKGROUND, result.coord_depth)
    result = dataclasses.replace(result, instance_index=jnp.asarray(labels), coord_depth=coord_depth)
    if name.startswith("1x1"):
        row, column = np.argwhere((labels == 7) if name == "1x1 object" else (labels == 0))[0]
        result = jax.tree.map(lambda buffer: buffer[row : row + 1, column : column + 1], result)
        scene = dataclasses.replace(scene, camera=scene.camera.resized(1, 1))
    return scene, result


@functools.partial(jax.jit, compiler_options=QUICK_COMPILATION)
def everything(scene, result, cotangent, delta):
    """All outputs, and the gradient of their squares with respect to every floating input."""

    def outputs(poses, projection, T_world_camera, rgb, coord_depth, cotangent, delta):
        camera = dataclasses.replace(scene.camera, projection=projection, T_world_camera=T_world_camera)
        s = dataclasses.replace(scene, T_world_object=poses, camera=camera)
        r = dataclasses.replace(result, rgb=rgb, coord_depth=coord_depth)
        return (
            sl.compute_image_space_gradients(s, r)[:2],
            sl.dilate_silhouettes(s, r)[1],
            sl.backpropagate_gradient_to_poses(s, r, cotangent),
            sl.pose_jacobian(s, r),
            sl.image_change(s, r, delta),
            sl.apply_pose_delta(poses, delta),
        )

    inputs = (
        scene.T_world_object, scene.camera.projection, scene.camera.T_world_camera, result.rgb, result.coord_depth,
        cotangent, delta,
    )  # fmt: skip
    values, pull_back = jax.vjp(outputs, *inputs)
    return values, pull_back(jax.tree.map(lambda value: 2 * value, values))


NAMES = [
    "patches", "only background", "one-pixel object", "one-pixel object in the corner", "behind the camera",
    "in the camera plane", "1x1 object", "1x1 background",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_ever_nan(name):
    scene, result = degenerate(name)
    cotangent = analytic.random_cotangent(0, *result.depth.shape)
    outputs, gradients = everything(scene, result, cotangent, jnp.zeros((3, 6)))
    for leaf in jax.tree.leaves((outputs, gradients)):
        assert bool(jnp.isfinite(leaf).all())


def test_no_gradient_reaches_the_coordinates_of_the_background():
    scene, result = degenerate("patches")
    _, gradients = everything(scene, result, analytic.random_cotangent(0), jnp.zeros((3, 6)))
    background = np.asarray(result.instance_index) == 0
    np.testing.assert_array_equal(np.asarray(gradients[4])[background], 0)
    assert np.abs(np.asarray(gradients[4])[~background]).max() > 0


@pytest.mark.parametrize("name", ["behind the camera", "in the camera plane"])
def test_an_impossible_object_does_not_disturb_the_others(name):
    scene, result = degenerate(name)
    cotangent = analytic.random_cotangent(0)
    v = oracle.view(scene, result)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = oracle.backpropagate(v, cotangent)
    assert_close_to_largest(backpropagate(scene, result, cotangent)[1:], expected[1:], 1e-5)


# --- symmetries ------------------------------------------------------------------------------------------------------


@given(st.permutations(range(3)), st.lists(st.integers(1, 32767), min_size=3, max_size=3, unique=True))
def test_relabelling_objects_permutes_rows(order, labels):
    scene, result = analytic.random_buffers(0)
    cotangent = analytic.random_cotangent(0)
    order = np.array(order)
    relabelled = np.zeros((analytic.HEIGHT, analytic.WIDTH), np.int16)
    for old, new in zip(LABELS, labels):
        relabelled[np.asarray(result.instance_index) == old] = new
    stranger = next(label for label in range(1, 5) if label not in labels)
    relabelled[np.asarray(result.instance_index) == 5] = stranger
    moved_scene = sl.Scene(scene.T_world_object[order], scene.camera, np.array(labels)[order])
    moved_result = dataclasses.replace(result, instance_index=jnp.asarray(relabelled))
    assert_close_to_largest(
        backpropagate(moved_scene, moved_result, cotangent), backpropagate(scene, result, cotangent)[order], 1e-6
    )
    np.testing.assert_allclose(
        pose_jacobian(moved_scene, moved_result), pose_jacobian(scene, result), rtol=1e-4, atol=1e-4
    )


@given(st.lists(st.floats(-2, 2, width=32), min_size=6, max_size=6))
def test_moving_camera_and_world_together_changes_nothing(xi):
    with jax.enable_x64(True):
        scene, result = analytic.random_scene(0, dtype=jnp.float64)
        cotangent = analytic.random_cotangent(0, dtype=jnp.float64)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = Rotation.from_rotvec(xi[:3]).as_matrix(), xi[3:]
        camera = dataclasses.replace(scene.camera, T_world_camera=T @ scene.camera.T_world_camera)
        moved = dataclasses.replace(scene, T_world_object=T @ scene.T_world_object, camera=camera)
        assert_close_to_largest(backpropagate(moved, result, cotangent), backpropagate(scene, result, cotangent), 1e-11)


def test_backpropagation_is_linear_in_the_cotangent():
    scene, result = analytic.random_buffers(0)
    a, b = analytic.random_cotangent(0), analytic.random_cotangent(1)
    combined = backpropagate(scene, result, 2 * a - 3 * b)
    expected = 2 * backpropagate(scene, result, a) - 3 * backpropagate(scene, result, b)
    assert_close_to_largest(combined, expected, 1e-5)


# --- transformations, dtypes, devices --------------------------------------------------------------------------------


def test_eager_jit_and_vmap_agree():
    scenes, results = zip(*[analytic.random_buffers(seed) for seed in range(3)])
    cotangents, deltas = [analytic.random_cotangent(k) for k in range(3)], [random_delta(k) for k in range(3)]
    for function, compiled, extra in (
        (sl.backpropagate_gradient_to_poses, backpropagate, (cotangents,)),
        (sl.image_change, image_change, (deltas,)),
        (sl.pose_jacobian, pose_jacobian, ()),
        (sl.visible_objects, visible_objects, ()),
        (sl.pose_gradient_maps, gradient_maps, (cotangents,)),
    ):
        batch = list(zip(scenes, results, *extra))
        mapped = jax.jit(jax.vmap(function), compiler_options=QUICK_COMPILATION)(
            *jax.tree.map(lambda *x: jnp.stack(x), *batch)
        )
        for k, arguments in enumerate(batch):
            assert_close_to_largest(mapped[k], compiled(*arguments), 1e-5)
        assert_close_to_largest(compiled(*batch[0]), function(*batch[0]), 1e-5)


def test_vmap_over_cotangents_alone():
    scene, result = analytic.random_buffers(0)
    cotangents = jnp.stack([analytic.random_cotangent(k) for k in range(4)])
    mapped = jax.jit(jax.vmap(sl.backpropagate_gradient_to_poses, in_axes=(None, None, 0)))(scene, result, cotangents)
    for k in range(4):
        assert_close_to_largest(mapped[k], backpropagate(scene, result, cotangents[k]), 1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtypes(x64, dtype):
    scene, result = analytic.random_scene(0, dtype=dtype)
    cotangent = analytic.random_cotangent(0, dtype=dtype)
    assert backpropagate(scene, result, cotangent).dtype == dtype
    assert image_change(scene, result, random_delta(0, dtype=dtype)).dtype == dtype
    assert pose_jacobian(scene, result).dtype == dtype
    assert visible_objects(scene, result).dtype == jnp.bool_


def test_derivatives_with_respect_to_all_inputs(x64):
    """Everything is differentiable once more: poses, camera, image, coordinates and cotangent, packed in one vector."""
    height, width = 4, 5
    scene, result = analytic.random_scene(1, labels=(7, 9), width=width, height=height, dtype=jnp.float64)
    foreground = np.asarray(result.instance_index) != 0
    assert bool(visible_objects(scene, result).all())

    def function(z):
        parts = jnp.split(z, np.cumsum([2 * 16, 16, 16, 3 * height * width, 4 * height * width]))
        camera = dataclasses.replace(
            scene.camera, projection=parts[1].reshape(4, 4), T_world_camera=parts[2].reshape(4, 4)
        )
        s = dataclasses.replace(scene, T_world_object=parts[0].reshape(2, 4, 4), camera=camera)
        # Step sizes fit numbers of order one; the background's 3000 stays as it is.
        coordinates = jnp.where(foreground[..., None], parts[4].reshape(height, width, 4), analytic.BACKGROUND)
        coord_depth = jnp.concatenate([coordinates[..., :3], result.depth[..., None]], axis=-1)
        r = dataclasses.replace(result, rgb=parts[5].reshape(height, width, 4), coord_depth=coord_depth)
        return sl.backpropagate_gradient_to_poses(s, r, parts[3].reshape(3, height, width)) / 10

    cotangent = analytic.random_cotangent(0, height, width, jnp.float64)
    values = (scene.T_world_object, scene.camera.projection, scene.camera.T_world_camera, cotangent,
              jnp.where(foreground[..., None], result.coord_depth, 0.0), result.rgb)  # fmt: skip
    assert_derivatives(function, jnp.concatenate([value.ravel() for value in values]), rtol=1e-6, atol=1e-7)


def test_derivatives_of_image_change(x64):
    scene, result = analytic.random_scene(1, labels=(7, 9), width=5, height=4, dtype=jnp.float64)

    def function(z):
        s = dataclasses.replace(scene, T_world_object=z[12:].reshape(2, 4, 4))
        return sl.image_change(s, result, z[:12].reshape(2, 6))

    delta = random_delta(0, 2, jnp.float64)
    assert_derivatives(function, jnp.concatenate([delta.ravel(), scene.T_world_object.ravel()]), rtol=1e-6, atol=1e-7)


def test_derivatives_of_the_pose_jacobian(x64):
    scene, result = analytic.random_scene(1, labels=(7, 9), width=5, height=4, dtype=jnp.float64)
    assert_derivatives(
        lambda poses: sl.pose_jacobian(dataclasses.replace(scene, T_world_object=poses), result),
        scene.T_world_object, rtol=1e-6, atol=1e-7,
    )  # fmt: skip


@pytest.mark.gpu
def test_gpu_and_cpu_agree(gpu):
    scene, result = analytic.random_scene(0, width=64, height=48)
    cotangent, delta = analytic.random_cotangent(0, 48, 64), random_delta(0)
    for function, extra in (
        (backpropagate, (cotangent,)), (image_change, (delta,)), (pose_jacobian, ()), (visible_objects, ()),
    ):  # fmt: skip
        on = [function(*jax.device_put((scene, result, *extra), device)) for device in (gpu, jax.devices("cpu")[0])]
        assert on[0].devices() == {gpu}
        assert_close_to_largest(on[0], on[1], 1e-5)


# --- wrong arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(analytic.HEIGHT, analytic.WIDTH, 3), (3, analytic.WIDTH, analytic.HEIGHT), (3, 4)])
@pytest.mark.parametrize("function", [sl.backpropagate_gradient_to_poses, sl.pose_gradient_maps])
def test_a_cotangent_of_the_wrong_shape_is_refused(unchecked_types, function, shape):
    got = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"grad_objective_wrt_rnd_img.*\(3, 11, 15\).*{got}"):
        function(*analytic.random_scene(0), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(6,), (2, 6), (3, 7)])
def test_a_delta_of_the_wrong_shape_is_refused(unchecked_types, shape):
    got = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"delta.*\(3, 6\).*{got}"):
        sl.image_change(*analytic.random_scene(0), jnp.zeros(shape))


@pytest.mark.parametrize(
    ("function", "extra"),
    [
        (sl.backpropagate_gradient_to_poses, (analytic.random_cotangent(0),)),
        (sl.pose_gradient_maps, (analytic.random_cotangent(0),)),
        (sl.image_change, (jnp.zeros((3, 6)),)),
        (sl.pose_jacobian, ()),
        (sl.visible_objects, ()),
    ],
)
def test_another_image_size_than_the_camera_is_refused(unchecked_types, function, extra):
    scene, result = analytic.random_scene(0)
    scene = dataclasses.replace(scene, camera=scene.camera.resized(4, 3))
    with pytest.raises(ValueError, match=r"(?s)(3.*4.*11.*15|11.*15.*3.*4|4.*3.*15.*11|15.*11.*4.*3)"):
        function(scene, result, *extra)
