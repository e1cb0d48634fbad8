"""Memory stays where it is: over many steps, and over many calls with the same shapes."""

import gc
import pathlib

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import demo_mesh

STATUS = pathlib.Path("/proc/self/status")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.is_file(), reason="reads the memory of this process from /proc"),
]

ROOM = 16.0
"""MB that allocators may keep. One colour image kept in every step, or in every call, would take more than 30."""


def resident() -> float:
    """MB of this process in RAM."""
    gc.collect()
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def task(width: int) -> tuple[sl.Scene, sl.MeshRenderer]:
    camera = sl.Camera.from_fov(0.7, width=width, height=3 * width // 4)
    T = jnp.eye(4).at[2, 3].set(0.3)
    return sl.Scene(T[None], camera), sl.MeshRenderer([demo_mesh()], buffers="core")


def seen(scene: sl.Scene, renderer: sl.MeshRenderer, shift: float) -> sl.Observation:
    there = sl.Scene(scene.T_world_object.at[0, 0, 3].add(shift), scene.camera)
    return sl.Observation(np.asarray(sl.render(there, renderer).rgb))


def test_memory_is_flat_over_a_thousand_steps():
    scene, renderer = task(64)
    after = {}

    def look(step: int, loss: float, scene: sl.Scene) -> None:
        if step in (100, 1000):
            after[step] = resident()

    fit = sl.refine_poses(
        scene, seen(scene, renderer, 0.004), renderer, loss=sl.photometric_loss, optimizer=optax.sgd(1e-6), steps=1001,
        tolerance=0.0, callback=look,
    )  # fmt: skip
    assert len(fit.loss_history) == 1001
    assert after[1000] - after[100] < ROOM


def test_memory_is_flat_over_fifty_calls():
    scene, renderer = task(320)
    after = []
    for call in range(50):
        # Images and starts differ, as in a video; their shapes do not.
        observation = seen(scene, renderer, 1e-4 * (call + 1))
        sl.refine_poses(
            scene, observation, renderer, loss=sl.photometric_loss, optimizer=sl.LevenbergMarquardt(), steps=3
        )
        after.append(resident())
    assert after[-1] - after[9] < ROOM
