"""Image files of every format: whole, upright, one picture; or one ValueError that names the file."""

import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

import sldiff_jax as sl
from sldiff_jax._images.depth_files import read_depth
from sldiff_jax._images.files import read_color, read_mask
from sldiff_jax._images.open_image import open_image

READERS = {"image": read_color, "mask": read_mask, "depth": lambda path: read_depth(path, 1e-3)}
SHAPE = np.zeros((24, 32), np.uint8)
SHAPE[5:14, 3:20] = 255


def oriented(path, value: int, image: Image.Image | None = None) -> None:
    image = Image.fromarray(SHAPE) if image is None else image
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    image.save(path, exif=exif)


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("value", [2, 3, 5, 6, 8])
def test_an_image_that_is_shown_turned_is_refused(what, suffix, value, tmp_path):
    path = tmp_path / f"a.{suffix}"
    oriented(path, value, Image.fromarray(SHAPE).convert("RGB") if suffix == "webp" else None)
    with pytest.raises(
        ValueError, match=rf"^{what} .*a\.{suffix} has an EXIF orientation: .*(turned|mirrored).*exif_tr"
    ):
        READERS[what](path)


def test_an_upright_image_passes_whatever_else_its_metadata_say(tmp_path):
    for value in (1, 0, 9):  # the last two mean nothing
        oriented(tmp_path / "a.png", value)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), SHAPE > 0)
    Image.fromarray(SHAPE).save(tmp_path / "a.png", exif=b"Exif\0\0damaged")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), SHAPE > 0)


def test_the_remedy_works(tmp_path):
    for value in (3, 6):
        oriented(tmp_path / "a.png", value)
        with Image.open(tmp_path / "a.png") as image:
            ImageOps.exif_transpose(image).save(tmp_path / "upright.png")
        turned = {3: SHAPE[::-1, ::-1], 6: np.rot90(SHAPE, -1)}[value]
        np.testing.assert_array_equal(read_mask(tmp_path / "upright.png"), turned > 0)


@pytest.mark.parametrize("role", ["rgb", "depth", "mask", "weight"])
def test_pillow_images_are_treated_as_files(role, tmp_path):
    oriented(tmp_path / "a.png", 6)
    with Image.open(tmp_path / "a.png") as image:
        images = {"mask": np.ones(SHAPE.shape)} | {role: image}
        with pytest.raises(ValueError, match=f"^Observation {role} has an EXIF orientation"):
            sl.Observation(**images)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp", "gif"])
@pytest.mark.parametrize("what", READERS)
def test_a_file_that_was_cut_off(suffix, what, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).convert("RGB" if suffix == "webp" else "L").save(path)
    whole = path.read_bytes()
    for share in (0.0, 0.02, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=rf"^{what} .*a\.{suffix} cannot be read as an image: \w"):
            READERS[what](path)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp", "gif", "npy", "npz"])
def test_damaged_files_end_in_nothing_but_a_value_error(suffix, tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (16, 16), np.uint8)
    path = tmp_path / f"a.{suffix}"
    if suffix in ("npy", "npz"):
        (np.save if suffix == "npy" else np.savez)(path, pixels.astype(np.float32))
        readers = [READERS["depth"]]
    else:
        oriented(path, 1, Image.fromarray(pixels)) if suffix in ("png", "jpg") else Image.fromarray(pixels).save(path)
        readers = list(READERS.values())
    whole = path.read_bytes()
    refused = []
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 6)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(whole) + 1)])
        for read in readers:
            try:
                read(path)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 20
    assert all(path.name in message for message in refused)


def test_a_file_with_several_pictures(tmp_path):
    pages = [Image.fromarray(SHAPE), Image.fromarray(SHAPE // 2)]
    for name in ("a.tiff", "a.gif", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(ValueError, match=r"mask .*a\.\w+ holds 2 pictures"):
            open_image(tmp_path / name, "mask")
    # A camera's file with a preview is a photo.
    pages[0].convert("RGB").save(tmp_path / "a.mpo", save_all=True, append_images=[pages[1].convert("RGB")])
    assert open_image(tmp_path / "a.mpo", "image").size == (32, 24)


def png_of_16_bits(path, pixels: np.ndarray) -> None:
    """(H, W, 3) uint16; Pillow cannot write that."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_colour_of_16_bits_is_reduced_or_refused_where_little_would_be_left(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (6, 7, 3))
    png_of_16_bits(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_color(tmp_path / "a.png"), pixels >> 8)
    png_of_16_bits(tmp_path / "a.png", pixels >> 4)  # as a camera of 12 bits writes it
    with pytest.raises(ValueError, match=r"image .*a\.png has 16 bits per channel .* nearly black"):
        read_color(tmp_path / "a.png")
