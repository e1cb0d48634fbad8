"""Masks of the objects of an image, and how much of each is seen, as ``scene_gt_info.json`` states it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from .._scene.render_result import BACKGROUND_DEPTH
from .._scene.scene import Scene
from ..mesh_renderer import MeshRenderer

VISIBILITY_MARGIN = 0.015
"""Metres that a surface may lie behind the measured one and still count as seen."""


class Silhouette(NamedTuple):
    """One object in an image.

    Attributes:
        mask: (H, W) bool, all of it inside of the image.
        visible: (H, W) bool, what is seen of it.
        info: its entry of ``scene_gt_info.json``.
    """

    mask: Bool[np.ndarray, "height width"]
    visible: Bool[np.ndarray, "height width"]
    info: dict[str, Any]


def silhouette(
    renderer: MeshRenderer, scene: Scene, place: int, measured: Float[np.ndarray, "height width"]
) -> Silhouette:
    """The silhouette of one object, by BOP's definitions.

    Args:
        renderer: of that object alone.
        scene: all objects.
        place: of the object among them.
        measured: (H, W) depth of the scene, metres, 0 where nothing was measured.

    Returns:
        The `Silhouette`. Visible is what is at most 15 mm farther than the measured surface, in distances from the
        camera, or where nothing was measured. Counts of all pixels include those outside of the image.
    """
    camera = scene.camera
    height, width = camera.height, camera.width
    # Whatever lies outside of the image by less than its size is seen on a canvas three times as large.
    canvas = camera.cropped(-width, -height, 3 * width, 3 * height)
    alone = Scene(jnp.asarray(scene.T_world_object[place])[None], canvas)
    depth = np.asarray(renderer(alone).depth)
    everywhere = depth < BACKGROUND_DEPTH
    inside = np.s_[height : 2 * height, width : 2 * width]
    mask = everywhere[inside]
    farther = (depth[inside] - measured) * _distance_per_depth(scene)
    visible = mask & ((measured == 0) | (farther <= VISIBILITY_MARGIN))
    info = {
        "bbox_obj": _box(everywhere, width, height),
        "bbox_visib": _box(visible, 0, 0),
        "px_count_all": int(everywhere.sum()),
        "px_count_valid": int((mask & (measured > 0)).sum()),
        "px_count_visib": int(visible.sum()),
        "visib_fract": float(visible.sum() / everywhere.sum()) if everywhere.any() else 0.0,
    }
    return Silhouette(mask, visible, info)


def _distance_per_depth(scene: Scene) -> Float[np.ndarray, "height width"]:
    """(H, W) length of the line of sight to depth 1."""
    camera = scene.camera
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64)
    x = (np.arange(camera.width) + 0.5 - cx) / fx
    y = (np.arange(camera.height) + 0.5 - cy) / fy
    return np.sqrt(1 + x**2 + y[:, None] ** 2)


def _box(mask: Bool[np.ndarray, "rows columns"], left: int, top: int) -> list[int]:
    """BOP's box: first column and row, and last minus first; four times -1 for an empty mask."""
    if not mask.any():
        return [-1, -1, -1, -1]
    (top_row, bottom), (first, last) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0))
    return [first - left, top_row - top, last - first, bottom - top_row]
