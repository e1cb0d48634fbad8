"""Files with cameras and poses: JSON, YAML and matrices as text, or one line that says what is wrong."""

import pathlib

import numpy as np
import pytest

from sldiff_jax.cli._documents import number, numbers, read_document
from sldiff_jax.cli._errors import InputError

PATH = pathlib.Path("file.json")


def read(folder: pathlib.Path, content: str | bytes, name: str = "file"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_document(folder / name, "camera")


def test_json_with_and_without_a_byte_order_mark(tmp_path):
    assert read(tmp_path, '{"fx": 1, "K": [[1, 2]]}') == {"fx": 1, "K": [[1, 2]]}
    assert read(tmp_path, b"\xef\xbb\xbf\n[[1]]") == [[1]]


@pytest.mark.parametrize(
    "text", ["1 0 2\n0 1 3.5\n0 0 1\n", "# K\n1, 0, 2\n\n0, 1, 3.5 # y\n0, 0, 1", "1\t0\t2\r\n0 1 35e-1\r\n0 0 1"]
)
def test_matrices_as_text(text, tmp_path):
    np.testing.assert_array_equal(read(tmp_path, text), [[1, 0, 2], [0, 1, 3.5], [0, 0, 1]])


def test_yaml_of_ros_and_opencv(tmp_path):
    ros = """
image_width: 640
camera_name: left
camera_matrix:
  rows: 1
  cols: 3
  data: [600.5, 0, 1e-3]
"""
    assert read(tmp_path, ros)["camera_matrix"]["data"] == [600.5, 0, 1e-3]
    opencv = """%YAML:1.0
---
calibration_time: "Mon Jan  1 10:00:00 2024"
camera_matrix: !!opencv-matrix
   rows: 2
   cols: 2
   dt: d
   data: [ 6.5e+02, 0., 1., -2.0000000000000001e-01 ]
"""
    matrix = read(tmp_path, opencv)["camera_matrix"]
    np.testing.assert_array_equal(numbers(matrix, "it", PATH), [[650, 0], [1, -0.2]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "camera .*file is empty; JSON, YAML or a matrix"),
        (b"\xff\xfe{\x00", "camera .*file is not a text file; JSON, YAML or a matrix"),
        ("<?xml?><opencv_storage/>", "is XML, which is not understood"),
        ('{"fx": 1,', r"camera .*file is not valid JSON: .* in line 1"),
        ('{"fx": ' + 5000 * "1" + "}", "camera .*file cannot be understood"),
        (100_000 * "[", "camera .*file cannot be understood"),
        ("a: [1, 2\nb: {", "camera .*file cannot be understood"),
        ("a: !!python/object/apply:os.getcwd []", "camera .*file cannot be understood"),
        ("a: &a [1]\nb: *a", "cannot be understood .*: aliases"),
    ],
)
def test_broken_files_are_named(content, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"camera .* is no file"):
        read_document(tmp_path, "camera")
    with pytest.raises(InputError, match=r"pose .*no\.json does not exist"):
        read_document(tmp_path / "no.json", "pose")


@pytest.mark.parametrize(
    "value", ["1", True, None, [[1, 2], [3]], [1, "a"], [float("nan")], 10**400, {"rows": 2, "cols": 2, "data": [1]}]
)
def test_what_is_no_array_of_numbers(value):
    with pytest.raises(InputError, match=r"In file\.json, the thing must be numbers in lists of equal length, got "):
        numbers(value, "the thing", PATH)


@pytest.mark.parametrize("value", ["1", True, None, [1], 10**400, float("inf"), float("nan")])
def test_what_is_no_number(value):
    with pytest.raises(InputError, match=r'"it" in file\.json must be a number, got .{1,90}$'):
        number(value, '"it"', PATH)
