"""The buffers from JAX alone: equal to the fused kernel's, and differentiable."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer, box_mesh, sphere_mesh
from sldiff_jax.mesh_renderer.drawing.deferred import (
    Extent,
    albedo,
    find_surface,
    mean_of_samples,
    quantized,
    sample_texture,
    surface_buffers,
    surface_color,
)
from sldiff_jax.mesh_renderer.drawing.launch import draw_layers
from sldiff_jax.mesh_renderer.drawing.renderer import per_scene_inputs

VIEW = sl.Camera.from_fov(0.7, width=40, height=30, near=0.05)
PHONG = {
    "shading": "phong",
    "ambient_light": [0.3, 0.2, 0.1],
    "light_directions": [[0.3, 0.6, 0.8], [0, 0, 0], [-1, 0.2, 0.5]],
    "light_colors": [[2.0, 2.5, 3.0], [9, 9, 9], [1, 0.5, 0]],
    "exposure": 0.8,
}


def colored_mesh() -> Mesh:
    mesh = sphere_mesh(0.03, rings=8, segments=12)
    colors = np.random.default_rng(0).random((mesh.vertices.shape[0], 3))
    return Mesh(mesh.vertices, mesh.faces, colors=colors, base_color=[0.9, 0.8, 0.7])


def example(**options) -> tuple[MeshRenderer, sl.Scene]:
    box = box_mesh()
    renderer = MeshRenderer([box, sphere_mesh(0.03), colored_mesh(), box], **options)
    T = np.tile(np.eye(4, dtype=np.float32), (4, 1, 1))
    T[:, :3, 3] = [[0, 0.01, 0.2], [0.03, 0, 0.15], [-0.02, -0.02, 0.13], [0, 0, -1]]
    turn = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0, 0.8, 0.6]])
    T[:, :3, :3] = turn
    move = np.eye(4, dtype=np.float32)
    move[:3, :3], move[:3, 3] = turn.T, [1.0, 2, 3]
    camera = sl.Camera(VIEW.projection, move, width=VIEW.width, height=VIEW.height)
    return renderer, sl.Scene(move @ T, camera, np.array([4, 2, 9, 1]))


def triangles_of(renderer: MeshRenderer, scene: sl.Scene, scale: int = 1) -> jax.Array:
    draw = draw_layers(scale * scene.camera.height, scale * scene.camera.width, scale, False)
    batch = (per_scene_inputs(renderer, scene), jnp.ones((1, 2)))
    return draw((renderer.geometry, renderer.background), batch).triangle[0]


@eqx.filter_jit
def deferred_color(renderer: MeshRenderer, scene: sl.Scene, triangles: jax.Array) -> jax.Array:
    inputs = per_scene_inputs(renderer, scene)
    surface = find_surface(renderer.geometry, triangles, inputs.T_clip_object[0])
    unlit = albedo(renderer.geometry, surface, renderer.lighting is not None)
    color = surface_color(
        renderer.geometry, surface, unlit, inputs.T_camera_object[0], inputs.lights[0], renderer.background
    )
    return jnp.concatenate([color, surface.visible[..., None].astype(color.dtype)], axis=-1)


@eqx.filter_jit
def deferred_buffers(renderer: MeshRenderer, scene: sl.Scene, triangles: jax.Array) -> dict[str, jax.Array]:
    inputs = per_scene_inputs(renderer, scene)
    surface = find_surface(renderer.geometry, triangles, inputs.T_clip_object[0])
    return surface_buffers(
        renderer.geometry, surface, inputs.T_camera_object[0], inputs.instance_index[0], renderer.class_index
    )


@pytest.mark.parametrize("options", [{}, PHONG, PHONG | {"supersample": 2}], ids=["flat", "phong", "supersampled"])
def test_fused_kernel_agrees(options):
    renderer, scene = example(**options, background=[0.1, 0.2, 0.3], class_index=[3, 1, 4, 1])
    fused = renderer(scene)
    buffers = deferred_buffers(renderer, scene, triangles_of(renderer, scene))
    assert set(np.unique(fused.instance_index)) == {0, 4, 2, 9}
    for name in ("instance_index", "class_index", "vertex_indices"):
        np.testing.assert_array_equal(buffers[name], getattr(fused, name))
        assert buffers[name].dtype == getattr(fused, name).dtype
    for name in ("coord_depth", "cam_coordinates", "normals", "barycentric_coeffs"):
        np.testing.assert_allclose(buffers[name], getattr(fused, name), atol=2e-4 if name[0] in "nb" else 2e-6)
    samples = renderer.supersample
    color = deferred_color(renderer, scene, triangles_of(renderer, scene, samples))
    rgb = quantized(mean_of_samples(color, samples))
    difference = np.abs(np.asarray(rgb).astype(int) - np.asarray(fused.rgb))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


def test_derivatives_match_differences():
    """For fixed visible triangles; the texels are large, so that colour is smooth within the steps."""
    rng = np.random.default_rng(0)
    corners, faces = np.array([[-1, -1, 0.3], [1, -1, 0], [1, 1, -0.2], [-1, 1, 0]]) * 0.06, [[0, 1, 2], [0, 2, 3]]
    textured = Mesh(corners, faces, uv=rng.random((4, 2)), texture=rng.random((3, 3, 3)))
    colored = Mesh(corners[:, [1, 0, 2]] * 0.5, faces, colors=rng.random((4, 3)))
    renderer = MeshRenderer([textured, colored], **PHONG)
    scene = sl.Scene(jnp.stack([jnp.eye(4).at[2, 3].set(z) for z in (0.3, 0.2)]), VIEW)
    triangles = triangles_of(renderer, scene)
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(30, 40)), jnp.float32)

    @jax.jit
    def loss(shift, stretch, slide):
        T = scene.T_world_object.at[:, :3, 3].add(shift)
        moved = sl.Scene(T, scene.camera)
        changed = eqx.tree_at(
            lambda renderer: (renderer.geometry.vertices, renderer.geometry.uv),
            renderer,
            ((1 + stretch) * renderer.geometry.vertices, renderer.geometry.uv + slide),
        )
        buffers = deferred_buffers(changed, moved, triangles)
        color = deferred_color(changed, moved, triangles)
        seen = buffers["instance_index"] > 0
        depth = jnp.where(seen, buffers["coord_depth"][..., 3], 0)
        return (weight * (color[..., :3].sum(-1) + depth + buffers["normals"][..., 0])).sum()

    args = (jnp.zeros((2, 3)), jnp.zeros(()), jnp.zeros(()))
    gradient = jax.grad(loss, argnums=(0, 1, 2))(*args)
    directions = (jnp.asarray(np.random.default_rng(2).normal(size=(2, 3)), jnp.float32), jnp.ones(()), jnp.ones(()))
    for k, (step, direction) in enumerate(zip((1e-4, 1e-3, 1e-3), directions)):

        def along(t, k=k, direction=direction):
            return loss(*(arg + t * direction if i == k else arg for i, arg in enumerate(args)))

        numeric = (along(step) - along(-step)) / (2 * step)
        np.testing.assert_allclose(jnp.vdot(gradient[k], direction), numeric, rtol=0.03)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_no_nan_where_nothing_is_seen():
    renderer, scene = example(**PHONG)
    triangles = jnp.full((30, 40), -1, jnp.int32)

    @jax.jit
    def total(T):
        moved = sl.Scene(T, scene.camera)
        buffers = deferred_buffers(renderer, moved, triangles)
        color = deferred_color(renderer, moved, triangles)
        return color.sum() + sum(buffers[name].sum() for name in ("coord_depth", "normals", "cam_coordinates"))

    assert not np.asarray(jax.grad(total)(scene.T_world_object)).any()


def test_texture_lookup_repeats_and_v_points_up():
    # Rows from the top: red green / blue white.
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    mesh = Mesh(np.eye(3), [[0, 1, 2]], uv=np.zeros((3, 2)), texture=texture)
    geometry = MeshRenderer([mesh]).geometry
    corners = jnp.array([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.75, 0.25]])

    def point(count: int) -> Extent:
        return Extent(level=jnp.zeros((1, count)), taps=jnp.ones((1, count)), step=jnp.zeros((1, count, 2)))

    for turns in (0.0, 3.0, -2.0):
        colors = sample_texture(geometry, jnp.zeros((1, 4), jnp.int32), corners[None] + turns, point(4))
        np.testing.assert_allclose(colors[0], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], atol=1e-5)
    middle = sample_texture(geometry, jnp.zeros((1, 2), jnp.int32), jnp.array([[[0.5, 0.75], [0.0, 0.75]]]), point(2))
    np.testing.assert_allclose(middle[0], [[0.5, 0.5, 0]] * 2, atol=1e-5)  # the second one across the border
