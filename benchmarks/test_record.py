"""What is read out of the tables of a report, and the ratios between two."""

import json

import compare
import pytest
import record

REPORT = """# Speed

By function:

| function | objects | ours: median (min) ms | torch / ours | load |
|---|---|---|---|---|
| gradients | 1 | 4.0 (3.1) | 2.5 | 0.1 |
| gradients | 5 | 8.0 (7.9) | - | 0.1 |

| what | median (min) ms |
|---|---|
| 16 bunnies: vmap; loop | 120.0 (110.0); 240.5 (230) |
| start off by 10 degrees + 4 mm | 97 %, 0.3° |

Again:

| what | median (min) ms |
|---|---|
| 16 bunnies: vmap; loop | 60 |
| 16 bunnies: vmap; loop | 70 |
"""


def test_figures_of_a_report():
    """Words and counts name a row; numbers with units, in brackets and with semicolons are read."""
    assert record.figures(REPORT) == {
        "gradients, 1: ours: median (min) ms": 4.0,
        "gradients, 1: torch / ours": 2.5,
        "gradients, 1: load": 0.1,
        "gradients, 5: ours: median (min) ms": 8.0,
        "gradients, 5: load": 0.1,
        "16 bunnies: vmap; loop: median (min) ms [0]": 120.0,
        "16 bunnies: vmap; loop: median (min) ms [1]": 240.5,
        "start off by 10 degrees + 4 mm: median (min) ms": 97.0,
        "16 bunnies: vmap; loop: median (min) ms": 60.0,
        "Again: 16 bunnies: vmap; loop: median (min) ms": 70.0,
    }


def test_ratios(tmp_path, capsys):
    """What changed is marked, and what only one side has is told."""
    before, after = tmp_path / "before.md", tmp_path / "after.md"
    record.write(before, REPORT)
    record.write(after, REPORT.replace("4.0 (3.1)", "6.0 (3.1)").replace("| gradients | 5 |", "| gradients | 20 |"))
    assert before.read_text() == REPORT
    assert compare.main([str(before.with_suffix(".json")), str(after.with_suffix(".json"))]) == 0
    said = capsys.readouterr().out
    assert "| gradients, 1: ours: median (min) ms | 4 | 6 | 1.50 | ! |" in said
    assert "| gradients, 1: load | 0.1 | 0.1 | 1.00 |  |" in said
    assert "geometric mean of 8 ratios: 1.05" in said
    assert "only before: gradients, 5" in said and "only after: gradients, 20" in said


def test_results_of_pytest_benchmark(tmp_path, capsys):
    """Its files have their medians compared."""
    for name, median in (("a", 2.0), ("b", 1.0)):
        document = {"datetime": "now", "machine_info": {"node": "here"},
                    "benchmarks": [{"fullname": "bench::x", "stats": {"median": median}}]}  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    assert compare.main([str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "| bench::x: median s | 2 | 1 | 0.50 | ! |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read as JSON"), ("{}", "holds no results"),
     ('{"figures": {"x": 1}, "written": "", "load": "", "machine": ""}', "no figure in common")],
)  # fmt: skip
def test_what_cannot_be_compared(tmp_path, capsys, text, message):
    """Files of another kind get a message."""
    record.write(tmp_path / "good.md", REPORT)
    (tmp_path / "bad.json").write_text(text)
    assert compare.main([str(tmp_path / "bad.json"), str(tmp_path / "good.json")]) == 2
    assert message in capsys.readouterr().err
