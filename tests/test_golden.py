"""Parity with recorded output of the original stillleben."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import sldiff_jax as sl

SCENES = ["two_bunnies", "two_bunnies_flat", "bunny_cube", "five", "five_flat"]
FLAT = {"two_bunnies_flat": 2, "five_flat": 5}
CUT_BY_THE_BORDER = {("five", 4), ("five_flat", 4)}

gradients = jax.jit(sl.compute_image_space_gradients)
dilate = jax.jit(sl.dilate_silhouettes)
backpropagate = jax.jit(sl.backpropagate_gradient_to_poses)


def doctored(scene: sl.Scene) -> sl.Scene:
    """The scene as the original sees it: division by row 2 of the projection, and a camera at the origin."""
    P = scene.camera.projection
    camera = sl.Camera(P.at[3].set(P[2]), width=scene.camera.width, height=scene.camera.height)
    return dataclasses.replace(scene, camera=camera)


@pytest.mark.parametrize("name", SCENES)
def test_image_space_gradients(golden, name):
    scene, result, data = golden(name)
    grad_x, grad_y, valid = gradients(scene, result)
    inside = oracle.interior(valid.shape, 1)
    np.testing.assert_array_equal(np.asarray(valid)[inside], data["isg_valid"][inside])
    assert (~data["isg_valid"]).sum() > 40
    for got, key in ((grad_x, "isg_grad_x"), (grad_y, "isg_grad_y")):
        # Equal but for the order in which 1/255 and W/4 are multiplied; the values reach 66.
        np.testing.assert_allclose(np.asarray(got)[inside], np.moveaxis(data[key], 0, -1)[inside], rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("name", SCENES)
def test_silhouette_dilation(golden, name):
    scene, result, data = golden(name)
    mask, coordinates = dilate(scene, result)
    inside = oracle.interior(mask.shape[1:], 2)
    for k in range(len(mask)):
        grown = int(mask[k].sum()) - int((result.instance_index == scene.instance_index[k]).sum())
        assert grown > 100
        np.testing.assert_array_equal(np.asarray(mask[k])[inside], data[f"dilated_mask_{k}"][inside])
        dilated = inside & data[f"dilated_mask_{k}"]
        recorded = data[f"dilated_coordinates_{k}"]
        np.testing.assert_array_equal(np.asarray(coordinates[k])[dilated], recorded[dilated])
        # Elsewhere the original leaves the coordinates of whoever is there; the port says that nobody is.
        np.testing.assert_array_equal(np.asarray(coordinates[k])[~np.asarray(mask[k])], 3000.0)


@pytest.mark.parametrize("name", SCENES)
def test_pose_gradient_with_the_projection_of_the_original(golden, name):
    scene, result, data = golden(name)
    gradient = np.asarray(backpropagate(doctored(scene), result, data["grad_image"]))
    largest = np.abs(data["pose_grad"]).max()
    for k, recorded in enumerate(data["pose_grad"]):
        if (name, k) in CUT_BY_THE_BORDER:  # the original drops its pixels on the frame's border; next test
            continue
        np.testing.assert_allclose(gradient[k], recorded, rtol=0, atol=1e-4 * np.abs(recorded).max())
    clear = [k for k in range(len(gradient)) if (name, k) not in CUT_BY_THE_BORDER]
    np.testing.assert_allclose(gradient[clear], data["pose_grad"][clear], rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize(("name", "k"), sorted(CUT_BY_THE_BORDER))
def test_an_object_cut_by_the_border_differs_by_its_border_pixels_alone(golden, name, k):
    scene, result, data = golden(name)
    # With no cotangent on the border, nothing that the port counts and the original drops can contribute.
    inside = oracle.interior(result.depth.shape, 1)
    gradient = backpropagate(doctored(scene), result, jnp.asarray(data["grad_image"] * inside))
    recorded = data["pose_grad"][k]
    np.testing.assert_allclose(gradient[k], recorded, rtol=0, atol=1e-4 * np.abs(recorded).max())
    full = backpropagate(doctored(scene), result, data["grad_image"])
    assert np.abs(full[k] - recorded).max() > 1e-2 * np.abs(recorded).max()


@pytest.mark.parametrize("name", ["two_bunnies", "two_bunnies_flat", "bunny_cube", "five_flat"])
def test_pose_gradient_equals_the_oracle_with_the_true_projection(golden, name):
    scene, result, data = golden(name)
    gradient = np.asarray(backpropagate(scene, result, data["grad_image"]))
    expected = oracle.backpropagate(oracle.view(scene, result), data["grad_image"])
    for row, expected_row in zip(gradient, expected):
        np.testing.assert_allclose(row, expected_row, rtol=0, atol=2e-5 * np.abs(expected_row).max())


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("orthonormalize", [True, False])
def test_apply_pose_delta(golden, name, orthonormalize):
    scene, _, data = golden(name)
    suffix = f"ortho{int(orthonormalize)}"
    single = sl.apply_pose_delta(scene.T_world_object[0], jnp.asarray(data["apd_delta_single"]), orthonormalize)
    np.testing.assert_allclose(single, data[f"apd_single_{suffix}"], rtol=0, atol=1e-6)
    batched = sl.apply_pose_delta(scene.T_world_object, jnp.asarray(data["apd_delta_batched"]), orthonormalize)
    np.testing.assert_allclose(batched, data[f"apd_batched_{suffix}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SCENES)
def test_from_intrinsics_makes_the_projection_of_the_original(golden, name):
    scene, _, data = golden(name)
    width, height = data["viewport_wh"].tolist()
    camera = sl.Camera.from_intrinsics(*data["intrinsics_fxfycxcy"], width=width, height=height)
    np.testing.assert_allclose(camera.projection, scene.camera.projection, rtol=2e-6, atol=2e-7)


# --- against finite differences of the original's own antialiased renders --------------------------------------------

WEIGHT = np.array([10.0, 10.0, 10.0, 1.0, 1.0, 1.0])  # a radian counts as 0.1 m of motion at the surface

# Here the original's own number is nearer to the finite differences, by luck of two faults: the estimator
# underestimates these gradients (best factor: 1.7 and 1.3), and dividing by 1.02 z - 0.2 instead of z overestimates
# them (1 / 0.71 at these depths). Its direction is the worse one. The bunny of `five_flat` lies over two cubes, where
# the reference's rules count half of its outline; `render` counts all of it (see the last test). The one of
# `two_bunnies_flat` is a thousand pixels of fine texture, recorded without antialiasing; with antialiasing the error
# halves (next test).
UNDERESTIMATED = {("five_flat", 0): 1.69, ("two_bunnies_flat", 1): 1.33}


def error(gradient, measured) -> float:
    return float(np.linalg.norm((gradient - measured) * WEIGHT) / np.linalg.norm(measured * WEIGHT))


def cosine(gradient, measured) -> float:
    a, b = gradient * WEIGHT, measured * WEIGHT
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize(("name", "k"), [(name, k) for name, objects in FLAT.items() for k in range(objects)])
def test_closer_to_finite_differences_than_the_original(golden, name, k):
    scene, result, data = golden(name)
    ours = np.asarray(backpropagate(scene, result, data["grad_image"]), np.float64)[k]
    original, measured = data["pose_grad"][k], data["fd_pose_grad"][k]
    if (name, k) not in UNDERESTIMATED:
        assert error(ours, measured) < error(original, measured)
        return
    factor = (ours * WEIGHT) @ (measured * WEIGHT) / np.sum((ours * WEIGHT) ** 2)
    np.testing.assert_allclose(factor, UNDERESTIMATED[name, k], atol=0.02)
    assert error(original, measured) < error(ours, measured)
    assert cosine(ours, measured) > cosine(original, measured)


def test_an_antialiased_image_mends_the_underestimated_gradient(golden):
    scene, result, data = golden("two_bunnies_flat")
    smooth = np.concatenate([np.moveaxis(data["ssaa_rgb"], 0, -1), np.ones((*result.depth.shape, 1))], axis=-1)
    result = dataclasses.replace(result, rgb=jnp.asarray(smooth, jnp.float32))
    gradient = np.asarray(backpropagate(scene, result, data["grad_image"]))
    for k in range(2):
        assert error(gradient[k], data["fd_pose_grad"][k]) < min(
            0.15, error(data["pose_grad"][k], data["fd_pose_grad"][k])
        )


@pytest.mark.parametrize(("name", "bound"), [("five_flat", 0.16), ("two_bunnies_flat", 0.24)])
def test_median_error_against_finite_differences(golden, name, bound):
    scene, result, data = golden(name)
    gradient = np.asarray(backpropagate(scene, result, data["grad_image"]))
    errors = [error(g, f) for g, f in zip(gradient, data["fd_pose_grad"])]
    of_the_original = [error(g, f) for g, f in zip(data["pose_grad"], data["fd_pose_grad"])]
    assert np.median(errors) < bound < np.median(of_the_original)


@pytest.mark.parametrize(("name", "bounds"), [("five_flat", (0.13, 0.25)), ("two_bunnies_flat", (0.22, 0.26))])
def test_render_is_closer_still_to_finite_differences(golden, name, bounds):
    """Where objects overlap `render` counts the whole outline of the occluder, the reference half of it."""
    scene, result, data = golden(name)

    def objective(delta):
        moved = dataclasses.replace(scene, T_world_object=sl.apply_pose_delta(scene.T_world_object, delta))
        return jnp.sum(sl.render(moved, lambda _: result).rgb * jnp.moveaxis(data["grad_image"], 0, -1))

    of_render = np.asarray(jax.grad(objective)(jnp.zeros_like(data["pose_grad"])))
    reference = np.asarray(backpropagate(scene, result, data["grad_image"]))
    errors = [error(g, f) for g, f in zip(of_render, data["fd_pose_grad"])]
    assert np.median(errors) < np.median([error(g, f) for g, f in zip(reference, data["fd_pose_grad"])])
    assert np.median(errors) < bounds[0]
    assert max(errors) < bounds[1]
