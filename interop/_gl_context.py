"""Whether the calling thread has an OpenGL context, asked of the EGL libraries that this process has loaded."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib


def has_current_context() -> bool | None:
    """Whether an EGL context is current on the calling thread; None if that cannot be told.

    stillleben makes its context current on the thread that initialises it, and ends the process when one of its
    functions runs without.
    """
    answers = [bool(query()) for query in _queries()]
    return any(answers) if answers else None


def _queries() -> list:
    try:
        maps = pathlib.Path("/proc/self/maps").read_text()
    except OSError:
        return []
    files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if "/libEGL" in line}
    queries = []
    for file in sorted(files):
        # Only libraries that are in use anyway: RTLD_NOLOAD loads nothing.
        with contextlib.suppress(OSError, AttributeError):
            query = ctypes.CDLL(file, mode=os.RTLD_NOLOAD | os.RTLD_LAZY).eglGetCurrentContext
            query.restype = ctypes.c_void_p
            queries.append(query)
    return queries
