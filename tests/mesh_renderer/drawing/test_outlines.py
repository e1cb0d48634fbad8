"""Images of `MeshRenderer`: coverage at outlines, continuous in the pose, and the derivative of just that image."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer, box_mesh, demo_mesh, sphere_mesh
from sldiff_jax.mesh_renderer.meshes.topology import find_edges

WIDTH, HEIGHT = 48, 36
CAMERA = sl.Camera.from_intrinsics(60.0, 60.0, 24.0, 18.0, width=WIDTH, height=HEIGHT)
PHONG = {
    "shading": "phong", "ambient_light": [0.3, 0.2, 0.4], "light_directions": [[0.3, 0.6, 0.8]],
    "light_colors": [[2.0, 2.5, 3.0]],
}  # fmt: skip


def scene_of(seed, objects):
    """So many objects, in front of each other in part."""
    rng = np.random.default_rng(seed)
    twist = rng.normal(size=(objects, 6)) * [0.7, 0.7, 0.7, 0, 0, 0]
    T = np.array(jax.vmap(sl.se3_exp)(jnp.asarray(twist, jnp.float32)))
    T[:, :3, 3] = np.stack([rng.uniform(-0.04, 0.04, objects), rng.uniform(-0.03, 0.03, objects),
                            0.35 + 0.1 * np.arange(objects)], axis=1)  # fmt: skip
    return sl.Scene(T, CAMERA)


def moved(scene, delta):
    return sl.Scene(sl.apply_twist(scene.T_world_object, delta), scene.camera, scene.instance_index)


def smooth(seed, *shape):
    coarse = np.random.default_rng(seed).normal(size=(4, 4, *shape[2:]))
    return np.asarray(jax.image.resize(coarse, shape, "cubic"))


def square(size=0.1):
    """A square in the plane z = 0, of two triangles."""
    corners = 0.5 * size * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    return Mesh(corners, [[0, 1, 2], [0, 2, 3]], base_color=[1.0, 0.5, 0.25])


@pytest.mark.parametrize("shift", [0.0, 0.13, 0.5, 0.77, 0.99])
def test_a_square_covers_as_much_of_a_pixel_as_it_does(shift):
    """At depth 0.6 a pixel is 1 cm wide: the square of 10 cm ends `shift` of a pixel right of a pixel's border."""
    T = jnp.eye(4).at[:3, 3].set(jnp.array([0.01 * shift, 0.0, 0.6]))
    rendering = sl.render(sl.Scene(T[None], CAMERA), MeshRenderer([square()], background=[0.0, 0.0, 1.0]))
    row = np.clip(np.arange(WIDTH) + 1 - (19 + shift), 0, 1) * np.clip(29 + shift - np.arange(WIDTH), 0, 1)
    np.testing.assert_allclose(rendering.mask[18], row, atol=2e-5)
    np.testing.assert_allclose(rendering.rgb[18], row[:, None] * [1, 0.5, -0.75] + [0, 0, 1], atol=2e-5)
    np.testing.assert_allclose(rendering.depth[18], np.where(row > 1e-4, 0.6, rendering.depth[18]), atol=1e-6)
    assert float(rendering.mask.sum()) == pytest.approx(100, abs=1.0)


def test_the_image_is_continuous_in_the_pose():
    """In steps of a fiftieth of a pixel no pixel jumps; a hard image jumps from 0 to 1."""
    renderer = MeshRenderer([square()])
    turned = sl.se3_exp(jnp.array([0.2, 0.1, 0.4, 0, 0, 0]))

    @jax.jit
    def mask(x):
        return sl.render(sl.Scene(turned.at[:3, 3].set(jnp.array([x, 0.003, 0.6]))[None], CAMERA), renderer).mask

    masks = np.stack([mask(0.01 * t) for t in np.arange(0, 2, 0.02)])
    assert np.ptp(masks, axis=0).max() > 0.9
    jumps = np.abs(np.diff(masks, axis=0)).max(axis=(1, 2))
    assert np.median(jumps) < 0.05
    assert np.mean(jumps < 0.1) > 0.9  # but for the corners, whose two edges are crossed by rows and by columns


@pytest.mark.parametrize("x", [0.0, 0.0013, 0.0031, 0.0047])
def test_a_round_outline_grows_as_its_area_does(x):
    """Rows fade into columns along the rim: a ball's area, pi f^2 r^2 / (z^2 - r^2) on the axis, and its derivative."""
    radius, z = 0.1, 0.6
    renderer = MeshRenderer([sphere_mesh(radius, rings=200, segments=400)])
    camera = CAMERA.resized(4 * WIDTH, 4 * HEIGHT)

    @jax.jit
    @jax.value_and_grad
    def area(z):
        T = jnp.eye(4).at[:3, 3].set(jnp.array([x, 0.7 * x, z]))
        return jnp.sum(sl.render(sl.Scene(T[None], camera), renderer).mask)

    covered, change = area(z)
    assert covered == pytest.approx(np.pi * (240 * radius) ** 2 / (z**2 - radius**2), rel=2e-3)
    assert change == pytest.approx(-2 * z / (z**2 - radius**2) * float(covered), rel=8e-3)


def test_depth_is_continuous_in_the_pose_of_a_steep_face():
    """A pixel takes the depth of its neighbour's plane as it is at the pixel: nothing jumps when it is reached."""
    renderer = MeshRenderer([square(1.0)])  # one of its edges in view, no corner
    steep = sl.se3_exp(jnp.array([0.0, 0.9, 0.3, 0, 0, 0])).at[:3, 3].set(jnp.array([-0.28, 0.003, 0.9]))

    @jax.jit
    def depth(x):
        rendering = sl.render(sl.Scene(steep.at[0, 3].add(x)[None], CAMERA), renderer)
        return rendering.depth * rendering.mask

    images = np.stack([depth(1e-4 * t) for t in np.arange(200)])[:, 1:-1, 1:-1]  # two pixels in all
    assert 0.2 < np.mean(images[0] > 0) < 0.8
    assert np.ptp(images, axis=0).max() > 0.4
    jumps = np.abs(np.diff(images, axis=0)).max(axis=(1, 2))
    assert jumps.max() < 3 * np.median(jumps)


def ramp(size):
    """A square in the plane z = 0 whose colour grows evenly from its left to its right."""
    corners = 0.5 * size * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    colors = np.array([[0, 0.9, 0.2], [1, 0.1, 0.6], [1, 0.1, 0.6], [0, 0.9, 0.2]])
    return Mesh(corners, [[0, 1, 2], [0, 2, 3]], colors=colors)


@pytest.mark.parametrize(("moving", "bound"), [("before", 0.03), ("behind", 0.01)])
@pytest.mark.parametrize("shift", [0.21, 0.4, 0.6, 0.78])
def test_what_surfaces_show_moves_up_to_the_outline_between_them(moving, bound, shift):
    """A square before a wide one, a ramp of colours the one that moves: the differences of finely sampled images."""
    meshes = [ramp(0.08), square(2.0)] if moving == "before" else [square(0.3), ramp(2.0)]
    T = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    T[:, :3, 3] = [[0.01 * shift, 0.0, 0.6], [0.0, 0.0, 0.9]]
    weight = jnp.asarray(smooth(3, HEIGHT, WIDTH, 3) + np.array([3.0, -2.0, 1.0]), jnp.float32)
    k = ["before", "behind"].index(moving)

    def value(x, scale):
        poses = jnp.asarray(T).at[k, 0, 3].add(x)
        scene = sl.Scene(poses, CAMERA.resized(scale * WIDTH, scale * HEIGHT))
        colors = sl.render(scene, MeshRenderer(meshes)).rgb
        return jnp.sum(weight * colors.reshape(HEIGHT, scale, WIDTH, scale, 3).mean(axis=(1, 3)))

    gradient = jax.grad(value)(0.0, 1)
    numeric = (float(value(0.001, 16)) - float(value(-0.001, 16))) / 0.002
    assert gradient == pytest.approx(numeric, rel=bound)


def test_depth_of_a_pixel_that_is_covered_in_part_is_the_mean_of_what_covers_it():
    """A tilted square before another one: the mean depth of 16 x 16 samples, away from the corners."""
    meshes = [square(0.2), square(2.0)]
    T = np.stack([sl.se3_exp(jnp.array(twist)) for twist in ([0.0, 0.4, 0, 0, 0, 0], [0.3, -0.2, 0, 0, 0, 0])])
    T[:, :3, 3] = [[0.0017, 0.0042, 0.6], [0.0, 0.0, 0.9]]

    def depth(scale, **options):
        scene = sl.Scene(T, CAMERA.resized(scale * WIDTH, scale * HEIGHT))
        depth = sl.render(scene, MeshRenderer(meshes, **options)).depth
        return np.asarray(depth, np.float64).reshape(HEIGHT, scale, WIDTH, scale).mean(axis=(1, 3))

    antialiased, hard, truth = depth(1), depth(1, antialias=False), depth(16)
    rows = np.arange(12, 24)  # left and right outlines, which run straight down
    assert np.abs(hard - truth)[rows].max() > 0.05
    assert np.abs(antialiased - truth)[rows].max() < 5e-4


def test_without_antialias_the_image_is_that_of_the_buffers():
    scene, meshes = scene_of(0, 2), [demo_mesh(), box_mesh((0.09, 0.07, 0.05), seed=1)]
    hard = MeshRenderer(meshes, antialias=False)
    rendering, result = sl.render(scene, hard, object_masks=True), hard(scene)
    np.testing.assert_array_equal(rendering.mask, result.instance_index > 0)
    np.testing.assert_array_equal(rendering.object_masks, [result.instance_index == k for k in (1, 2)])
    np.testing.assert_allclose(rendering.rgb, np.asarray(result.rgb)[..., :3] / 255, atol=0.5 / 255 + 1e-5)
    assert len(np.unique(rendering.rgb)) > 256  # no 8 bits in between
    black_box = jax.grad(
        lambda d: jnp.sum(sl.render(moved(scene, d), lambda s: hard(s)).mask * smooth(1, HEIGHT, WIDTH))
    )
    own = jax.grad(lambda d: jnp.sum(sl.render(moved(scene, d), hard).mask * smooth(1, HEIGHT, WIDTH)))
    expected = black_box(jnp.zeros((2, 6)))
    np.testing.assert_allclose(own(jnp.zeros((2, 6))), expected, atol=1e-4 * float(jnp.abs(expected).max()))


def test_masks_are_within_bounds_and_objects_share_them():
    for seed in range(5):
        scene = scene_of(seed, 3)
        renderer = MeshRenderer([demo_mesh(), sphere_mesh(0.05, seed=seed), box_mesh((0.09, 0.07, 0.05), seed=seed)])
        rendering = sl.render(scene, renderer, object_masks=True)
        assert rendering.mask.min() > -1e-6 and rendering.mask.max() < 1 + 1e-6
        np.testing.assert_allclose(rendering.object_masks.sum(axis=0), rendering.mask, atol=1e-5)
        assert ((rendering.mask > 0.01) & (rendering.mask < 0.99)).sum() > 20


def test_supersampling_brings_the_mask_nearer_to_the_truth():
    scene, meshes = scene_of(3, 2), [demo_mesh(), box_mesh((0.09, 0.07, 0.05), seed=1)]
    truth = sl.render(sl.Scene(scene.T_world_object, CAMERA.resized(16 * WIDTH, 16 * HEIGHT)),
                      MeshRenderer(meshes, antialias=False))  # fmt: skip
    truth = np.asarray(truth.mask).reshape(HEIGHT, 16, WIDTH, 16).mean(axis=(1, 3))
    errors = []
    for options in ({"antialias": False}, {}, {"supersample": 2}, {"supersample": 4}):
        mask = sl.render(scene, MeshRenderer(meshes, **options)).mask
        assert mask.shape == (HEIGHT, WIDTH)
        errors.append(float(np.abs(mask - truth).sum()))
    assert errors[0] > 2 * errors[1] > 2 * errors[2] > 2 * errors[3]


@pytest.mark.parametrize("image", ["mask", "depth"])
def test_the_derivative_is_that_of_the_same_image(image):
    """Central differences of the very image, one sample per pixel: the motions of several scenes, in the median."""
    renderer = MeshRenderer([demo_mesh(), sphere_mesh(0.05, seed=1), box_mesh((0.09, 0.07, 0.05), seed=1)])

    @jax.jit
    def value(T):  # depth counts as much as it covers
        rendering = sl.render(sl.Scene(T, CAMERA), renderer)
        return rendering.mask if image == "mask" else rendering.depth * rendering.mask

    @jax.jit
    def change(T, delta):
        rendering, change = sl.render_jvp(sl.Scene(T, CAMERA), renderer, delta)
        return change.mask if image == "mask" else change.depth * rendering.mask + rendering.depth * change.mask

    errors = []
    weight = smooth(5, HEIGHT, WIDTH)
    for seed in range(6):
        T = scene_of(seed, 3).T_world_object
        for row, column in np.ndindex(3, 6):
            step = 4e-4 if column < 3 else 4e-5
            delta = jnp.zeros((3, 6)).at[row, column].set(1.0)
            ahead, behind = (np.asarray(value(sl.apply_twist(T, side * delta)), np.float64) for side in (step, -step))
            numeric = np.sum(weight * (ahead - behind)) / (2 * step)
            errors.append(abs(np.sum(weight * np.asarray(change(T, delta))) - numeric) / max(abs(numeric), 1e-3))
    assert np.median(errors) < (3e-3 if image == "mask" else 2e-2), np.percentile(errors, [25, 50, 75])


@pytest.mark.parametrize("options", [{}, {"supersample": 2}, PHONG], ids=["flat", "supersampled", "phong"])
def test_forward_and_reverse_mode_are_transposes(options):
    renderer = MeshRenderer([demo_mesh(), box_mesh((0.09, 0.07, 0.05), seed=1)], **options)
    rng = np.random.default_rng(0)
    shapes = {"rgb": (HEIGHT, WIDTH, 3), "depth": (HEIGHT, WIDTH), "mask": (HEIGHT, WIDTH)}
    for seed in range(3):
        scene = scene_of(seed, 2)
        cotangent = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
        delta = jnp.asarray(rng.normal(size=(2, 6)), jnp.float32)

        def objective(delta, scene=scene, cotangent=cotangent):
            rendering = sl.render(moved(scene, delta), renderer)
            return sum(jnp.sum(getattr(rendering, name) * c) for name, c in cotangent.items())

        along = float(jnp.sum(jax.jit(jax.grad(objective))(jnp.zeros((2, 6))) * delta))
        change = sl.render_jvp(scene, renderer, delta)[1]
        terms = [np.asarray(getattr(change, name) * c, np.float64) for name, c in cotangent.items()]
        assert abs(sum(term.sum() for term in terms) - along) < 1e-5 * sum(np.abs(term).sum() for term in terms)


def test_eager_jit_and_vmap_agree():
    renderer = MeshRenderer([demo_mesh(), box_mesh((0.09, 0.07, 0.05), seed=1)], **PHONG)
    scene, weight = scene_of(1, 2), jnp.asarray(smooth(2, HEIGHT, WIDTH, 3))

    def gradient(delta):
        return jax.grad(lambda d: jnp.sum(sl.render(moved(scene, d), renderer, object_masks=True).rgb * weight))(delta)

    def jacobian(delta):
        return jax.vmap(lambda d: sl.render_jvp(moved(scene, delta), renderer, d)[1].rgb)(jnp.eye(12).reshape(12, 2, 6))

    batch = jnp.asarray(0.02 * np.random.default_rng(0).normal(size=(3, 2, 6)), jnp.float32)
    for function in (gradient, jacobian):
        eager = jnp.stack([function(delta) for delta in batch])
        tolerance = {"atol": 1e-4 * float(jnp.abs(eager).max())}
        np.testing.assert_allclose(jax.jit(jax.vmap(function))(batch), eager, **tolerance)
        np.testing.assert_allclose(jax.jit(function)(batch[0]), eager[0], **tolerance)


@pytest.mark.parametrize(
    ("where", "options"),
    [
        (lambda r: r.geometry.colors, {}),
        (lambda r: r.geometry.base_colors, {}),
        (lambda r: r.background, {}),
        (lambda r: r.geometry.base_colors, PHONG),
        (lambda r: r.lighting.ambient_light, PHONG),
        (lambda r: r.lighting.light_colors, PHONG),
        (lambda r: r.lighting.light_directions, PHONG),
        (lambda r: r.lighting.exposure, PHONG),
        (lambda r: r.lighting.shininess, PHONG),
    ],
    ids=["colors", "base_colors", "background", "lit base_colors", "ambient", "light", "direction", "exposure",
         "shininess"],
)  # fmt: skip
def test_colours_and_light_have_their_direct_derivative(where, options):
    rng = np.random.default_rng(0)
    ball = sphere_mesh(0.05, rings=12, segments=18)
    colored = Mesh(
        ball.vertices, ball.faces, colors=rng.uniform(0.2, 0.8, (len(ball.vertices), 3)), base_color=[0.5] * 3
    )
    renderer = MeshRenderer([colored, box_mesh((0.09, 0.07, 0.05), seed=1)], background=[0.2, 0.3, 0.5], **options)
    scene, weight = scene_of(2, 2), jnp.asarray(rng.uniform(0.5, 1.5, (HEIGHT, WIDTH, 3)), jnp.float32)
    image = eqx.filter_jit(lambda renderer: sl.render(scene, renderer).rgb)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda renderer: jnp.sum(image(renderer) * weight)))(renderer)
    leaf = where(renderer)
    direction = jnp.asarray(rng.normal(size=leaf.shape), jnp.float32) * (1 + jnp.abs(leaf))
    step = 4e-3
    ahead, behind = (
        np.asarray(image(eqx.tree_at(where, renderer, leaf + side * direction)), np.float64) for side in (step, -step)
    )
    numeric = np.sum(np.asarray(weight) * (ahead - behind)) / (2 * step)
    np.testing.assert_allclose(float(jnp.vdot(where(gradient), direction)), numeric, rtol=3e-3 if options else 3e-4)


def test_vertices_move_outlines_surfaces_and_depth():
    """A mesh that grows about its own middle: what the mask gains, and what the depth loses."""
    renderer = MeshRenderer([box_mesh((0.09, 0.07, 0.05), seed=1), sphere_mesh(0.05, seed=1)])
    scene, weight = scene_of(4, 2), jnp.asarray(smooth(3, HEIGHT, WIDTH), jnp.float32)

    @eqx.filter_jit
    def images(vertices):
        rendering = sl.render(scene, eqx.tree_at(lambda r: r.geometry.vertices, renderer, vertices))
        return jnp.stack([rendering.mask, 10 * rendering.depth * rendering.mask])

    vertices = renderer.geometry.vertices
    gradients = [jax.grad(lambda v, k=k: jnp.sum(images(v)[k] * weight))(vertices) for k in range(2)]
    products = []
    for seed in range(8):
        direction = vertices @ jnp.asarray(np.random.default_rng(seed).normal(size=(3, 3)), jnp.float32)
        step = 2e-4
        ahead, behind = (np.asarray(images(vertices + side * direction), np.float64) for side in (step, -step))
        numeric = np.sum((ahead - behind) * np.asarray(weight), axis=(1, 2)) / (2 * step)
        products.append(([float(jnp.vdot(gradient, direction)) for gradient in gradients], numeric))
    analytic, numeric = np.moveaxis(np.array(products), 1, 0)
    # In the median, for now and then a corner passes the centre of a sample within a step.
    error = np.median(np.abs(analytic - numeric) / np.abs(numeric), axis=0)
    assert (error < 3e-3).all(), (analytic, numeric)
    # Rigid motions by vertices are those by the pose.
    shift = jnp.array([0.3, -0.2, 0.5])
    first = jnp.arange(len(vertices)) < box_mesh((0.09, 0.07, 0.05), seed=1).vertices.shape[0]
    by_vertices = jnp.vdot(gradients[0], jnp.where(first[:, None], shift, 0))
    by_pose = jax.grad(lambda d: jnp.sum(sl.render(moved(scene, d), renderer).mask * weight))(jnp.zeros((2, 6)))
    np.testing.assert_allclose(by_vertices, by_pose[0, 3:] @ shift, rtol=1e-3)


def test_a_turning_object_under_a_fixed_lamp_changes_its_colour():
    """A white ball: its image changes by light alone as the lamp turns, and not at all as the ball turns."""
    ball = sphere_mesh(0.05, rings=48, segments=96)
    white = MeshRenderer([Mesh(ball.vertices, ball.faces, normals=ball.normals)], **PHONG)
    scene = sl.Scene(jnp.eye(4).at[2, 3].set(0.35)[None], CAMERA)
    weight = jnp.asarray(smooth(1, HEIGHT, WIDTH, 3), jnp.float32)
    by_pose = jax.grad(lambda d: jnp.sum(sl.render(moved(scene, d), white).rgb * weight))(jnp.zeros((1, 6)))[0]
    assert jnp.linalg.norm(by_pose[:3]) < 0.05 * 0.05 * jnp.linalg.norm(by_pose[3:])


def test_surfaces_that_pass_through_each_other_are_finite_and_have_a_derivative():
    crossing = [box_mesh((0.12, 0.03, 0.03), seed=1), box_mesh((0.03, 0.12, 0.03), seed=2)]
    turns = jax.vmap(sl.se3_exp)(jnp.array([[0.1, 0.4, 0.0, 0, 0, 0], [0.4, 0.1, 0.0, 0, 0, 0]]))
    scene = sl.Scene(turns.at[:, 2, 3].set(0.35), CAMERA)
    renderer = MeshRenderer(crossing)
    weight = jnp.asarray(smooth(1, HEIGHT, WIDTH), jnp.float32)

    def objective(delta):
        return jnp.sum(sl.render(moved(scene, delta), renderer, object_masks=True).object_masks[0] * weight)

    gradient = jax.grad(objective)(jnp.zeros((2, 6)))
    assert np.isfinite(gradient).all()
    assert jnp.abs(gradient[1]).max() > 1e-2  # the second object hides part of the first


@pytest.mark.parametrize("depth", [0.12, 0.1001])
def test_edges_that_leave_through_the_near_plane(depth):
    """A long plank that reaches behind the camera."""
    plank = box_mesh((0.02, 0.02, 0.6))
    scene = sl.Scene(sl.se3_exp(jnp.array([0.3, 0.2, 0, 0, 0, 0])).at[2, 3].set(depth)[None], CAMERA)
    renderer = MeshRenderer([plank])
    rendering = sl.render(scene, renderer)
    assert rendering.mask.min() > -1e-6 and rendering.mask.max() < 1 + 1e-6 and rendering.mask.sum() > 5
    gradient = jax.grad(lambda d: jnp.sum(sl.render(moved(scene, d), renderer).mask))(jnp.zeros((1, 6)))
    assert np.isfinite(gradient).all()


# --- topology ---------------------------------------------------------------------------------------------------------


def test_edges_of_a_cube_whose_sides_have_vertices_of_their_own():
    box = box_mesh()
    edges = np.asarray(box.edges)
    assert len(box.vertices) == 24
    assert len(edges) == 18  # 12, and a diagonal on each side
    assert (edges[:, 3] >= 0).all()


def test_open_shared_and_degenerate_edges():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]], np.float32)
    assert sorted(np.bincount(find_edges(corners, np.array([[0, 1, 2]]))[:, 3] + 1)) == [3]
    three = find_edges(corners, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))  # like the pages of a book
    spine = [set(edge[:2]) == {0, 1} for edge in three.tolist()]
    assert sum(spine) == 3 and (three[:, 3] == -1).all() and len(three) == 9
    assert len(find_edges(corners, np.array([[0, 0, 1]]))) == 1  # two edges of a length, in one place
