"""How well a pose explains what was seen, and how far apart two poses are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from .._losses.silhouette import OCCLUDER_MARGIN
from ..metrics import rotation_error, translation_error


class Scores(NamedTuple):
    """Agreement of a rendering with an observation.

    Attributes:
        iou: intersection over union of rendered and observed mask; pixels outside of the observed mask at which the
            depth image shows something in front of the object do not count. None without a mask.
        depth_residual: median absolute difference of rendered and measured depth inside both masks, metres. None
            without depth, or if nothing is to be compared.
    """

    iou: float | None
    depth_residual: float | None


def score(
    rendered_depth: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"] | None,
    depth: Float[np.ndarray, "height width"] | None,
) -> Scores:
    """Scores of a rendering.

    Args:
        rendered_depth: (H, W) float, metres, 0 where the object is not seen.
        mask: optional (H, W) bool, where the object was seen.
        depth: optional (H, W) float, metres, 0 where nothing was measured.
    """
    rendered = rendered_depth > 0
    iou = None
    if mask is not None:
        counted = rendered & ~mask
        if depth is not None:
            counted &= ~((depth > 0) & (depth < rendered_depth - OCCLUDER_MARGIN))
        iou = float((rendered & mask).sum() / max((counted | mask).sum(), 1))
    residual = depth_residual(rendered_depth, mask, depth)
    if residual is None or np.isnan(residual).all():
        return Scores(iou, None)
    return Scores(iou, float(np.nanmedian(np.abs(residual))))


def depth_residual(
    rendered_depth: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"] | None,
    depth: Float[np.ndarray, "height width"] | None,
) -> Float[np.ndarray, "height width"] | None:
    """(H, W) rendered minus measured depth, metres, NaN where either is missing or outside of the mask."""
    if depth is None:
        return None
    compared = (rendered_depth > 0) & (depth > 0)
    if mask is not None:
        compared &= mask
    return np.where(compared, rendered_depth - depth, np.nan).astype(np.float32)


def pose_distance(T_a: Float[np.ndarray, "4 4"], T_b: Float[np.ndarray, "4 4"]) -> tuple[float, float]:
    """Angle in degrees and distance in millimetres between two poses of one object."""
    return math.degrees(rotation_error(T_a, T_b)), 1e3 * float(translation_error(T_a, T_b))
