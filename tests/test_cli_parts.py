"""What the command is made of: reducing images, scores, units, reading JSON."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sldiff_jax as sl
from sldiff_jax.cli._errors import InputError
from sldiff_jax.cli._read import parse_intrinsics, parse_pose, read_depth, read_mask, stated_scale
from sldiff_jax.cli._scores import depth_residual, pose_distance, score
from sldiff_jax.cli._units import Seen, check_units
from sldiff_jax.cli._window import Window, reduce_color, reduce_depth, reduce_mask, window_around

PATH = pathlib.Path("file.json")
sizes = st.integers(1, 20)


# --- windows and reduction


@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.integers(0, 2**32 - 1))
def test_reduction_by_area_is_the_mean_over_repeated_pixels(old, new, seed):
    """Repeat each old pixel new times, then take means of blocks of old: the exact area average."""
    image = np.random.default_rng(seed).integers(0, 256, (*old, 3), dtype=np.uint8)
    blown_up = image.repeat(new[0], axis=0).repeat(new[1], axis=1) / 255
    expected = blown_up.reshape(new[0], old[0], new[1], old[1], 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduce_color(image, new[1], new[0]), expected, atol=1e-5)


def test_a_reduced_mask_is_what_covers_half_of_a_pixel():
    mask = np.zeros((4, 6), bool)
    mask[:, :3] = True
    mask[3, 3:] = True
    assert reduce_mask(mask, 3, 2).tolist() == [[True, True, False], [True, True, True]]


@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.integers(0, 2**32 - 1))
def test_a_reduced_depth_is_measured_or_missing(old, new, seed):
    depth = np.random.default_rng(seed).choice(np.float32([0, 0.5, 0.51, 1.2]), old)
    reduced = reduce_depth(depth, new[1], new[0])
    assert reduced.shape == new
    assert set(np.unique(reduced)) <= {0, *np.unique(depth)}


def test_a_reduced_depth_is_the_median_of_what_was_measured():
    depth = np.float32([[0.5, 0.5, 0, 0.7, 0, 0], [0.5, 1.2, 0.9, 0.8, 0, 0.6]])
    np.testing.assert_array_equal(reduce_depth(depth, 3, 1), np.float32([[0.5, 0.8, 0]]))


def test_a_window_holds_the_region_with_its_margin_inside_the_image():
    region = np.zeros((100, 200), bool)
    region[40:60, 100:110] = True
    assert window_around(region, 0.25) == Window(90, 35, 30, 30)
    region[0:60, 0:4] = True
    window = window_around(region, 0.25)
    assert (window.left, window.top, window.width, window.height) == (0, 0, 165, 100)
    assert window.cut(region).sum() == region.sum()
    assert window.reduced(33) == (33, 20)
    assert window.reduced(1000) == (165, 100)


def test_the_camera_of_a_window_sees_its_pixels():
    camera = sl.Camera.from_intrinsics(100.0, 110.0, 99.0, 51.0, width=200, height=100)
    np.testing.assert_allclose(Window(20, 10, 50, 60).camera(camera).intrinsics, [100, 110, 79, 41], rtol=1e-5)


# --- scores


def test_scores_leave_out_what_stands_in_front():
    rendered = np.float32([[0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    mask = np.array([[False, True, True, False, False, False]])
    depth = np.float32([[0.5, 1.002, 0, 0.9, 1.1, 0]])
    assert score(rendered, mask, None).iou == pytest.approx(2 / 5)
    seen = score(rendered, mask, depth)  # at 0.9 m something hides the object
    assert seen.iou == pytest.approx(2 / 4)
    assert seen.depth_residual == pytest.approx(0.002, rel=1e-3)
    np.testing.assert_array_equal(np.isfinite(depth_residual(rendered, mask, depth)), [[0, 1, 0, 0, 0, 0]])
    assert score(rendered, None, None) == (None, None)
    assert score(0 * rendered, mask, depth) == (0.0, None)


@pytest.mark.parametrize("degrees", [1e-4, 10.0, 90.0, 179.9])
def test_distance_of_poses(degrees):
    axis = np.array([0.6, 0.0, 0.8]) * np.radians(degrees)
    T = np.eye(4)
    T[:3, :3] = np.asarray(sl.se3_exp(np.float32([*axis, 0, 0, 0])))[:3, :3]
    T[:3, 3] = [0.001, 0.002, 0.002]
    assert pose_distance(np.eye(4), T) == pytest.approx((degrees, 3.0), rel=1e-3)


# --- units

GOOD = Seen(
    diameter=0.1, distance=0.8, focal_length=1400, mask_extent=200, measured_depth=0.79, mesh_scale=1e-3,
    pose_scale=1e-3, depth_scale=1e-3,
)  # fmt: skip


@pytest.mark.parametrize("mask_extent", [None, 200.0, 40.0])
@pytest.mark.parametrize("measured_depth", [None, 0.79, 0.4])
def test_units_that_fit_pass(mask_extent, measured_depth):
    check_units(GOOD._replace(mask_extent=mask_extent, measured_depth=measured_depth))


@pytest.mark.parametrize("factor", [1e3, 1e-3])
@pytest.mark.parametrize("mask_extent", [None, 200.0])
@pytest.mark.parametrize(
    ("culprit", "field", "measured_depth"),
    [
        ("mesh", "diameter", None),
        ("mesh", "diameter", 0.79),
        ("pose", "distance", None),
        ("pose", "distance", 0.79),
        ("depth", "measured_depth", 0.79),
    ],
)
def test_the_wrong_unit_is_named(culprit, field, measured_depth, factor, mask_extent):
    seen = GOOD._replace(mask_extent=mask_extent, measured_depth=measured_depth)
    scale = f"{culprit}_scale"
    wrong = seen._replace(**{field: factor * getattr(seen, field), scale: factor * 1e-3})
    with pytest.raises(InputError, match=rf"wrong units: try --{culprit}-scale 0\.001\.$"):
        check_units(wrong)


def test_sizes_that_no_unit_explains_name_no_remedy():
    with pytest.raises(InputError, match="Check --mesh-scale"):
        check_units(GOOD._replace(diameter=7.0))


# --- JSON


def test_stated_units():
    document = {"units": {"mesh": "mm", "depth_png": "cm (uint16)"}}
    assert stated_scale(document, ("mesh",), PATH) == 1e-3
    assert stated_scale(document, ("depth", "depth_png"), PATH) == 1e-2
    assert stated_scale(document, ("pose",), PATH) is None
    assert stated_scale([[1]], ("pose",), PATH) is None
    with pytest.raises(InputError, match="must be an object"):
        stated_scale({"units": "mm"}, ("mesh",), PATH)


@pytest.mark.parametrize("pad", [3, 4])
@pytest.mark.parametrize(
    "wrap", [lambda K: K, lambda K: {"K": K}, lambda K: {"camera": K}, lambda K: {"camera": {"K": K}}]
)
def test_cameras_as_matrices(pad, wrap):
    K = np.eye(pad)
    K[:2, :3] = [[500, 0, 300], [0, 510, 200]]
    expected = (500, 510, 300.5, 200.5, 640, 480)
    assert parse_intrinsics(wrap(K.tolist()), PATH, (640, 480), None) == pytest.approx(expected)


def test_pixel_centres_are_where_the_flag_or_the_file_or_opencv_say():
    fields = {"fx": 500, "fy": 500, "cx": 300, "cy": 200}
    assert parse_intrinsics(fields, PATH, (640, 480), None)[2:4] == (300.5, 200.5)
    assert parse_intrinsics(fields | {"pixel_center": 0.5}, PATH, (640, 480), None)[2:4] == (300, 200)
    assert parse_intrinsics(fields | {"pixel_center": 0.5}, PATH, (640, 480), 0.0)[2:4] == (300.5, 200.5)


def test_poses_in_all_shapes():
    T = np.asarray(sl.se3_exp(np.float32([0.1, 0.2, 0.3, 0, 0, 0])), np.float64)
    T[:3, 3] = [10, 20, 300]
    inner = {"rotation_row_major": T[:3, :3].ravel().tolist(), "translation": [10, 20, 300]}
    expected = T.copy()
    expected[:3, 3] = [0.01, 0.02, 0.3]
    for document in (T.tolist(), {"T_camera_object": T.tolist()}, inner, {"initial_pose": inner}, {"pose": T.tolist()}):
        document = json.loads(json.dumps(document))
        np.testing.assert_allclose(parse_pose(document, PATH, 1e-3), expected, atol=1e-6)


def test_a_slightly_rounded_rotation_is_made_exact():
    T = np.eye(4)
    T[0, 1] = 4e-4
    R = parse_pose(T.tolist(), PATH, 1.0)[:3, :3]
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-14)


# --- images


def test_depth_arrays_are_in_metres_and_nan_is_missing(tmp_path):
    np.save(tmp_path / "depth.npy", np.array([[0.5, np.nan], [np.inf, 0.7]]))
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.npy", None), np.float32([[0.5, 0], [0, 0.7]]))
    np.save(tmp_path / "depth.npy", np.array([[0.5, -0.1]]))
    with pytest.raises(InputError, match="must not be negative"):
        read_depth(tmp_path / "depth.npy", None)
    (tmp_path / "depth.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_depth(tmp_path / "depth.npy", None)


def test_an_opaque_background_is_no_mask(tmp_path):
    from PIL import Image

    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[1, 2, 0] = 9
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False] * 3, [False, False, True]]
