"""Where the command keeps what XLA has compiled, so that the next run need not compile it again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

VARIABLE = "SLDIFF_JAX_COMPILATION_CACHE"
OFF = ("off", "0", "false", "no")
LARGEST = 1 << 30
"""Bytes. What is older goes when there is more."""

JAX_FOLDER, JAX_ENABLED = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
JAX_MINIMUM = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


class CacheState(NamedTuple):
    """The cache as it is now.

    Attributes:
        folder: where it is; None if there is none.
        reason: why there is none.
        bytes: how large it is.
    """

    folder: Path | None
    reason: str
    bytes: int


def keep_compiled_programs() -> None:
    """Switches JAX's persistent compilation cache on in this process and those that it starts, before JAX is imported.

    The environment variable SLDIFF_JAX_COMPILATION_CACHE names another folder, or says "off". JAX's own variables, if
    they are set, are left as they are.
    """
    if JAX_FOLDER in os.environ:
        return
    folder = chosen_folder()
    if folder is None or not _writable(folder):
        return
    _drop_oldest(folder)
    os.environ[JAX_FOLDER] = str(folder)
    # Hundreds of small programs are compiled in tens of milliseconds each.
    os.environ.setdefault(JAX_MINIMUM, "0")


def forget_compiled_programs() -> None:
    """Switches the cache off in this process and those that it starts, before JAX is imported."""
    os.environ[JAX_ENABLED] = "false"


def cache_state() -> CacheState:
    """Where the cache is, and how large, or why there is none."""
    if os.environ.get(JAX_ENABLED, "").lower() in OFF:
        return CacheState(None, f"{JAX_ENABLED} says so", 0)
    folder = Path(os.environ[JAX_FOLDER]) if JAX_FOLDER in os.environ else chosen_folder()
    if folder is None:
        return CacheState(None, f"{VARIABLE} says so", 0)
    if not _writable(folder):
        return CacheState(None, f"{folder} cannot be written", 0)
    return CacheState(folder, "", sum(size for _, size, _ in _files(folder)))


def chosen_folder() -> Path | None:
    """The folder for this kind of processor, whether there or not; None if the user wants none."""
    said = os.environ.get(VARIABLE, "")
    if said.lower() in OFF:
        return None
    return (Path(said).expanduser() if said else _user_cache() / "sldiff-jax" / "xla") / _processor()


def _user_cache() -> Path:
    """The folder for caches that the system gives each user."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """Name for all machines that can run each other's programs: XLA compiles for the instructions of this one.

    A home folder may be shared by many machines, and JAX does not tell their processors apart.
    """
    described = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.partition(":")[0].strip() in ("flags", "Features"):
                described += line
                break
    return f"{platform.machine()}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """Time, size and path of each file, the oldest first."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may be dropping it
            state = path.stat()
            found.append((state.st_mtime, state.st_size, path))
    return sorted(found)


def _drop_oldest(folder: Path) -> None:
    """Makes room, so that half of what may be there is free."""
    files = _files(folder)
    size = sum(size for _, size, _ in files)
    if size <= LARGEST:
        return
    for _, freed, path in files:
        with contextlib.suppress(OSError):
            path.unlink()
        size -= freed
        if size <= LARGEST // 2:
            return
