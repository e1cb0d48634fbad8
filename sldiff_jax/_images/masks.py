"""Masks as annotation tools, background removers and renderers write them, made (H, W) bool."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from .open_image import COLOR_MODES, check_upright

FEW = 16
"""Up to so many colours are a drawing, more are a photo."""

LABELS_APART = 0.05
"""Flat regions whose values differ by more, in units of the largest, are different labels."""

BACKGROUND = 0.25
"""A flat region that is darker, in units of the largest value, is the background."""


def mask_pixels(image: Image.Image, name: str = "the mask") -> Bool[np.ndarray, "height width"]:
    """The pixels of a Pillow image that are inside.

    An alpha channel that varies holds the mask. Otherwise colour does: what is not black is inside; where values lie
    between, as compression and smoothing leave them, from half of the largest on. NaN is outside.

    Args:
        image: of any mode. Of a palette, colours count, or the index where no colour is black.
        name: for messages.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: if the image is to be shown turned, holds several labels, negative values, or a picture rather than
            a mask, or if its colours show one shape, and its alpha channel or its palette's indices another.
    """
    check_upright(image, name)
    if image.mode not in COLOR_MODES and not image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{name} is a Pillow image of mode {image.mode}, which is not understood. Save it in black and white."
        )
    # JPEG's blocks can be flat at any value.
    labels = image.format not in ("JPEG", "MPO")
    alpha = _alpha(image)
    if alpha is not None:
        return _by_alpha(alpha, np.asarray(image.convert("RGB")), name)
    if image.mode in ("P", "PA"):
        return _by_palette(image, name)
    plain = image.mode in ("1", "L", "RGB", "F") or image.mode.startswith("I")
    return _by_value(np.asarray(image if plain else image.convert("RGB")), name, labels=labels)


def _alpha(image: Image.Image) -> UInt8[np.ndarray, "height width"] | None:
    """The alpha channel, if there is one and it varies."""
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return alpha if np.ptp(alpha) > 0 else None


def _by_alpha(
    alpha: UInt8[np.ndarray, "height width"], colors: UInt8[np.ndarray, "height width 3"], name: str
) -> Bool[np.ndarray, "height width"]:
    """Inside is what is opaque, unless the colours are a drawing that says otherwise."""
    inside = _by_value(alpha, f"the alpha channel of {name}", labels=True)
    drawn = colors.max(axis=2) > 0
    certain = (alpha == 0) | (alpha == alpha.max())
    if drawn.any() and (drawn != inside)[certain].any() and 1 < len(np.unique(_packed(colors))) <= FEW:
        raise ValueError(
            f"{name} shows one shape in its colours and another in its alpha channel. Save the one that is meant as a "
            "black and white image without transparency."
        )
    return inside


def _by_palette(image: Image.Image, name: str) -> Bool[np.ndarray, "height width"]:
    """Inside is what is not black, or what has not the index 0; a ValueError if both are shapes and differ."""
    indices = np.asarray(image if image.mode == "P" else image.getchannel("P"))
    rgb = np.asarray(image.convert("RGB"))
    drawn = len(np.unique(indices)) <= FEW and 0 < np.count_nonzero(indices) < indices.size
    if drawn and rgb.max(axis=2).all():
        _check_one_label(indices[..., None], int(indices.max()), name)
        return indices != 0
    colors = _by_value(rgb, name, labels=True)
    if drawn and colors.any() and ((indices != 0) != colors).any():
        raise ValueError(
            f"{name} has a palette that does not begin with black: its colours show one shape and its indices another. "
            "Save the one that is meant as a black and white image."
        )
    return colors


def _by_value(
    values: Shaped[np.ndarray, "height width *channels"], name: str, *, labels: bool
) -> Bool[np.ndarray, "height width"]:
    """Where the strongest channel is not zero; at least half of the largest, where there are values between.

    Args:
        values: numbers or bool.
        name: for messages.
        labels: whether flat regions of different values are different labels.

    Raises:
        ValueError: if there are several labels, negative values, or hardly any of full strength.
    """
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
    if values.dtype != bool and values.min(initial=0) < 0:
        raise ValueError(f"{name} must not be negative, got values down to {values.min()}. Write what is inside as 1.")
    channels = values.reshape(*values.shape[:2], -1)
    strength = channels.max(axis=2).astype(np.float64)
    largest = strength.max(initial=0)
    if largest == 0:
        return strength > 0
    if labels:
        _check_one_label(channels, largest, name)
    seen, full = strength > 0.1 * largest, strength >= 0.9 * largest
    if full.sum() < 0.25 * seen.sum():
        raise ValueError(
            f"{name} holds values of every size up to {largest:g}, like a photo or a depth image and not like a mask. "
            "Save it as a black and white image, white where the object is seen."
        )
    return strength >= 0.5 * largest


def _check_one_label(channels: Shaped[np.ndarray, "height width channels"], largest: float, name: str) -> None:
    """A ValueError if there are flat regions (3x3 pixels or more) of several colours besides the background's."""
    codes = _packed(channels)
    across, down = codes[:, 1:] == codes[:, :-1], codes[1:] == codes[:-1]
    rows = across[:, 1:] & across[:, :-1]
    flat = rows[2:] & rows[1:-1] & rows[:-2] & down[1:, 1:-1] & down[:-1, 1:-1]
    _, first = np.unique(codes[1:-1, 1:-1][flat], return_index=True)
    found = channels[1:-1, 1:-1][flat][first].astype(np.float64)
    found = found[np.argsort(found.max(axis=1), kind="stable")]
    if len(found) and found[0].max() < BACKGROUND * largest:
        # Where there are many values, some come from compression, near the background too.
        noise = LABELS_APART * largest if len(np.unique(codes)) > FEW else 0
        found = found[np.abs(found - found[0]).max(axis=1) > noise]
    if 1 < len(found) <= FEW and np.ptp(found, axis=0).max() > LABELS_APART * largest:
        shown = ", ".join("/".join(f"{value:g}" for value in color) for color in found[:5])
        raise ValueError(
            f"{name} holds several labels ({shown}{', ...' if len(found) > 5 else ''}), and which of them is meant is "
            "not known. Save that one as a black and white image, for example 255 * (mask == 1)."
        )


def _packed(channels: Shaped[np.ndarray, "height width channels"]) -> Shaped[np.ndarray, "height width"]:
    """One number per colour."""
    if channels.shape[2] == 1:
        return channels[..., 0]
    return channels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
