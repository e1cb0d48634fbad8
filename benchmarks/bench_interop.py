"""The torch boundary at 640x480: what crossing costs, and the memory of a long loop.

stillleben is replaced by the stand-in of the tests, which hands out ready images: what is timed is the boundary.
"""

from __future__ import annotations

import gc
import importlib
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "interop")]

import analytic  # noqa: E402
from crossing import crossing_step, resident_bytes  # noqa: E402
from fake_stillleben import FakeStillleben, recorded_stage  # noqa: E402

import sldiff_jax as sl  # noqa: E402
from interop import diff, torch_loss, torch_render  # noqa: E402
from interop.dlpack import from_torch, to_torch  # noqa: E402
from interop.stillleben import result_from_stillleben, scene_from_stillleben  # noqa: E402

WIDTH, HEIGHT = 640, 480
LABELS = (1, 2, 3, 4, 6)
MEMORY_STEPS = 500


@pytest.fixture(scope="module", autouse=True)
def one_thread_of_torch():
    """Torch's threads wait actively, and take the CPU from XLA's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recorded():
    """Buffers of five ray-cast solids, by the names of recorded ones."""
    return record(WIDTH, HEIGHT)


def record(width: int, height: int) -> dict[str, np.ndarray]:
    """The same for any size."""
    scene, result = analytic.random_scene(0, labels=LABELS, width=width, height=height, uint8=True)
    empty = jnp.zeros((height, width, 4))
    data = {
        "viewport_wh": np.array([width, height]),
        "object_poses": scene.T_world_object,
        "instance_indices": scene.instance_index,
        "camera_pose": scene.camera.T_world_camera,
        "projection_matrix": scene.camera.projection,
        "buf_rgb": result.rgb,
        "buf_coordDepth": result.coord_depth,
        "buf_instance_index": result.instance_index[..., None],
        "buf_class_index": result.instance_index[..., None],
        "buf_normals": empty,
        "buf_cam_coordinates": empty,
        "buf_vertex_indices": empty[..., :3].astype(jnp.int32),
        "buf_barycentric_coeffs": empty[..., :3],
    }
    return {key: np.array(value) for key, value in data.items()}


@pytest.fixture
def make_renderer(monkeypatch):
    """A StilllebenRenderer of the stand-in for recorded buffers."""
    fake = FakeStillleben()
    monkeypatch.setitem(sys.modules, "stillleben", fake)
    monkeypatch.delitem(sys.modules, "interop._stillleben_renderer", raising=False)
    module = importlib.import_module("interop._stillleben_renderer")
    monkeypatch.setattr(module, "has_current_context", fake.has_current_context)
    return lambda data: module.StilllebenRenderer.build(lambda: recorded_stage(fake, data), buffers="core")


@pytest.mark.parametrize("kind", ["shared", "unaligned", "strided"])
def test_from_torch(benchmark, kind):
    """A (480, 640, 4) float32 tensor: shared, or copied because JAX cannot use its memory."""
    benchmark.group = "crossing"
    tensor = torch.randn(HEIGHT, WIDTH, 4)
    if kind == "unaligned":
        memory = torch.empty(tensor.numel() + 32)
        start = (16 - memory.data_ptr()) % 64 // 4
        tensor = memory[start : start + tensor.numel()].view(tensor.shape).copy_(tensor)
    tensor = tensor[..., :3] if kind == "strided" else tensor
    _measure(benchmark, lambda: from_torch(tensor))


def test_to_torch(benchmark):
    """A (480, 640, 4) float32 array."""
    benchmark.group = "crossing"
    array = jnp.zeros((HEIGHT, WIDTH, 4))
    _measure(benchmark, lambda: to_torch(array).shape)


@pytest.mark.parametrize("buffers", ["core", "all"])
@pytest.mark.parametrize("aligned", [True, False], ids=["shared", "heap"])
def test_result_from_stillleben(benchmark, recorded, aligned, buffers):
    """Images as on a GPU (shared) or as stillleben's on the CPU (copied once)."""
    benchmark.group = "render result"
    fake = FakeStillleben(aligned=aligned)
    fake.init()
    scene, render_pass = recorded_stage(fake, recorded)
    result = render_pass.render(scene)
    images, make = {}, fake.image
    fake.image = lambda array: images.setdefault(array.ctypes.data, make(array))  # making them is stillleben's cost
    _measure(benchmark, lambda: result_from_stillleben(result, buffers=buffers))


@pytest.mark.parametrize("how", ["eager", "jit"])
def test_renderer(benchmark, make_renderer, recorded, how):
    """A call of the renderer, the stand-in's copy of three images included."""
    benchmark.group = "renderer"
    renderer = make_renderer(recorded)
    render = jax.jit(renderer) if how == "jit" else renderer
    scene = renderer.scene()
    _measure(benchmark, lambda: render(scene))


@pytest.mark.parametrize("how", ["torch alone", "eager", "jit"])
def test_torch_loss(benchmark, how):
    """Mean squared difference of two (480, 640, 3) images and its gradient."""
    benchmark.group = "torch loss and its gradient"

    def loss(x, y):
        return ((x - y) ** 2).mean()

    if how == "torch alone":
        x, y = torch.randn(HEIGHT, WIDTH, 3, requires_grad=True), torch.randn(HEIGHT, WIDTH, 3)
        _measure(benchmark, lambda: torch.autograd.grad(loss(x, y), x)[0].shape)
        return
    function = jax.value_and_grad(torch_loss(loss))
    function = jax.jit(function) if how == "jit" else function
    x, y = jnp.ones((HEIGHT, WIDTH, 3)), jnp.zeros((HEIGHT, WIDTH, 3))
    _measure(benchmark, lambda: function(x, y))


@pytest.mark.parametrize("how", ["sldiff_jax", "interop.diff", "torch_render"])
def test_pose_gradient(benchmark, recorded, how):
    """Backpropagation to five poses: on JAX's arrays, on stillleben's objects, and by torch's autograd."""
    benchmark.group = "pose gradient, 5 objects"
    fake = FakeStillleben()
    fake.init()
    scene, render_pass = recorded_stage(fake, recorded)
    result = render_pass.render(scene)
    cotangent = torch.randn(3, HEIGHT, WIDTH)
    if how == "interop.diff":
        _measure(benchmark, lambda: diff.backpropagate_gradient_to_poses(scene, result, cotangent).shape)
        return
    converted = scene_from_stillleben(scene), result_from_stillleben(result, buffers="core")
    if how == "sldiff_jax":
        backpropagate, array = jax.jit(sl.backpropagate_gradient_to_poses), from_torch(cotangent)
        _measure(benchmark, lambda: backpropagate(*converted, array))
        return
    poses = to_torch(converted[0].T_world_object, copy=True).requires_grad_()
    weights = cotangent.permute(1, 2, 0).contiguous()

    def render_and_differentiate():
        image = torch_render(poses, converted[0], lambda _: converted[1]).rgb
        return torch.autograd.grad(image, poses, weights)[0].shape

    _measure(benchmark, render_and_differentiate)


def test_memory_of_a_long_loop(benchmark, make_renderer):
    """A step at 320x240 that crosses the boundary in every way, and how much memory 400 of them leave behind."""
    benchmark.group = "long loop"
    renderer = make_renderer(record(320, 240))
    step = crossing_step(renderer, renderer.scene(), torch.rand(240, 320, 3))
    resident = []

    def counted():
        step()
        if len(resident) in (MEMORY_STEPS // 5, MEMORY_STEPS - 1):
            gc.collect()
        resident.append(resident_bytes())

    benchmark.pedantic(counted, rounds=MEMORY_STEPS, iterations=1)
    growth = (resident[-1] - resident[MEMORY_STEPS // 5]) / 1e6
    benchmark.extra_info["growth_in_MB"] = growth
    print(f"\nresident memory grew by {growth:.2f} MB from step {MEMORY_STEPS // 5} to step {MEMORY_STEPS}")
    assert growth < 50  # the smallest buffer, left behind by every step, would be 61


def _measure(benchmark, function) -> None:
    benchmark.pedantic(lambda: jax.block_until_ready(function()), rounds=30, warmup_rounds=3)
