"""The forward mode of `render`: the exact transpose of what `jax.grad` computes, in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analytic import HEIGHT, WIDTH, random_buffers, random_scene
from derivatives import QUICK_COMPILATION

import sldiff_jax as sl


def objective(scene, result, cotangent, delta):
    """sum(image * cotangent) over all images, as a function of how the objects move."""
    moved = sl.Scene(jax.vmap(sl.apply_pose_delta)(scene.T_world_object, delta), scene.camera, scene.instance_index)
    images = sl.render(moved, lambda _: result)
    return sum(jnp.sum(getattr(images, name) * cotangent[name]) for name in cotangent)


gradient = jax.jit(jax.grad(objective, argnums=3), compiler_options=QUICK_COMPILATION)
forward = jax.jit(lambda scene, result, delta: sl.render_jvp(scene, lambda _: result, delta)[1],
                  compiler_options=QUICK_COMPILATION)  # fmt: skip


def random_cotangents(rng):
    return {
        "rgb": jnp.asarray(rng.normal(size=(HEIGHT, WIDTH, 3))),
        "depth": jnp.asarray(rng.normal(size=(HEIGHT, WIDTH))),
        "mask": jnp.asarray(rng.normal(size=(HEIGHT, WIDTH))),
    }


@pytest.mark.parametrize("make", [random_scene, random_buffers])
def test_it_is_the_transpose_of_the_gradient(x64, make):
    """Several objects in front of each other, and all images at once."""
    for seed in range(3):
        scene, result = make(seed, dtype=jnp.float64)
        rng = np.random.default_rng(seed)
        delta = jnp.asarray(rng.normal(size=(3, 6)))
        change = forward(scene, result, delta)
        cotangent = random_cotangents(rng)
        by_delta = gradient(scene, result, cotangent, jnp.zeros((3, 6)))
        along = float(jnp.sum(by_delta * delta))
        inner = sum(float(jnp.sum(getattr(change, name) * cotangent[name])) for name in cotangent)
        scale = sum(float(jnp.sum(jnp.abs(getattr(change, name) * cotangent[name]))) for name in cotangent)
        assert scale > 0.1
        assert abs(inner - along) < 1e-6 * scale
        for name in cotangent:  # and each image alone
            alone = {name: cotangent[name]}
            expected = float(jnp.sum(objective_gradient(scene, result, alone) * delta))
            np.testing.assert_allclose(
                jnp.sum(getattr(change, name) * cotangent[name]), expected, rtol=1e-5, atol=1e-6 * scale
            )


def objective_gradient(scene, result, cotangent):
    missing = {name: jnp.zeros((HEIGHT, WIDTH, 3) if name == "rgb" else (HEIGHT, WIDTH)) for name in
               ("rgb", "depth", "mask") if name not in cotangent}  # fmt: skip
    return gradient(scene, result, cotangent | missing, jnp.zeros((3, 6)))


def test_it_is_linear_and_vmaps_over_the_columns_of_a_jacobian(x64):
    scene, result = random_scene(4, dtype=jnp.float64)
    rng = np.random.default_rng(4)
    delta = jnp.asarray(rng.normal(size=(3, 6)))
    basis = jnp.eye(18).reshape(18, 3, 6)
    columns = jax.vmap(lambda delta: sl.render_jvp(scene, lambda _: result, delta)[1])(basis)
    change = sl.render_jvp(scene, lambda _: result, delta)[1]
    for name in ("rgb", "depth", "mask"):
        combined = jnp.tensordot(delta.ravel(), getattr(columns, name), 1)
        tolerance = {"atol": 1e-5 * float(jnp.abs(combined).max())}
        np.testing.assert_allclose(combined, getattr(change, name), **tolerance)
        np.testing.assert_allclose(getattr(forward(scene, result, delta), name), getattr(change, name), **tolerance)


def test_the_first_output_is_the_rendering_and_dtypes_stay():
    scene, result = random_scene(5, uint8=True)
    rendering, change = sl.render_jvp(scene, lambda _: result, np.ones((3, 6), np.float32))
    expected = sl.render(scene, lambda _: result)
    for name in ("rgb", "depth", "mask"):
        np.testing.assert_array_equal(getattr(rendering, name), getattr(expected, name))
        assert getattr(change, name).shape == getattr(expected, name).shape
        assert getattr(change, name).dtype == jnp.float32
        assert np.isfinite(getattr(change, name)).all() and np.any(getattr(change, name))


def test_no_motion_and_what_is_not_visible_change_nothing():
    scene, result = random_scene(6)
    still = sl.render_jvp(scene, lambda _: result, jnp.zeros((3, 6)))[1]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(still))
    labels = np.where(np.asarray(result.instance_index) == 7, 0, np.asarray(result.instance_index))
    hidden = sl.RenderResult(rgb=result.rgb, coord_depth=result.coord_depth, instance_index=labels)
    alone = sl.render_jvp(scene, lambda _: hidden, jnp.zeros((3, 6)).at[0].set(1.0))[1]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(alone))


def test_what_it_refuses(unchecked_types):
    scene, result = random_scene(7)
    with pytest.raises(ValueError, match=r"render_jvp delta.*\(3, 6\).*\(6,\)"):
        sl.render_jvp(scene, lambda _: result, jnp.zeros(6))
    other = sl.Scene(scene.T_world_object, scene.camera.resized(8, 8), scene.instance_index)
    with pytest.raises(ValueError, match=r"camera"):
        sl.render_jvp(other, lambda _: result, jnp.zeros((3, 6)))


def test_the_forward_mode_of_jax_is_told_where_to_go():
    scene, result = random_scene(0, dtype=jnp.float32)

    def total(T_world_object):
        moved = sl.Scene(T_world_object, scene.camera, scene.instance_index)
        return jnp.sum(sl.render(moved, lambda _: result).rgb)

    T = scene.T_world_object
    for forwards in (lambda: jax.jvp(total, (T,), (T,)), lambda: jax.jacfwd(total)(T), lambda: jax.hessian(total)(T)):
        with pytest.raises(TypeError, match=r"render has a reverse mode only .* use render_jvp\(scene, renderer"):
            forwards()


def test_type_errors_of_a_renderer_stay_as_they_are():
    class Broken:
        def draw(self, scene):
            return None

        def buffers(self, scene, drawing):
            return None

        def images(self, scene, drawing, *, object_masks=False):
            raise TypeError("of its own")

        def change(self, scene, drawing, delta):
            return None

    with pytest.raises(TypeError, match=r"^of its own$"):
        sl.render(random_scene(0, dtype=jnp.float32)[0], Broken())
