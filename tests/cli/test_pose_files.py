"""Poses and scales as files state them, and the entries of files that hold many."""

import json
import pathlib

import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.cli._bop_entries import image_entry, object_entry
from sldiff_jax.cli._errors import InputError
from sldiff_jax.cli._pose_files import parse_depth_camera_pose, parse_pose
from sldiff_jax.cli._scales import stated_depth_scale, stated_pose_scale, stated_scale

PATH = pathlib.Path("file.json")
MESH = pathlib.Path("can.ply")
T = np.asarray(sl.se3_exp(np.float32([0.1, 0.2, 0.3, 0, 0, 0])), np.float64)
T[:3, 3] = [10, 20, 300]
INNER = {"rotation_row_major": T[:3, :3].ravel().tolist(), "translation": [10, 20, 300]}
BOP = {"cam_R_m2c": T[:3, :3].ravel().tolist(), "cam_t_m2c": [10, 20, 300], "obj_id": 5}


@pytest.mark.parametrize(
    "document",
    [
        T.tolist(), {"T_camera_object": T.tolist()}, INNER, {"initial_pose": INNER}, {"pose": T.tolist()}, BOP,
        {"rotation_row_major": T[:3, :3].tolist(), "translation": [[10], [20], [300]]},
    ],
)  # fmt: skip
def test_poses_in_all_shapes(document):
    expected = T.copy()
    expected[:3, 3] = [0.01, 0.02, 0.3]
    np.testing.assert_allclose(parse_pose(json.loads(json.dumps(document)), PATH, 1e-3), expected, atol=1e-6)


def test_what_is_no_pose():
    for document, message in (
        ({"R": [1], "t": [2]}, r'lacks "rotation_row_major"\. Expected: .*"cam_R_m2c".*4x4 matrix\. Got: "R", "t"'),
        ({}, "Got: nothing"),
        ({"cam_R_m2c": [1] * 9}, 'lacks "translation"'),
    ):
        with pytest.raises(InputError, match=message):
            parse_pose(document, PATH, 1.0)


def test_a_slightly_rounded_rotation_is_made_exact():
    rounded = np.eye(4)
    rounded[0, 1] = 4e-4
    R = parse_pose(rounded.tolist(), PATH, 1.0)[:3, :3]
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-14)


def test_the_pose_of_a_depth_camera():
    for document in (T.tolist(), INNER):
        made = parse_depth_camera_pose({"fx": 1, "T_camera_depth": document}, PATH, 1e-3)
        np.testing.assert_allclose(made[:3, 3], [0.01, 0.02, 0.3])
    for document in ({"fx": 1}, [[1]]):
        with pytest.raises(InputError, match=r'depth camera in file\.json lacks "T_camera_depth"'):
            parse_depth_camera_pose(document, PATH, 1.0)


# --- scales


def test_stated_units():
    document = {"units": {"mesh": "mm", "depth_png": "cm (uint16)", "pose": 0.0254, "depth": 1}}
    assert stated_scale(document, ("mesh",), PATH) == 1e-3
    assert stated_scale(document, ("depth_png",), PATH) == 1e-2
    assert stated_scale(document, ("pose",), PATH) == 0.0254
    assert stated_scale(document, ("other", "depth"), PATH) == 1
    assert stated_scale(document, ("other",), PATH) is None
    assert stated_scale([[1]], ("pose",), PATH) is None
    with pytest.raises(InputError, match="must be an object"):
        stated_scale({"units": "mm"}, ("mesh",), PATH)


@pytest.mark.parametrize("unit", ["inch", "", 0, -1, True, None, [1e-3], float("inf"), float("nan")])
def test_what_is_no_unit(unit):
    with pytest.raises(InputError, match=r'The unit of "mesh" in file\.json must begin with one of m, cm, mm, got'):
        stated_scale({"units": {"mesh": unit}}, ("mesh",), PATH)


def test_scales_of_bop():
    assert stated_depth_scale({"depth_scale": 0.1}, PATH) == pytest.approx(1e-4)
    assert stated_depth_scale({"depth_scale_m_per_unit": 0.1, "depth_scale": 7}, PATH) == 0.1
    assert stated_depth_scale({"fx": 1}, PATH) is None
    assert stated_depth_scale([[1]], PATH) is None
    assert stated_pose_scale(BOP, PATH) == 1e-3
    assert stated_pose_scale(BOP | {"units": {"pose": "m"}}, PATH) == 1
    assert stated_pose_scale(INNER, PATH) is None
    for value in (0, -1, "0.1"):
        with pytest.raises(InputError, match=r'"depth_scale" in file\.json must be (positive|a number)'):
            stated_depth_scale({"depth_scale": value}, PATH)


# --- entries


def test_the_entry_of_an_image():
    def entry(document, image="photo.png", image_id=None):
        return image_entry(document, PATH, pathlib.Path(image), image_id)

    many = {"3": "three", "12": "twelve"}
    assert entry({"fx": 1}) == {"fx": 1} and entry([[1]]) == [[1]]
    assert entry({"7": "seven"}) == "seven"
    assert entry(many, "rgb/000012.png") == "twelve"
    assert entry(many, "rgb/000012.png", 3) == "three"
    with pytest.raises(InputError, match=r"for the images 3, 12, and which of them .* Name one with --image-id"):
        entry(many)
    with pytest.raises(InputError, match="for the images 3, 12, and not 5"):
        entry(many, "000005.png")
    with pytest.raises(InputError, match="for the images 7, and not 5"):
        entry({"7": "seven"}, image_id=5)


def test_the_entry_of_an_object():
    def entry(document, mesh="can.ply", object_id=None, instance=None):
        return object_entry(document, PATH, pathlib.Path(mesh), object_id, instance)

    one, two, again = BOP, BOP | {"obj_id": 6}, BOP | {"obj_id": 6, "cam_t_m2c": [0, 0, 9]}
    assert entry(T.tolist()) == T.tolist() and entry(INNER) == INNER
    assert entry([one]) == entry([one, two], "obj_000005.ply") == entry([two, one], object_id=5) == one
    assert entry([one, two, again], instance=2) == again
    with pytest.raises(InputError, match=r"has the objects 5, 6 in this image, and which .* Name one with --object-id"):
        entry([one, two])
    with pytest.raises(InputError, match="has the objects 5, 6 in this image, and not 7"):
        entry([one, two], "obj_000007.ply")
    with pytest.raises(InputError, match="has the objects 5 in this image, and not 6"):
        entry([one], object_id=6)
    with pytest.raises(InputError, match=r"has object 6 2 times in this image. Name one with --instance: 1, 2"):
        entry([one, two, again], object_id=6)
    with pytest.raises(InputError, match="instances 0 to 1 in this image, and not 2"):
        entry([one, two], instance=2)
