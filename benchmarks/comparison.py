"""The same computation in `sldiff_jax` and in torch, ready to be timed, and checked to give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
import torch_reference
from scenes import spheres
from torch_reference import Inputs

import sldiff_jax as sl

OBJECTS = (1, 5, 20)
CORES = torch.get_num_threads()


class Pair(NamedTuple):
    """Functions without arguments that compute the same. On a busy machine torch is often faster on one core."""

    ours: Callable[[], Any]
    in_torch: Callable[[], Any]
    in_torch_on_one_core: Callable[[], Any]


def image_space_gradients(count: int) -> Pair:
    """Image-space gradients of a scene with `count` objects."""
    scene, result = spheres(count)
    inputs = as_torch(scene, result)
    compiled = jax.jit(sl.compute_image_space_gradients)
    pair = Pair(
        lambda: compiled(scene, result),
        _in_torch(lambda: torch_reference.image_space_gradients(inputs), CORES),
        _in_torch(lambda: torch_reference.image_space_gradients(inputs), 1),
    )
    *ours, valid = pair.ours()
    *theirs, valid_in_torch = pair.in_torch()
    for image, image_in_torch in zip(ours, theirs):
        _assert_close(image, image_in_torch.permute(1, 2, 0))
    np.testing.assert_array_equal(valid, valid_in_torch.cpu())
    return pair


def backpropagation(count: int) -> Pair:
    """Backpropagation of a random image cotangent to the poses of `count` objects."""
    scene, result = spheres(count)
    cotangent = jax.random.normal(jax.random.key(count), (3, *result.instance_index.shape))
    inputs = as_torch(scene, result)
    cotangent_in_torch = torch.tensor(np.asarray(cotangent), device=inputs.rgb.device)
    compiled = jax.jit(sl.backpropagate_gradient_to_poses)
    pair = Pair(
        lambda: compiled(scene, result, cotangent),
        _in_torch(lambda: torch_reference.pose_gradients(inputs, cotangent_in_torch), CORES),
        _in_torch(lambda: torch_reference.pose_gradients(inputs, cotangent_in_torch), 1),
    )
    _assert_close(pair.ours(), pair.in_torch())
    return pair


def as_torch(scene: sl.Scene, result: sl.RenderResult) -> Inputs:
    """The scene and its buffers as torch tensors: on the GPU if JAX and torch both have one."""
    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"

    def tensor(array) -> torch.Tensor:
        return torch.tensor(np.asarray(array), device=device)

    return Inputs(
        rgb=tensor(result.rgb),
        coord_depth=tensor(result.coord_depth),
        instance_index=tensor(result.instance_index),
        projection=tensor(scene.camera.projection),
        T_world_camera=tensor(scene.camera.T_world_camera),
        T_world_object=tensor(scene.T_world_object),
        labels=tuple(np.asarray(scene.instance_index).tolist()),
    )


def _assert_close(ours: jax.Array, theirs: torch.Tensor) -> None:
    expected = theirs.cpu().numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def _in_torch(function: Callable[[], Any], cores: int) -> Callable[[], Any]:
    def call() -> Any:
        torch.set_num_threads(cores)
        result = function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return call
