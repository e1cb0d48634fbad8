"""Depth of a camera of its own, brought to the pixels of the colour camera; with NumPy on the host."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from .._scene.camera import Camera
from .._scene.transforms import is_concrete

LARGEST = 64
"""Points so near to the colour camera that a pixel of depth would cover more of its pixels (per axis) are left out."""


def register_depth(
    depth: Float[ArrayLike, "_h _w"], depth_camera: Camera, camera: Camera
) -> Float[np.ndarray, "height width"]:
    """The depth that another camera measured, as seen by this one.

    Every measured pixel is a small square that faces the depth camera; it is drawn at its place in the other image, the
    nearest wins. So a finer image has no holes on surfaces that both cameras see; what the depth camera did not see,
    because something stood in between, stays without a measurement. It works on the host: call it before `jit`.

    Args:
        depth: (H, W) float, metres along the depth camera's Z axis, 0 where nothing was measured.
        depth_camera: the camera that measured it, of that size, with its pose.
        camera: the camera to bring it to, with its pose in the same world. Both are pinhole cameras: `undistort`.

    Returns:
        (H, W) float32 of the size of `camera`, metres along its Z axis, 0 where nothing was measured.

    Raises:
        ValueError: if depth has another size than its camera, is negative or not finite, or something is being traced.
    """
    if not is_concrete(depth, *jax.tree.leaves((depth_camera, camera))):
        raise ValueError("register_depth works on the host. Call it before jit, vmap and grad, not within.")
    measured = np.asarray(depth, np.float64)
    if measured.shape != (depth_camera.height, depth_camera.width):
        raise ValueError(
            f"register_depth needs depth of the size (height, width) of its camera, "
            f"{(depth_camera.height, depth_camera.width)}, got {measured.shape}."
        )
    if not (np.isfinite(measured) & (measured >= 0)).all():
        raise ValueError("register_depth needs depth that is finite and not negative; 0 marks no measurement.")
    T_world_depth, T_world_camera = (np.asarray(c.T_world_camera, np.float64) for c in (depth_camera, camera))
    T_camera_depth = np.linalg.solve(T_world_camera, T_world_depth)
    row, column = np.nonzero(measured)
    z = measured[row, column]

    def seen_from_camera(across: float, down: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Column and row from the edge, and depth, of points of all squares."""
        fx, fy, cx, cy = np.asarray(depth_camera.intrinsics, np.float64)
        rays = np.stack([(column + across - cx) / fx, (row + down - cy) / fy, np.ones_like(z)])
        x, y, ahead = T_camera_depth[:3, :3] @ (rays * z) + T_camera_depth[:3, 3:]
        fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return fx * x / ahead + cx, fy * y / ahead + cy, ahead

    corners = [seen_from_camera(*corner) for corner in ((0, 0), (0, 1), (1, 0), (1, 1))]
    in_front = np.all([ahead > 0 for _, _, ahead in corners], axis=0)
    centers = seen_from_camera(0.5, 0.5)[2][in_front]
    spans = []
    for axis, side in ((0, camera.width), (1, camera.height)):
        ends = np.stack([corner[axis][in_front] for corner in corners])
        # The pixels whose centres are between the ends; squares side by side share none and leave none out.
        first, last = (np.ceil(np.clip(end, -1, side + 1) - 0.5).astype(int) for end in (ends.min(0), ends.max(0)))
        spans.append((np.maximum(first, 0), np.minimum(last, side), np.ptp(ends, axis=0) <= LARGEST))
    (left, right, narrow), (top, bottom, low) = spans
    wanted = narrow & low & (right > left) & (bottom > top)
    left, right, top, bottom, centers = (values[wanted] for values in (left, right, top, bottom, centers))

    nearest = np.full((camera.height, camera.width), np.inf)
    for down in range(int((bottom - top).max(initial=0))):
        for across in range(int((right - left).max(initial=0))):
            drawn = (top + down < bottom) & (left + across < right)
            np.minimum.at(nearest, (top[drawn] + down, left[drawn] + across), centers[drawn])
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)
