"""Open meshes seen from behind: normals and light are those of the side that is seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer, sphere_mesh

WIDTH, HEIGHT = 40, 30
CAMERA = sl.Camera.from_intrinsics(50.0, 50.0, 20.0, 15.0, width=WIDTH, height=HEIGHT)
LIGHT = {
    "shading": "phong", "ambient_light": [0.1, 0.2, 0.1], "light_directions": [[0.3, 0.4, 0.8]],
    "light_colors": [[2.0, 2.5, 3.0]],
}  # fmt: skip


def bowl(inside_out=False):
    """Half a ball that is open towards -z. Its normals point outward, or inward if turned inside out."""
    ball = sphere_mesh(0.05, rings=24, segments=48)
    vertices, faces = np.asarray(ball.vertices), np.asarray(ball.faces)
    faces = faces[vertices[faces][..., 2].min(axis=1) > -1e-6]
    colors = np.random.default_rng(0).uniform(0.3, 0.9, vertices.shape)
    if inside_out:
        faces = faces[:, ::-1]
    return Mesh(vertices, faces, colors=colors, normals=(-1 if inside_out else 1) * np.asarray(ball.normals))


def scene_of(turn=(0.0, 0.0, 0.0), camera=CAMERA):
    pose = sl.se3_exp(jnp.array([*turn, 0.0, 0.0, 0.0])).at[:3, 3].set(jnp.array([0.004, -0.006, 0.2]))
    return sl.Scene(pose[None], camera)


@pytest.mark.parametrize("turn", [(0.3, -0.4, 0.1), (2.8, 0.3, 0.2)], ids=["into it", "from outside"])
def test_a_mesh_looks_like_itself_inside_out(turn):
    ours, turned = (MeshRenderer([bowl(inside_out)], **LIGHT) for inside_out in (False, True))
    one, other = ours(scene_of(turn)), turned(scene_of(turn))
    seen = np.asarray(one.instance_index) == 1
    assert seen.sum() > 200
    np.testing.assert_allclose(one.normals, other.normals, atol=1e-6)
    images = [sl.render(scene_of(turn), renderer).rgb for renderer in (ours, turned)]
    assert np.mean(np.isclose(*images, atol=1e-5)) > 0.995  # the order of the corners decides a tie at the rim


def test_normals_in_a_bowl_point_to_its_middle():
    result = MeshRenderer([bowl()])(scene_of())
    seen = np.asarray(result.instance_index) == 1
    middle = np.asarray(scene_of().T_camera_object)[0, :3, 3]
    expected = middle - np.asarray(result.cam_coordinates)[seen][:, :3]
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(np.asarray(result.normals)[seen][:, :3], expected, atol=0.03)
    assert np.asarray(result.normals)[seen][:, 3].min() > 0


def test_light_falls_into_a_bowl():
    """A lamp behind the camera reaches its inside, one behind the bowl does not."""

    def brightness(direction):
        light = {"light_directions": [direction], "light_colors": [[3.0] * 3], "shading": "phong"}
        result = MeshRenderer([bowl()], **light)(scene_of())
        return np.asarray(result.rgb)[np.asarray(result.instance_index) == 1][:, :3].mean()

    assert brightness([0.0, 0.0, 1.0]) > 50
    assert brightness([0.0, 0.0, -1.0]) < 1


def test_a_camera_that_mirrors_sees_the_same_side():
    mirror = sl.Camera(CAMERA.projection.at[0].multiply(-1), width=WIDTH, height=HEIGHT)
    seen, mirrored = (np.asarray(MeshRenderer([bowl()])(scene_of(camera=c)).normals) for c in (CAMERA, mirror))
    agree = np.isclose(mirrored[:, ::-1], seen, atol=2e-3).all(axis=-1)
    assert agree.mean() > 0.995  # samples that lie on an edge


@pytest.mark.parametrize(
    "where",
    [
        lambda r: r.lighting.light_directions,
        lambda r: r.lighting.light_colors,
        lambda r: r.geometry.normals,
        lambda r: r.geometry.colors,
    ],
    ids=["direction", "light", "normals", "colors"],
)
def test_derivatives_from_behind_are_differences(where):
    renderer, scene = MeshRenderer([bowl()], **LIGHT), scene_of((0.2, -0.3, 0.1))
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.uniform(0.5, 1.5, (HEIGHT, WIDTH, 3)), jnp.float32)
    image = eqx.filter_jit(lambda renderer: sl.render(scene, renderer).rgb)
    gradient = where(eqx.filter_grad(lambda renderer: jnp.sum(image(renderer) * weight))(renderer))
    assert jnp.abs(gradient).max() > 0
    leaf = where(renderer)
    direction = jnp.sign(gradient) * jnp.asarray(rng.uniform(0.5, 1.0, leaf.shape), jnp.float32)
    ahead, behind = (
        np.asarray(image(eqx.tree_at(where, renderer, leaf + step * direction)), np.float64) for step in (2e-3, -2e-3)
    )
    numeric = np.sum(np.asarray(weight) * (ahead - behind)) / 4e-3
    np.testing.assert_allclose(float(jnp.vdot(gradient, direction)), numeric, rtol=5e-3)


def test_vertices_turn_the_normals_of_backs():
    """A square seen from behind that turns about its own middle by its vertices: light is what changes."""
    corners = 0.5 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])  # larger than the image
    square = Mesh(corners, [[0, 1, 2], [0, 2, 3]])  # its front is towards +z, away from the camera
    renderer = MeshRenderer([square], **LIGHT)
    scene = sl.Scene(jnp.eye(4).at[2, 3].set(0.3)[None], CAMERA)

    @jax.jit
    def brightness(angle):
        c, s = jnp.cos(angle), jnp.sin(angle)
        turned = square.vertices @ jnp.array([[1.0, 0, 0], [0, c, s], [0, -s, c]])
        return jnp.mean(sl.render(scene, renderer.with_meshes([square.replace(vertices=turned)])).rgb)

    slope = jax.grad(brightness)(0.1)
    numeric = (brightness(0.11) - brightness(0.09)) / 0.02
    assert abs(numeric) > 0.01
    np.testing.assert_allclose(slope, numeric, rtol=1e-2)


def test_a_lit_derivative_does_not_depend_on_what_memory_held():
    """Where nothing is seen the drawing holds zeros."""
    renderer, scene = MeshRenderer([bowl()], **LIGHT), scene_of((0.2, -0.3, 0.1))
    drawing = renderer.draw(scene)
    nothing = np.asarray(drawing.triangle) < 0
    assert nothing.any()
    np.testing.assert_array_equal(np.asarray(drawing.albedo)[nothing], 0)
