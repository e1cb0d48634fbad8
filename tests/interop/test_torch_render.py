"""Rendering in JAX as a function of torch."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import dataclasses

import fake_stillleben
import jax
import jax.numpy as jnp
import numpy as np
import torch

import sldiff_jax as sl
from interop import TorchRendering, torch_render
from interop.diff import apply_pose_delta
from interop.dlpack import from_torch, shares_memory, to_torch

H, W = 36, 48


@pytest.fixture
def stage(boundary):
    """A renderer, its scene, and the poses as a tensor."""
    renderer = boundary.Renderer.build(lambda: fake_stillleben.ray_cast_stage(boundary.stillleben), buffers="core")
    scene = renderer.scene()
    return renderer, scene, to_torch(scene.T_world_object, copy=True)


def cotangents(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    shapes = ((H, W, 3), (H, W), (H, W))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


@jax.jit
def gradient_of_images(scene, result, rgb, depth, mask):
    def objective(T):
        images = sl.render(dataclasses.replace(scene, T_world_object=T), lambda _: result)
        return jnp.sum(images.rgb * rgb) + jnp.sum(images.depth * depth) + jnp.sum(images.mask * mask)

    return jax.grad(objective)(scene.T_world_object)


def gradient_in_jax(scene, renderer, weights) -> np.ndarray:
    return np.asarray(gradient_of_images(scene, renderer(scene), *map(from_torch, weights)))


def test_images_are_those_of_jax(stage):
    renderer, scene, poses = stage
    images, expected = torch_render(poses, scene, renderer), sl.render(scene, renderer)
    assert isinstance(images, TorchRendering) and not images.rgb.requires_grad
    for name in TorchRendering._fields:
        np.testing.assert_array_equal(getattr(images, name).numpy(), getattr(expected, name))
        assert getattr(images, name).dtype == torch.float32
    moved = apply_pose_delta(poses, torch.full((2, 6), 0.05))
    assert (torch_render(moved, scene, renderer).rgb != images.rgb).any()


def test_gradient_is_that_of_jax(stage):
    renderer, scene, poses = stage
    poses.requires_grad_()
    images = torch_render(poses, scene, renderer)
    weights = cotangents()
    sum((image * weight).sum() for image, weight in zip(images, weights)).backward()
    expected = gradient_in_jax(scene, renderer, weights)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(poses.grad.numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_gradient_in_float64_is_that_of_jax(stage):
    renderer, scene, poses = stage
    weights = cotangents(torch.float64)
    poses = poses.double().requires_grad_()
    images = torch_render(poses, scene, renderer)
    assert images.rgb.dtype == images.depth.dtype == torch.float64
    found = torch.autograd.grad(images, poses, weights)[0]
    assert found.dtype == torch.float64
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, scene)
        expected = gradient_in_jax(wide, renderer, weights)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_a_loss_of_one_image_alone(stage):
    renderer, scene, poses = stage
    poses.requires_grad_()
    torch_render(poses, scene, renderer).mask.sum().backward()
    zero, ones = torch.zeros(H, W), torch.ones(H, W)
    expected = gradient_in_jax(scene, renderer, (torch.zeros(H, W, 3), zero, ones))
    np.testing.assert_allclose(poses.grad.numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_poses_may_change_in_place_before_the_backward_pass(stage):
    renderer, scene, poses = stage
    poses.requires_grad_()
    weights = cotangents()
    images = torch_render(poses, scene, renderer)
    with torch.no_grad():
        poses += 1.0  # what an optimiser does
    sum((image * weight).sum() for image, weight in zip(images, weights)).backward()
    expected = gradient_in_jax(scene, renderer, weights)
    np.testing.assert_allclose(poses.grad.numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_images_cross_without_a_copy(stage, monkeypatch):
    renderer, scene, poses = stage
    crossed = []
    module = __import__("interop._jax_in_torch", fromlist=["to_torch"])
    monkeypatch.setattr(module, "to_torch", lambda array: crossed.append(array) or to_torch(array))
    images = torch_render(poses, scene, renderer)
    assert all(shares_memory(image, array) for image, array in zip(images, crossed, strict=True))


def test_an_optimiser_of_torch_refines_poses(stage):
    renderer, scene, truth = stage
    with torch.no_grad():
        target = torch_render(truth, scene, renderer).rgb
        start = apply_pose_delta(truth, torch.tensor([[0.05, -0.05, 0.05, 0.012, 0.008, -0.008]] * 2))
    twist = torch.zeros(2, 6, requires_grad=True)
    optimizer = torch.optim.Adam([twist], lr=0.01)
    unit = torch.tensor([1, 1, 1, 0.1, 0.1, 0.1])
    values = []
    for _ in range(25):
        optimizer.zero_grad()
        image = torch_render(apply_pose_delta(start, twist * unit), scene, renderer).rgb
        loss = ((image - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert min(values[-5:]) < 0.3 * values[0], values


def test_it_renders_with_the_embedded_renderer_too():
    vertices = np.array([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0, 0.1, 0]], np.float32)
    mesh = sl.Mesh(vertices, np.array([[0, 1, 2]]), colors=np.eye(3))
    camera = sl.Camera.from_fov(0.8, width=16, height=12)
    scene = sl.Scene(jnp.eye(4)[None].at[0, 2, 3].set(0.5), camera)
    poses = to_torch(scene.T_world_object, copy=True).requires_grad_()
    images = torch_render(poses, scene, sl.MeshRenderer([mesh]))
    assert images.mask.sum() > 5
    images.rgb.square().sum().backward()
    assert poses.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("poses", "message"),
    [(torch.eye(4), r"\(2, 4, 4\).*\(4, 4\)"), (torch.eye(4).expand(2, 4, 4).half(), "float16")],
    ids=["shape", "dtype"],
)
def test_mistakes_are_named(stage, poses, message):
    renderer, scene, _ = stage
    with pytest.raises(ValueError, match=message):
        torch_render(poses, scene, renderer)


@pytest.mark.gpu
def test_gpu(gpu, stage):
    renderer, scene, poses = stage
    scene = jax.device_put(scene, gpu)
    poses.requires_grad_()
    images = torch_render(poses, scene, renderer)
    assert images.rgb.is_cuda
    images.rgb.square().sum().backward()
    assert not poses.grad.is_cuda and poses.grad.abs().max() > 0


def test_a_scene_refuses_poses_that_torch_would_differentiate(stage, unchecked_types):
    _, scene, poses = stage
    with pytest.raises(ValueError, match=r"requires gradients, which end here\. interop\.torch_render"):
        sl.Scene(poses.requires_grad_(), scene.camera)
