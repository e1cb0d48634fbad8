"""The door for renderers that know their own derivative, tried with one whose derivative no buffers could tell."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl

WIDTH, HEIGHT = 24, 16
SCENE = sl.Scene(
    jnp.tile(jnp.eye(4), (2, 1, 1)).at[:, :3, 3].set(jnp.array([[0.0, 0.1, 1.0], [0.2, 0.0, 1.2]])),
    sl.Camera.from_fov(0.8, width=WIDTH, height=HEIGHT),
)


class Calls:
    """What was called: equal to itself alone, so that a renderer stays the same as it is used."""

    def __init__(self):
        self.names = []


class Gauges(eqx.Module):
    """Columns of pixels that show x of the first object, y of the second, and both depths."""

    gain: jax.Array
    calls: Calls = eqx.field(static=True)

    @property
    def log(self):
        return self.calls.names

    def draw(self, scene):
        self.log.append("draw")
        return {"drawn": jnp.ones((HEIGHT, WIDTH))}

    def buffers(self, scene, drawing):
        self.log.append("buffers")
        label = jnp.zeros((HEIGHT, WIDTH), jnp.int16).at[:, 0].set(1).at[:, 1].set(2)
        corners = jnp.linspace(0, 1, HEIGHT)[:, None, None] * jnp.ones((1, WIDTH, 4))
        return sl.RenderResult(rgb=jnp.zeros((HEIGHT, WIDTH, 4)), coord_depth=corners, instance_index=label)

    def images(self, scene, drawing, *, object_masks=False):
        self.log.append("images")
        x, y, z = jnp.moveaxis(scene.T_world_object[:, :3, 3], 1, 0)
        image = self.gain * drawing["drawn"].at[:, 0].set(x[0]).at[:, 1].set(y[1]).at[:, 2:].set(0)
        depth = jnp.zeros((HEIGHT, WIDTH)).at[:, :2].set(z)
        masks = jnp.stack([image, -image]) if object_masks else None
        return sl.Rendering(rgb=jnp.stack([image] * 3, -1), depth=depth, mask=image, object_masks=masks)

    def change(self, scene, drawing, delta):
        self.log.append("change")

        def moved(delta):
            return self.images(sl.Scene(sl.apply_pose_delta(scene.T_world_object, delta), scene.camera), drawing)

        return jax.jvp(moved, (jnp.zeros_like(delta),), (delta,))[1]


@pytest.fixture
def gauges():
    return Gauges(jnp.asarray(3.0), Calls())


def test_it_is_recognised_and_a_black_box_is_not(gauges):
    assert isinstance(gauges, sl.DifferentiableRenderer)
    assert not isinstance(lambda scene: None, sl.DifferentiableRenderer)


def test_render_asks_it_and_differentiates_it(gauges):
    rendering = sl.render(SCENE, gauges, object_masks=True)
    np.testing.assert_allclose(rendering.mask[0, :3], [0, 0, 0], atol=1e-7)
    assert rendering.object_masks.shape == (2, HEIGHT, WIDTH)
    assert gauges.log == ["draw", "images"]

    def mean(T, renderer):
        return jnp.mean(sl.render(sl.Scene(T, SCENE.camera), renderer).mask)

    T = SCENE.T_world_object.at[0, 0, 3].set(0.5)
    by_poses, by_renderer = jax.jit(jax.grad(mean, (0, 1)))(T, gauges)
    expected = np.zeros((2, 4, 4))
    expected[0, 0, 3] = expected[1, 1, 3] = 3 / WIDTH
    np.testing.assert_allclose(by_poses, expected, atol=1e-7)
    np.testing.assert_allclose(by_renderer.gain, 0.5 / WIDTH, atol=1e-7)


def test_render_jvp_asks_it(gauges):
    _, change = sl.render_jvp(SCENE, gauges, jnp.ones((2, 6)))
    assert gauges.log[0] == "draw"
    assert "change" in gauges.log
    np.testing.assert_allclose(change.depth[:, :3], np.tile([1.0, 1.0, 0.0], (HEIGHT, 1)), atol=1e-6)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("optimizer", [sl.LevenbergMarquardt(), None])
def test_refine_poses_asks_it(gauges, jit, optimizer):
    target = SCENE.T_world_object.at[0, 0, 3].add(0.05).at[1, 1, 3].add(0.04)
    truth = sl.render(sl.Scene(target, SCENE.camera), gauges)
    fit = sl.refine_poses(
        SCENE, sl.Observation(rgb=truth.rgb), gauges, loss=sl.l2_loss, optimizer=optimizer, steps=60, jit=jit
    )
    np.testing.assert_allclose(fit.scene.T_world_object[0, 0, 3], target[0, 0, 3], atol=2e-3)
    np.testing.assert_allclose(fit.scene.T_world_object[1, 1, 3], target[1, 1, 3], atol=2e-3)
    assert {"draw", "buffers", "images"} <= set(gauges.log)
    assert ("change" in gauges.log) == (optimizer is not None)
