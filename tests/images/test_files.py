"""Files and Pillow images of every kind: read, or refused with a reason."""

import numpy as np
import pytest
from PIL import Image

from sldiff_jax._images.files import color_pixels, mask_pixels, read_color, read_depth, read_mask

GREY = np.arange(0, 60, 5, np.uint8).reshape(3, 4)
COLOR = np.stack([GREY, GREY + 1, 255 - GREY], axis=2)


def alpha(value: int) -> np.ndarray:
    return np.dstack([COLOR, np.full_like(GREY, value)])


# --- colour


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


# --- depth


def test_whole_numbers_need_a_scale(tmp_path):
    path = tmp_path / "depth.png"
    Image.fromarray(100 * GREY.astype(np.uint16)).save(path)
    np.testing.assert_allclose(read_depth(path, 1e-3), GREY / 10, rtol=1e-6)
    with pytest.raises(ValueError, match=r"whole numbers \(uint16, up to 5500\) .* Pass depth_scale.* 0\.001 for mill"):
        read_depth(path, None)
    with pytest.raises(ValueError, match="Pass --depth-scale, metres per unit"):
        read_depth(path, None, option="--depth-scale")


@pytest.mark.parametrize("scale", [0.0, -1e-3, np.nan, np.inf])
def test_a_scale_is_positive(scale, tmp_path):
    with pytest.raises(ValueError, match="depth_scale must be a positive number"):
        read_depth(tmp_path / "depth.npy", scale)


def test_floating_images_are_in_metres(tmp_path):
    Image.fromarray(np.float32([[0.5, np.nan]])).save(tmp_path / "depth.tiff")
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.tiff", None), np.float32([[0.5, 0]]))
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.tiff", 2.0), np.float32([[1, 0]]))


def test_depth_arrays_are_in_metres_and_nan_is_missing(tmp_path):
    np.save(tmp_path / "depth.npy", np.array([[0.5, np.nan], [np.inf, 0.7]]))
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.npy", None), np.float32([[0.5, 0], [0, 0.7]]))
    np.save(tmp_path / "depth.npy", np.array([[0.5, -0.1]]))
    with pytest.raises(ValueError, match="must not be negative"):
        read_depth(tmp_path / "depth.npy", None)
    np.save(tmp_path / "depth.npy", np.array([[0.5, -np.inf]]))
    with pytest.raises(ValueError, match="must not be negative"):
        read_depth(tmp_path / "depth.npy", None)


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_broken_files_are_named(content, tmp_path):
    for name in ("depth.npy", "depth.png"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"depth .*{name} cannot be read"):
            read_depth(tmp_path / name, None)


def test_depth_has_one_channel(tmp_path):
    for image in (Image.fromarray(COLOR), Image.fromarray(COLOR).convert("P")):
        image.save(tmp_path / "depth.png")
        with pytest.raises(ValueError, match=rf"must have one channel of numbers, .* mode {image.mode}"):
            read_depth(tmp_path / "depth.png", 1e-3)
    np.save(tmp_path / "depth.npy", COLOR)
    with pytest.raises(ValueError, match=r"must have one channel of numbers, got uint8 of shape \(3, 4, 3\)"):
        read_depth(tmp_path / "depth.npy", 1e-3)


# --- masks


def test_an_opaque_background_is_no_mask(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[1, 2, 0] = 9
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, bool])
def test_a_mask_is_what_is_not_zero(dtype):
    np.testing.assert_array_equal(mask_pixels(Image.fromarray((GREY > 20).astype(dtype))), GREY > 20)


def test_a_mask_of_a_palette_goes_by_its_indices():
    image = Image.fromarray((GREY > 20).astype(np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white
    np.testing.assert_array_equal(mask_pixels(image), GREY > 20)


def test_an_empty_mask(tmp_path):
    Image.fromarray(0 * GREY).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"mask .*mask\.png is empty: .*Leave the mask out"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("read", [read_color, read_mask, lambda path: read_depth(path, None)])
def test_missing_files_are_named(read, tmp_path):
    with pytest.raises(ValueError, match=r"(image|mask|depth) .*no\.png does not exist"):
        read(tmp_path / "no.png")
    with pytest.raises(ValueError, match=r"(image|mask|depth) .* is no file"):
        read(tmp_path)
