"""The part of an image that is fitted: a window around the object, and the camera that sees it."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Shaped

from .._scene.camera import Camera
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import is_concrete
from .observation import Observation


class Window(NamedTuple):
    """A rectangle of an image, pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """The rectangle of an (H, W) or (H, W, C) image that holds it."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def camera(self, camera: Camera) -> Camera:
        """The camera that sees the rectangle."""
        return camera.cropped(self.left, self.top, self.width, self.height)

    def reduced(self, longer_side: int) -> tuple[int, int]:
        """(width, height) with the given longer side and this shape; never larger than the rectangle itself."""
        factor = min(1.0, longer_side / max(self.width, self.height))
        return max(1, round(factor * self.width)), max(1, round(factor * self.height))


def crop_to_object(
    scene: Scene,
    observation: Observation,
    region: RenderResult | ArrayLike | None = None,
    *,
    margin: float = 0.25,
) -> tuple[Scene, Observation]:
    """Crops an observation around the objects, and the scene's camera with it.

    Rendering the new scene gives the window of what rendering the old one gives: a pose that explains one explains the
    other. The window is as square as the image allows and lies inside of the image. Its size is that of the object, so
    this works on concrete arrays: call it before `jit` and `vmap`, and give the result to them.

    Args:
        scene: the scene; its camera has the size of the observation.
        observation: what is to be explained.
        region: where the objects are: the `RenderResult` of the scene, in which they are the pixels with a label of the
            scene; or (H, W), not zero inside, such as ``rendering.mask``, or ``result.instance_index == 3`` for one of
            several objects. Default: the mask of the observation.
        margin: on each side, in units of the longer side of the region's bounding box. Leave room for the pose to move.

    Returns:
        The scene with the camera of the window, and the observation's window.

    Raises:
        ValueError: if there is no region or it is empty, sizes differ, the margin is negative, something is being
            traced, or as `Observation.cropped`.
    """
    if not 0 <= margin < math.inf:
        raise ValueError(f"crop_to_object margin must be a finite number, at least 0, got {margin!r}.")
    inside = _inside(scene, observation, region)
    size = (scene.camera.height, scene.camera.width)
    if not observation.size == size == inside.shape:
        raise ValueError(
            "crop_to_object needs one size (height, width) of camera, observation and region, got "
            f"{size}, {observation.size} and {inside.shape}."
        )
    if not inside.any():
        raise ValueError("crop_to_object got an empty region: no pixel shows an object. Is its pose in view?")
    window = window_around(inside, margin)
    return dataclasses.replace(scene, camera=window.camera(scene.camera)), observation.cropped(*window)


def window_around(region: Bool[np.ndarray, "height width"], margin: float) -> Window:
    """The rectangle around a region, as square as the image allows.

    Args:
        region: (H, W) bool, not empty.
        margin: on each side, in units of the longer side of the region's bounding box.

    Returns:
        The window, inside the image.
    """
    inside = [np.flatnonzero(region.any(axis=axis)) for axis in (0, 1)]
    spans = [(int(indices[0]), int(indices[-1]) + 1) for indices in inside]
    side = max(last - first for first, last in spans) * (1 + 2 * margin)
    (left, width), (top, height) = (_span(*span, side, limit) for span, limit in zip(spans, reversed(region.shape)))
    return Window(left, top, width, height)


def _inside(
    scene: Scene, observation: Observation, region: RenderResult | ArrayLike | None
) -> Bool[np.ndarray, "height width"]:
    """Where the objects are."""
    if region is None:
        if observation.mask is None:
            raise ValueError("crop_to_object needs a region, for example a RenderResult: the observation has no mask.")
        region = observation.mask
    labels = region.instance_index if isinstance(region, RenderResult) else region
    if not is_concrete(labels, scene.instance_index):
        raise ValueError("crop_to_object needs concrete arrays: the window's size is static. Call it before jit, vmap.")
    if isinstance(region, RenderResult):
        return np.isin(np.asarray(labels), np.asarray(scene.instance_index))
    inside = np.asarray(labels) > 0
    if inside.ndim != 2:
        raise ValueError(f"crop_to_object region must have shape (height, width), got {inside.shape}.")
    return inside


def _span(first: int, last: int, length: float, limit: int) -> tuple[int, int]:
    """Begin and length of an interval around [first, last), moved and cut to [0, limit)."""
    length = min(limit, round(length))
    begin = round((first + last - length) / 2)
    return min(max(begin, 0), limit - length), length
