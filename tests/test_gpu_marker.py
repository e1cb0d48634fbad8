"""``-m gpu`` runs everything that runs on a CPU, and skips it with the reason where there is no GPU."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent
FILE = "scene/test_scene.py"


def counts(*options: str) -> dict[str, int]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options, str(TESTS / FILE)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment["JAX_PLATFORMS"] = "cpu"
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent, env=environment)
    last = done.stdout.strip().splitlines()[-1]
    if "skipped" in last:
        assert "JAX sees no GPU" in done.stdout
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped|deselected|failed|tests)", last)}


@pytest.mark.slow
def test_all_tests_run_on_a_gpu_or_say_why_not():
    everything = counts()
    assert everything["passed"] > 5 and "failed" not in everything
    assert counts("-m", "gpu") == {"skipped": everything["passed"]}
    assert counts("-m", "not gpu")["passed"] == everything["passed"]
