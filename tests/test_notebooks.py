"""The notebooks as they are stored: complete, small, and free of traces of the machine that ran them.

`make notebooks` runs them; ``python notebooks/execute.py`` runs them and stores what they print and draw.
"""

from __future__ import annotations

import copy
import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 1_500_000
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|Users|work|mnt|opt|usr|var)/\w|[A-Z]:\\\\|site-packages|\.venv/")


def faults(notebook: dict, size: int) -> list[str]:
    """What is wrong with a notebook whose file has `size` bytes; empty if nothing is."""
    found = []
    if size >= MOST_BYTES:
        found.append(f"it has {size} bytes, {MOST_BYTES} are the limit")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel is not python3, which every environment with ipykernel has")
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("its cells were not all executed once and in their order")
    outputs = [output for cell in cells for output in cell["outputs"]]
    if not any("image/png" in output.get("data", {}) for output in outputs):
        found.append("it holds no picture")
    for output in outputs:
        if output["output_type"] == "error":
            found.append(f"it holds an error: {output['ename']}")
        if output.get("name") == "stderr":
            found.append(f"it holds warnings: {_text(output['text'])}")
    texts = [_text(cell["source"]) for cell in notebook["cells"]]
    for output in outputs:
        texts.append(_text(output.get("text", "")))
        texts += [_text(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    found += [f"it names a path of a machine: {match.group()}" for match in map(MACHINE_PATH.search, texts) if match]
    return found


def _text(lines: str | list[str]) -> str:
    return "".join(lines)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_as_it_should(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert faults(notebook, path.stat().st_size) == [], "python notebooks/execute.py stores fresh outputs"


SOUND = {
    "metadata": {"kernelspec": {"name": "python3"}},
    "cells": [
        {"cell_type": "markdown", "source": ["# Title"]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "source": ["draw()"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["12 ms\n"]},
                {"output_type": "display_data", "data": {"image/png": "Ab/tmp/x9", "text/plain": ["<Figure>"]}},
            ],
        },
        {"cell_type": "code", "execution_count": 2, "source": ["x = 1"], "outputs": []},
    ],
}


def test_a_sound_notebook_has_no_faults():
    assert faults(SOUND, 1000) == []


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda cells: cells[2].update(execution_count=None), "executed"),
        (lambda cells: cells[2].update(execution_count=7), "executed"),
        (lambda cells: cells[1].update(outputs=[]), "no picture"),
        (lambda cells: cells[2]["outputs"].append({"output_type": "error", "ename": "KeyError"}), "KeyError"),
        (
            lambda cells: cells[2]["outputs"].append({"output_type": "stream", "name": "stderr", "text": ["hm\n"]}),
            "warnings",
        ),
        (lambda cells: cells[1]["outputs"][0].update(text=["in /home/me/a.py\n"]), "/home/m"),
        (lambda cells: cells[1]["outputs"][1]["data"].update({"text/plain": ["/tmp/abc"]}), "/tmp/a"),
        (lambda cells: cells[0].update(source=["see /root/data"]), "/root/d"),
    ],
)
def test_faults_are_found(spoil, complaint):
    notebook = copy.deepcopy(SOUND)
    spoil(notebook["cells"])
    (fault,) = faults(notebook, 1000)
    assert complaint in fault


def test_size_and_kernel_count_too():
    (size,) = faults(SOUND, MOST_BYTES)
    assert "bytes" in size
    (kernel,) = faults(SOUND | {"metadata": {"kernelspec": {"name": "mine"}}}, 1000)
    assert "kernel" in kernel
