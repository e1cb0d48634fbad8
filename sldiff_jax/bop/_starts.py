"""What a refinement of one object begins with: an estimated pose, or poses all around from a mask or a box alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from .._refine.placement import Box, measured_distance, place
from ._detections import Detection
from ._estimates import Estimate

ROTATIONS = Rotation.create_group("I").as_matrix()
"""(60, 3, 3): the rotations of the icosahedron, of which each has its neighbours 72 degrees and less away."""


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
    box, mask = None if detection.box is None else Box(*detection.box), detection.mask
    if mask is not None and mask.any():
        box = Box.around(mask)
    elif box is None:
        raise ValueError(f"A detection of object {detection.object_id} has neither a box nor a mask with pixels.")
    from_edge = np.array([K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5])
    T = place(ROTATIONS, vertices, from_edge, box, distance=measured_distance(depth, mask, box, diameter))
    return Start(detection.object_id, detection.score, detection.time, T, mask)
