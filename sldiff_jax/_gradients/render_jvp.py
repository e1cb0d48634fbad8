"""The forward mode of `render`: how the images change when the objects move."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import as_floating
from .._scene.typing import PoseDeltas
from .accumulator import to_pose_deltas
from .render import Renderer, Rendering, cotangent_of_T_clip_object, images_of


def render_jvp(scene: Scene, renderer: Renderer, delta: PoseDeltas | ArrayLike) -> tuple[Rendering, Rendering]:
    """Renders a scene, and the first-order change of its images when the objects move.

    This is the exact transpose of what `jax.grad` computes through `render`: with ``change`` the second output,
    ``sum(change.rgb * c)`` equals the derivative of ``sum(rendering.rgb * c)`` along delta, for every c.

    Args:
        scene: the scene, N objects.
        renderer: any `Renderer`.
        delta: (N, 6) float, a motion per object as in `apply_pose_delta`: radians, then metres, in the object frame.
            For the columns of a Jacobian use `jax.vmap` over delta.

    Returns:
        The `Rendering`, and a `Rendering` that holds the change of each of its images.

    Raises:
        ValueError: if delta is not (N, 6), or the renderer's buffers do not have the size of the scene's camera.
    """
    delta = as_floating(delta, "render_jvp delta", (scene.T_world_object.shape[0], 6))
    result = renderer(scene)
    return images_of(scene, result), change_of_images(scene, result, delta)


@jax.jit
def change_of_images(scene: Scene, result: RenderResult, delta: PoseDeltas) -> Rendering:
    """The change of `images_of` along delta, (N, 6) float."""
    height, width = result.instance_index.shape
    dtype = jnp.result_type(scene.T_world_object, result.coord_depth)

    def backpropagate(rgb, depth, mask):
        return to_pose_deltas(scene.T_clip_object, cotangent_of_T_clip_object(scene, result, rgb, depth, mask, None))

    plane = jax.ShapeDtypeStruct((height, width), dtype)
    color = jax.ShapeDtypeStruct((height, width, 3), dtype)
    rgb, depth, mask = jax.linear_transpose(backpropagate, color, plane, plane)(delta.astype(dtype))
    return Rendering(rgb=rgb, depth=depth, mask=mask)
