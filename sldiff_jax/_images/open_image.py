"""Image files opened with Pillow: whole, upright and alone in their file, or a ValueError that says why not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

COLOR_MODES = ("RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr", "HSV")
"""Modes of Pillow images with 8 bits per channel that it can bring to RGB."""

ORIENTATIONS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "mirrored and turned by 180 degrees",
    5: "mirrored and turned by a quarter",
    6: "turned by a quarter",
    7: "mirrored and turned by a quarter",
    8: "turned by a quarter",
}


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a file, or a ValueError that names it."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{what} {path} {'is no file' if path.exists() else 'does not exist'}.")
    return path


def open_image(path: str | os.PathLike[str], what: str) -> Image.Image:
    """The picture of an image file, its pixels loaded.

    Args:
        path: the file.
        what: its role, for messages: ``"mask"``.

    Raises:
        ValueError: if the file is missing, cannot be read to its end, holds several pictures, is to be shown turned or
            mirrored, or has 16 bits per channel of which two or more are not used.
    """
    path = existing_file(path, what)
    name = f"{what} {path}"
    # A file that is cut off or damaged can raise whatever the decoder meets in it: OSError, struct.error, IndexError,
    # MemoryError, ... and each means the same to the user.
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            wide = image.mode in ("RGB", "RGBA") and any("16" in str(tile[3]) for tile in image.tile)
            turned = _orientation(image)  # before a TIFF is loaded, which turns it
            image.load()
    except Exception as error:
        raise ValueError(f"{name} cannot be read as an image: {error or type(error).__name__}.") from None
    if frames > 1 and image.format != "MPO":  # the others of a camera's MPO are previews
        raise ValueError(f"{name} holds {frames} pictures. Save the one that is meant in a file of its own.")
    if turned is not None:
        raise ValueError(_turned(name, turned))
    if wide and np.asarray(image)[..., :3].max(initial=0) < 64:  # Pillow keeps the upper half of each 16 bits
        raise ValueError(
            f"{name} has 16 bits per channel and uses at most the lower 14: it would be nearly black. Bring its values "
            "to the full range, or to 8 bits."
        )
    return image


def check_upright(image: Image.Image, name: str) -> None:
    """Refuses a Pillow image whose metadata say that it is to be shown turned or mirrored.

    Viewers, annotation tools and OpenCV show it turned; Pillow and some others do not. So mask, depth and camera may
    belong to either, which only the user knows.

    Raises:
        ValueError: with the remedy.
    """
    turned = _orientation(image)
    if turned is not None:
        raise ValueError(_turned(name, turned))


def _orientation(image: Image.Image) -> str | None:
    """How the image is to be turned before it is shown; None if it is not."""
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata say nothing, as to every other program
        return None
    return ORIENTATIONS.get(tag) if isinstance(tag, int) else None


def _turned(name: str, turned: str) -> str:
    return (
        f"{name} has an EXIF orientation: viewers and OpenCV show it {turned}, and camera, mask and depth may belong "
        "to either. Save it upright, PIL.ImageOps.exif_transpose(image).save(...), or without the tag if they belong "
        "to the pixels as they are stored."
    )
