"""Rendering as one differentiable function of object poses, camera pose and intrinsics."""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.typing import ColorImage, ScalarImage, Transforms
from .accumulator import accumulate, object_rows
from .contrast import contrast_motion
from .image_space import check_sizes


@runtime_checkable
class Renderer(Protocol):
    """Anything that turns a scene into buffers: `MeshRenderer`, stillleben, or your own.

    It is called with a scene that carries no derivatives. Called outside of `jit` and `vmap`, also under an eager
    `jax.grad`, it receives concrete arrays; under `jit` and `vmap` it receives tracers, so it must then be traceable
    (or be wrapped in a callback). Its result must have the size of the scene's camera.
    """

    def __call__(self, scene: Scene, /) -> RenderResult:
        """Renders the scene."""
        ...


class Rendering(eqx.Module):
    """A rendered image as floating-point arrays, differentiable with respect to the scene.

    Attributes:
        rgb: (H, W, 3) float in [0, 1], background included.
        depth: (H, W) float, metres along the camera's Z axis; 0 where no object is seen, as in depth images.
        mask: (H, W) float, 1 where an object is seen, else 0.
        object_masks: optional (N, H, W) float, 1 where the object of that scene row is seen, else 0.
    """

    rgb: ColorImage
    depth: ScalarImage
    mask: ScalarImage
    object_masks: Float[Array, "objects height width"] | None = None


def render(scene: Scene, renderer: Renderer, *, object_masks: bool = False) -> Rendering:
    """Renders a scene; the result can be differentiated with respect to its poses, camera pose and projection.

    The derivative is that of the image: contrast moves with the surface that carries it, outlines move with the
    nearer object (`contrast`), and depth also changes directly as the surface approaches or recedes. Where nothing
    is seen there is no depth, so outlines over the background have no derivative in depth; they have it in the mask.
    Reverse mode only: `jax.grad`, `jax.vjp`, `jax.jacrev`; `render_jvp` is the forward mode. Colour changes through
    lighting are not differentiated.

    Args:
        scene: the scene, N objects. Derivatives flow to `T_world_object`, `camera.T_world_camera` and
            `camera.projection`, through whatever they were computed from.
        renderer: any `Renderer`. It is not differentiated.
        object_masks: (static) also return one mask per object.

    Returns:
        The `Rendering`.

    Raises:
        ValueError: if the renderer's buffers do not have the size of the scene's camera.
    """
    result = jax.lax.stop_gradient(renderer(jax.lax.stop_gradient(scene)))
    return images_of(scene, result, object_masks=object_masks)


def images_of(scene: Scene, render_result: RenderResult, *, object_masks: bool = False) -> Rendering:
    """The images of a render result as a differentiable function of the scene that was rendered."""
    check_sizes(scene, render_result)
    return _moving_images(object_masks, scene.T_clip_object, jax.lax.stop_gradient(scene), render_result)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _moving_images(object_masks: bool, T_clip_object: Transforms, scene: Scene, result: RenderResult) -> Rendering:
    """The images of a render result, as a function of the clip transforms that they were rendered with."""
    seen = result.instance_index != 0
    dtype = T_clip_object.dtype
    masks = result.instance_index == scene.instance_index[:, None, None]
    return Rendering(
        rgb=result.color.astype(dtype),
        depth=jnp.where(seen, result.depth, 0).astype(dtype),
        mask=seen.astype(dtype),
        object_masks=masks.astype(dtype) if object_masks else None,
    )


def _moving_images_fwd(object_masks, T_clip_object, scene, result):
    primals = (T_clip_object, scene, result)
    T_clip_object, scene, result = jax.tree.map(lambda primal: primal.value, primals, is_leaf=_is_primal)
    return _moving_images(object_masks, T_clip_object, scene, result), (scene, result)


def _moving_images_bwd(object_masks, residuals, cotangent):
    images = (cotangent.rgb, cotangent.depth, cotangent.mask, cotangent.object_masks)
    # An image that the objective does not use costs nothing.
    images = [None if isinstance(image, jax.custom_derivatives.SymbolicZero) else image for image in images]
    return cotangent_of_T_clip_object(*residuals, *images), None, None


@jax.jit
def cotangent_of_T_clip_object(
    scene: Scene,
    result: RenderResult,
    rgb: ColorImage | None,
    depth: ScalarImage | None,
    mask: ScalarImage | None,
    object_masks: Float[Array, "objects height width"] | None,
) -> Transforms:
    """What derivatives of an objective by the images say about its derivative by ``T_clip_object``; linear in them."""
    rows = object_rows(scene, result)
    return accumulate(scene, result, contrast_motion(scene.camera, result, rows, rgb, depth, mask, object_masks))


def _is_primal(leaf) -> bool:
    return isinstance(leaf, jax.custom_derivatives.CustomVJPPrimal)


_moving_images.defvjp(_moving_images_fwd, _moving_images_bwd, symbolic_zeros=True)
