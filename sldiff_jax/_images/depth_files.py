"""Depth from image files, arrays of NumPy and OpenEXR, in metres."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, Real, Shaped
from PIL import Image

from .open_image import check_upright, existing_file, open_image

DEPTH_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "L")

EXR_FAR = 1e9
"""Renderers write such numbers into OpenEXR files where they see nothing (Blender: 1e10)."""


def read_depth(
    path: str | os.PathLike[str], scale: float | None, *, option: str = "depth_scale"
) -> Float[np.ndarray, "height width"]:
    """Depth from a file as (H, W) float32 in metres, 0 where nothing was measured.

    Args:
        path: an image file of one channel; a .npy file; an .npz file with one array, or one named "depth"; an .exr
            file with one channel, or one named "Z" or "V", or several that are equal. NaN and infinity in it mean that
            nothing was measured.
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
    name = f"depth {path}"
    if path.suffix.lower() in (".npy", ".npz"):
        depth = _read_numpy(path, name)
    elif path.suffix.lower() == ".exr":
        depth = _read_exr(path, name)
    else:
        depth = depth_pixels(open_image(path, "depth"), name)
    if depth.ndim == 3 and depth.shape[2] == 1:
        depth = depth[..., 0]
    if depth.ndim != 2 or depth.dtype.kind not in "uif":
        raise ValueError(f"{name} must have one channel of numbers, got {depth.dtype} of shape {depth.shape}.")
    if scale is None and depth.dtype.kind != "f":
        raise ValueError(
            f"{name} holds whole numbers ({depth.dtype}, up to {depth.max(initial=0)}) of an unknown unit. Pass "
            f"{option}, metres per unit: 0.001 for millimetres."
        )
    depth = np.nan_to_num(depth.astype(np.float32) * np.float32(1 if scale is None else scale), nan=0, posinf=0)
    if depth.min(initial=0) < 0:
        raise ValueError(f"{name} must not be negative (0 marks no measurement), got down to {depth.min():g} m.")
    return depth


def depth_pixels(image: Image.Image, name: str) -> Real[np.ndarray, "height width"]:
    """A Pillow image of one channel as (H, W) numbers, as they are.

    Raises:
        ValueError: if it has several channels, is to be shown turned, or was compressed with loss.
    """
    check_upright(image, name)
    if image.mode not in DEPTH_MODES:
        raise ValueError(f"{name} must have one channel of numbers, got a Pillow image of mode {image.mode}.")
    if image.format == "JPEG":
        raise ValueError(f"{name} is a JPEG file, which changes the numbers in it. Save depth as PNG of 16 bits.")
    return np.asarray(image)


def _read_numpy(path: Path, name: str) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy file, or the one of an .npz file."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            chosen = names[0] if len(names) == 1 else "depth"
            found = loaded[chosen] if chosen in names else None
    except Exception as error:  # zip files and headers of arrays can be damaged in many ways
        raise ValueError(f"{name} cannot be read: {error or type(error).__name__}.") from None
    if found is None:
        raise ValueError(f'{name} must hold one array, or one named "depth", got {", ".join(names) or "none"}.')
    return found


def _read_exr(path: Path, name: str) -> Float[np.ndarray, "height width"]:
    """The depth channel of an OpenEXR file."""
    try:
        import OpenEXR
    except ImportError:
        raise ValueError(f"{name} needs the package OpenEXR: pip install 'sldiff-jax[exr]'.") from None
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {key: np.array(channel.pixels, np.float32) for key, channel in file.channels().items()}
    except Exception as error:  # RuntimeError, but its binding also raises what it meets
        raise ValueError(f"{name} cannot be read: {error or type(error).__name__}.") from None
    named = [key for key in channels if key.rpartition(".")[2] in ("Z", "V")]
    colors = [key for key in channels if key.rpartition(".")[2] != "A"]
    if len(named) == 1:
        depth = channels[named[0]]
    elif colors and all(np.array_equal(channels[key], channels[colors[0]], equal_nan=True) for key in colors):
        depth = channels[colors[0]]
    else:
        raise ValueError(
            f'{name} must hold one channel of depth, named "Z" or "V" if there are others, got {", ".join(channels)}.'
        )
    return np.where(depth < EXR_FAR, depth, 0)
