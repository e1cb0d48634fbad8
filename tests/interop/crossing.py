"""One step of a refinement that uses every crossing of the boundary; for the tests and the benchmark of memory."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch

import sldiff_jax as sl
from interop import torch_loss
from interop.dlpack import from_torch, to_torch


def crossing_step(renderer, scene: sl.Scene, target: torch.Tensor) -> Callable[[], None]:
    """A function that renders eagerly and inside jit, takes a torch loss eagerly and inside jit, and goes back."""
    loss = torch_loss(lambda image, target: ((image - target) ** 2).mean())
    loss_and_gradient = jax.value_and_grad(loss)
    backpropagate = jax.jit(sl.backpropagate_gradient_to_poses)
    color = jax.jit(lambda result: result.color)

    @jax.jit
    def compiled(T, target):
        moved = sl.Scene(T, scene.camera, scene.instance_index)
        return jax.value_and_grad(lambda T: loss(sl.render(_with(moved, T), renderer).rgb, target))(T)

    def step() -> None:
        image = from_torch(target)
        result = renderer(scene)
        _, cotangent = loss_and_gradient(color(result), image)
        delta = to_torch(backpropagate(scene, result, jnp.moveaxis(cotangent, -1, 0)))
        assert torch.isfinite(delta).all()
        _, gradient = compiled(scene.T_world_object, image)
        assert torch.isfinite(to_torch(gradient)).all()

    return step


def _with(scene: sl.Scene, T) -> sl.Scene:
    return sl.Scene(T, scene.camera, scene.instance_index)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
