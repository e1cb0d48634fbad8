"""Differentiable rendering as a function of torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import jax
from jaxtyping import Array, Float

import sldiff_jax as sl

if TYPE_CHECKING:
    import torch


class TorchRendering(NamedTuple):
    """The images of `torch_render`: those of `sldiff_jax.Rendering`, as tensors.

    Attributes:
        rgb: (H, W, 3) float in [0, 1], background included.
        depth: (H, W) float, metres along the camera's Z axis; 0 where no object is seen.
        mask: (H, W) float, 1 where an object is seen, else 0.
    """

    rgb: torch.Tensor
    depth: torch.Tensor
    mask: torch.Tensor


def torch_render(poses: torch.Tensor, scene: sl.Scene, renderer: sl.Renderer) -> TorchRendering:
    """Renders a scene in JAX with poses from torch; `torch.autograd` differentiates the images for the poses.

    The derivative is that of `sldiff_jax.render`. For steps that keep poses rigid, compute them from small motions
    with `interop.diff.apply_pose_delta` and optimise those, for instance with ``torch.optim.Adam``.

    Args:
        poses: (N, 4, 4) float32 or float64 tensor, object frames to world frame, metres, in the order of the scene's
            rows. They replace the scene's own. They are copied, so that an optimiser may change them in place.
        scene: camera and labels of the N objects. Its device is where the images will be.
        renderer: any `sldiff_jax.Renderer`. It is called with concrete arrays.

    Returns:
        The `TorchRendering`, of the dtype of ``poses``, on the device of the scene. The images are JAX's memory: do
        not write into them.

    Raises:
        ValueError: if poses are not (N, 4, 4) float32 or float64, or as `sldiff_jax.render`.
        ImportError: if torch is not installed.
    """
    from ._jax_in_torch import call_jax  # on use, so that `interop` can be imported without torch
    from ._torch import torch

    shape = scene.T_world_object.shape
    if tuple(poses.shape) != shape or poses.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"torch_render poses must be {shape}, float32 or float64, got {tuple(poses.shape)}, {poses.dtype}."
        )

    def render(T_world_object: jax.Array):
        home = T_world_object.sharding
        moved = dataclasses.replace(scene, T_world_object=jax.device_put(T_world_object, scene.T_world_object.sharding))
        result = renderer(moved)
        images = _images(moved, result)

        def pull_back(cotangents: tuple[jax.Array, ...]) -> tuple[jax.Array]:
            return (jax.device_put(_pose_cotangent(moved, result, *cotangents), home),)

        return (images.rgb, images.depth, images.mask), pull_back

    return TorchRendering(*call_jax(render, poses))


@jax.jit
def _images(scene: sl.Scene, result: sl.RenderResult) -> sl.Rendering:
    return sl.render(scene, lambda _: result)


@jax.jit
def _pose_cotangent(
    scene: sl.Scene, result: sl.RenderResult, rgb: Array, depth: Array, mask: Array
) -> Float[Array, "objects 4 4"]:
    def images(T_world_object: Float[Array, "objects 4 4"]) -> sl.Rendering:
        return _images(dataclasses.replace(scene, T_world_object=T_world_object), result)

    _, pull_back = jax.vjp(images, scene.T_world_object)
    return pull_back(sl.Rendering(rgb=rgb, depth=depth, mask=mask))[0]
