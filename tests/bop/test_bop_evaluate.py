"""``sldiff-jax bop evaluate``: scores under BOP's names, a table, a record; and wrong input."""

import json

import pytest

from sldiff_jax import bop
from sldiff_jax.cli import main


def test_scores_are_written_and_printed(tinya, expected, tmp_path, capsys):
    output = tmp_path / "out" / "scores.json"
    arguments = [
        "bop",
        "evaluate",
        str(tinya),
        "--results",
        str(tinya / "coarse_tinya-test.csv"),
        "--output",
        str(output),
    ]
    assert main(arguments) == 0
    scores = json.loads(output.read_text())
    for challenge in ("bop19", "bop24"):
        for name, value in expected[challenge]["scores"].items():
            assert scores[name] == pytest.approx(value, abs=1e-4)
    assert sorted(scores["objects"]) == ["1", "2", "3"]
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(line for line in table if line[:1] == ["all"])[:3] == ["all", "18", "51.6"]
    record = json.loads((output.parent / "run.json").read_text())
    assert record["command"] == ["sldiff-jax", *arguments] and record["output"] == "scores.json"
    assert record["settings"]["results"].endswith("coarse_tinya-test.csv") and "jax" in record["versions"]
    assert record["results"]["bop19_average_recall"] == scores["bop19_average_recall"]
    assert record["times"]["seconds"] > 0 and record["earlier"] == []


def test_records_of_earlier_runs_are_kept(rare, tmp_path, capsys):
    truth = [
        bop.Estimate(f.scene_id, f.image_id, i.object_id, 1.0, i.T_camera_object)
        for f in bop.Dataset.open(rare)
        for i in f.instances
    ]
    results = tmp_path / "truth_rare-test.csv"
    bop.write_estimates(results, truth)
    for name in ("first.json", "second.json", "first.json"):
        assert main(["bop", "evaluate", str(rare), "--results", str(results), "--output", str(tmp_path / name)]) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["output"] == "first.json"
    assert [earlier["output"] for earlier in record["earlier"]] == ["second.json", "first.json"]
    assert record["results"]["bop24_mAP_mssd"] == 1 and "earlier" not in record["earlier"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bop", "evaluate", "nowhere", "--results", "a_b-test.csv"], "The data set nowhere does not exist"),
        (["bop", "evaluate", "{rare}", "--results", "a_b-test.csv"], "a_b-test.csv cannot be read"),
        (["bop", "evaluate", "{rare}", "--results", "a_b-val.csv"], "has no split 'val'"),
        (["bop", "evaluate", "{rare}"], "--results"),
        (["bop"], "JOB"),
    ],
)
def test_wrong_input_is_one_line(rare, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main([word.format(rare=rare) for word in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("sldiff-jax: error: ") and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rare"]
