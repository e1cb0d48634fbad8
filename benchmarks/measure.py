"""Timing on a machine that may be busy: interleaved runs, medians and minima, and what the machine was."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

PACKAGES = ("sldiff-jax", "jax", "jaxlib", "warp-lang", "torch", "numpy")


class Times(NamedTuple):
    """Milliseconds of one function over all rounds."""

    median: float
    minimum: float


def interleaved(*functions: Callable[[], Any], rounds: int = 40, warm_up: int = 3) -> list[Times]:
    """Times functions in turn (A B A B ...), so that a busy phase of the machine meets all of them.

    Args:
        functions: called without arguments. JAX results are waited for.
        rounds: how often each is timed.
        warm_up: calls of each before that, for compilation and caches.

    Returns:
        The times of each function.
    """
    for function in functions:
        for _ in range(warm_up):
            jax.block_until_ready(function())
    milliseconds = np.empty((rounds, len(functions)))
    for row in milliseconds:
        for i, function in enumerate(functions):
            time.sleep(0.002)  # worker threads of the one before spin for a while and would take a core
            start = time.perf_counter()
            jax.block_until_ready(function())
            row[i] = 1e3 * (time.perf_counter() - start)
    return [Times(float(np.median(column)), float(column.min())) for column in milliseconds.T]


def machine() -> str:
    """One line: processors, devices, versions."""
    processor = platform.processor() or platform.machine()
    if (info := pathlib.Path("/proc/cpuinfo")).is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if _installed(name)]
    return f"{cores} cores of {processor}; JAX on {devices}; Python {platform.python_version()}, {', '.join(versions)}"


def load() -> str:
    """The load average of the last minute, as text."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
