"""Object frames drawn through the camera."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from .._scene.scene import Scene
from ._colors import BLUE, GREEN, VERMILION, AnyPicture, ColorPicture, as_float, as_uint8, rgb_of
from ._strokes import distance_to_segment, draw_strokes

AXES = (("x", VERMILION), ("y", GREEN), ("z", BLUE))
"""The habit of red, green and blue in shades that colour-blind readers can tell apart; letters say it in grey."""

NEAREST = 1e-3
"""Metres in front of the camera at which axes are cut off."""


def draw_object_axes(
    picture: AnyPicture, scene: Scene, *, length: float | None = None, line_width: float = 3.0
) -> ColorPicture:
    """Draws the axes of every object's frame as the camera sees them, lettered, nothing hidden.

    Args:
        picture: (H, W, 3) uint8, or float in [0, 1]: what the scene's camera saw, in any resolution.
        scene: N objects, and the camera.
        length: of the axes, metres. Default: what an eighth of the picture's height shows at each object's depth.
        line_width: pixels.

    Returns:
        (H, W, 3) uint8. Objects behind the camera have no axes in it.

    Raises:
        ValueError: if the picture is not (H, W, 3).
    """
    drawn = as_float(picture)
    size = drawn.shape[:2]
    P = np.asarray(scene.camera.projection, np.float64)
    T_camera_object = np.asarray(scene.T_camera_object, np.float64)
    for T in T_camera_object[np.argsort(-T_camera_object[:, 2, 3], kind="stable")]:
        depth = T[2, 3]
        if depth > NEAREST:
            drawn = _draw_frame(
                drawn, P, T, 0.25 * depth / abs(P[1, 1]) if length is None else length, line_width, size
            )
    return as_uint8(drawn)


def _draw_frame(drawn, P, T_camera_object, length: float, line_width: float, size: tuple[int, int]):
    origin = T_camera_object[:3, 3]
    ends = [(_cut(origin, origin + length * T_camera_object[:3, i]), *AXES[i]) for i in range(3)]
    start = _pixel(P, origin, size)
    for end, letter, color in sorted(ends, key=lambda axis: -axis[0][2]):
        tip = _pixel(P, end, size)
        drawn = draw_strokes(drawn, distance_to_segment(size, start, tip), rgb_of(color), line_width)
        drawn = _letter(drawn, letter, tip + _ahead(start, tip, 4.0 * line_width), color, line_width)
    return drawn


def _cut(origin: Float[np.ndarray, "3"], end: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """The end of an axis, or the point where it leaves what lies in front of the camera."""
    if end[2] >= NEAREST:
        return end
    return origin + (end - origin) * (origin[2] - NEAREST) / (origin[2] - end[2])


def _pixel(P: Float[np.ndarray, "4 4"], p_camera: Float[np.ndarray, "3"], size: tuple[int, int]):
    clip = P[:, :3] @ p_camera + P[:, 3]
    return 0.5 * (clip[:2] / clip[3] + 1) * np.array([size[1], size[0]])


def _ahead(start: Float[np.ndarray, "2"], tip: Float[np.ndarray, "2"], pixels: float) -> Float[np.ndarray, "2"]:
    """Beyond the tip; above the other two axes' usual place if this one points at the camera."""
    distance = float(np.hypot(*(tip - start)))
    return pixels * ((tip - start) / distance if distance > pixels else np.array([-0.7, -0.7]))


def _letter(drawn, letter: str, at: Float[np.ndarray, "2"], color: str, line_width: float):
    image = Image.fromarray(as_uint8(drawn))
    font = ImageFont.load_default(5 * line_width)
    style = {"fill": color, "stroke_width": max(1, round(0.4 * line_width)), "stroke_fill": "white"}
    ImageDraw.Draw(image).text((float(at[0]), float(at[1])), letter, font=font, anchor="mm", **style)
    return as_float(np.asarray(image))
