"""What a run leaves beside its results for those who track experiments: ``run.json``."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._atomic import write_atomically

PACKAGES = ("sldiff-jax", "jax", "jaxlib", "warp-lang", "optax", "equinox", "numpy", "ray")


class RunRecord:
    """A record of a run, begun where it is made and written when the run ends, well or not.

    Args:
        command: what was run, word by word.
        settings: all that decides the result, seeds included. JSON values, paths as text.
    """

    def __init__(self, command: list[str], settings: Mapping[str, Any]):
        self.command = command
        self.settings = dict(settings)
        self._began = datetime.datetime.now(datetime.UTC)
        self._clock = time.perf_counter()

    def write(self, output: Path, results: Mapping[str, Any]) -> Path:
        """Writes ``run.json`` into the folder of a result.

        Records of earlier runs that the file holds are kept in its list ``earlier``, the latest first.

        Args:
            output: the result.
            results: what came out: counts, scores, errors.

        Returns:
            The file.
        """
        path = output.parent / "run.json"
        record = {
            "output": output.name,
            "command": self.command,
            "settings": self.settings,
            "results": dict(results),
            "times": {
                "began": self._began.isoformat(timespec="seconds"),
                "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "seconds": time.perf_counter() - self._clock,
            },
            "versions": versions(),
            "git": git_state(),
            "machine": {"platform": platform.platform(), "processors": _processors(), "devices": _devices()},
        }
        record["earlier"] = _earlier(path)
        write_atomically(path, json.dumps(record, indent=2) + "\n")
        return path


def versions() -> dict[str, str]:
    """Versions of Python and of what the result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the working directory, and whether it has changes; None outside of a repository."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "changed": bool(git("status", "--porcelain"))}


def _earlier(path: Path) -> list[dict[str, Any]]:
    """The record that is there and those that it holds, without their lists."""
    try:
        record = json.loads(path.read_text())
        return [{key: value for key, value in record.items() if key != "earlier"}, *record.get("earlier", [])]
    except (OSError, ValueError, AttributeError):
        return []


def _processors() -> int:
    return os.process_cpu_count() if sys.version_info >= (3, 13) else len(os.sched_getaffinity(0))


def _devices() -> list[str]:
    import jax

    return [str(device) for device in jax.devices()]
