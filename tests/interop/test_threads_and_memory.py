"""Long loops do not grow, and two threads that cross the boundary at once do not disturb each other."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import gc
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import torch
from crossing import crossing_step, resident_bytes
from fake_stillleben import recorded_stage
from threads import run_in_two_threads

from interop import torch_loss
from interop.dlpack import from_torch, shares_memory, to_torch

STEPS = 500
ALLOWED_GROWTH = 12e6  # bytes; one image of each buffer left behind per step would be 42e6


def test_500_steps_do_not_grow(boundary, golden):
    images = {key: value[::2, ::2] for key, value in golden("bunny_cube").data.items() if key.startswith("buf_")}
    data = golden("bunny_cube").data | images | {"viewport_wh": np.array([80, 60])}
    renderer = boundary.Renderer.build(lambda: recorded_stage(boundary.stillleben, data), buffers="core")
    step = crossing_step(renderer, renderer.scene(), torch.from_numpy(data["buf_rgb"][..., :3] / np.float32(255)))
    for _ in range(STEPS // 5):
        step()
    images, resident = living_images(), resident_bytes()
    for _ in range(STEPS - STEPS // 5):
        step()
    assert living_images() == images
    assert resident_bytes() - resident < ALLOWED_GROWTH


def living_images() -> tuple[int, int]:
    """Arrays of JAX and tensors that exist now."""
    gc.collect()
    return len(jax.live_arrays()), sum(type(thing) is torch.Tensor for thing in gc.get_objects())


def test_the_measure_of_memory_notices_growth():
    before = resident_bytes()
    kept = np.ones(int(20 * ALLOWED_GROWTH) // 8)  # too large for what the allocator kept of earlier tests
    assert resident_bytes() - before > ALLOWED_GROWTH
    del kept


def test_two_threads_cross_at_once():
    loss = torch_loss(lambda x, scale: (x * scale).sum())
    gradient = jax.jit(jax.grad(loss))

    def work(number):
        rng = np.random.default_rng(number)
        for i in range(60):
            value = float(rng.integers(1, 1000))
            tensor = torch.full((60, 80, 4), value)
            array = from_torch(tensor)
            assert shares_memory(array, tensor) and (np.asarray(array) == value).all()
            back = to_torch(array + 1)
            assert (back == value + 1).all()
            scale = jnp.full((60, 80, 4), value)
            got = (gradient if i % 2 else jax.grad(loss))(array, scale)
            assert (np.asarray(got) == value).all()
            np.testing.assert_allclose(loss(array, scale), value**2 * tensor.numel(), rtol=1e-5)

    run_in_two_threads(work)


def test_the_number_of_threads_does_not_grow(boundary):
    from fake_stillleben import ray_cast_stage

    renderers = [boundary.Renderer.build(lambda: ray_cast_stage(boundary.stillleben)) for _ in range(3)]
    names = [thread.name for thread in threading.enumerate()]
    before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
    for renderer in renderers * 5:
        renderer(renderer.scene())
    assert [thread.name for thread in threading.enumerate()] == names
    assert len(os.listdir("/proc/self/task")) <= before + 1 if before else True
