"""Renderers that know nothing but buffers: the derivative of their images is estimated."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.typing import ColorImage, PoseDeltas, ScalarImage, Transforms
from .accumulator import accumulate, object_rows, to_pose_deltas
from .contrast import contrast_motion
from .image_space import check_sizes
from .rendering import DifferentiableRenderer, Renderer, Rendering


class BlackBox(eqx.Module):
    """A `DifferentiableRenderer` made of any `Renderer`; the drawing is the `RenderResult`.

    Attributes:
        renderer: the renderer; None where what it draws is handed over.
    """

    renderer: Renderer | None

    def draw(self, scene: Scene) -> RenderResult:
        """The buffers."""
        assert self.renderer is not None
        return jax.lax.stop_gradient(self.renderer(jax.lax.stop_gradient(scene)))

    def buffers(self, scene: Scene, drawing: RenderResult) -> RenderResult:
        """The buffers."""
        return drawing

    def images(self, scene: Scene, drawing: RenderResult, *, object_masks: bool = False) -> Rendering:
        """The buffers' images as a differentiable function of the scene that was rendered."""
        check_sizes(scene, drawing)
        return _moving_images(object_masks, scene.T_clip_object, jax.lax.stop_gradient(scene), drawing)

    def change(self, scene: Scene, drawing: RenderResult, delta: PoseDeltas) -> Rendering:
        """The change of `images` along delta."""
        check_sizes(scene, drawing)
        return _change_of_images(scene, drawing, delta)


def differentiable(renderer: Renderer | DifferentiableRenderer) -> DifferentiableRenderer:
    """The renderer itself if it knows its derivative, else a `BlackBox` around it."""
    return renderer if isinstance(renderer, DifferentiableRenderer) else BlackBox(renderer)


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
    return _cotangent_of_T_clip_object(*residuals, *images), None, None


@jax.jit
def _cotangent_of_T_clip_object(
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


@jax.jit
def _change_of_images(scene: Scene, result: RenderResult, delta: PoseDeltas) -> Rendering:
    """The transpose of what `_moving_images` has for a derivative, along delta."""
    height, width = result.instance_index.shape
    dtype = jnp.result_type(scene.T_world_object, result.coord_depth)

    def backpropagate(rgb, depth, mask):
        return to_pose_deltas(scene.T_clip_object, _cotangent_of_T_clip_object(scene, result, rgb, depth, mask, None))

    plane = jax.ShapeDtypeStruct((height, width), dtype)
    color = jax.ShapeDtypeStruct((height, width, 3), dtype)
    moves = jax.eval_shape(backpropagate, color, plane, plane)  # where poses and camera differ in dtype, not `dtype`
    rgb, depth, mask = jax.linear_transpose(backpropagate, color, plane, plane)(delta.astype(moves.dtype))
    return Rendering(rgb=rgb, depth=depth, mask=mask)
