"""Rendering as one differentiable function, in reverse and in forward mode."""

from __future__ import annotations

from jaxtyping import ArrayLike

from .._scene.scene import Scene
from .._scene.transforms import as_floating
from .._scene.typing import PoseDeltas
from .black_box import differentiable
from .rendering import DifferentiableRenderer, Renderer, Rendering


def render(scene: Scene, renderer: Renderer | DifferentiableRenderer, *, object_masks: bool = False) -> Rendering:
    """Renders a scene; the result can be differentiated with respect to its poses, camera pose and projection.

    A `DifferentiableRenderer` such as `MeshRenderer` brings the derivative of its images, by all that it holds. That of
    a black box is estimated from its buffers: contrast moves with the surface that carries it, outlines move with the
    nearer object (`kernels.motion`), and depth also changes directly as the surface approaches or recedes; changes of
    colour through lighting are not differentiated. Where nothing is seen there is no depth, so outlines over the
    background have no derivative in depth; they have it in the mask.

    Reverse mode only: `jax.grad`, `jax.vjp`, `jax.jacrev`; in place of `jax.jvp`, `jax.jacfwd` and `jax.linearize`,
    which end in a TypeError, there is `render_jvp`.

    Args:
        scene: the scene, N objects. Derivatives flow to `T_world_object`, `camera.T_world_camera` and
            `camera.projection`, through whatever they were computed from.
        renderer: any `Renderer`, which is not differentiated, or a `DifferentiableRenderer`.
        object_masks: (static) also return one mask per object.

    Returns:
        The `Rendering`.

    Raises:
        ValueError: if the renderer's buffers do not have the size of the scene's camera.
        TypeError: under `jax.jvp` and `jax.jacfwd` (once it is compiled, JAX itself raises it).
    """
    drawn_with = differentiable(renderer)
    drawing = drawn_with.draw(scene)
    try:
        return drawn_with.images(scene, drawing, object_masks=object_masks)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise TypeError(
            "render has a reverse mode only (jax.grad, jax.vjp, jax.jacrev). In place of jax.jvp and jax.jacfwd use "
            "render_jvp(scene, renderer, delta), which gives the images and their change along delta."
        ) from error


def render_jvp(
    scene: Scene, renderer: Renderer | DifferentiableRenderer, delta: PoseDeltas | ArrayLike
) -> tuple[Rendering, Rendering]:
    """Renders a scene, and the first-order change of its images when the objects move.

    This is the exact transpose of what `jax.grad` computes through `render`: with ``change`` the second output,
    ``sum(change.rgb * c)`` equals the derivative of ``sum(rendering.rgb * c)`` along delta, for every c.

    Args:
        scene: the scene, N objects.
        renderer: as for `render`.
        delta: (N, 6) float, a motion per object as in `apply_pose_delta`: radians, then metres, in the object frame.
            For the columns of a Jacobian use `jax.vmap` over delta.

    Returns:
        The `Rendering`, and a `Rendering` that holds the change of each of its images.

    Raises:
        ValueError: if delta is not (N, 6), or the renderer's buffers do not have the size of the scene's camera.
    """
    delta = as_floating(delta, "render_jvp delta", (scene.T_world_object.shape[0], 6))
    drawn_with = differentiable(renderer)
    drawing = drawn_with.draw(scene)
    return drawn_with.images(scene, drawing), drawn_with.change(scene, drawing, delta)
