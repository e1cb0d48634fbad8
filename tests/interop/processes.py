"""Python code in a process of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def run_python(code: str, *, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
    """Runs the code from the root of the repository; fails if it does."""
    done = try_python(code, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def try_python(code: str, *, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
    """Runs the code from the root of the repository."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", **environment},
        cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
