"""Colour, depth and masks from files and from Pillow images, as NumPy arrays."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Real, UInt8
from PIL import Image

DEPTH_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "L")
COLOR_MODES = ("RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr", "HSV")


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a file, or a ValueError that names it."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{what} {path} {'is no file' if path.exists() else 'does not exist'}.")
    return path


def read_color(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "height width 3"]:
    """An image file as (H, W, 3) uint8; see `color_pixels`."""
    return color_pixels(_open(path, "image"), f"image {path}")


def read_depth(
    path: str | os.PathLike[str], scale: float | None, *, option: str = "depth_scale"
) -> Float[np.ndarray, "height width"]:
    """A depth image, or an array in a .npy file, as (H, W) float32 in metres, 0 where nothing was measured.

    Args:
        path: the file. NaN and infinity in it mean that nothing was measured.
        scale: metres per unit. None: metres, which only floating-point files can hold.
        option: what the user sets the scale with, for messages.

    Returns:
        (H, W) float32, finite and not negative.

    Raises:
        ValueError: if the file cannot be read, has several channels or negative values, or needs a scale, or the scale
            is not positive.
    """
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"{option} must be a positive number (metres per unit), got {scale!r}.")
    path = existing_file(path, "depth")
    if path.suffix.lower() == ".npy":
        try:
            depth = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"depth {path} cannot be read: {error}") from None
    else:
        depth = depth_pixels(_open(path, "depth"), f"depth {path}")
    if depth.ndim != 2 or depth.dtype.kind not in "uif":
        raise ValueError(f"depth {path} must have one channel of numbers, got {depth.dtype} of shape {depth.shape}.")
    if scale is None and depth.dtype.kind != "f":
        raise ValueError(
            f"depth {path} holds whole numbers ({depth.dtype}, up to {depth.max(initial=0)}) of an unknown unit. Pass "
            f"{option}, metres per unit: 0.001 for millimetres."
        )
    depth = np.nan_to_num(depth.astype(np.float32) * np.float32(1 if scale is None else scale), nan=0, posinf=0)
    if depth.min(initial=0) < 0:
        raise ValueError(f"depth {path} must not be negative (0 marks no measurement), got down to {depth.min():g} m.")
    return depth


def read_mask(path: str | os.PathLike[str]) -> Bool[np.ndarray, "height width"]:
    """An image file as (H, W) bool; see `mask_pixels`. A ValueError if it is empty."""
    mask = mask_pixels(_open(path, "mask"))
    if not mask.any():
        raise ValueError(f"mask {path} is empty: no pixel differs from zero. Leave the mask out if there is none.")
    return mask


def color_pixels(image: Image.Image, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """A Pillow image with 8 bits per channel as (H, W, 3) uint8. Grey is repeated, palettes are looked up.

    Raises:
        ValueError: if the mode has more bits, or a pixel is transparent: what colour was seen there is not known.
    """
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


def depth_pixels(image: Image.Image, name: str) -> Real[np.ndarray, "height width"]:
    """A Pillow image of one channel as (H, W) numbers, as they are."""
    if image.mode not in DEPTH_MODES:
        raise ValueError(f"{name} must have one channel of numbers, got a Pillow image of mode {image.mode}.")
    return np.asarray(image)


def mask_pixels(image: Image.Image) -> Bool[np.ndarray, "height width"]:
    """A Pillow image as (H, W) bool: true where any colour channel, or the index of a palette, is not zero."""
    if image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGB")  # an opaque background is no object
    mask = np.asarray(image) != 0
    return mask.any(axis=2) if mask.ndim == 3 else mask


def _open(path: str | os.PathLike[str], what: str) -> Image.Image:
    path = existing_file(path, what)
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{what} {path} cannot be read as an image: {error}.") from None
    return image
