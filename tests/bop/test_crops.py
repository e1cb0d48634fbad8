"""Windows around objects, and starts from boxes: against the camera and the observation of the library."""

import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax import bop
from sldiff_jax.bop._crops import Disc, Photo, Square, cut, disc_of, square_around
from sldiff_jax.bop._starts import ROTATIONS, from_detection

K = np.array([[150.0, 0, 61.3], [0, 148.0, 44.2], [0, 0, 1]])


def photo(depth: bool = True) -> Photo:
    rng = np.random.default_rng(0)
    return Photo(
        K,
        rng.integers(0, 256, (90, 120, 3), np.uint8),
        rng.uniform(0.3, 0.6, (90, 120)).astype(np.float32) if depth else None,
    )


@pytest.mark.parametrize("square", [Square(10, 20, 64, 64), Square(-20, 40, 96, 32), Square(100, -30, 64, 32)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_crops_are_what_the_library_cuts(square, scale):
    seen = cut(photo(), None, square, scale)
    size = round(scale * square.shown)
    whole = sl.Observation(photo().rgb, photo().depth)
    slow = whole.cropped(square.left, square.top, square.side, square.side).resized(size, size)
    np.testing.assert_allclose(seen.rgb, slow.rgb, atol=1e-6)
    np.testing.assert_allclose(seen.depth, slow.depth, atol=1e-6)
    np.testing.assert_allclose(seen.weight, np.ones((size, size)) if slow.weight is None else slow.weight, atol=1e-6)
    camera = sl.Camera.from_intrinsics(150, 148, 61.8, 44.7, width=120, height=90, near=0.01, far=100)
    cropped = camera.cropped(square.left, square.top, square.side, square.side)
    np.testing.assert_allclose(square.projection(K), cropped.projection, atol=1e-5)


def test_what_lies_outside_of_the_image_is_not_cut():
    assert cut(photo(), None, Square(300, 0, 64, 64), 1.0) is None
    mask = np.zeros((90, 120), bool)
    mask[80:, 100:] = True
    assert cut(photo(), mask, Square(0, 0, 64, 64), 1.0) is None
    assert cut(photo(), mask, Square(60, 30, 64, 64), 1.0).mask.sum() == mask[30:, 60:].sum()


def test_windows_have_few_sizes_and_hold_their_objects():
    for radius, shown, side in ((5, 32, 32), (14, 64, 64), (60, 64, 168)):
        square = square_around([Disc(50, 40, radius)], 0.2, (32, 64))
        assert (square.shown, square.side) == (shown, side)
        assert square.left == pytest.approx(50 - side / 2, abs=0.51)
        assert square.top == pytest.approx(40 - side / 2, abs=0.51)
    square = square_around([Disc(20, 20, 10), Disc(90, 40, 10)], 0.0, (64, 128))
    assert square.left <= 10 and square.left + square.side >= 100 and square.shown == 128


def test_discs_hold_the_projection():
    T = np.eye(4)
    T[:3, 3] = 0.05, -0.02, 0.5
    disc = disc_of(T, K, 0.1, np.array([0.01, 0, 0]))
    u, v, w = K @ [0.06, -0.02, 0.5]
    assert disc.x == pytest.approx(u / w + 0.5) and disc.y == pytest.approx(v / w + 0.5)
    assert disc.radius == pytest.approx(0.05 / 0.5 * 149, rel=1e-3)
    T[2, 3] = -0.5
    assert disc_of(T, K, 0.1, np.zeros(3)) is None


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("boxed", [True, False])
def test_starts_fill_what_was_detected(depth, boxed):
    """For the rotation that the object has, the pose itself comes out, up to perspective."""
    rng = np.random.default_rng(1)
    vertices = rng.uniform(-0.05, 0.05, (200, 3)) * [1, 0.6, 0.4] + 0.01
    T_true = np.eye(4)
    T_true[:3, :3] = ROTATIONS[7]
    T_true[:3, 3] = 0.06, -0.03, 0.6
    turned = vertices @ T_true[:3, :3].T
    points = (turned + T_true[:3, 3]) @ K.T
    pixels = points[:, :2] / points[:, 2:]
    (left, top), (right, bottom) = np.floor(pixels.min(axis=0) + 0.5), np.floor(pixels.max(axis=0) + 0.5)
    mask = np.zeros((90, 120), bool)
    mask[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = True
    box = (left, top, right - left + 1, bottom - top + 1)
    detection = bop.Detection(1, 2, 3, 0.7, box if boxed else None, None if boxed else mask, 0.3)
    z = 0.6 + 0.5 * (turned[:, 2].min() + turned[:, 2].max())  # where the middle of the object is
    measured = np.full((90, 120), z - 0.3 * 0.12, np.float32) if depth else None
    start = from_detection(detection, K, vertices, 0.12, measured)
    assert start.T_camera_object.shape == (60, 4, 4) and (start.object_id, start.score, start.time) == (3, 0.7, 0.3)
    assert start.searched and (start.mask is None) == boxed
    np.testing.assert_allclose(start.T_camera_object[7, :3, 3], T_true[:3, 3], atol=0.004 if depth else 0.045)
    for T in start.T_camera_object:
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)


def test_an_empty_mask_starts_nothing():
    with pytest.raises(ValueError, match="neither a box nor a mask"):
        from_detection(bop.Detection(1, 2, 3, 0.5, None, np.zeros((4, 4), bool)), K, np.eye(3), 1.0, None)
