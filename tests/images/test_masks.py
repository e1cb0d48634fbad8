"""Masks as tools write them: the shape that was meant, or a reason why it is not known."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

import sldiff_jax as sl
from sldiff_jax._images.files import read_mask
from sldiff_jax._images.masks import mask_pixels

ROWS, COLUMNS = np.mgrid[:40, :60]
DISK = (ROWS - 20.3) ** 2 + (COLUMNS - 31.2) ** 2 < 12.6**2
OTHER = (ROWS > 5) & (ROWS < 15) & (COLUMNS > 2) & (COLUMNS < 14)
WHITE = np.full((*DISK.shape, 3), 255, np.uint8)
PHOTO = np.random.default_rng(0).integers(0, 256, (*DISK.shape, 3), np.uint8)


def bytes_of(inside) -> np.ndarray:
    return np.where(inside, 255, 0).astype(np.uint8)


def with_alpha(colors, inside) -> Image.Image:
    return Image.fromarray(np.dstack([colors, bytes_of(inside)]))


def reopened(image: Image.Image, kind: str, **options) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def test_an_opaque_background_is_no_mask(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[1, 2, 0] = 9
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.parametrize("largest", [1, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, bool])
def test_a_mask_is_what_is_not_zero(dtype, largest):
    np.testing.assert_array_equal(mask_pixels(Image.fromarray((largest * DISK).astype(dtype))), DISK)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "P"])
def test_every_mode_shows_the_same_shape(mode):
    image = Image.fromarray(bytes_of(DISK)).convert("RGB").convert(mode)
    np.testing.assert_array_equal(mask_pixels(image), DISK)


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_a_constant_alpha_channel_says_nothing(alpha):
    image = Image.fromarray(bytes_of(DISK)).convert("RGB")
    image.putalpha(alpha)
    np.testing.assert_array_equal(mask_pixels(image), DISK)


@pytest.mark.parametrize("colors", [WHITE, 0 * WHITE, PHOTO, WHITE * DISK[..., None]])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_shape_in_the_alpha_channel(colors, mode):
    image = with_alpha(colors, DISK).convert(mode)
    np.testing.assert_array_equal(mask_pixels(image), DISK)
    np.testing.assert_array_equal(sl.Observation(mask=image).mask, DISK)


def test_a_half_transparent_or_smooth_alpha_channel():
    image = with_alpha(WHITE, DISK)
    image.putalpha(Image.fromarray((128 * DISK).astype(np.uint8)))
    np.testing.assert_array_equal(mask_pixels(image), DISK)
    smooth = Image.fromarray(bytes_of(DISK)).filter(ImageFilter.GaussianBlur(1))
    image.putalpha(smooth)
    np.testing.assert_array_equal(mask_pixels(image), np.asarray(smooth) >= 128)


def test_a_transparent_colour_of_a_palette():
    image = Image.fromarray(np.where(DISK, 0, 7).astype(np.uint8)).convert("P")
    image.putpalette([250, 0, 0] * 256)
    image = reopened(image, "PNG", transparency=7)
    assert image.mode == "P"
    np.testing.assert_array_equal(mask_pixels(image), DISK)


def test_two_shapes_in_one_file_are_refused():
    for other in (OTHER, ~DISK):
        with pytest.raises(
            ValueError, match="Observation mask shows one shape in its colours and another in its alpha"
        ):
            sl.Observation(mask=with_alpha(WHITE * other[..., None], DISK))


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 95])
@pytest.mark.parametrize("kind", ["JPEG", "a JPEG saved as PNG"])
def test_compression_noise_is_outside(kind, quality):
    image = reopened(Image.fromarray(bytes_of(DISK)), "JPEG", quality=quality)
    if kind != "JPEG":
        image = reopened(image, "PNG")
    assert len(np.unique(np.asarray(image))) > 10
    np.testing.assert_array_equal(mask_pixels(image), DISK)


def test_a_file_with_noise(tmp_path):
    Image.fromarray(bytes_of(DISK)).save(tmp_path / "mask.jpg", quality=75)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.jpg"), DISK)


def test_smoothed_and_resized_masks_are_cut_at_half():
    large = Image.fromarray(bytes_of(DISK)).resize((180, 120), Image.Resampling.BICUBIC)
    area = mask_pixels(large).sum()
    assert area == (np.asarray(large) >= 127.5).sum()
    assert area == pytest.approx(9 * DISK.sum(), rel=0.01)


def test_what_is_not_a_number_is_outside():
    for value in (np.nan, np.inf, -np.inf):
        image = Image.fromarray(np.where(DISK, 1, value).astype(np.float32))
        np.testing.assert_array_equal(mask_pixels(image), DISK)
        np.testing.assert_array_equal(mask_pixels(reopened(image, "TIFF")), DISK)


def test_negative_values_are_refused():
    for dtype in (np.float32, np.int32):
        with pytest.raises(ValueError, match="must not be negative, got values down to -1"):
            mask_pixels(Image.fromarray(np.where(DISK, 1, -1).astype(dtype)))


def palette(indices: np.ndarray, *colors: int) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putpalette(list(colors))
    return image


def test_palettes():
    np.testing.assert_array_equal(mask_pixels(palette(DISK, 0, 0, 0, 128, 0, 0)), DISK)
    # No colour is black: the indices say it.
    np.testing.assert_array_equal(mask_pixels(palette(DISK, 70, 0, 80, 250, 230, 40)), DISK)
    with pytest.raises(ValueError, match=r"several labels \(1, 2\)"):
        mask_pixels(palette(DISK + 2 * OTHER, 9, 0, 0, 128, 0, 0, 0, 200, 0))
    # The index 0 is not used, or used for everything: the colours say it.
    np.testing.assert_array_equal(mask_pixels(palette(1 + DISK, 9, 9, 9, 0, 0, 0, 255, 255, 255)), DISK)
    with pytest.raises(ValueError, match="palette that does not begin with black"):
        mask_pixels(palette(~DISK, 255, 255, 255, 0, 0, 0))


@pytest.mark.parametrize(
    "values",
    [
        DISK + 2 * OTHER,
        15 * DISK + 255 * OTHER,
        100 + 100 * DISK,
        PHOTO[0, 0] * DISK[..., None] + PHOTO[0, 1] * OTHER[..., None],
        np.stack([255 * DISK, 255 * OTHER, 0 * DISK], axis=-1),
    ],
)
def test_several_labels_are_refused(values):
    with pytest.raises(ValueError, match=r"holds several labels \(\d+.*\), and which of them is meant"):
        mask_pixels(Image.fromarray(values.astype(np.uint8)))


def test_labels_of_a_palette_are_refused():
    with pytest.raises(ValueError, match=r"several labels \(128/0/0, 0/200/0\)"):
        mask_pixels(palette(DISK + 2 * OTHER, 0, 0, 0, 128, 0, 0, 0, 200, 0))


def test_a_photo_or_a_depth_image_is_no_mask():
    depth = 500 + 300 * np.random.default_rng(0).random(DISK.shape)
    depth[0] = 1000
    photo = Image.fromarray(PHOTO[..., 0])
    for image in (
        photo,
        photo.convert("RGB"),
        Image.fromarray(PHOTO[..., 0] // 2),
        Image.fromarray(depth.astype(np.uint16)),
    ):
        with pytest.raises(ValueError, match="like a photo or a depth image and not like a mask"):
            mask_pixels(image)


def test_a_mode_that_is_not_understood():
    with pytest.raises(ValueError, match="the mask is a Pillow image of mode LAB, which is not understood"):
        mask_pixels(Image.new("LAB", (4, 4)))


def test_an_empty_mask(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"mask .*mask\.png is empty: .*Leave the mask out"):
        read_mask(tmp_path / "mask.png")


def test_the_recorded_masks(shared_data):
    folder = shared_data / "failing_inputs" / "mask_files"
    if not folder.is_dir():
        pytest.skip(f"no recorded masks: {folder} does not exist")
    plain = np.asarray(Image.open(folder / "plain.png")) > 0
    for name in ("plain.png", "alpha.png"):
        np.testing.assert_array_equal(read_mask(folder / name), plain)
