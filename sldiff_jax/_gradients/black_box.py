"""Renderers that know nothing but buffers: the derivative of their images is estimated."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._scene.camera import Camera
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.typing import PoseDeltas, Transform, Transforms
from .accumulator import object_rows
from .image_space import check_sizes
from .moving_images import (
    NOBODY,
    Layers,
    Motion,
    Moving,
    change_of_rendering,
    footprint,
    motion_of,
    moving_images,
    rendering_of,
)
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
        return _images(scene, drawing, object_masks)

    def change(
        self, scene: Scene, drawing: RenderResult, delta: PoseDeltas, *, projection: Transform | None = None
    ) -> Rendering:
        """The change of `images` along delta, and of the camera's projection."""
        check_sizes(scene, drawing)
        return _change(scene, drawing, motion_of(delta, projection))


def differentiable(renderer: Renderer | DifferentiableRenderer) -> DifferentiableRenderer:
    """The renderer itself if it knows its derivative, else a `BlackBox` around it."""
    return renderer if isinstance(renderer, DifferentiableRenderer) else BlackBox(renderer)


@eqx.filter_jit
def _images(scene: Scene, result: RenderResult, object_masks: bool) -> Rendering:
    layers, size = _layers(scene, result), _footprint(scene.camera)
    moving = Moving(_with_stranger(scene.T_clip_object))
    images = moving_images(moving, size, layers, object_masks=object_masks)
    if images.object_masks is not None:
        images = eqx.tree_at(lambda images: images.object_masks, images, images.object_masks[:-1])
    return _typed(rendering_of(images, 1), scene, result)


@eqx.filter_jit
def _change(scene: Scene, result: RenderResult, motion: Motion) -> Rendering:
    def moving_at(motion: Motion) -> Moving:
        return Moving(_with_stranger(motion.of(scene).T_clip_object))

    rendering = change_of_rendering(moving_at, motion, _footprint(scene.camera), _layers(scene, result))
    return _typed(rendering, scene, result)


def _layers(scene: Scene, result: RenderResult) -> Layers:
    """The buffers as layers. What shows a label that the scene does not have is an object that nothing moves."""
    seen = result.instance_index != 0
    layers = Layers(
        row=jnp.where(seen, object_rows(scene, result), NOBODY),
        color=result.color.astype(jnp.float32),
        depth=jnp.where(result.depth > 0, result.depth, 1).astype(jnp.float32),
        slope=jnp.zeros((0, 0, 2), jnp.float32),
        crossings=jnp.zeros((2, 0, 0, 4), jnp.float32),
    )
    return jax.lax.stop_gradient(layers)


def _with_stranger(T_clip_object: Transforms) -> Float[Array, "objects_and_stranger 4 4"]:
    """With a last row for objects that are not of the scene."""
    T = T_clip_object.astype(jnp.float32)
    return jnp.concatenate([T, jnp.eye(4, dtype=T.dtype)[None]])


def _footprint(camera: Camera) -> Array:
    return footprint(camera, camera.width, camera.height)


def _typed(rendering: Rendering, scene: Scene, result: RenderResult) -> Rendering:
    dtype = jnp.result_type(scene.T_clip_object, result.coord_depth)
    return jax.tree.map(lambda image: image.astype(dtype), rendering)
