"""What a refinement of one object begins with: an estimated pose, or poses all around from a mask or a box alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from ._detections import Detection
from ._estimates import Estimate

ROTATIONS = Rotation.create_group("I").as_matrix()
"""(60, 3, 3): the rotations of the icosahedron, of which each has its neighbours 72 degrees and less away."""

VERTICES = 500
"""Of an object, at most, when its box is looked for."""

NEAR_SURFACE = 0.3
"""Of a diameter: how far behind its visible surface the centre of an object is, about."""


class Start(NamedTuple):
    """One object to be refined.

    Attributes:
        object_id: which object.
        score: that of the estimate or detection.
        time: seconds spent on the image so far; -1 if unknown.
        T_camera_object: (K, 4, 4) float64, the poses to begin from, metres.
        mask: optional (H, W) bool, where it was seen.
    """

    object_id: int
    score: float
    time: float
    T_camera_object: Float[np.ndarray, "starts 4 4"]
    mask: Bool[np.ndarray, "height width"] | None = None

    @property
    def searched(self) -> bool:
        """Whether the rotation is unknown."""
        return len(self.T_camera_object) > 1


def from_estimate(estimate: Estimate) -> Start:
    """The start at an estimated pose."""
    return Start(estimate.object_id, estimate.score, estimate.time, estimate.T_camera_object[None])


def from_detection(
    detection: Detection,
    K: Float[np.ndarray, "3 3"],
    vertices: Float[np.ndarray, "vertices 3"],
    diameter: float,
    depth: Float[np.ndarray, "height width"] | None,
) -> Start:
    """Starts in sixty rotations, each where it fills the box of what was detected.

    Args:
        detection: with a mask, or a box alone.
        K: (3, 3) intrinsic matrix, pixels.
        vertices: (V, 3) of the object, metres.
        diameter: of the object, metres.
        depth: optional (H, W), metres, 0 where nothing was measured: tells the distance better than the size does.

    Returns:
        The start.

    Raises:
        ValueError: if the mask is empty and there is no box.
    """
    box, mask = detection.box, detection.mask
    if mask is not None and mask.any():
        (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
        box = (float(left), float(top), float(right - left + 1), float(bottom - top + 1))
    elif box is None:
        raise ValueError(f"A detection of object {detection.object_id} has neither a box nor a mask with pixels.")
    left, top, width, height = box
    focal = np.sqrt(K[0, 0] * K[1, 1])
    turned = vertices[:: -(-len(vertices) // VERTICES)] @ np.swapaxes(ROTATIONS, 1, 2)  # (60, V, 3)
    low, high = turned.min(axis=1), turned.max(axis=1)
    size = high - low
    z = focal * np.sqrt(size[:, 0] * size[:, 1] / (width * height))
    measured = _measured(depth, mask, box)
    if measured is not None:
        z = np.full(len(ROTATIONS), measured + NEAR_SURFACE * diameter)
    # Ends of an object that are nearer look larger: a few rounds bring its projection to the box.
    middle = np.array([left + 0.5 * width - 0.5, top + 0.5 * height - 0.5])
    t = z[:, None] * np.linalg.solve(K, np.append(middle, 1.0)) - 0.5 * (low + high)
    for _ in range(3):
        points = turned + t[:, None]
        pixels = points @ K.T
        pixels = pixels[..., :2] / np.maximum(pixels[..., 2:], 1e-3 * diameter)
        first, last = pixels.min(axis=1), pixels.max(axis=1)
        if measured is None:
            t *= np.sqrt(np.prod(np.maximum(last - first, 1e-3), axis=1) / (width * height))[:, None]
        t[:, :2] += t[:, 2:] * (middle - 0.5 * (first + last)) / [K[0, 0], K[1, 1]]
    T = np.tile(np.eye(4), (len(ROTATIONS), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = ROTATIONS, t
    return Start(detection.object_id, detection.score, detection.time, T, mask)


def _measured(
    depth: Float[np.ndarray, "height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    box: tuple[float, float, float, float],
) -> float | None:
    """The median depth inside of the mask, or of the middle half of the box; None if little was measured there."""
    if depth is None:
        return None
    if mask is not None and mask.any():
        inside = depth[mask]
    else:
        left, top, width, height = box
        rows = slice(max(0, round(top + 0.25 * height)), max(0, round(top + 0.75 * height)) + 1)
        columns = slice(max(0, round(left + 0.25 * width)), max(0, round(left + 0.75 * width)) + 1)
        inside = depth[rows, columns]
    inside = inside[inside > 0]
    return float(np.median(inside)) if inside.size >= 5 else None
