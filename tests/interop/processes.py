"""Python code in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

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


FORKING = """
import json, os, signal, sys, tempfile
for line in sys.stdin:
    with tempfile.TemporaryFile() as output:
        if (child := os.fork()) == 0:
            os.dup2(output.fileno(), 1), os.dup2(output.fileno(), 2)
            signal.alarm(120)
            break
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        sys.stdout.write(json.dumps([status, output.read().decode()]) + "\\n")
        sys.stdout.flush()
else:
    os._exit(0)
del child, output
exec(json.loads(line))
"""


@contextlib.contextmanager
def python_after(start: str) -> Iterator[Callable[[str], tuple[int, str]]]:
    """A function that runs code, after ``start``, in a process of its own: its exit status, and what it printed.

    Imports take seconds, so they are made once, in a process that forks. A child goes through all of Python's end, as
    other programs do. It may take two minutes.
    """
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore:os.fork", "-c", textwrap.dedent(start) + FORKING],
        env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdin is not None and server.stdout is not None

        def run(code: str) -> tuple[int, str]:
            server.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
            server.stdin.flush()
            status, output = json.loads(server.stdout.readline())
            return status, output

        yield run
