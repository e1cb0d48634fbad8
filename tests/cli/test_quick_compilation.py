"""The flag is set for releases that know it, and never against the user."""

import os
import subprocess
import sys

import pytest

from sldiff_jax.cli import _quick_compilation
from sldiff_jax.cli._quick_compilation import EMITTERS, FLAGS, compile_quickly


@pytest.fixture(autouse=True)
def before_jax(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)


@pytest.mark.parametrize(
    ("version", "is_set"),
    [("0.10.2", True), ("0.10.3", False), ("0.12.0.1", False), ("not installed", False)],
)
def test_only_for_releases_that_know_it(monkeypatch, version, is_set):
    monkeypatch.setattr(_quick_compilation, "installed_version", lambda _: version)
    monkeypatch.setenv(FLAGS, "--xla_dump_to=/tmp/x")
    compile_quickly()
    expected = f"--xla_dump_to=/tmp/x --{EMITTERS}=false" if is_set else "--xla_dump_to=/tmp/x"
    assert os.environ[FLAGS] == expected


def test_what_the_user_says_stays(monkeypatch):
    monkeypatch.setenv(FLAGS, f"--{EMITTERS}=true")
    compile_quickly()
    assert os.environ[FLAGS] == f"--{EMITTERS}=true"


def test_the_installed_release_takes_it(monkeypatch):
    monkeypatch.delenv(FLAGS, raising=False)
    compile_quickly()
    program = "import jax; print(float(jax.jit(lambda x: 2 * x)(3.0)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "6.0"
