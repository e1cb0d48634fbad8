"""Iterates of a refinement, drawn over the image."""

from __future__ import annotations

import numpy as np

from .._gradients.rendering import Renderer
from .._refine.refinement import Refinement
from .._scene.scene import Scene
from ._colors import BLUE, AnyPicture, ColorPicture, as_float
from ._overlay import overlay


def refinement_frames(
    refinement: Refinement,
    renderer: Renderer,
    image: AnyPicture,
    *,
    count: int = 30,
    color: str = BLUE,
    opacity: float = 1.0,
) -> list[ColorPicture]:
    """The iterates of the best start, each laid over the image.

    Args:
        refinement: the outcome of `refine_poses`.
        renderer: draws the iterates, once each, at the size of the image.
        image: (H, W, 3) uint8 or float: what the refinement's camera saw, in any resolution.
        count: how many iterates to draw. They lie closer to each other in the beginning, where most happens.
        color: of the outline.
        opacity: of the rendering, in [0, 1].

    Returns:
        At most `count` pictures (H, W, 3) uint8.

    Raises:
        ValueError: if `count` is not positive or the image is not (H, W, 3).
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    iterates = refinement.T_world_object_history[: refinement.best_step + 1, refinement.best_start]
    # The last, which is the best, is always among them.
    shares = np.linspace(1, 0, count)[::-1]
    chosen = np.unique(np.round(shares**1.5 * (len(iterates) - 1)).astype(int))
    return [
        draw_scene(image, _with_poses(refinement.scene, T), renderer, color=color, opacity=opacity)
        for T in iterates[chosen]
    ]


def draw_scene(
    image: AnyPicture, scene: Scene, renderer: Renderer, *, color: str, opacity: float = 1.0
) -> ColorPicture:
    """A scene rendered at the size of an image and laid over it. (H, W, 3) uint8."""
    picture = as_float(image)
    camera = scene.camera.resized(picture.shape[1], picture.shape[0])
    result = renderer(Scene(scene.T_world_object, camera, scene.instance_index))
    mask = np.asarray(result.instance_index) > 0
    return overlay(picture, mask, np.asarray(result.color), color=color, line_width=2, opacity=opacity)


def _with_poses(scene: Scene, T_world_object) -> Scene:
    return Scene(T_world_object, scene.camera, scene.instance_index)
