"""The whole chain by the command, at small size: make, refine, evaluate, show; and a data set with what is rare."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from sldiff_jax import bop
from sldiff_jax.cli import main

pytestmark = pytest.mark.slow


def test_a_made_up_data_set_is_refined_and_scored(tmp_path, capsys):
    folder = tmp_path / "tiny"
    coarse, refined = folder / "coarse_tiny-test.csv", tmp_path / "mine_tiny-test.csv"
    assert main(["bop", "make", "--images", "2", "--width", "128", "--output", str(folder)]) == 0
    refine = ["bop", "refine", str(folder), "--estimates", str(coarse), "--output", str(refined)]
    assert main([*refine, "--steps", "12", "--resolution", "64"]) == 0
    scores = {}
    for results in (coarse, refined):
        output = tmp_path / f"{results.stem}.json"
        assert main(["bop", "evaluate", str(folder), "--results", str(results), "--output", str(output)]) == 0
        scores[results] = json.loads(output.read_text())
    for name in ("bop19_average_recall", "bop24_mAP", "ad_recall"):
        assert scores[refined][name] > scores[coarse][name] + 0.1, name
    picture = tmp_path / "poses.png"
    show = ["bop", "show", str(folder), "--results", str(refined), "--before", str(coarse)]
    assert main([*show, "--output", str(picture)]) == 0
    assert np.asarray(Image.open(picture)).std() > 10
    # What each step was given and what came of it.
    commands = [(tmp_path / "run.json", "evaluate"), (folder / "run.json", "make")]
    for path, job in commands:
        record = json.loads(path.read_text())
        assert record["command"][:3] == ["sldiff-jax", "bop", job] and record["times"]["seconds"] > 0
    assert "2 of 2 images done" in capsys.readouterr().out


@pytest.mark.parametrize("joint", [False, True])
def test_rare_data_sets_are_refined(rare, tmp_path, joint):
    """Grey images, of two sizes, without depth in one scene, without masks, objects 3 and 17, camera poses."""
    shutil.rmtree(rare / "test/000012/depth")
    dataset = bop.Dataset.open(rare)
    begins = [
        bop.Estimate(frame.scene_id, frame.image_id, instance.object_id, 0.5, instance.T_camera_object)
        for frame in dataset
        for instance in frame.instances
    ]
    settings = bop.Settings(steps=3, resolution=32, joint=joint)
    output = tmp_path / "mine_rare-test.csv"
    run = bop.refine_dataset(dataset, output, estimates=begins, settings=settings)
    assert run.failures == {} and run.images == 4 and run.estimates == len(begins)
    ended = bop.read_estimates(output)
    assert [estimate[:3] for estimate in ended] == [begin[:3] for begin in begins]
    assert all(0 < estimate.score <= 0.5 for estimate in ended)
    bop.evaluate(dataset, ended)
