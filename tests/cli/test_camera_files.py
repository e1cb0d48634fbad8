"""Cameras by the names of many programs; what bends the image is never dropped."""

import pathlib

import numpy as np
import pytest

from sldiff_jax.cli._camera_files import parse_intrinsics
from sldiff_jax.cli._errors import InputError

PATH = pathlib.Path("file.json")
SIZE = (640, 480)
FLAT = [500.0, 0, 300, 0, 510, 200, 0, 0, 1]
FIELDS = {"fx": 500, "fy": 510, "cx": 300, "cy": 200}
CENTERED = (500, 510, 300.5, 200.5, 640, 480)
D = [-0.2, 0.1, 0.001, -0.002, 0.03]


def parse(document, pixel_center=None):
    return parse_intrinsics(document, PATH, SIZE, pixel_center)


@pytest.mark.parametrize("pad", [3, 4])
@pytest.mark.parametrize(
    "wrap",
    [lambda K: K, lambda K: {"K": K}, lambda K: {"camera": K}, lambda K: {"camera": {"K": K}}, lambda K: {"mtx": K}],
)
def test_cameras_as_matrices(pad, wrap):
    K = np.eye(pad)
    K[:2, :3] = [[500, 0, 300], [0, 510, 200]]
    assert parse(wrap(K.tolist())) == (*CENTERED, (), ())


@pytest.mark.parametrize(
    "document",
    [
        FIELDS,
        {"camera": FIELDS, "units": {"mesh": "mm"}, "initial_pose": {}},
        {"fx": 500, "fy": 510, "ppx": 300, "ppy": 200, "coeffs": [0] * 5, "model": "distortion.inverse_brown_conrady"},
        {"intrinsics": {"fx": 500, "fy": 510, "ppx": 300, "ppy": 200}},
        # BOP
        FIELDS | {"width": 640, "height": 480, "depth_scale": 0.1},
        {"cam_K": FLAT, "depth_scale": 1.0, "cam_R_w2c": FLAT, "cam_t_w2c": [0, 0, 1]},
        # ROS
        {"K": FLAT, "D": [0, 0, 0, 0, 0], "R": FLAT, "P": 12 * [0], "distortion_model": "plumb_bob", "header": {},
         "binning_x": 0, "binning_y": 1, "roi": {"x_offset": 0, "do_rectify": False}},
        {"k": FLAT, "d": [], "r": FLAT, "p": 12 * [0], "width": 640, "height": 480},
        {"image_width": 640, "image_height": 480, "camera_name": "a", "distortion_model": "plumb_bob",
         "camera_matrix": {"rows": 3, "cols": 3, "data": FLAT},
         "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0] * 5},
         "rectification_matrix": {"rows": 3, "cols": 3, "data": FLAT}, "projection_matrix": {}},
        # OpenCV
        {"cameraMatrix": {"rows": 3, "cols": 3, "dt": "d", "data": FLAT}, "distCoeffs": None, "nframes": 3},
        # Open3D, column by column
        {"width": 640, "height": 480, "intrinsic_matrix": [500, 0, 0, 0, 510, 0, 300, 200, 1]},
    ],
)  # fmt: skip
def test_cameras_by_many_names(document):
    assert parse(document) == (*CENTERED, (), ())


def test_pixel_centres_are_where_the_flag_or_the_file_or_opencv_say():
    fields = {"fx": 500, "fy": 500, "cx": 300, "cy": 200}
    assert parse(fields)[2:4] == (300.5, 200.5)
    assert parse(fields | {"pixel_center": 0.5})[2:4] == (300, 200)
    assert parse(fields | {"pixel_center": 0.5}, 0.0)[2:4] == (300.5, 200.5)


@pytest.mark.parametrize(
    "more",
    [
        {"D": D},
        {"d": [D]},
        {"dist_coeffs": [[x] for x in D]},
        {"distCoeffs": {"rows": 5, "cols": 1, "data": D}},
        {"distortion_coefficients": D, "distortion_model": "plumb_bob"},
        {"Distortion": {"k1": -0.2, "k2": 0.1, "k3": 0.03, "p1": 0.001, "p2": -0.002}},
        {"k1": -0.2, "k2": 0.1, "k3": 0.03, "p1": 0.001, "p2": -0.002, "model": "OPENCV"},
        {"dist": [*D, 0, 0, 0]},
        {"dist": [*D, *(7 * [0.0])]},
        {"coeffs": D, "model": "Brown Conrady"},
    ],
)
def test_distortion_by_many_names(more):
    for document in (FIELDS | more, {"camera": FIELDS} | more, {"camera": FIELDS | more}):
        distortion = parse(document).distortion
        assert distortion[:5] == tuple(D) and not any(distortion[5:])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"D": D, "distortion_model": "equidistant"}, 'model "equidistant", which is not understood; "plumb_bob"'),
        ({"k1": 0.1, "camera_model": "OPENCV_FISHEYE"}, 'model "OPENCV_FISHEYE"'),
        ({"coeffs": D, "model": "inverse_brown_conrady"}, 'model "inverse_brown_conrady"'),
        ({"D": [0.1, 0, 0]}, r"first 4, 5 or 8 of OpenCV's .* got 3: \[0\.1, 0\.0, 0\.0\]\. Undistort photo"),
        ({"D": [*D, 0, 0, 0, 0.1, 0, 0, 0]}, "first 4, 5 or 8 .* got 12"),
        ({"D": D, "k1": 0.1}, 'states its distortion several times: "D", "k1"'),
        ({"D": "-0.2"}, '"D" must be numbers'),
        ({"k1": None}, '"k1" in file.json must be a number'),
        ({"distortion": {"k1": 0.1, "k9": 1}}, '"distortion" in .* must hold k1, k2'),
        ({"radial_distortion": [0.1, 0]}, r'"radial_distortion" .* may bend the image: \[0\.1, 0\]'),
        ({"lens": {"a": {"b": -0.1}}}, '"lens" of the camera'),
        ({"calibration": {"k1": -0.1}}, '"k1" of the camera .* is not understood'),
        ({"skew": 1e-3}, '"skew" of the camera'),
        ({"is_fisheye": True}, '"is_fisheye" of the camera'),
        ({"s1": 0.1}, '"s1" of the camera'),
        ({"binning_x": 2}, "window of it, or binned"),
        ({"roi": {"x_offset": 0, "y_offset": 8}}, "window of it, or binned"),
        ({"FX": 500}, "differ in nothing but their spelling"),
    ],
)
def test_what_bends_or_moves_the_image_is_not_dropped(more, message):
    for document in (FIELDS | more, {"camera": FIELDS} | more if "FX" not in more else FIELDS | more):
        with pytest.raises(InputError, match=message):
            parse(document)


def test_keys_that_are_not_understood_are_returned():
    document = {"camera": FIELDS | {"serial": 7}, "files": {}, "lens_distortion": 0, "k7": "0.0", "date": "today"}
    assert parse(document).unknown == ("files", "lens_distortion", "k7", "date", "serial")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"fl_x": 500, "fl_y": 500}, r'lacks "fx"\. Expected: "fx", .* "K" .* "D" .*depth_scale.* Got: "fl_x", "fl_y"'),
        ({}, 'lacks "fx".* Got: nothing'),
        ("text", "the intrinsic matrix must be numbers"),
        ([500, 500, 300, 200], r"must be 3x3 .* got shape \(4,\)"),
        ({"K": [500, 3, 300, 0, 510, 200, 0, 0, 1]}, r"must be \[\[fx, 0, cx\]"),
        (FIELDS | {"fx": 0}, "must be positive"),
        (FIELDS | {"width": 640, "height": 360}, "images of 640x360 pixels, and the image has 640x480"),
        (FIELDS | {"pixel_center": "0"}, '"pixel_center" in file.json must be a number'),
    ],
)
def test_what_is_no_camera(document, message):
    with pytest.raises(InputError, match=message):
        parse(document)


@pytest.mark.parametrize(("cx", "cy"), [(320, 200), (300, 240), (-1, 200)])
def test_a_camera_of_another_resolution_is_noticed(cx, cy):
    with pytest.raises(InputError, match=r"file\.json is at column .*, outside of the image of 320x240 pixels"):
        parse_intrinsics({"fx": 500, "fy": 500, "cx": cx, "cy": cy}, PATH, (320, 240), None)
