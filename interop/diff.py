"""A drop-in for stillleben.diff: its three functions, computed in JAX.

Change ``from stillleben import diff`` to ``from interop import diff``: stillleben's objects and torch tensors go in,
torch tensors on the same device come out. Numbers differ where `sldiff_jax` mends faults of the original: it divides by
clip w instead of clip z, uses the camera's pose, and treats the image border and the pixels on it like all others.
"""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

import sldiff_jax as sl

from ._jax_in_torch import call_jax, x64_for
from ._torch import torch
from .dlpack import from_torch, to_torch
from .stillleben import result_from_stillleben, scene_from_stillleben

Image = Float[torch.Tensor, "rows columns channels"]


def compute_image_space_gradients(
    scene: Any, render_result: Any, *, channels_first: bool = False
) -> tuple[Image, Image, Bool[torch.Tensor, "height width"]]:
    """Derivative of the image with respect to a motion of its content: `sldiff_jax.compute_image_space_gradients`.

    Args:
        scene: the ``stillleben.Scene`` that was rendered.
        render_result: its ``stillleben.RenderPassResult``, (H, W).
        channels_first: gradients as (3, H, W), which is what the original returns, against its documentation.

    Returns:
        A tuple ``(grad_x, grad_y, valid)`` on the device of the render result: two (H, W, 3) float32 tensors, colour
        per unit of NDC, and an (H, W) bool tensor, false at object pixels next to a nearer object.

    Raises:
        ValueError: as `scene_from_stillleben`, or if the sizes of scene and render result differ.
    """
    images = _image_space_gradients(*_convert(scene, render_result))
    grad_x, grad_y, valid = map(to_torch, images)
    if channels_first:
        grad_x, grad_y = grad_x.permute(2, 0, 1), grad_y.permute(2, 0, 1)
    return grad_x, grad_y, valid


def backpropagate_gradient_to_poses(
    scene: Any,
    render_result: Any,
    grad_objective_wrt_rnd_img: Float[torch.Tensor, "3 height width"],
    visualize_grad: bool = False,
) -> Float[torch.Tensor, "objects 6"]:
    """Gradient of an objective with respect to small motions: `sldiff_jax.backpropagate_gradient_to_poses`.

    Args:
        scene: the ``stillleben.Scene`` that was rendered, N objects.
        render_result: its ``stillleben.RenderPassResult``, (H, W).
        grad_objective_wrt_rnd_img: (3, H, W) float32 or float64, derivative of the objective with respect to the
            rendered colour in [0, 1], on the device of the render result.
        visualize_grad: also show what every pixel adds.

    Returns:
        (N, 6) tensor, on the device of the render result and of the cotangent's dtype: objective per radian about the
        object's x, y, z, then per metre along them. Zero for an object of which no pixel is visible.

    Raises:
        ValueError: if the cotangent is not (3, H, W) float32 or float64, or as `compute_image_space_gradients`.
    """
    _check_dtype(grad_objective_wrt_rnd_img, "grad_objective_wrt_rnd_img")
    with x64_for(grad_objective_wrt_rnd_img.dtype):
        cotangent = from_torch(grad_objective_wrt_rnd_img)
        scene, result = _convert(scene, render_result)
        return to_torch(_backpropagate(scene, result, cotangent, visualize_grad))


def apply_pose_delta(
    pose: Float[torch.Tensor, "*batch 4 4"], delta: Float[torch.Tensor, "*batch 6"], orthonormalize: bool = True
) -> Float[torch.Tensor, "*batch 4 4"]:
    """Moves poses by small deltas in the object frame: `sldiff_jax.apply_pose_delta`.

    Unlike the original it stays on the device, and torch can differentiate it, once, with respect to both arguments.

    Args:
        pose: (4, 4) or (B, 4, 4) float32 or float64, object frame to any frame, metres.
        delta: (6,) or (B, 6), three angles in radians, then a translation in metres, in the object frame.
        orthonormalize: project the rotation back onto SO(3).

    Returns:
        (4, 4) or (B, 4, 4), the moved pose, on the device of ``pose``; float64 if either argument is.

    Raises:
        ValueError: if shapes or dtypes are not as described.
    """
    dtype = torch.promote_types(pose.dtype, delta.dtype)
    pose, delta = (tensor.to(pose.device, dtype) for tensor in (pose, delta))
    _check_dtype(pose, "apply_pose_delta pose and delta")

    def apply(pose: jax.Array, delta: jax.Array):
        return (_apply(pose, delta, orthonormalize),), lambda cotangents: _pull_back(
            pose, delta, orthonormalize, *cotangents
        )

    return call_jax(apply, pose, delta)[0]


def _convert(scene: Any, render_result: Any) -> tuple[sl.Scene, sl.RenderResult]:
    return scene_from_stillleben(scene), result_from_stillleben(render_result, buffers="core")


def _check_dtype(tensor: torch.Tensor, name: str) -> None:
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, got {tensor.dtype}. Use tensor.float().")


_image_space_gradients = jax.jit(sl.compute_image_space_gradients)
_apply = jax.jit(sl.apply_pose_delta, static_argnums=2)


def _backpropagate_as(scene: sl.Scene, result: sl.RenderResult, cotangent: Array, visualize_grad: bool) -> Array:
    """Computes in the dtype of the cotangent."""
    scene = jax.tree.map(lambda x: x.astype(cotangent.dtype) if x.dtype.kind == "f" else x, scene)
    return sl.backpropagate_gradient_to_poses(scene, result, cotangent, visualize_grad)


_backpropagate = jax.jit(_backpropagate_as, static_argnums=3)


def _pull_back_apply(pose: Array, delta: Array, orthonormalize: bool, cotangent: Array) -> tuple[Array, Array]:
    _, pull_back = jax.vjp(lambda pose, delta: sl.apply_pose_delta(pose, delta, orthonormalize), pose, delta)
    return pull_back(cotangent)


_pull_back = jax.jit(_pull_back_apply, static_argnums=2)
