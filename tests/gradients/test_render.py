"""`render`: values, and derivatives against finite differences, a plain loop, and what geometry demands."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh, sphere_mesh

WIDTH, HEIGHT = 96, 72


@pytest.fixture(scope="module")
def renderer():
    return sl.MeshRenderer(
        [sphere_mesh(0.06, seed=1), box_mesh((0.12, 0.10, 0.04), seed=2)], background=np.array([0.2, 0.3, 0.5])
    )


@pytest.fixture(scope="module")
def black_box(renderer):
    """The same renderer, of which nothing is known but its buffers."""
    return lambda scene: renderer(scene)


@pytest.fixture(scope="module")
def scene():
    """A ball half in front of a box, both turned, seen from a camera that is not at the origin."""
    turns = jnp.array([[0.4, -0.3, 0.2, 0.0, 0.0, 0.0], [-0.5, 0.7, 0.1, 0.0, 0.0, 0.0]])
    positions = jnp.array([[-0.035, 0.01, 0.40], [0.03, -0.01, 0.52]])
    T_world_camera = sl.se3_exp(jnp.array([0.1, -0.2, 0.3, 0.5, -0.4, 0.3]))
    T_world_object = T_world_camera @ jax.vmap(sl.se3_exp)(turns).at[:, :3, 3].set(positions)
    return sl.Scene(T_world_object, sl.Camera.from_fov(0.7, width=WIDTH, height=HEIGHT, T_world_camera=T_world_camera))


def moved(scene, twists):
    return eqx.tree_at(lambda s: s.T_world_object, scene, scene.T_world_object @ jax.vmap(sl.se3_exp)(twists))


def weights(seed, *shape):
    """A smooth random image: derivatives of a loss that is blind to single pixels."""
    coarse = np.random.default_rng(seed).normal(size=(4, 4, *shape[2:]))
    return jnp.asarray(jax.image.resize(coarse, shape, "cubic"), jnp.float32)


LOSSES = {
    "rgb": lambda r, seed=1: jnp.sum(r.rgb * weights(seed, HEIGHT, WIDTH, 3)),
    "mask": lambda r, seed=1: jnp.sum(r.mask * weights(seed, HEIGHT, WIDTH)),
    "object_masks": lambda r, seed=1: jnp.sum(r.object_masks * jnp.moveaxis(weights(seed, HEIGHT, WIDTH, 2), -1, 0)),
}


def test_values(scene, renderer, black_box):
    result, rendering = renderer(scene), sl.render(scene, black_box, object_masks=True)
    label = np.asarray(result.instance_index)
    assert {1, 2} <= set(label.ravel())
    np.testing.assert_array_equal(rendering.mask, label != 0)
    np.testing.assert_array_equal(rendering.object_masks, [label == 1, label == 2])
    np.testing.assert_allclose(rendering.rgb, np.asarray(result.rgb)[..., :3] / 255, atol=1e-7)
    np.testing.assert_array_equal(rendering.depth, np.where(label != 0, result.depth, 0))
    assert sl.render(scene, black_box).object_masks is None


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_agrees_with_finite_differences(scene, renderer, name):
    checks = [sl.check_grad(scene, renderer, lambda r, s=seed: LOSSES[name](r, s)) for seed in range(3)]
    assert np.median([check.relative_error for check in checks]) < 0.08, checks
    assert np.median([check.cosine for check in checks]) > 0.995, checks


def test_depth_gradient_agrees_with_finite_differences(scene, renderer):
    inside = _eroded(np.asarray(renderer(scene).instance_index) == 2, 3) * weights(3, HEIGHT, WIDTH)
    check = sl.check_grad(scene, renderer, lambda r: jnp.sum(r.depth * inside), supersample=4)
    assert check.relative_error[1] < 0.05, check
    np.testing.assert_allclose(check.analytic[0], 0, atol=1e-6)


def _eroded(mask, pixels):
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = mask & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return mask


def test_a_turning_ball_keeps_its_outline(renderer):
    """Every surface point moves, the rim does not: without the rim's own point the mask would seem to move."""
    ball = sl.MeshRenderer([sphere_mesh(0.06, seed=1, rings=96, segments=192)])
    camera = sl.Camera.from_fov(0.7, width=96, height=96)
    scene = sl.Scene(jnp.eye(4).at[2, 3].set(0.4)[None], camera)

    def loss(twist):
        return jnp.sum(sl.render(moved(scene, twist), ball).mask * weights(4, 96, 96))

    gradient = jax.grad(loss)(jnp.zeros((1, 6)))[0]
    turn, shift = np.linalg.norm(gradient[:3]) / 0.06, np.linalg.norm(gradient[3:])
    assert turn < 0.12 * shift


def test_depth_follows_the_surface(renderer):
    """A frontal face that comes nearer changes the depth of its pixels one to one; sideways it changes nothing."""
    box = sl.MeshRenderer([box_mesh((0.12, 0.10, 0.04), seed=2)])
    scene = sl.Scene(jnp.eye(4).at[2, 3].set(0.5)[None], sl.Camera.from_fov(0.7, width=WIDTH, height=HEIGHT))
    gradient = jax.grad(lambda twist: jnp.sum(sl.render(moved(scene, twist), box).depth))(jnp.zeros((1, 6)))[0]
    pixels = np.sum(np.asarray(sl.render(scene, box).mask) > 0)  # those that the outline only touches have a depth too
    # No gradient from the background's 3000 at the outline, and none from the outline at all.
    np.testing.assert_allclose(gradient[3:], [0, 0, pixels], atol=1e-2 * pixels)


def test_objects_cut_off_by_the_image_are_not_halved(scene, renderer):
    """At the border of the image too the gradient of the texture is whole."""
    shift = jnp.zeros((2, 6)).at[0, 3].set(-0.09).at[1, 4].set(0.11)
    cut = eqx.tree_at(lambda s: s.T_world_object, scene, _shifted_in_camera(scene, shift))
    label = np.asarray(renderer(cut).instance_index)
    assert (label[:, 0] == 1).any()
    assert (label[-1] == 2).any()
    checks = [sl.check_grad(cut, renderer, lambda r, s=seed: LOSSES["rgb"](r, s)) for seed in range(3)]
    assert np.median([check.relative_error for check in checks]) < 0.12, checks


def _shifted_in_camera(scene, shift):
    T_camera_object = scene.T_camera_object.at[:, :3, 3].add(shift[:, 3:])
    return scene.camera.T_world_camera @ T_camera_object


@pytest.mark.parametrize("name", LOSSES)
def test_moving_camera_and_world_together_changes_nothing(scene, renderer, name):
    def loss(twist):
        T = sl.se3_exp(twist)
        camera = eqx.tree_at(lambda c: c.T_world_camera, scene.camera, T @ scene.camera.T_world_camera)
        both = sl.Scene(T @ scene.T_world_object, camera, scene.instance_index)
        objects = sl.Scene(T @ scene.T_world_object, scene.camera, scene.instance_index)
        return tuple(LOSSES[name](sl.render(s, renderer, object_masks=True)) for s in (both, objects))

    together, objects_alone = (jax.grad(lambda twist, i=i: loss(twist)[i])(jnp.zeros(6)) for i in range(2))
    assert np.linalg.norm(objects_alone) > 1
    np.testing.assert_allclose(together, 0, atol=2e-4 * np.abs(objects_alone).max())


def test_intrinsics_agree_with_finite_differences(scene, renderer, black_box):
    fx, fy, cx, cy = scene.camera.intrinsics

    def loss(change, renderer=black_box, scale=1):
        camera = sl.Camera.from_intrinsics(
            fx * (1 + change[0]), fy, cx + change[1] * WIDTH, cy, width=WIDTH, height=HEIGHT,
            T_world_camera=scene.camera.T_world_camera,
        )  # fmt: skip
        rendering = sl.render(sl.Scene(scene.T_world_object, camera.resized(WIDTH * scale, HEIGHT * scale)), renderer)
        rgb = rendering.rgb.reshape(HEIGHT, scale, WIDTH, scale, 3).mean((1, 3))
        return jnp.sum(rgb * weights(0, HEIGHT, WIDTH, 3))

    gradient = jax.grad(loss)(jnp.zeros(2))
    step = 0.02
    numeric = [(loss(step * e, renderer, 4) - loss(-step * e, renderer, 4)) / (2 * step) for e in jnp.eye(2)]
    np.testing.assert_allclose(gradient, numeric, rtol=0.08)


def test_contrast_by_a_plain_loop(scene, renderer, black_box):
    """The estimator, asked pair by pair in NumPy: who moves the edge, and which point of it?"""
    g = {
        "rgb": np.random.default_rng(5).normal(size=(HEIGHT, WIDTH, 3)),
        "depth": np.random.default_rng(6).normal(size=(HEIGHT, WIDTH)),
        "mask": np.random.default_rng(7).normal(size=(HEIGHT, WIDTH)),
    }

    def loss(T):
        r = sl.render(sl.Scene(T, scene.camera, scene.instance_index), black_box)
        return sum(jnp.sum(getattr(r, name) * weight) for name, weight in g.items())

    with jax.default_matmul_precision("highest"):
        gradient = jax.grad(loss)(scene.T_world_object)
        P = np.asarray(scene.camera.projection, np.float64) @ np.asarray(scene.camera.T_camera_world, np.float64)
    expected = np.stack([P.T @ A for A in _accumulators_by_loop(scene, renderer(scene), g)])
    np.testing.assert_allclose(gradient, expected, atol=2e-4 * np.abs(expected).max())


def _accumulators_by_loop(scene, result, g):
    label = np.asarray(result.instance_index)
    image = np.asarray(result.rgb, np.float64)[..., :3] / 255
    depth = np.asarray(result.depth, np.float64)
    x = np.concatenate([np.asarray(result.coordinates, np.float64), np.ones((HEIGHT, WIDTH, 1))], axis=-1)
    T_camera_object = np.asarray(scene.T_camera_object, np.float64)
    M = np.asarray(scene.camera.projection, np.float64) @ T_camera_object
    A = np.zeros((2, 4, 4))

    def pull(k, point, s_x, s_y, s_w=0.0):
        c = M[k] @ point
        A[k] += np.outer([s_x / c[3], s_y / c[3], 0, s_w - (s_x * c[0] + s_y * c[1]) / c[3] ** 2], point)

    def rim(owner, inner, focal):
        k = label[owner] - 1
        inside = 0 <= inner[0] < HEIGHT and 0 <= inner[1] < WIDTH and label[inner] == label[owner]
        behind = max(depth[owner] - depth[inner], 0) if inside else 0.0
        behind = min(behind * np.sqrt(0.5) / (np.sqrt(1.5) - np.sqrt(0.5)), 20 * depth[owner] / focal)
        eye = np.append(-T_camera_object[k, :3, :3].T @ T_camera_object[k, :3, 3], 1)
        return x[owner] + behind / depth[owner] * (x[owner] - eye)

    fx, fy = np.asarray(scene.camera.intrinsics, np.float64)[:2]
    for i in range(HEIGHT):
        for j in range(WIDTH):
            if label[i, j]:
                pull(label[i, j] - 1, x[i, j], 0, 0, g["depth"][i, j])
            for di, dj in ((0, 1), (1, 0)):
                p, q = (i, j), (i + di, j + dj)
                if q[0] == HEIGHT or q[1] == WIDTH or label[p] == label[q] == 0:
                    continue
                both = label[p] != 0 and label[q] != 0

                def half(at, p=p, q=q, both=both):
                    jump = g["rgb"][at] @ (image[q] - image[p]) + g["depth"][at] * both * (depth[q] - depth[p])
                    return jump + g["mask"][at] * ((label[q] != 0) * 1.0 - (label[p] != 0) * 1.0)

                scale = np.array([-WIDTH / 4 * dj, -HEIGHT / 4 * di])
                if label[p] == label[q]:
                    # A border pixel takes its contrast with the unseen neighbour for that with the opposite one.
                    twice_p, twice_q = (
                        1 + (j * dj + i * di == 0),
                        1 + (q == (HEIGHT - 1, j) if di else q == (i, WIDTH - 1)),
                    )
                    pull(label[p] - 1, x[p], *(scale * half(p) * twice_p))
                    pull(label[q] - 1, x[q], *(scale * half(q) * twice_q))
                    continue
                first = label[p] != 0 and (label[q] == 0 or depth[p] < depth[q])
                owner, inner = (p, (i - di, j - dj)) if first else (q, (q[0] + di, q[1] + dj))
                pull(label[owner] - 1, rim(owner, inner, fx if dj else fy), *(scale * (half(p) + half(q))))
    return A


def test_eager_jit_and_vmap_agree(scene, renderer):
    def gradient(twists):
        return jax.grad(lambda t: LOSSES["rgb"](sl.render(moved(scene, t), renderer)))(twists)

    batch = 0.02 * jax.random.normal(jax.random.key(0), (3, 2, 6))
    eager = jnp.stack([gradient(twists) for twists in batch])
    tolerance = {"atol": 1e-4 * float(jnp.abs(eager).max())}
    np.testing.assert_allclose(jnp.stack([jax.jit(gradient)(twists) for twists in batch]), eager, **tolerance)
    np.testing.assert_allclose(jax.vmap(gradient)(batch), eager, **tolerance)
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient))(batch), eager, **tolerance)


def test_a_batch_of_whole_scenes(scene, renderer):
    """Poses, camera and labels all have the batch axis."""
    relabelled = eqx.tree_at(lambda s: s.instance_index, scene, scene.instance_index + 4)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), scene, relabelled)
    for k, labels in enumerate(jax.vmap(renderer)(batch).instance_index):
        np.testing.assert_array_equal(labels, renderer((scene, relabelled)[k]).instance_index)


def test_any_renderer_is_handed_concrete_arrays_under_eager_grad(scene, renderer):
    seen = []

    def recording(scene):
        seen.append([isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(scene)])
        return renderer(scene)

    assert isinstance(recording, sl.Renderer)
    jax.value_and_grad(lambda t: LOSSES["rgb"](sl.render(moved(scene, t), recording)))(jnp.zeros((2, 6)))
    assert len(seen) == 1
    assert not any(seen[0])


def test_float64(scene, renderer, x64):
    with jax.enable_x64(True):
        double = sl.Scene(
            np.asarray(scene.T_world_object, np.float64),
            sl.Camera(np.asarray(scene.camera.projection, np.float64), width=WIDTH, height=HEIGHT),
        )
        rendering = sl.render(double, renderer)
        assert rendering.rgb.dtype == rendering.depth.dtype == rendering.mask.dtype == jnp.float64
        gradient = jax.grad(lambda T: sl.render(sl.Scene(T, double.camera), renderer).mask.mean())(
            double.T_world_object
        )
        assert gradient.dtype == jnp.float64


@pytest.mark.parametrize("case", ["no objects", "behind the camera", "one pixel"])
def test_nothing_to_see_is_not_nan(case):
    camera = sl.Camera.from_fov(0.7, width=1 if case == "one pixel" else 5, height=1 if case == "one pixel" else 4)
    meshes = [] if case == "no objects" else [sphere_mesh(0.06)]
    T = jnp.tile(jnp.eye(4).at[2, 3].set(-1.0 if case == "behind the camera" else 0.5), (len(meshes), 1, 1))

    def loss(T):
        r = sl.render(sl.Scene(T, camera), sl.MeshRenderer(meshes), object_masks=True)
        return sum(jnp.sum(image) for image in jax.tree.leaves(r))

    value, gradient = jax.value_and_grad(loss)(T)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if case != "one pixel":
        np.testing.assert_array_equal(gradient, 0)


def test_a_result_of_another_size_is_refused(scene, renderer):
    smaller = eqx.tree_at(lambda s: s.camera, scene, scene.camera.resized(20, 10))
    with pytest.raises(ValueError, match="72 high and 96 wide, the render result 10 by 20"):
        sl.render(scene, lambda _: renderer(smaller))


def test_check_grad_refuses_what_it_cannot_check(scene, renderer):
    with pytest.raises(ValueError, match="must be positive, got 0"):
        sl.check_grad(scene, renderer, LOSSES["rgb"], pixels=0)
    away = eqx.tree_at(lambda s: s.T_world_object, scene, scene.T_world_object.at[1, :3, 3].add(50.0))
    with pytest.raises(ValueError, match=r"Objects \[1\] are not visible"):
        sl.check_grad(away, renderer, LOSSES["rgb"])


@pytest.mark.gpu
def test_gpu_and_cpu_agree(scene, renderer, gpu):
    def gradient(scene):
        return jax.grad(lambda t: LOSSES["rgb"](sl.render(moved(scene, t), renderer)))(jnp.zeros((2, 6)))

    on_gpu = gradient(jax.device_put(scene, gpu))
    with jax.default_device(jax.devices("cpu")[0]):
        on_cpu = gradient(jax.device_put(scene, jax.devices("cpu")[0]))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3 * float(np.abs(on_cpu).max()))
