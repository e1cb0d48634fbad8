"""From image gradients to pose gradients: backpropagation, its transpose, and the pose Jacobian."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import as_floating
from .._scene.typing import ColorImage, ImageCotangent, PoseDeltas
from .accumulator import accumulate, ndc_jacobian, object_rows, row_of_label, to_pose_deltas
from .fused_accumulator import accumulate_fused
from .image_space import (
    check_sizes,
    color_motion,
    compute_image_space_gradients,
    dilate_silhouettes,
    return_to_lenders,
    silhouette_lenders,
    unoccluded,
)
from .neighbours import neighbour


def backpropagate_gradient_to_poses(
    scene: Scene,
    render_result: RenderResult,
    grad_objective_wrt_rnd_img: ImageCotangent,
    visualize_grad: bool = False,
) -> PoseDeltas:
    """Gradient of an objective with respect to small motions of all objects.

    One pass over the image, whatever the number of objects. Each object also receives the gradient of the pixels by
    which its silhouette grows (`dilate_silhouettes`). Linear in the cotangent; its transpose is `image_change`.

    Convention: the derivative with respect to the `delta` of `apply_pose_delta` at zero, in the object frame.

    Args:
        scene: the scene that was rendered, N objects.
        render_result: its buffers, (H, W).
        grad_objective_wrt_rnd_img: (3, H, W) float, derivative of the objective with respect to the rendered colour
            in [0, 1]. Channels come first, as in stillleben.diff.
        visualize_grad: (static) also show `pose_gradient_maps`, six maps per object: in visdom if that is installed
            and its server answers, else as one matplotlib figure per object. Works under `jit`.

    Returns:
        (N, 6) float: objective per radian about the object's x, y, z, then per metre along them. An object of which
        no pixel is visible has an exact zero row; `visible_objects` tells which those are.

    Raises:
        ValueError: if the cotangent is not (3, H, W), or the sizes of scene and render result differ.
    """
    check_sizes(scene, render_result)
    cotangent = _checked_cotangent(scene, grad_objective_wrt_rnd_img)
    if visualize_grad:
        _show_maps(scene, render_result, cotangent)
    return _backpropagate(scene, render_result, cotangent)


@jax.jit
def _backpropagate(scene: Scene, render_result: RenderResult, cotangent: ImageCotangent) -> PoseDeltas:
    arrays = (scene.T_world_object, scene.camera, render_result.coord_depth, cotangent)
    single = all(x.dtype == jnp.float32 for x in jax.tree.leaves(arrays))
    if not single or render_result.rgb.dtype != jnp.uint8 or not scene.T_world_object.shape[0]:
        return _backpropagate_in_xla(scene, render_result, cotangent)
    shown = RenderResult(
        rgb=render_result.rgb, coord_depth=render_result.coord_depth, instance_index=render_result.instance_index
    )
    return _backpropagate_fused(scene, shown, cotangent)


@jax.custom_jvp
def _backpropagate_fused(scene: Scene, shown: RenderResult, cotangent: ImageCotangent) -> PoseDeltas:
    """As `_backpropagate_in_xla`. On a CPU one kernel visits the pixels that objects cover."""

    def by_kernel(scene: Scene, shown: RenderResult, cotangent: ImageCotangent) -> PoseDeltas:
        sums = accumulate_fused(scene.T_clip_object, row_of_label(scene), shown, cotangent)
        return to_pose_deltas(scene.T_clip_object, sums)

    return jax.lax.platform_dependent(scene, shown, cotangent, cpu=by_kernel, default=_backpropagate_in_xla)


@_backpropagate_fused.defjvp
def _backpropagate_fused_jvp(primals, tangents):
    return jax.jvp(_backpropagate_in_xla, primals, tangents)


def _backpropagate_in_xla(scene: Scene, render_result: RenderResult, cotangent: ImageCotangent) -> PoseDeltas:
    valid = unoccluded(render_result, margin=2)
    lenders = silhouette_lenders(render_result, valid)
    motion = color_motion(render_result, cotangent, neighbour(valid))
    s_x, s_y = (return_to_lenders(lenders, plane) for plane in motion)
    accumulator = accumulate(scene, render_result, s_x, s_y)
    return to_pose_deltas(scene.T_clip_object, accumulator)


def image_change(scene: Scene, render_result: RenderResult, delta: PoseDeltas) -> ColorImage:
    """First-order change of the image when the objects move: the exact transpose of `backpropagate_gradient_to_poses`.

    ``sum(image_change(scene, result, delta) * cotangent) == sum(backpropagate(scene, result, cotangent) * delta)``.

    Args:
        scene: the scene that was rendered, N objects.
        render_result: its buffers, (H, W).
        delta: (N, 6) float, a motion per object as in `apply_pose_delta`: radians, then metres.

    Returns:
        (H, W, 3) float, change of the colour in [0, 1].

    Raises:
        ValueError: if delta is not (N, 6), or the sizes of scene and render result differ.
    """
    delta = as_floating(delta, "image_change delta", (scene.T_world_object.shape[0], 6))
    check_sizes(scene, render_result)
    return _image_change(scene, render_result, delta)


@jax.jit
def _image_change(scene: Scene, render_result: RenderResult, delta: PoseDeltas) -> ColorImage:
    shape = (3, scene.camera.height, scene.camera.width)
    dtype = jnp.result_type(scene.T_world_object, render_result.coord_depth)
    backpropagate = functools.partial(_backpropagate_in_xla, scene, render_result)
    transpose = jax.linear_transpose(backpropagate, jax.ShapeDtypeStruct(shape, dtype))
    (change,) = transpose(delta.astype(dtype))
    return jnp.moveaxis(change, 0, -1)


def pose_jacobian(scene: Scene, render_result: RenderResult) -> Float[Array, "height width 3 6"]:
    """Derivative of every pixel's colour with respect to the motion of the object that it shows.

    Contracted with an image cotangent and summed over an object's pixels, this is the object's row of
    `backpropagate_gradient_to_poses` without the silhouette dilation. Squared, it gives Gauss-Newton its normal
    equations.

    Args:
        scene: the scene that was rendered.
        render_result: its buffers, (H, W).

    Returns:
        (H, W, 3, 6) float: colour in [0, 1] per radian and per metre, in the frame of the pixel's object (the `delta`
        of `apply_pose_delta`). Zero on the background and where a pixel is not valid.

    Raises:
        ValueError: if the sizes of scene and render result differ.
    """
    check_sizes(scene, render_result)
    return _pose_jacobian(scene, render_result)


@jax.jit
def _pose_jacobian(scene: Scene, render_result: RenderResult) -> Float[Array, "height width 3 6"]:
    grad_x, grad_y, _ = compute_image_space_gradients(scene, render_result)
    rows = object_rows(scene, render_result)
    J_x, J_y = ndc_jacobian(scene.T_clip_object, rows, render_result.coordinates)
    return grad_x[..., None] * J_x[..., None, :] + grad_y[..., None] * J_y[..., None, :]


def pose_gradient_maps(
    scene: Scene, render_result: RenderResult, grad_objective_wrt_rnd_img: ImageCotangent
) -> Float[Array, "objects 6 height width"]:
    """What every pixel adds to the pose gradient: summed over the image, `backpropagate_gradient_to_poses`.

    Args:
        scene: the scene that was rendered, N objects.
        render_result: its buffers, (H, W).
        grad_objective_wrt_rnd_img: (3, H, W) float, derivative of the objective with respect to the colour.

    Returns:
        (N, 6, H, W) float, one map per object and pose parameter (radians, then metres). This holds N maps of the
        image: it is meant for looking at, not for optimisation.

    Raises:
        ValueError: as `backpropagate_gradient_to_poses`.
    """
    check_sizes(scene, render_result)
    cotangent = _checked_cotangent(scene, grad_objective_wrt_rnd_img)
    return _pose_gradient_maps(scene, render_result, cotangent)


@jax.jit
def _pose_gradient_maps(
    scene: Scene, render_result: RenderResult, cotangent: ImageCotangent
) -> Float[Array, "objects 6 height width"]:
    s_x, s_y = color_motion(render_result, cotangent, unoccluded(render_result))
    masks, coordinates = dilate_silhouettes(scene, render_result)

    background = masks.shape[0]

    def maps_of_object(row: Array, mask: Array, points: Array) -> Array:
        J_x, J_y = ndc_jacobian(scene.T_clip_object, jnp.where(mask, row, background), points)
        return jnp.moveaxis(s_x[..., None] * J_x + s_y[..., None] * J_y, -1, 0)

    return jax.vmap(maps_of_object)(jnp.arange(background), masks, coordinates)


def visible_objects(scene: Scene, render_result: RenderResult) -> Bool[Array, " objects"]:
    """Which objects show at least one pixel.

    Args:
        scene: the scene that was rendered, N objects.
        render_result: its buffers, (H, W).

    Returns:
        (N,) bool.

    Raises:
        ValueError: if the sizes of scene and render result differ.
    """
    check_sizes(scene, render_result)
    rows = object_rows(scene, render_result)
    objects = scene.T_world_object.shape[0]
    return jnp.zeros(objects, bool).at[rows].set(True, mode="drop")


def _checked_cotangent(scene: Scene, cotangent: ImageCotangent) -> ImageCotangent:
    shape = (3, scene.camera.height, scene.camera.width)
    return as_floating(cotangent, "grad_objective_wrt_rnd_img (channels first)", shape)


def _show_maps(scene: Scene, render_result: RenderResult, cotangent: ImageCotangent) -> None:
    from .show_maps import show_pose_gradient_maps  # drawing needs packages that the gradients do not

    maps = pose_gradient_maps(scene, render_result, jax.lax.stop_gradient(cotangent))
    jax.debug.callback(show_pose_gradient_maps, scene.instance_index, maps)
