"""Colour from files and Pillow images of every mode: read, or refused with a reason."""

import numpy as np
import pytest
from PIL import Image

from sldiff_jax._images.depth_files import read_depth
from sldiff_jax._images.files import color_pixels, read_color, read_mask

GREY = np.arange(0, 60, 5, np.uint8).reshape(3, 4)
COLOR = np.stack([GREY, GREY + 1, 255 - GREY], axis=2)


def alpha(value: int) -> np.ndarray:
    return np.dstack([COLOR, np.full_like(GREY, value)])


def test_colour_is_read_as_it_is(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_color(tmp_path / "a.png"), COLOR)
    np.testing.assert_array_equal(read_color(str(tmp_path / "a.png")), COLOR)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK", "YCbCr", "HSV", "PA"])
def test_every_mode_of_8_bits_is_colour(mode):
    black_and_white = Image.fromarray(np.where(GREY > 20, 255, 0).astype(np.uint8)).convert("RGB")
    # Some conversions of Pillow go through others.
    image = black_and_white.convert("P").convert("PA") if mode == "PA" else black_and_white.convert(mode)
    assert image.mode == mode
    np.testing.assert_array_equal(color_pixels(image, "it"), np.asarray(black_and_white))


def test_opaque_is_not_transparent():
    np.testing.assert_array_equal(color_pixels(Image.fromarray(alpha(255)), "it"), COLOR)
    with pytest.raises(ValueError, match=r"it is transparent at 12 of 12 pixels\. .*mask or the weight"):
        color_pixels(Image.fromarray(alpha(254)), "it")
    palette = Image.fromarray(COLOR).convert("P")
    palette.info["transparency"] = int(np.asarray(palette)[0, 0])
    with pytest.raises(ValueError, match=r"it is transparent at \d+ of 12 pixels"):
        color_pixels(palette, "it")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_colour_has_8_bits(dtype):
    with pytest.raises(ValueError, match=r"it must have 8 bits per channel, got a Pillow image of mode (I;16|I|F)"):
        color_pixels(Image.fromarray(GREY.astype(dtype)), "it")


@pytest.mark.parametrize("read", [read_color, read_mask, lambda path: read_depth(path, None)])
def test_missing_files_are_named(read, tmp_path):
    with pytest.raises(ValueError, match=r"(image|mask|depth) .*no\.png does not exist"):
        read(tmp_path / "no.png")
    with pytest.raises(ValueError, match=r"(image|mask|depth) .* is no file"):
        read(tmp_path)
