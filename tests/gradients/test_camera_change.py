"""`change` along a change of the camera's projection is the transpose of the gradient by the projection."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._gradients.black_box import differentiable
from sldiff_jax.mesh_renderer import demo_mesh

SIZE = {"width": 48, "height": 36}


@pytest.fixture(scope="module")
def scene() -> sl.Scene:
    T = jnp.stack([jnp.eye(4).at[:3, 3].set(jnp.array(t)) for t in ([-0.02, 0.0, 0.4], [0.03, 0.01, 0.45])])
    camera = sl.Camera.from_intrinsics(70.0, 72.0, 25.0, 17.0, **SIZE)
    return sl.Scene(T, camera)


@pytest.mark.parametrize("kind", ["mesh renderer", "lit", "black box"])
def test_forward_and_reverse_agree(scene, kind):
    light = {"shading": "phong", "ambient_light": 0.3 * np.ones(3), "light_directions": np.array([[0.3, 0.2, 1.0]])}
    light["light_colors"] = np.ones((1, 3))
    own = sl.MeshRenderer([demo_mesh(), demo_mesh()], **(light if kind == "lit" else {}))
    renderer = differentiable((lambda scene: own(scene)) if kind == "black box" else own)
    drawing = renderer.draw(scene)
    rng = np.random.default_rng(0)
    shift = jnp.zeros((4, 4)).at[:2, :3].set(0.1 * rng.normal(size=(2, 3)))
    delta = jnp.asarray(0.01 * rng.normal(size=(2, 6)), jnp.float32)

    def images(motion):
        moved = sl.apply_pose_delta(scene.T_world_object, motion[0], orthonormalize=False)
        projection = scene.camera.projection + motion[1]
        moved = eqx.tree_at(lambda s: (s.T_world_object, s.camera.projection), scene, (moved, projection))
        return renderer.images(moved, drawing)

    # With poses or without: all parts of the motion add up.
    for direction in ((delta, jnp.zeros((4, 4))), (0 * delta, shift), (delta, shift)):
        change = renderer.change(scene, drawing, direction[0], projection=direction[1])
        primal, pull = jax.vjp(images, (jnp.zeros((2, 6)), jnp.zeros((4, 4))))
        for name in ("rgb", "depth", "mask"):
            weight = jnp.asarray(rng.normal(size=getattr(primal, name).shape), jnp.float32)
            cotangent = jax.tree.map(jnp.zeros_like, primal)
            cotangent = eqx.tree_at(lambda r, name=name: getattr(r, name), cotangent, weight)
            (gradient,) = pull(cotangent)
            expected = sum(float(jnp.vdot(g, d)) for g, d in zip(gradient, direction))
            forward = float(jnp.vdot(getattr(change, name), weight))
            assert forward == pytest.approx(expected, rel=2e-3, abs=2e-3), name
            assert abs(forward) > 1e-3


def test_the_images_change_as_they_do_when_the_camera_zooms(scene):
    """Of a smooth image: the derivative, times a step, is the difference of two renderings."""
    renderer = sl.MeshRenderer([demo_mesh(), demo_mesh()], supersample=2)
    smooth = jnp.exp(-0.5 * ((jnp.arange(-4, 5)) / 1.5) ** 2)
    smooth = smooth / smooth.sum()

    def blurred(mask):
        rows = jax.vmap(lambda row: jnp.convolve(row, smooth, "same"))(mask)
        return jax.vmap(lambda row: jnp.convolve(row, smooth, "same"))(rows.T).T

    def zoomed(factor):
        P = scene.camera.projection
        return eqx.tree_at(lambda s: s.camera.projection, scene, P.at[0, 0].multiply(factor).at[1, 1].multiply(factor))

    step = 0.01
    after, before = (blurred(sl.render(zoomed(1 + sign * step), renderer).mask) for sign in (1, -1))
    P = scene.camera.projection
    shift = jnp.zeros((4, 4)).at[0, 0].set(P[0, 0]).at[1, 1].set(P[1, 1])
    change = renderer.change(scene, renderer.draw(scene), jnp.zeros((2, 6)), projection=shift)
    expected, found = (after - before) / (2 * step), blurred(change.mask)
    assert float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)) < 0.1
