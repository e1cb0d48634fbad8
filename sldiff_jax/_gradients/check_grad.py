"""The derivative of a rendering checked against finite differences, on the user's own scene."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._scene.poses import se3_exp
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import compose
from .pose_gradients import visible_objects
from .render import render
from .rendering import Renderer, Rendering


class GradCheck(eqx.Module):
    """The outcome of `check_grad` for N objects. Rotations are per radian, translations per metre.

    Attributes:
        analytic: (N, 6) float, `jax.grad` of the loss with respect to a twist of each object.
        numeric: (N, 6) float, central differences of the same.
        step: (N, 6) float, their half steps, radians and metres.
        relative_error: (N,) float, norm of the difference over the norm of `numeric`, both weighted by `step` so that
            rotations and translations count alike.
        cosine: (N,) float, between the two, weighted in the same way.
    """

    analytic: np.ndarray
    numeric: np.ndarray
    step: np.ndarray
    relative_error: np.ndarray
    cosine: np.ndarray


def check_grad(
    scene: Scene,
    renderer: Renderer,
    loss: Callable[[Rendering], Float[Array, ""]],
    *,
    supersample: int = 4,
    pixels: float = 1.0,
) -> GradCheck:
    """Compares the gradient of a render loss with central differences, per object and degree of freedom.

    An image of point samples changes in steps as objects move, so that its finite differences mean little. They are
    therefore taken of images that are rendered larger and averaged: colour and masks over all samples of a pixel, depth
    over those that show a surface.

    Args:
        scene: the scene, N objects, all of them visible.
        renderer: the renderer whose gradient is checked.
        loss: scalar function of the `Rendering`.
        supersample: samples per pixel along each side for the differences. With 1 the renderer is called at the size of
            the camera only.
        pixels: by how many pixels, about, the objects move to either side.

    Returns:
        The `GradCheck`.

    Raises:
        ValueError: if an object is not visible, or `pixels` or `supersample` is not positive.
    """
    if pixels <= 0 or supersample < 1:
        raise ValueError(f"pixels and supersample must be positive, got {pixels} and {supersample}.")
    result = renderer(scene)
    visible = np.asarray(visible_objects(scene, result))
    if not visible.all():
        raise ValueError(f"Objects {np.flatnonzero(~visible).tolist()} are not visible: there is nothing to check.")

    def rendering_of(twist: Float[Array, "objects 6"], scale: int) -> Rendering:
        camera = scene.camera.resized(scale * scene.camera.width, scale * scene.camera.height)
        moved = compose(scene.T_world_object, jax.vmap(se3_exp)(twist))
        return render(Scene(moved, camera, scene.instance_index), renderer, object_masks=True)

    step = pixel_steps(scene, result, pixels)
    zero = jnp.zeros(step.shape, scene.T_world_object.dtype)
    analytic = np.asarray(jax.grad(lambda twist: loss(rendering_of(twist, 1)))(zero))
    numeric = np.zeros(step.shape)
    for index in np.ndindex(*step.shape):
        ahead, behind = (
            float(loss(averaged(rendering_of(zero.at[index].set(side * step[index]), supersample), supersample)))
            for side in (1, -1)
        )
        numeric[index] = (ahead - behind) / (2 * step[index])
    a, n = analytic * step, numeric * step
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(n, axis=1)
    tiny = np.finfo(np.float32).tiny
    return GradCheck(
        analytic=analytic,
        numeric=numeric,
        step=step,
        relative_error=np.linalg.norm(a - n, axis=1) / np.maximum(norms[1], tiny),
        cosine=np.sum(a * n, axis=1) / np.maximum(norms[0] * norms[1], tiny),
    )


def averaged(rendering: Rendering, scale: int) -> Rendering:
    """The images over blocks of scale x scale pixels; depth over what is seen."""

    def mean(image: Array, *, rows: int = 0) -> Array:
        """Over blocks of scale x scale pixels of the axes `rows` and `rows + 1`."""
        height, width = image.shape[rows] // scale, image.shape[rows + 1] // scale
        blocks = image.reshape(*image.shape[:rows], height, scale, width, scale, *image.shape[rows + 2 :])
        return blocks.mean(axis=(rows + 1, rows + 3))

    seen = mean(rendering.mask)
    return Rendering(
        rgb=mean(rendering.rgb),
        depth=mean(rendering.depth * rendering.mask) / jnp.where(seen > 0, seen, 1),
        mask=seen,
        object_masks=None if rendering.object_masks is None else mean(rendering.object_masks, rows=1),
    )


def pixel_steps(scene: Scene, result: RenderResult, pixels: float) -> np.ndarray:
    """(N, 6): translations that cross so many pixels at the object's median depth, rotations that do so at its rim."""
    fx, fy, _, _ = np.asarray(scene.camera.intrinsics)
    label, depth = np.asarray(result.instance_index), np.asarray(result.depth)
    distance = np.linalg.norm(np.asarray(result.coordinates), axis=-1)
    steps = []
    for index in np.asarray(scene.instance_index):
        metres = pixels * np.median(depth[label == index]) / np.sqrt(fx * fy)
        steps.append(3 * [metres / max(distance[label == index].max(), metres)] + 3 * [metres])
    return np.array(steps)
