"""The pictures that demo and refine write."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from .._images.resample import reduce_color
from .._refine.refinement import Refinement
from .._scene.camera import Camera
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer
from ..visualize import (
    BLUE,
    ORANGE,
    animation,
    as_uint8,
    checkerboard,
    depth_residual_map,
    hypothesis_grid,
    loss_curve,
    overlay,
    panels,
    refinement_frames,
)
from ._errors import InputError

NAMES = (
    "observation.png",
    "start.png",
    "result.png",
    "overlay.png",
    "loss.png",
    "depth_residual.png",
    "animation.gif",
    "hypotheses.png",
)

PNG: dict[str, Any] = {"compress_level": 4}
"""The default, 6, takes two and a half times as long for a fiftieth of the size."""

LARGE, SMALL = 640, 360
"""Longer side, in pixels, that pictures and animations are brought to by repeating or averaging pixels."""


def check_matplotlib() -> None:
    """Raises an InputError if figures cannot be drawn, before anything is computed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("The pictures need matplotlib: pip install 'sldiff-jax[viz]'.")


def write_pictures(
    folder: Path,
    image: UInt8[np.ndarray, "height width 3"],
    camera: Camera,
    mesh: Mesh,
    T_camera_object_start: Float[np.ndarray, "4 4"],
    refinement: Refinement,
    stages: Sequence[str],
    residual: Float[np.ndarray, "height width"] | None = None,
) -> None:
    """Writes the files of `NAMES` into a folder; the residual map only if there is one.

    Args:
        folder: where to.
        image: (H, W, 3) uint8, what was seen.
        camera: of that image, at the world's origin.
        mesh: the object.
        T_camera_object_start: (4, 4) float, metres.
        refinement: the result and how it was found.
        stages: names of its stages.
        residual: optional (H, W) rendered minus measured depth of the result, metres.
    """
    image, shown = displayed(image, LARGE)
    height, width = shown.shape[:2]
    fine_camera = camera.resized(width, height)
    renderer = MeshRenderer([mesh], background=shown, supersample=2, buffers="core")

    def draw(T_camera_object):
        drawn = renderer(Scene(T_camera_object[None], fine_camera))
        return np.asarray(drawn.instance_index) > 0, np.asarray(drawn.color)

    start_mask, start = draw(T_camera_object_start)
    result_mask, result = draw(np.asarray(refinement.scene.T_world_object[0]))
    _save(folder / "observation.png", shown)
    _save(folder / "start.png", overlay(image, start_mask, start, color=None))
    _save(folder / "result.png", overlay(image, result_mask, result, color=None))
    squares = checkerboard(height, width, max(8, max(height, width) // 14))
    figure = panels(
        [
            overlay(image, start_mask, color=ORANGE),
            overlay(image, result_mask, color=BLUE),
            overlay(image, result_mask, result, opacity=squares, color=None),
        ],
        ["outline of the start", "outline of the result", "result in every other square"],
    )
    figure.savefig(folder / "overlay.png", dpi=figure.dpi, pil_kwargs=PNG)
    loss_curve(refinement, stages).savefig(folder / "loss.png", pil_kwargs=PNG)
    if residual is not None:
        depth_residual_map(residual).savefig(folder / "depth_residual.png", pil_kwargs=PNG)
    (folder / "animation.gif").write_bytes(_animation(image, mesh, refinement))


def write_hypotheses(
    folder: Path, image: UInt8[np.ndarray, "height width 3"], camera: Camera, mesh: Mesh, found: Refinement
) -> None:
    """Writes hypotheses.png: the poses that were left when a search ended, in a folder.

    Args:
        folder: where to.
        image: (H, W, 3) uint8, what was seen.
        camera: of that image, at the world's origin.
        mesh: the object.
        found: the outcome of `find_poses`.
    """
    _, shown = displayed(image, SMALL)
    seen = dataclasses.replace(found, scene=dataclasses.replace(found.scene, camera=camera))
    renderer = MeshRenderer([mesh], background=shown, supersample=2, buffers="core")
    figure = hypothesis_grid(seen, renderer, shown)
    figure.savefig(folder / "hypotheses.png", dpi=figure.dpi, pil_kwargs=PNG)


def _animation(image, mesh: Mesh, refinement: Refinement) -> bytes:
    _, shown = displayed(image, SMALL)
    renderer = MeshRenderer([mesh], background=shown, supersample=2, buffers="core")
    return animation(refinement_frames(refinement, renderer, shown))


def displayed(image, longer_side: int):
    """An image of at most that size, and the same with each pixel repeated as often as that size allows."""
    factor = longer_side / max(image.shape[:2])
    if factor < 1:
        height, width = (max(1, round(factor * side)) for side in image.shape[:2])
        image = as_uint8(reduce_color(image, width, height))
    repeats = max(1, int(factor))
    return image, image.repeat(repeats, axis=0).repeat(repeats, axis=1)


def _save(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    Image.fromarray(picture).save(path, **PNG)
