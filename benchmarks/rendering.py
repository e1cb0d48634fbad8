"""The embedded renderer and the differentiable render, as functions without arguments that are ready to be timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scenes import HEIGHT, WIDTH, shared_data, spheres

import sldiff_jax as sl

BATCH = 16


def bunny() -> sl.Mesh | None:
    """The recorded bunny of 69,451 triangles, textured, 0.2 m across; None without the recorded data."""
    folder = shared_data()
    if folder is None:
        return None
    return sl.Mesh.load(folder / "stillleben_golden" / "meshes" / "stanford_bunny" / "scene.gltf", scale=0.01)


def bunny_scene(mesh: sl.Mesh, width: int = WIDTH, height: int = HEIGHT, shift: float = 0.0) -> sl.Scene:
    """The bunny before the camera, filling most of the image's height; `shift` in metres moves it to the right."""
    centre = np.asarray(0.5 * (mesh.vertices.min(0) + mesh.vertices.max(0)))
    T_camera_object = np.diag(np.array([1, -1, -1, 1], np.float32))  # its y axis points up
    T_camera_object[:3, 3] = np.array([shift, 0, 0.3]) - T_camera_object[:3, :3] @ centre
    return sl.Scene(T_camera_object[None], sl.Camera.from_fov(1.0, width=width, height=height))


def render(mesh: sl.Mesh, *, width: int = WIDTH, height: int = HEIGHT, **options: Any) -> Callable[[], Any]:
    """Rendering one bunny inside `jit`. `options` go to `MeshRenderer`."""
    renderer, scene = sl.MeshRenderer([mesh], **options), bunny_scene(mesh, width, height)
    compiled = jax.jit(lambda renderer, scene: renderer(scene))
    assert float(jnp.mean(compiled(renderer, scene).instance_index == 1)) > 0.15
    return lambda: compiled(renderer, scene)


def render_batch(mesh: sl.Mesh, *, width: int, height: int, **options: Any) -> tuple[Callable[[], Any], ...]:
    """A batch of bunnies in different poses: in one launch under `vmap`, and one after the other."""
    renderer, scene = sl.MeshRenderer([mesh], **options), bunny_scene(mesh, width, height)
    shifts = np.linspace(-0.05, 0.05, BATCH)
    poses = [bunny_scene(mesh, width, height, shift).T_world_object for shift in shifts]
    stacked = jnp.stack(poses)

    def render_at(T_world_object, renderer, camera):
        return renderer(sl.Scene(T_world_object, camera))

    single, batched = jax.jit(render_at), jax.jit(jax.vmap(render_at, in_axes=(0, None, None)))
    in_one = batched(stacked, renderer, scene.camera)
    one_by_one = [single(pose, renderer, scene.camera) for pose in poses]
    np.testing.assert_array_equal(in_one.rgb, np.stack([result.rgb for result in one_by_one]))
    return (
        lambda: batched(stacked, renderer, scene.camera),
        lambda: [single(pose, renderer, scene.camera) for pose in poses],
    )


def fit_step(mesh: sl.Mesh) -> Callable[[], Any]:
    """Value and gradient of a photometric loss with respect to the pose, rendering included."""
    renderer, scene = sl.MeshRenderer([mesh], buffers="core"), bunny_scene(mesh)
    observation = sl.Observation(rgb=renderer(bunny_scene(mesh, shift=0.01)).color)

    def loss(T_world_object, renderer, camera, observation):
        return sl.photometric_loss(sl.render(sl.Scene(T_world_object, camera), renderer), observation)

    compiled = jax.jit(jax.value_and_grad(loss))
    value, grad = compiled(scene.T_world_object, renderer, scene.camera, observation)
    assert float(value) > 0 and float(grad[0, 0, 3]) < 0  # the observed bunny is further to the right
    return lambda: compiled(scene.T_world_object, renderer, scene.camera, observation)


def differentiate_rendered(count: int) -> Callable[[], Any]:
    """Value and gradient of a photometric loss where rendering costs nothing: spheres rendered beforehand."""
    scene, result = spheres(count)
    observation = sl.Observation(rgb=jnp.roll(result.color, 3, axis=1))

    def loss(T_world_object, scene, result, observation):
        moved = sl.Scene(T_world_object, scene.camera, scene.instance_index)
        return sl.photometric_loss(sl.render(moved, lambda scene: result), observation)

    compiled = jax.jit(jax.value_and_grad(loss))
    return lambda: compiled(scene.T_world_object, scene, result, observation)
