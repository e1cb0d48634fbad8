"""Colours of the pictures, and images as floats or bytes."""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike, Float, Num, UInt8

ORANGE, BLUE, GREEN, GREY = "#e69f00", "#0072b2", "#009e73", "#8c8c8c"
VERMILION, SKY, PURPLE = "#d55e00", "#56b4e9", "#cc79a7"

COLOR_CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""

ColorPicture = UInt8[np.ndarray, "height width 3"]
AnyPicture = Num[ArrayLike, "_height _width 3"]

_LMS_OF_OKLAB = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_RGB_OF_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def as_picture(image: AnyPicture) -> Num[np.ndarray, "_height _width 3"]:
    """(H, W, 3) on the host, as it is, or a ValueError."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"A picture must be (height, width, 3), got {image.shape}. Of an RGBA image take [..., :3].")
    return image


def as_float(image: AnyPicture) -> Float[np.ndarray, "_height _width 3"]:
    """(H, W, 3) uint8, or float in [0, 1], as float32 in [0, 1]."""
    image = as_picture(image)
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)


def as_uint8(image: AnyPicture) -> UInt8[np.ndarray, "_height _width 3"]:
    """(H, W, 3) float in [0, 1], clipped to that, as uint8; uint8 as it is."""
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def rgb_of(color: str) -> Float[np.ndarray, "3"]:
    """A colour "#rrggbb" as three floats in [0, 1], or a ValueError."""
    if len(color) != 7 or color[0] != "#":
        raise ValueError(f"A colour must be written #rrggbb, got {color!r}.")
    return np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


def srgb_of_oklab(oklab: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Colours of OKLab (lightness; green to red; blue to yellow; B. Ottosson, 2020) as sRGB in [0, 1], clipped."""
    linear = np.clip((oklab @ _LMS_OF_OKLAB.T) ** 3 @ _RGB_OF_LMS.T, 0, 1)
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def luminance(image: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    """What grey an image, or a change of one, has: the weights of ITU-R BT.709. (H, W) float."""
    return image @ np.array([0.2126, 0.7152, 0.0722], image.dtype)
