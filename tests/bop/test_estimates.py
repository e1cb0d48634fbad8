"""Files of estimated poses: read as the toolkit of the benchmark reads them, written so that it takes them."""

import logging

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sldiff_jax import bop

HEADER = "scene_id,im_id,obj_id,score,R,t,time"
R = "1 0 0 0 1 0 0 0 1"
LINE = f"1,2,3,0.5,{R},10 20 300,0.25"


def estimate(*, seed: int = 0, **changed) -> bop.Estimate:
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = np.random.default_rng(seed).uniform(-1, 1, 3)
    return bop.Estimate(1, 2, 3, 0.1 * (seed + 1), T, 0.25)._replace(**changed)


def read(tmp_path, text: str) -> list[bop.Estimate]:
    path = tmp_path / "mine_set-test.csv"
    path.write_bytes(text.encode())
    return bop.read_estimates(path)


def test_what_is_written_is_read_again_to_the_last_bit(tmp_path):
    estimates = [estimate(seed=k, image_id=k // 2) for k in range(6)]
    path = tmp_path / "deep" / "mine_set-test.csv"
    bop.write_estimates(path, estimates)
    assert path.read_text().startswith(HEADER + "\n")
    for before, after in zip(estimates, bop.read_estimates(path), strict=True):
        assert before[:4] == after[:4] and before.time == after.time
        np.testing.assert_array_equal(before.T_camera_object[:3, :3], after.T_camera_object[:3, :3])
        np.testing.assert_allclose(before.T_camera_object, after.T_camera_object, rtol=1e-15)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_rows_are_in_millimetres_and_row_by_row(tmp_path):
    (found,) = read(tmp_path, f"{HEADER}\n1,2,3,0.5,0 -1 0 1 0 0 0 0 1,10 20 300,0.25\n")
    assert found[:4] == (1, 2, 3, 0.5) and found.time == 0.25
    np.testing.assert_allclose(found.T_camera_object, [[0, -1, 0, 0.01], [1, 0, 0, 0.02], [0, 0, 1, 0.3], [0, 0, 0, 1]])


def test_the_recorded_estimates_are_read(tinya):
    estimates = bop.read_estimates(tinya / "coarse_tinya-test.csv")
    assert len(estimates) == 27 and estimates[1].object_id == 3 and estimates[1].time == 0.7214


FILES = {
    "plain": f"{HEADER}\n{LINE}\n",
    "no header": f"{LINE}\n",
    "no final newline": f"{HEADER}\n{LINE}",
    "CRLF": f"{HEADER}\r\n{LINE}\r\n",
    "empty line at the end": f"{HEADER}\n{LINE}\n\n",
    "header only": f"{HEADER}\n",
    "header with spaces after commas": f"{HEADER.replace(',', ', ')}\n{LINE}\n",
    "header with other column names": f"scene,image,object,score,R,t,time\n{LINE}\n",
    "header line longer, contains the usual one": f"{HEADER},more\n{LINE}\n",
    "six columns (no time)": f"{HEADER}\n{LINE.rpartition(',')[0]}\n",
    "eight columns": f"{HEADER}\n{LINE},1\n",
    "R with 8 numbers": f"{HEADER}\n{LINE.replace(R, R[2:])}\n",
    "R separated by semicolons": f"{HEADER}\n{LINE.replace(R, R.replace(' ', ';'))}\n",
    "two spaces between numbers": f"{HEADER}\n{LINE.replace(R, R.replace(' ', '  '))}\n",
    "R not a rotation": f"{HEADER}\n{LINE.replace(R, '2' + R[1:])}\n",
    "R with nan": f"{HEADER}\n{LINE.replace(R, 'nan' + R[1:])}\n",
    "score nan": f"{HEADER}\n{LINE.replace('0.5', 'nan')}\n",
    "score above 1": f"{HEADER}\n{LINE.replace('0.5', '7')}\n",
    "score negative": f"{HEADER}\n{LINE.replace('0.5', '-7')}\n",
    "t with 2 numbers": f"{HEADER}\n{LINE.replace('10 20 300', '10 20')}\n",
    "t in brackets": f"{HEADER}\n{LINE.replace('10 20 300', '[10 20 300]')}\n",
    "scene_id 1.0": f"{HEADER}\n1.0{LINE[1:]}\n",
    "scene_id 000001": f"{HEADER}\n00000{LINE}\n",
    "obj_id unknown to the data set": f"{HEADER}\n{LINE.replace('1,2,3', '1,2,9999')}\n",
    "times of one image differ by 0.0005": f"{HEADER}\n{LINE}\n{LINE}05\n",
    "times of one image differ by 0.01": f"{HEADER}\n{LINE}\n{LINE.replace('0.25', '0.26')}\n",
    "time -1": f"{HEADER}\n{LINE.replace('0.25', '-1')}\n",
    "one time -1, one 0.1": f"{HEADER}\n{LINE.replace('0.25', '-1')}\n{LINE.replace('1,2', '1,7', 1)}\n",
    "the same estimate twice": f"{HEADER}\n{LINE}\n{LINE}\n",
    "comment line": f"{HEADER}\n# mine\n{LINE}\n",
}


@pytest.mark.parametrize("case", FILES)
def test_files_are_taken_and_refused_as_by_the_toolkit(expected, tmp_path, case):
    verdicts = expected["rejected"]["csv_accepted_by_toolkit"]
    assert sorted(verdicts) == sorted(FILES)
    if verdicts[case]:
        assert read(tmp_path, FILES[case])
    else:
        with pytest.raises(ValueError, match=r"mine_set-test\.csv"):
            read(tmp_path, FILES[case])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FILES["R with nan"], "1 of 1 estimates hold numbers that are not finite"),
        (FILES["R not a rotation"], "1 of 1 estimates hold a matrix that is no rotation"),
        (FILES["the same estimate twice"], "1 of 2 estimates repeat another one"),
        (FILES["no header"], "has no header"),
    ],
)
def test_what_can_hardly_be_meant_is_told(tmp_path, caplog, text, told):
    with caplog.at_level(logging.WARNING):
        read(tmp_path, text)
    assert [told in record.getMessage() for record in caplog.records] == [True]


def test_errors_name_the_line(tmp_path):
    with pytest.raises(ValueError, match=r"line 3: R must be 9 numbers separated by spaces, got '1 0'"):
        read(tmp_path, f"{HEADER}\n{LINE}\n{LINE.replace(R, '1 0')}\n")
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        bop.read_estimates(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mine_lmo-test.csv", ("mine", "lmo", "test")),
        ("my-method_tless-test-primesense_2024.csv", ("my-method", "tless", "test-primesense")),
        ("my_method_lmo-test.csv", None),
        ("v1.2_lmo-test.csv", None),
        ("mine_lmo.csv", None),
        ("mine.csv", None),
        ("mine_lmo-test.json", None),
    ],
)
def test_names_of_result_files(tmp_path, name, parts):
    if parts is None:
        with pytest.raises(ValueError, match=r"must be METHOD_DATASET-SPLIT\.csv"):
            bop.write_estimates(tmp_path / name, [estimate()])
        assert not list(tmp_path.iterdir())
    else:
        assert bop.parse_result_name(name) == parts
        bop.write_estimates(tmp_path / name, [estimate()])


NOT_RIGID = np.diag([1.0, 1, 1.1, 1])
MIRRORED = np.diag([1.0, 1, -1, 1])


@pytest.mark.parametrize(
    ("estimates", "message"),
    [
        ([], "There are no estimates"),
        ([estimate(score=np.nan)], "scene 1, image 2 must be of finite numbers"),
        ([estimate(T_camera_object=np.full((4, 4), np.inf))], "finite numbers"),
        ([estimate(T_camera_object=NOT_RIGID)], "rigid pose"),
        ([estimate(T_camera_object=MIRRORED)], "rigid pose"),
        ([estimate(time=-0.5)], "-1 for unknown"),
        ([estimate(image_id=-2)], "not negative"),
        ([estimate(), estimate()], "is given twice"),
        ([estimate(), estimate(seed=1, time=3.0)], "all estimates of an image must have the same time"),
    ],
)
def test_what_the_benchmark_would_not_take_is_not_written(tmp_path, estimates, message):
    path = tmp_path / "mine_set-test.csv"
    with pytest.raises(ValueError, match=message):
        bop.write_estimates(path, estimates)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "mine_set-test.csv"
    bop.write_estimates(path, [estimate()])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="finite"):
        bop.write_estimates(path, [estimate(), estimate(score=np.nan)])
    assert path.read_bytes() == before
