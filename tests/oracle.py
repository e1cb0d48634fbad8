"""The design's sections 1 to 3 as plain NumPy loops in float64.

The oracle of the core tests: written from the design alone, it shares no code with the library and prefers to be
obvious over being fast. All images are (H, W, C), all poses are (4, 4), an object is named by its label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BACKGROUND = 3000.0


class View(NamedTuple):
    """What the oracle needs of a scene and a render result, in float64."""

    color: np.ndarray  # (H, W, 3), in [0, 1]
    coordinates: np.ndarray  # (H, W, 3), object frame
    depth: np.ndarray  # (H, W)
    labels: np.ndarray  # (H, W)
    object_labels: np.ndarray  # (N,)
    T_clip_object: np.ndarray  # (N, 4, 4)


def view(scene, result) -> View:
    """Copy a scene and a render result of the library out into NumPy."""
    color = np.asarray(result.rgb)[..., :3]
    color = color.astype(np.float64) / (255.0 if color.dtype == np.uint8 else 1.0)
    coord_depth = np.asarray(result.coord_depth, dtype=np.float64)
    T_camera_world = np.linalg.inv(np.asarray(scene.camera.T_world_camera, dtype=np.float64))
    projection = np.asarray(scene.camera.projection, dtype=np.float64)
    T_world_object = np.asarray(scene.T_world_object, dtype=np.float64)
    return View(
        color=color,
        coordinates=coord_depth[..., :3],
        depth=coord_depth[..., 3],
        labels=np.asarray(result.instance_index),
        object_labels=np.asarray(scene.instance_index),
        T_clip_object=projection @ T_camera_world @ T_world_object,
    )


def window(labels: np.ndarray, row: int, column: int) -> list[tuple[int, int]]:
    """The pixels of the 3x3 window that exist, in row-major order, without its centre."""
    height, width = labels.shape
    return [
        (j, i)
        for j in range(row - 1, row + 2)
        for i in range(column - 1, column + 2)
        if (j, i) != (row, column) and 0 <= j < height and 0 <= i < width
    ]


def valid_pixels(v: View) -> np.ndarray:
    """(H, W) bool: false next to a nearer object of another label; the background is always valid."""
    valid = np.ones(v.labels.shape, dtype=bool)
    for row, column in np.argwhere(v.labels != 0):
        for neighbour in window(v.labels, row, column):
            other = v.labels[neighbour] != 0 and v.labels[neighbour] != v.labels[row, column]
            if other and v.depth[neighbour] < v.depth[row, column]:
                valid[row, column] = False
    return valid


def image_space_gradients(v: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Negated central differences of the image per unit of NDC, the border replicated, zero where not valid."""
    height, width = v.labels.shape
    grad_x, grad_y = np.zeros_like(v.color), np.zeros_like(v.color)
    valid = valid_pixels(v)
    for row, column in np.argwhere(valid):
        left, right = max(column - 1, 0), min(column + 1, width - 1)
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        # Two pixels are 4 / W of NDC apart; the colour moves with the surface, hence the sign.
        grad_x[row, column] = -(v.color[row, right] - v.color[row, left]) * width / 4
        grad_y[row, column] = -(v.color[below, column] - v.color[above, column]) * height / 4
    return grad_x, grad_y, valid


def dilate(v: View, label: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) mask and (H, W, 3) coordinates of one object, grown by a pixel where every window pixel is valid."""
    valid = valid_pixels(v)
    mask = v.labels == label
    dilated = mask.copy()
    coordinates = np.where(mask[..., None], v.coordinates, BACKGROUND)
    for row, column in np.argwhere(~mask):
        neighbours = window(v.labels, row, column)
        inside = [n for n in neighbours if mask[n]]
        if inside and valid[row, column] and all(valid[n] for n in neighbours):
            dilated[row, column] = True
            coordinates[row, column] = v.coordinates[inside[-1]]  # the last match of the scan
    return dilated, coordinates


def ndc_jacobian(T_clip_object: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(2, 6): how NDC x and y of an object point change with the six numbers of a pose delta at zero."""
    x, y, z = point
    clip = T_clip_object @ np.array([x, y, z, 1.0])
    # T(delta) multiplies on the right: the point moves by omega x point + t, in the object frame.
    moved = np.array(
        [
            [0.0, z, -y, 1.0, 0.0, 0.0],
            [-z, 0.0, x, 0.0, 1.0, 0.0],
            [y, -x, 0.0, 0.0, 0.0, 1.0],
        ]
    )
    clip_moved = T_clip_object[:, :3] @ moved  # (4, 6)
    w = clip[3]
    return np.stack([clip_moved[k] / w - clip[k] * clip_moved[3] / w**2 for k in (0, 1)])


def pose_jacobian(v: View) -> np.ndarray:
    """(H, W, 3, 6): dI/d(delta) of each pixel's own object."""
    grad_x, grad_y, _ = image_space_gradients(v)
    jacobian = np.zeros((*v.color.shape, 6))
    for row, column in np.argwhere(np.isin(v.labels, v.object_labels) & (v.labels != 0)):
        (k,) = np.flatnonzero(v.object_labels == v.labels[row, column])
        d_ndc = ndc_jacobian(v.T_clip_object[k], v.coordinates[row, column])
        jacobian[row, column] = np.outer(grad_x[row, column], d_ndc[0]) + np.outer(grad_y[row, column], d_ndc[1])
    return jacobian


def backpropagate(v: View, cotangent: np.ndarray, *, dilation: bool = True, border: bool = True) -> np.ndarray:
    """(N, 6) pose gradient of an image cotangent (3, H, W); ``border=False`` drops the outermost pixels."""
    cotangent = np.asarray(cotangent, dtype=np.float64)
    grad_x, grad_y, _ = image_space_gradients(v)
    gradient = np.zeros((len(v.object_labels), 6))
    for k, label in enumerate(v.object_labels):
        mask, coordinates = dilate(v, label) if dilation else (v.labels == label, v.coordinates)
        if not border:
            mask = mask & interior(mask.shape, 1)
        for row, column in np.argwhere(mask):
            s = np.array([cotangent[:, row, column] @ g[row, column] for g in (grad_x, grad_y)])
            gradient[k] += s @ ndc_jacobian(v.T_clip_object[k], coordinates[row, column])
    return gradient


def interior(shape: tuple[int, int], margin: int) -> np.ndarray:
    """(H, W) bool: true but for a frame of ``margin`` pixels."""
    mask = np.zeros(shape, dtype=bool)
    mask[margin : shape[0] - margin, margin : shape[1] - margin] = True
    return mask
