"""Threads of the CPU that share a launch: Warp runs a kernel on the thread that asks for it, and lets go of Python.

What a thread computes does not depend on how many there are. `SLDIFF_JAX_THREADS` says how many; by default there is
one for each processor that the process may use.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

VARIABLE = "SLDIFF_JAX_THREADS"

_here = threading.local()


def thread_count() -> int:
    """How many threads share a launch; one within such a thread.

    Raises:
        ValueError: if the environment variable is no positive number.
    """
    if getattr(_here, "is_worker", False):
        return 1
    said = os.environ.get(VARIABLE, "")
    if not said:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"The environment variable {VARIABLE} must be a positive number of threads, got {said!r}.")
    return int(said)


def share(size: int, work: Callable[[int, int], Any]) -> None:
    """Calls ``work(first, end)`` for ranges that make up 0..size, one per thread, and waits for all of them.

    Args:
        size: how much there is to do.
        work: does a part of it. Whatever it raises is raised here.
    """
    count = max(1, min(thread_count(), size))
    bounds = [size * i // count for i in range(count + 1)]
    ranges = list(itertools.pairwise(bounds))
    others: list[Future] = []
    own = ranges[:1]
    for part in ranges[1:]:
        try:
            others.append(_pool(os.getpid(), count - 1).submit(work, *part))
        except RuntimeError:  # no new threads while Python ends
            own.append(part)
    try:
        for part in own:
            work(*part)
    finally:
        # The arrays must outlive all that use them.
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


@functools.cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """One for each process: a fork has the object, but not its threads."""
    return ThreadPoolExecutor(workers, "sldiff_jax", initializer=lambda: setattr(_here, "is_worker", True))
