"""Depth from files of every kind, in metres."""

import numpy as np
import pytest
from PIL import Image

from sldiff_jax._images.depth_files import read_depth

GREY = np.arange(0, 60, 5, np.uint8).reshape(3, 4)
COLOR = np.stack([GREY, GREY + 1, 255 - GREY], axis=2)
DEPTH = np.float32([[0.5, np.nan, 0.6], [np.inf, 0.7, 0]])
CLEAN = np.float32([[0.5, 0, 0.6], [0, 0.7, 0]])


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
    Image.fromarray(DEPTH).save(tmp_path / "depth.tiff")
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.tiff", None), CLEAN)
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.tiff", 2.0), 2 * CLEAN)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_depth_arrays_are_in_metres_and_nan_is_missing(dtype, tmp_path):
    np.save(tmp_path / "depth.npy", DEPTH.astype(dtype))
    np.testing.assert_allclose(read_depth(tmp_path / "depth.npy", None), CLEAN, rtol=1e-3)
    np.save(tmp_path / "depth.npy", DEPTH[..., None])
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.npy", None), CLEAN)
    for negative in (-0.1, -np.inf):
        np.save(tmp_path / "depth.npy", np.array([[0.5, negative]]))
        with pytest.raises(ValueError, match="must not be negative"):
            read_depth(tmp_path / "depth.npy", None)


def test_zipped_arrays(tmp_path):
    path = tmp_path / "depth.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, anything=1000 * CLEAN)
        np.testing.assert_allclose(read_depth(path, 1e-3), CLEAN)
        save(path, rgb=COLOR, depth=DEPTH)
        np.testing.assert_array_equal(read_depth(path, None), CLEAN)
    np.savez(path, rgb=COLOR, z=DEPTH)
    with pytest.raises(ValueError, match=r'depth\.npz must hold one array, or one named "depth", got rgb, z'):
        read_depth(path, None)
    np.savez(path)
    with pytest.raises(ValueError, match=r"must hold one array, .* got none"):
        read_depth(path, None)
    np.savez(path, np.array([{}]))
    with pytest.raises(ValueError, match=r"depth\.npz cannot be read: .*allow_pickle"):
        read_depth(path, None)


@pytest.mark.parametrize(
    "channels",
    [
        {"Z": DEPTH},
        {"V": DEPTH},
        {"ViewLayer.Depth.Z": DEPTH, "ViewLayer.Combined.R": 0 * CLEAN, "ViewLayer.Combined.G": CLEAN},
        {"Y": DEPTH},
        {"R": DEPTH, "G": DEPTH, "B": DEPTH, "A": 0 * CLEAN + 1},
    ],
    ids=str,
)
def test_exr(channels, tmp_path):
    OpenEXR = pytest.importorskip("OpenEXR", reason="the package OpenEXR is not installed")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {name: pixels.astype(np.float32) for name, pixels in channels.items()}) as file:
        file.write(str(tmp_path / "depth.exr"))
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.exr", None), CLEAN)


def test_exr_of_a_renderer_that_saw_nothing_or_of_colours(tmp_path):
    OpenEXR = pytest.importorskip("OpenEXR", reason="the package OpenEXR is not installed")
    path = tmp_path / "depth.exr"
    with OpenEXR.File({}, {"V": np.where(CLEAN > 0, CLEAN, np.float32(1e10))}) as file:
        file.write(str(path))
    np.testing.assert_allclose(read_depth(path, None), CLEAN)
    with OpenEXR.File({}, {"V": DEPTH.astype(np.float16)}) as file:
        file.write(str(path))
    np.testing.assert_allclose(read_depth(path, None), CLEAN, rtol=1e-3)
    with OpenEXR.File({}, {"R": CLEAN, "G": 2 * CLEAN, "B": CLEAN}) as file:
        file.write(str(path))
    with pytest.raises(ValueError, match=r'depth\.exr must hold one channel of depth, named "Z" or "V" .* got B, G, R'):
        read_depth(path, None)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"depth .*depth\.exr cannot be read"):
        read_depth(path, None)


def test_exr_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    (tmp_path / "depth.exr").write_bytes(b"")
    with pytest.raises(ValueError, match=r"depth\.exr needs the package OpenEXR: pip install 'sldiff-jax\[exr\]'"):
        read_depth(tmp_path / "depth.exr", None)


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_broken_files_are_named(content, tmp_path):
    for name in ("depth.npy", "depth.npz", "depth.png"):
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


def test_depth_is_not_compressed_with_loss(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "depth.jpg")
    with pytest.raises(ValueError, match=r"depth\.jpg is a JPEG file, which changes the numbers"):
        read_depth(tmp_path / "depth.jpg", 1e-3)
