"""The photo with the object drawn over it, and where it stands in space to be seen through its camera."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from ..._scene.camera import Camera
from ..._scene.scene import Scene
from ...mesh_renderer import MeshRenderer
from ...visualize import BLUE, checkerboard, overlay
from .._inputs import Inputs
from .._pictures import displayed

LARGEST = 960
"""Longer side of the photo on the page, pixels."""

OUTLINE, DRAWN, SQUARES, ALONE = "outline", "object and outline", "object in every other square", "photo alone"
STYLES = (OUTLINE, DRAWN, SQUARES, ALONE)
ROOM = 1.02
"""How much more than the photo the page shows, so that its edges are seen."""


class Plane(NamedTuple):
    """Where a picture stands in the camera's frame, upright: size and centre, metres."""

    width: float
    height: float
    center: tuple[float, float, float]


class Backdrop:
    """Draws the object over the photo."""

    def __init__(self, inputs: Inputs):
        # Pixels of a small photo are repeated, so that the outline is as fine as that of a large one.
        self._image, self._photo = displayed(inputs.image, LARGEST)
        height, width = self._photo.shape[:2]
        self._camera = inputs.camera.resized(width, height)
        self._renderer = MeshRenderer([inputs.mesh], background=self._photo, buffers="core")
        self._squares = checkerboard(height, width, max(8, max(height, width) // 14))

    def picture(self, T_camera_object: Float[np.ndarray, "4 4"], style: str) -> UInt8[np.ndarray, "height width 3"]:
        """(H, W, 3): the photo, and the object at that pose in one of the `STYLES`."""
        if style == ALONE:
            return self._photo
        drawn = self._renderer(Scene(T_camera_object[None], self._camera))
        inside, color = np.asarray(drawn.instance_index) > 0, np.asarray(drawn.color)
        if not inside.any():
            return self._photo
        opacity = {OUTLINE: 0.0, SQUARES: self._squares}.get(style, 1.0)
        return overlay(self._image, inside, color, opacity=opacity, color=BLUE)


def plane_at(camera: Camera, depth: float) -> Plane:
    """Where the photo stands at that depth, metres, to look from the camera as it was taken."""
    fx, fy, cx, cy = (float(value) for value in camera.intrinsics)
    x, y = (camera.width / 2 - cx) / fx, (camera.height / 2 - cy) / fy
    return Plane(camera.width / fx * depth, camera.height / fy * depth, (x * depth, y * depth, depth))


def pyramid(camera: Camera, depth: float) -> Float[np.ndarray, "8 2 3"]:
    """The edges of what the camera sees up to that depth, metres."""
    width, height, center = plane_at(camera, depth)
    corners = [np.add(center, (x * width / 2, y * height / 2, 0)) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    edges = zip(corners * 2, [np.zeros(3)] * 4 + corners[1:] + corners[:1])
    return np.array(list(edges))


def field_of_view(camera: Camera, aspect: float) -> float:
    """The vertical field of view, radians, in which a window of that aspect shows the whole photo."""
    fx, fy, cx, cy = (float(value) for value in camera.intrinsics)
    across, down = max(cx, camera.width - cx) / fx, max(cy, camera.height - cy) / fy
    return 2 * math.atan(ROOM * max(down, across / aspect))
