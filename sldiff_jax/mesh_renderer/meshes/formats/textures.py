"""Texture files, as 8-bit colours."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

MAX_PIXELS = 2**28
"""16384 x 16384."""

FORMATS = ("BMP", "DDS", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP")
ORIENTATION = 0x0112


class Picture(NamedTuple):
    """A texture.

    Attributes:
        pixels: (H, W, 3) uint8, row 0 at the top.
        alpha: smallest and largest opacity, 0 to 1.
        turned: whether the file asks to be turned before it is shown. Mesh viewers do not, and neither do we.
    """

    pixels: np.ndarray
    alpha: tuple[float, float]
    turned: bool


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """A file that another file names, as viewers look for it.

    Args:
        name: with slashes of any kind, perhaps the full path on the computer where it was written.
        folders: where to look, first by that name, then by its last part alone, then in any case of letters.

    Returns:
        Its path, or None.
    """
    name = name.strip().strip("\"'").replace("\\", "/")
    if not name or "\0" in name:
        return None
    last = name.rpartition("/")[2]
    for candidate in dict.fromkeys([name, last]):
        for folder in folders:
            if candidate and is_file(folder / candidate):
                return folder / candidate
    for folder in folders:
        if folder.is_dir():
            same = [path for path in folder.iterdir() if path.name.lower() == last.lower() and path.is_file()]
            if len(same) == 1:
                return same[0]
    return None


def is_file(path: Path) -> bool:
    """Whether there is a file of that name; names may be nonsense."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for the file system, or with a zero in it
        return False


def missing_texture(name: str) -> ValueError:
    """The error for a texture that `find_file` does not find."""
    return ValueError(
        f"it takes its texture from {name[:200]}, which does not exist beside it. Put the image there, or take its "
        "name out of the file"
    )


def read_picture(source: bytes | Path, name: str) -> Picture:
    """A texture of any depth and number of channels.

    Args:
        source: the file's contents or its path.
        name: what to call it in errors.

    Raises:
        ValueError: if it is no image, is cut off, or holds values whose range is not known.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    try:
        # Pillow warns about large images and about what it repairs; errors it raises in all forms.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _open(data) as image:
                _check_size(image, len(data))
                image.load()
                turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
                return Picture(_pixels(image), _alpha(image), turned)
    except _TextureError as error:
        raise ValueError(f"its texture {name} {error}") from None
    except Exception as error:
        raise ValueError(f"its texture {name} cannot be read as an image ({error or type(error).__name__})") from None


class _TextureError(Exception):
    pass


def _open(data: bytes) -> Image.Image:
    """Directly, for the common formats: `Image.open` takes 16384 x 16384 pixels for an attack."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return PngImagePlugin.PngImageFile(io.BytesIO(data))
    if data[:3] == b"\xff\xd8\xff":
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise _TextureError("is no image that can be read") from None


def _check_size(image: Image.Image, length: int) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _TextureError(f"has {width} x {height} pixels, more than {MAX_PIXELS}. Make it smaller")
    if not width * height:
        raise _TextureError("has no pixels")
    # DEFLATE makes at most 1032 bytes of one, and a block of 64 pixels takes a bit or more in JPEG.
    if image.format in ("PNG", "JPEG") and width * height > 8 * 1032 * length:
        raise _TextureError(f"says {width} x {height} pixels, which {length} bytes cannot hold: it was cut off")


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _TextureError(
                f"has whole numbers in {values.min()}..{values.max()}. Save it with 8 or 16 bits per channel"
            )
        return np.repeat(np.rint(values / 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise _TextureError(f"has numbers in {values.min():g}..{values.max():g}, not 0..1. Save it with 8 bits")
        return np.repeat(np.rint(255 * values).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _alpha(image: Image.Image) -> tuple[float, float]:
    if not image.has_transparency_data:
        return 1.0, 1.0
    lowest, highest = image.convert("RGBA").getchannel("A").getextrema()
    return float(lowest) / 255, float(highest) / 255  # pyright: ignore[reportArgumentType]
