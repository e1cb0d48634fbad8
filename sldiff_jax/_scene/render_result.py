"""The buffers that a renderer hands over."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from .typing import ColorImage, Labels, RawColor, ScalarImage

BACKGROUND_DEPTH = 3000.0
"""What stillleben writes into coordinates, depth and camera coordinates where no object is seen."""


class RenderResult(eqx.Module):
    """The buffers of one rendered image, with the layout of stillleben's render results.

    Background pixels (``instance_index == 0``) hold 3000.0 in `coord_depth` and `cam_coordinates`, 0 elsewhere.
    Row 0 is the top of the image.

    Attributes:
        rgb: (H, W, 4) RGBA, uint8 in 0..255, or floating in [0, 1].
        coord_depth: (H, W, 4) float. Channels 0..2: the visible surface point in the frame of its object, metres;
            channel 3: its depth along the camera's Z axis, metres.
        instance_index: (H, W) int16, label of the visible object, 0 for background.
        class_index: optional (H, W) int16, class label of the visible object.
        normals: optional (H, W, 4) float, unit surface normal in the camera frame; channel 3 is the cosine of its angle
            with the line of sight.
        vertex_indices: optional (H, W, 3) int32, 1-based vertex numbers of the visible triangle, 0 for background.
        barycentric_coeffs: optional (H, W, 3) float, perspective-correct weights of those vertices.
        cam_coordinates: optional (H, W, 4) float, the visible point in the camera frame, metres; channel 3 is 1.

    Raises:
        ValueError: if a buffer has the wrong shape or kind of dtype, or two buffers disagree in size.
    """

    rgb: RawColor
    coord_depth: Float[Array, "height width 4"]
    instance_index: Labels
    class_index: Labels | None
    normals: Float[Array, "height width 4"] | None
    vertex_indices: Int[Array, "height width 3"] | None
    barycentric_coeffs: ColorImage | None
    cam_coordinates: Float[Array, "height width 4"] | None

    def __init__(
        self,
        *,
        rgb: ArrayLike,
        coord_depth: ArrayLike,
        instance_index: ArrayLike,
        class_index: ArrayLike | None = None,
        normals: ArrayLike | None = None,
        vertex_indices: ArrayLike | None = None,
        barycentric_coeffs: ArrayLike | None = None,
        cam_coordinates: ArrayLike | None = None,
    ):
        self.rgb = _buffer(rgb, "rgb", 4, None)
        size = self.rgb.shape[:2]
        if self.rgb.dtype != jnp.uint8 and not jnp.issubdtype(self.rgb.dtype, jnp.floating):
            raise ValueError(f"RenderResult rgb must be uint8 or floating in [0, 1], got dtype {self.rgb.dtype}.")
        self.coord_depth = _buffer(coord_depth, "coord_depth", 4, size, jnp.floating)
        self.instance_index = _buffer(instance_index, "instance_index", None, size, jnp.integer)
        self.class_index = _optional(class_index, "class_index", None, size, jnp.integer)
        self.normals = _optional(normals, "normals", 4, size, jnp.floating)
        self.vertex_indices = _optional(vertex_indices, "vertex_indices", 3, size, jnp.integer)
        self.barycentric_coeffs = _optional(barycentric_coeffs, "barycentric_coeffs", 3, size, jnp.floating)
        self.cam_coordinates = _optional(cam_coordinates, "cam_coordinates", 4, size, jnp.floating)

    @property
    def coordinates(self) -> ColorImage:
        """(H, W, 3) float: the visible surface point in the frame of its object, metres; 3000 on the background."""
        return self.coord_depth[..., :3]

    @property
    def depth(self) -> ScalarImage:
        """(H, W) float: depth along the camera's Z axis, metres; 3000 on the background."""
        return self.coord_depth[..., 3]

    @property
    def color(self) -> ColorImage:
        """(H, W, 3) float in [0, 1]: `rgb` without its alpha channel."""
        color = self.rgb[..., :3]
        if color.dtype == jnp.uint8:
            return color.astype(self.coord_depth.dtype) / 255
        return color


def _buffer(value, name: str, channels: int | None, size: tuple[int, ...] | None, kind=None) -> Array:
    array = jnp.asarray(value)
    height, width = ("H", "W") if size is None else size
    expected = f"({height}, {width})" if channels is None else f"({height}, {width}, {channels})"
    trailing = () if channels is None else (channels,)
    if array.ndim != 2 + len(trailing) or array.shape[2:] != trailing or (size and array.shape[:2] != size):
        raise ValueError(f"RenderResult {name} must have shape {expected}, got {array.shape}.")
    if kind is not None and not jnp.issubdtype(array.dtype, kind):
        raise ValueError(f"RenderResult {name} must have a dtype of kind {kind.__name__}, got {array.dtype}.")
    return array


def _optional(value, name: str, channels: int | None, size: tuple[int, ...], kind) -> Array | None:
    return None if value is None else _buffer(value, name, channels, size, kind)
