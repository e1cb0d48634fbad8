"""``sldiff-jax refine`` without a start."""

import json

import numpy as np
import pytest
from rendered_photo import arguments, write_photo

from sldiff_jax import metrics
from sldiff_jax._refine import search
from sldiff_jax.cli import main


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo")
    write_photo(folder)
    return folder


def refine(folder, output, **changed) -> list[str]:
    return ["refine", *arguments(folder, output, pose=None, port=None, **changed)[1:]]


@pytest.mark.slow
def test_the_pose_is_found(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "KEPT", (32, 16, 4))
    code = main(refine(photo, tmp_path / "out"))
    said = capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "pose.json").read_text())
    T, T_true = (
        np.array(x, np.float32) for x in (document["T_camera_object"], json.loads((photo / "true.json").read_text()))
    )
    assert float(metrics.rotation_error(T, T_true)) < np.radians(3)
    assert float(metrics.translation_error(T, T_true)) < 0.02
    assert code == 0
    assert document["score"] > 0.7
    assert document["search"]["poses"][0]["loss"] == min(pose["loss"] for pose in document["search"]["poses"])
    assert set(document["standard_deviations"]) == {"rotation_deg", "translation_mm"}
    assert "no other pose found fits as well" in said
    assert (tmp_path / "out" / "hypotheses.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mask": None}, "Nothing says where the object is: give --pose"),
        ({"box": "1 2 3 4"}, "--box says where to look"),
        ({"mesh_scale": 1000}, "m away to look as large"),
    ],
)
def test_bad_input(photo, tmp_path, capsys, changed, message):
    words = refine(photo, tmp_path / "out", **{k: v for k, v in changed.items() if k != "box"})
    if "box" in changed:
        words += ["--box", *changed["box"].split()]
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_box_outside_of_the_photo(photo, tmp_path, capsys):
    words = [*refine(photo, tmp_path / "out", mask=None), "--box", "500", "10", "30", "30"]
    assert main(words) == 2
    assert "outside of the image of 240x180" in capsys.readouterr().err
