"""What a renderer is, and what a rendering is."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float

from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.typing import ColorImage, PoseDeltas, ScalarImage


class Rendering(eqx.Module):
    """A rendered image as floating-point arrays, differentiable with respect to the scene.

    Attributes:
        rgb: (H, W, 3) float in [0, 1], background included.
        depth: (H, W) float, metres along the camera's Z axis, of what is seen where a pixel is covered in part; 0 where
            no object is, as in depth images.
        mask: (H, W) float, how much of a pixel shows an object, from 0 to 1.
        object_masks: optional (N, H, W) float, how much of it shows the object of that scene row.
    """

    rgb: ColorImage
    depth: ScalarImage
    mask: ScalarImage
    object_masks: Float[Array, "objects height width"] | None = None


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


@runtime_checkable
class DifferentiableRenderer(Protocol):
    """A renderer that knows the derivative of its images; nothing is estimated from its buffers.

    `render`, `render_jvp` and `refine_poses` look for these four methods first. Only a `Renderer`, a black box, has its
    derivative estimated. The work is done in two parts, so that value, gradient and Jacobian share one drawing.
    """

    def draw(self, scene: Scene, /) -> Any:
        """Draws the scene.

        Args:
            scene: the scene, N objects, without derivatives.

        Returns:
            Whatever the other methods need: a pytree of arrays, constant to automatic differentiation.
        """
        ...

    def buffers(self, scene: Scene, drawing: Any, /) -> RenderResult:
        """What was drawn, as buffers; of these `instance_index` and `coord_depth` are looked at. Constants."""
        ...

    def images(self, scene: Scene, drawing: Any, /, *, object_masks: bool = False) -> Rendering:
        """The images of what was drawn.

        Args:
            scene: the scene that was drawn.
            drawing: what `draw` made of it.
            object_masks: (static) also give one mask per object.

        Returns:
            The `Rendering`. Differentiable in reverse mode with respect to the scene and, if it is a pytree, the
            renderer.
        """
        ...

    def change(self, scene: Scene, drawing: Any, delta: PoseDeltas, /) -> Rendering:
        """The first-order change of rgb, depth and mask when the objects move: the transpose of `images`' derivative.

        One that takes a keyword ``projection`` as well, a (4, 4) change of the camera's projection on top, serves the
        least squares of `refine_camera`, too.

        Args:
            scene: the scene that was drawn.
            drawing: what `draw` made of it.
            delta: (N, 6) float, a motion per object as in `apply_pose_delta`: radians, then metres.
        """
        ...
