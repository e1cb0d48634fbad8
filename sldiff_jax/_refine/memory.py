"""Whether a program fits into memory, before it runs, and if not, for how many starts it would."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

from .._scene.scene import Scene
from .compiled import Program

AT_MOST = 4000
"""Bytes per sample and start that no step was seen to exceed: what stays below the free memory is not looked at."""
SHARE = 0.9
"""Of the free memory, that a program may take."""


def check_fits(program: Program, args: tuple[Any, ...], scene: Scene, starts: int, supersample: int) -> None:
    """Compares what XLA will allocate with what is free.

    Args:
        program: see `compiled.program`.
        args: its arguments; it is compiled for them, and not run.
        scene: of whose camera images are drawn.
        starts: K, how many are drawn at once.
        supersample: samples per pixel and axis.

    Raises:
        ValueError: if it does not fit; the message says how many starts would.
    """
    free = free_bytes()
    camera = scene.camera
    if free is None or AT_MOST * starts * camera.height * camera.width * supersample**2 < SHARE * free:
        return
    needed = program.bytes_needed(*args)
    if needed <= SHARE * free:
        return
    fitting = int(starts * SHARE * free / needed)
    remedy = (
        f"{fitting} fit: ask for fewer hypotheses, or refine the starts in several calls."
        if fitting
        else "Not one fits: reduce the images, with camera.resized and Observation.resized, or Stage(scale=...)."
    )
    raise ValueError(
        f"{starts} starts at once, at {camera.width}x{camera.height} pixels, need {_gigabytes(needed)} of memory, and "
        f"{_gigabytes(free)} are free. {remedy}"
    )


def free_bytes() -> int | None:
    """How much memory JAX's default device has left; None where nothing tells."""
    device = jax.config.jax_default_device or jax.devices()[0]  # pyright: ignore[reportAttributeAccessIssue]
    stats = device.memory_stats() if hasattr(device, "memory_stats") else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if getattr(device, "platform", device) != "cpu":
        return None
    found = [size for size in (_free_on_machine(), _free_in_group()) if size is not None]
    return min(found) if found else None


def _free_on_machine() -> int | None:
    """By Linux."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024 * kilobytes[0] if kilobytes else None


def _free_in_group() -> int | None:
    """By the limit of the container, whose cached files count as free."""
    folder = pathlib.Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = [
            line.split()[1] for line in (folder / "memory.stat").read_text().splitlines() if "inactive_file" in line
        ]
    except OSError:
        return None
    return None if limit == "max" else int(limit) - int(used) + int(cached[0] if cached else 0)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2g} GB"
