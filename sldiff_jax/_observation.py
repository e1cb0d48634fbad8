"""What a camera saw: the images that a rendering is compared with."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from ._transforms import is_concrete
from ._typing import ColorImage, ScalarImage


class Observation(eqx.Module):
    """Colour, depth and mask of what is to be explained by the poses. At least one of them must be given.

    Attributes:
        rgb: optional (H, W, 3) float, colour in [0, 1]. uint8 input is divided by 255.
        depth: optional (H, W) float, metres along the camera's Z axis, 0 where nothing was measured.
        mask: optional (H, W) float in [0, 1], 1 where the objects of the scene are seen. bool input is converted.

    Raises:
        ValueError: if nothing is given, shapes are wrong or differ, colour or mask leave [0, 1], depth is negative or
            not finite, or the mask is empty. (Values under trace are trusted.)
    """

    rgb: ColorImage | None
    depth: ScalarImage | None
    mask: ScalarImage | None

    def __init__(self, rgb: ArrayLike | None = None, depth: ArrayLike | None = None, mask: ArrayLike | None = None):
        if rgb is None and depth is None and mask is None:
            raise ValueError("Observation needs at least one of rgb, depth and mask, got none.")
        self.rgb, self.depth, self.mask = _rgb(rgb), _depth(depth), _mask(mask)
        sizes = {
            name: image.shape[:2]
            for name, image in (("rgb", self.rgb), ("depth", self.depth), ("mask", self.mask))
            if image is not None
        }
        if len(set(sizes.values())) > 1:
            raise ValueError(f"The images of an Observation must have one size (height, width), got {sizes}.")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        image = next(image for image in (self.rgb, self.depth, self.mask) if image is not None)
        return image.shape[0], image.shape[1]


def _rgb(value: ArrayLike | None) -> ColorImage | None:
    if value is None:
        return None
    rgb = jnp.asarray(value)
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"Observation rgb must have shape (height, width, 3), got {rgb.shape}.")
    if rgb.dtype == jnp.uint8:
        return rgb.astype(jnp.result_type(float)) / 255
    if not jnp.issubdtype(rgb.dtype, jnp.floating):
        raise ValueError(f"Observation rgb must be uint8, or floating in [0, 1], got dtype {rgb.dtype}.")
    return _within_unit(rgb, "rgb", "Divide by 255, or pass uint8.")


def _depth(value: ArrayLike | None) -> ScalarImage | None:
    if value is None:
        return None
    depth = jnp.asarray(value)
    if depth.ndim != 2 or not jnp.issubdtype(depth.dtype, jnp.floating):
        raise ValueError(
            f"Observation depth must be a floating image of shape (height, width) in metres, got {depth.dtype} "
            f"{depth.shape}. A depth image in integer millimetres: multiply by 1e-3."
        )
    if is_concrete(depth) and not bool(jnp.all(jnp.isfinite(depth) & (depth >= 0))):
        raise ValueError("Observation depth must be finite and not negative; 0 marks pixels without a measurement.")
    return depth


def _mask(value: ArrayLike | None) -> ScalarImage | None:
    if value is None:
        return None
    mask = jnp.asarray(value)
    if mask.ndim != 2:
        raise ValueError(f"Observation mask must have shape (height, width), got {mask.shape}.")
    if mask.dtype == bool:
        mask = mask.astype(jnp.result_type(float))
    if not jnp.issubdtype(mask.dtype, jnp.floating):
        raise ValueError(f"Observation mask must be bool, or floating in [0, 1], got dtype {mask.dtype}. Use mask > 0.")
    mask = _within_unit(mask, "mask", "Use mask > 0.")
    if is_concrete(mask) and not np.any(np.asarray(mask)):
        raise ValueError("Observation mask is empty: no pixel belongs to an object. Leave it out if there is none.")
    return mask


def _within_unit(image, name: str, remedy: str):
    if is_concrete(image) and image.size:
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"Observation {name} must lie in [0, 1], got values from {low:g} to {high:g}. {remedy}")
    return image
