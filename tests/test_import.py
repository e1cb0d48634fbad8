"""Importing the package has no effects."""

import os
import subprocess
import sys

import pytest

PROBE = """
import sys
import jax
import jax.extend
before = dict(jax.config.values)
import {module}
after = dict(jax.config.values)
assert before == after, {{k: (before[k], after[k]) for k in before if before[k] != after.get(k)}}
for heavy in {absent}:
    assert heavy not in sys.modules, heavy + " was imported"
# Only possible while no backend has been initialised; that it took effect shows that it was checked.
jax.config.update("jax_num_cpu_devices", 3)
assert len(jax.devices("cpu")) == 3
"""


ABSENT = ["torch", "matplotlib", "warp", "ray", "stillleben", "visdom", "interop"]


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "XLA_FLAGS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=clean | {"JAX_PLATFORMS": "cpu", **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["sldiff_jax", "sldiff_jax.bop"])
def test_importing_the_package_has_no_effects(module):
    done = run(PROBE.format(module=module, absent=ABSENT))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""


def test_the_probe_notices_an_initialised_backend():
    code = PROBE.format(module="jax.numpy as jnp; jnp.zeros(3)", absent=[])
    done = run(code)
    assert done.returncode != 0 and "jax_num_cpu_devices" in done.stderr


@pytest.mark.parametrize("name", ["torch", "matplotlib", "stillleben", "visdom"])
def test_the_package_works_where_an_optional_package_is_missing(name):
    done = run(f"import sys; sys.modules[{name!r}] = None; import sldiff_jax; sldiff_jax.Scene")
    assert done.returncode == 0, done.stderr


def test_names_are_imported_when_they_are_first_used():
    code = """
import sys
import sldiff_jax as sl
assert not {"jax", "numpy"} & set(sys.modules), "jax or numpy was imported"
assert "Camera" in dir(sl) and "Camera" not in vars(sl)
sl.Camera
assert "jax" in sys.modules and sl.Camera is vars(sl)["Camera"]
import pickle
assert pickle.loads(pickle.dumps(sl.refine_poses)) is sl.refine_poses
from sldiff_jax import *
assert callable(render) and metrics.add
try:
    sl.nonsense
except AttributeError as error:
    assert "nonsense" in str(error)
else:
    raise AssertionError("nonsense was found")
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["demo", "--help"], ["refine", "--help"], ["bop", "refine", "--help"],
              ["bop", "make", "--images", "many"], ["inspect"]],
)  # fmt: skip
def test_the_command_reads_its_options_without_jax(words):
    code = f"""
import sys
from sldiff_jax.cli import main
try:
    code = main({words!r})
except SystemExit as end:
    code = end.code
assert code == (0 if {words[-1].startswith("--")} else 2), code
assert not {{"jax", "numpy", "warp", "tqdm"}} & set(sys.modules)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
