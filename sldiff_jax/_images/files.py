"""Colour and masks from files, and colour from Pillow images, as NumPy arrays."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from .masks import mask_pixels
from .open_image import COLOR_MODES, check_upright, open_image


def read_color(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "height width 3"]:
    """An image file as (H, W, 3) uint8; see `color_pixels`."""
    return color_pixels(open_image(path, "image"), f"image {path}")


def read_mask(path: str | os.PathLike[str]) -> Bool[np.ndarray, "height width"]:
    """An image file as (H, W) bool; see `mask_pixels`. A ValueError if it is empty."""
    mask = mask_pixels(open_image(path, "mask"), f"mask {path}")
    if not mask.any():
        raise ValueError(f"mask {path} is empty: no pixel differs from zero. Leave the mask out if there is none.")
    return mask


def color_pixels(image: Image.Image, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """A Pillow image with 8 bits per channel as (H, W, 3) uint8. Grey is repeated, palettes are looked up.

    Raises:
        ValueError: if the mode has more bits, the image is to be shown turned, or a pixel is transparent: what colour
            was seen there is not known.
    """
    check_upright(image, name)
    if image.mode not in COLOR_MODES:
        raise ValueError(
            f"{name} must have 8 bits per channel, got a Pillow image of mode {image.mode}. Bring its values to "
            '0..255, or to an array in [0, 1]. (Images of modes "F" and "I" often hold depth.)'
        )
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min(initial=255) < 255:
            raise ValueError(
                f"{name} is transparent at {(alpha < 255).sum()} of {alpha.size} pixels. Put it on an opaque "
                "background, and give its alpha channel as the mask or the weight where it says what was seen."
            )
    return np.asarray(image.convert("RGB"))
