"""Iterates of a refinement, drawn over the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._gradients.rendering import Renderer
from .._refine.refinement import Refinement
from .._scene.scene import Scene
from ..mesh_renderer import MeshRenderer
from ._colors import BLUE, AnyPicture, ColorPicture, as_picture
from ._overlay import overlay

AT_ONCE = 4
"""How many a `MeshRenderer` draws at once, to keep more than one core of a CPU busy."""


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
    drawings = _drawings(renderer, _seen_in(image, refinement.scene), iterates[chosen])
    return [_over(image, drawing, color, opacity) for drawing in drawings]


def draw_scene(
    image: AnyPicture, scene: Scene, renderer: Renderer, *, color: str, opacity: float = 1.0
) -> ColorPicture:
    """A scene rendered at the size of an image and laid over it. (H, W, 3) uint8."""
    (drawing,) = _drawings(renderer, _seen_in(image, scene), np.asarray(scene.T_world_object)[None])
    return _over(image, drawing, color, opacity)


def _seen_in(image: AnyPicture, scene: Scene) -> Scene:
    height, width = as_picture(image).shape[:2]
    return dataclasses.replace(scene, camera=scene.camera.resized(width, height))


def _drawings(
    renderer: Renderer, scene: Scene, T_world_object: Float[np.ndarray, "drawings objects 4 4"]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The scene with one set of poses after another: (H, W) where objects are, and (H, W, 3) colours."""

    def draw(T: Float[ArrayLike, "objects 4 4"]) -> tuple[Array, Array]:
        drawn = renderer(dataclasses.replace(scene, T_world_object=T))
        return drawn.instance_index > 0, drawn.color

    at_once = min(AT_ONCE, len(T_world_object)) if isinstance(renderer, MeshRenderer) else 1
    if at_once == 1:
        yield from (jax.device_get(draw(T)) for T in T_world_object)
        return
    for first in range(0, len(T_world_object), at_once):
        some = T_world_object[first : first + at_once]
        padded = np.pad(some, ((0, at_once - len(some)), (0, 0), (0, 0), (0, 0)), mode="edge")  # one program for all
        yield from list(zip(*jax.device_get(jax.vmap(draw)(padded))))[: len(some)]


def _over(image: AnyPicture, drawing: tuple[np.ndarray, np.ndarray], color: str, opacity: float) -> ColorPicture:
    mask, drawn = drawing
    return overlay(image, mask, drawn, color=color, line_width=2, opacity=opacity)
