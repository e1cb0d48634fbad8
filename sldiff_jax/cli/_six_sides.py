"""A picture of a mesh from six sides."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from .._scene.camera import Camera
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer

SIDES = (("+x", 0, 1), ("+y", 1, 1), ("+z", 2, 1), ("-x", 0, -1), ("-y", 1, -1), ("-z", 2, -1))
PIXELS, TITLE = 280, 18
FIELD_OF_VIEW = 0.5
BACKGROUND = 0.92


def six_sides(mesh: Mesh, *, lit: bool) -> UInt8[np.ndarray, "height width 3"]:
    """The mesh seen from the ends of its axes, all at one scale: z is up, or y where the view is along z.

    Args:
        mesh: the mesh.
        lit: by a lamp beside the camera, so that a mesh of one colour shows its shape. Else colours are as they are.
    """
    low, high = np.asarray(mesh.bounds, np.float64)
    middle, radius = 0.5 * (low + high), max(0.5 * float(np.linalg.norm(high - low)), 1e-9)
    distance = 1.05 * radius / np.sin(FIELD_OF_VIEW / 2)
    camera = Camera.from_fov(
        FIELD_OF_VIEW, width=PIXELS, height=PIXELS, near=distance - 1.05 * radius, far=distance + 1.05 * radius
    )
    light = {}
    if lit:
        light = {"shading": "phong", "ambient_light": np.full(3, 0.3), "light_colors": np.full((1, 3), 0.8)}
        light["light_directions"] = np.array([[0.4, 0.6, 1.0]])
    renderer = MeshRenderer([mesh], background=np.full(3, BACKGROUND), supersample=2, buffers="core", **light)
    tiles = []
    for name, axis, sign in SIDES:
        T_camera_object = _looking(axis, sign, middle, distance)
        seen = np.asarray(renderer(Scene(T_camera_object[None], camera)).rgb)[..., :3]
        tiles.append(np.concatenate([_title(f"from {name}"), seen]))
    return np.concatenate([np.concatenate(tiles[:3], axis=1), np.concatenate(tiles[3:], axis=1)])


def _looking(axis: int, sign: int, middle: np.ndarray, distance: float) -> Float[np.ndarray, "4 4"]:
    """(4, 4) T_camera_object of a camera on an axis that looks back at the middle."""
    forward = -sign * np.eye(3)[axis]
    down = -np.eye(3)[2 if axis != 2 else 1]
    R = np.stack([np.cross(down, forward), down, forward])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ middle + [0, 0, distance]
    return T


def _title(text: str) -> UInt8[np.ndarray, "height width 3"]:
    image = Image.new("RGB", (PIXELS, TITLE), (255, 255, 255))
    ImageDraw.Draw(image).text((6, 3), text, fill=(0, 0, 0))
    return np.asarray(image)
