"""Texture files of every kind, and what they cost."""

from __future__ import annotations

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sldiff_jax.mesh_renderer import Mesh
from sldiff_jax.mesh_renderer.meshes.formats.textures import find_file, read_picture

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLORS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(values) -> np.ndarray:
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


PICTURES = {
    "RGB": (encoded(Image.fromarray(COLORS)), COLORS),
    "RGBA": (encoded(Image.fromarray(np.dstack([COLORS, RAMP]))), COLORS),
    "grey": (encoded(Image.fromarray(RAMP)), grey(RAMP)),
    "grey with alpha": (encoded(Image.fromarray(np.dstack([RAMP, RAMP]), "LA")), grey(RAMP)),
    "16 bit grey": (encoded(Image.fromarray(RAMP.astype(np.uint16) * 257)), grey(RAMP)),
    "16 bit grey, big-endian": (
        encoded(Image.frombytes("I;16B", (16, 16), (RAMP.astype(np.uint16) * 257).astype(">u2").tobytes()), "TIFF"),
        grey(RAMP),
    ),
    "one bit": (encoded(Image.fromarray(RAMP > 99)), grey(255 * (RAMP > 99))),
    "palette": (encoded(Image.fromarray(grey(RAMP // 64 * 64)).quantize(8)), grey(RAMP // 64 * 64)),
    "bitmap": (encoded(Image.fromarray(COLORS), "BMP"), COLORS),
    "TGA": (encoded(Image.fromarray(COLORS), "TGA"), COLORS),
    "TIFF": (encoded(Image.fromarray(COLORS), "TIFF"), COLORS),
    "float": (encoded(Image.fromarray(RAMP.astype(np.float32) / 255), "TIFF"), grey(RAMP)),
    "WebP": (encoded(Image.fromarray(COLORS), "WEBP", lossless=True), COLORS),
}


@pytest.mark.parametrize("name", PICTURES)
def test_depths_and_channels(name):
    data, expected = PICTURES[name]
    picture = read_picture(data, "texture.png")
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, expected)


def test_opacity():
    assert read_picture(PICTURES["RGBA"][0], "").alpha == (0, 1)
    assert read_picture(PICTURES["RGB"][0], "").alpha == (1, 1)
    half = Image.fromarray(np.dstack([COLORS, np.full((16, 16), 51, np.uint8)]))
    assert read_picture(encoded(half), "").alpha == pytest.approx((0.2, 0.2))


def test_orientation_is_noticed_and_not_applied():
    turned = Image.fromarray(COLORS)
    exif = turned.getexif()
    exif[0x0112] = 6
    picture = read_picture(encoded(turned, exif=exif), "")
    assert picture.turned
    np.testing.assert_array_equal(picture.pixels, COLORS)
    assert not read_picture(encoded(turned), "").turned


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def claiming(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that says it is large."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_sixteen_bits_per_channel():
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3)) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = (7).to_bytes(4, "big") + (5).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read_picture(png, "").pixels, values // 257)


NOISE = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)))
DAMAGED = {
    "is no image that can be read": b"not an image",
    "is no image": b"",
    r"cannot be read as an image \(image file is truncated": NOISE[:4000],
    "cannot be read as an image": NOISE[:5000] + bytes(9) + NOISE[5009:],
    "has 20000 x 20000 pixels, more than 268435456": claiming(20000, 20000),
    "says 10000 x 10000 pixels, which .* bytes cannot hold": claiming(10000, 10000),
    "has whole numbers in -5": encoded(Image.fromarray(RAMP.astype(np.int32) - 5), "TIFF"),
    r"has numbers in 0\.\.255, not": encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("message", DAMAGED)
def test_damaged_pictures(message):
    with pytest.raises(ValueError, match=f"its texture paint.png {message}"):
        read_picture(DAMAGED[message], "paint.png")


def test_large_pictures_are_no_attack():
    size = (PngImagePlugin.Image.MAX_IMAGE_PIXELS or 0) * 2 + 1
    with pytest.raises(ValueError, match="bytes cannot hold"):  # and not that it could be a decompression bomb
        read_picture(claiming(16384, size // 16384 + 1), "paint.png")


def test_names_of_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.png", "it is.png"):
        (tmp_path / name).write_text("")
    folders = [tmp_path / "elsewhere", tmp_path]
    for name in ("a.png", "A.PNG", " a.png ", '"a.png"', "C:\\x\\a.png", "/nowhere/a.png", "./a.png"):
        assert find_file(name, folders) == tmp_path / ("a.png" if not name.startswith("./") else "./a.png")
    assert find_file("deep\\b.png", folders) == tmp_path / "deep/b.png"
    assert find_file("it is.png", folders) == tmp_path / "it is.png"
    for name in ("c.png", "b.png", "", "x" * 5000, "a\0.png", "deep"):
        assert find_file(name, folders) is None


def test_bytes_stay_bytes():
    """A texture costs no more than its texels while it is taken over: four bytes each, and as many for the copy."""
    side = 2048
    texture = np.zeros((side, side, 3), np.uint8)
    tracemalloc.start()
    try:
        mesh = Mesh(np.eye(3), [[0, 1, 2]], uv=np.zeros((3, 2)), texture=texture)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mesh.materials.texels.shape == (side * side, 4)
    assert peak < 10 * side * side


def test_a_texture_that_is_shared_is_kept_once():
    mesh = Mesh(
        np.eye(3), [[0, 1, 2]] * 3, uv=np.zeros((3, 2)), texture=[COLORS, COLORS, None], face_material=[0, 1, 2]
    )
    np.testing.assert_array_equal(mesh.materials.textures, [[0, 16, 16], [0, 16, 16], [256, 1, 1]])
