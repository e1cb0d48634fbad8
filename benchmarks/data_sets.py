"""What a run over a data set costs per estimate, and whether cost and memory grow with the number of images.

``python benchmarks/data_sets.py`` makes a data set in a temporary folder and refines it in one process, then in two
workers of Ray. What comes before the first image of each worker is done, loading and compilation, is left out. On a
machine that does something else too, the wall clock says little: CPU seconds, those of all workers together, say more.
Both, and memory, are read from Linux's /proc.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import record
from measure import load, machine

from sldiff_jax import bop

MARKS = (1, 10, 100)
TICKS = os.sysconf("SC_CLK_TCK")


class Reading(NamedTuple):
    """Where a run is: wall-clock and CPU seconds, and the peak memory of a process, MB."""

    wall: float
    cpu: float
    peak: float


def main() -> None:
    """Prints a table in Markdown, and writes it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=102)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=("local", "ray"))
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, and JSON beside it")
    options = parser.parse_args()
    folder, first_load = pathlib.Path(tempfile.mkdtemp()), load()
    # In a process of its own: what making takes is not in the memory measured here.
    make = ["bop", "make", "--images", str(options.images), "--output", str(folder / "synthetic")]
    subprocess.run([sys.executable, "-m", "sldiff_jax", *make], check=True, capture_output=True)
    lines = [
        "| engine | images | CPU s per estimate | wall s per estimate | estimates per s | peak MB a process | load |",
        "|---|---|---|---|---|---|---|",
    ]
    for engine in options.engines:
        for line in measure(folder, engine, bop.Settings(resolution=options.resolution)):
            print(line, flush=True)
            lines.append(line)
    text = "\n".join(
        [
            "# Runs over data sets",
            "",
            f"Measured on: {machine()}. Crops of up to {options.resolution} pixels, with depth, at most "
            f"{bop.Settings().steps} steps per estimate. Load average of the last minute: {first_load} before, "
            f"{load()} after, and beside each line; above about 1.0 something else was running too, and only CPU "
            "seconds mean something.",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    if options.output:
        record.write(options.output, text)


def measure(folder: pathlib.Path, name: str, settings: bop.Settings) -> list[str]:
    """The lines of one engine."""
    dataset = bop.Dataset.open(folder / "synthetic")
    coarse = bop.read_estimates(folder / "synthetic" / "coarse_synthetic-test.csv")
    workers = 1 if name == "local" else 2
    engine = bop.LocalEngine() if name == "local" else bop.RayEngine(workers)
    own = [os.getpid()]
    find: Callable[[], list[int]] = (lambda: own) if name == "local" else workers_of_ray
    done: list[tuple[Reading, str]] = []

    def progress(count: int, images: int) -> None:
        done.append((reading(find()), load()))

    output = folder / f"{name}_synthetic-test.csv"
    bop.refine_dataset(dataset, output, estimates=coarse, settings=settings, engine=engine, callback=progress)
    order = sorted({estimate[:2] for estimate in coarse})
    lines, (began, _) = [], done[workers]
    for mark in MARKS:
        if mark + workers < len(done):
            now, busy = done[mark + workers]
            count = sum(estimate[:2] in order[workers : workers + mark] for estimate in coarse)
            cpu, wall = (now.cpu - began.cpu) / count, (now.wall - began.wall) / count
            cells = (f"{cpu:.3f}", f"{wall:.3f}", f"{1 / wall:.2f}", f"{now.peak:.0f}", busy)
            who = "one process" if name == "local" else f"{workers} workers of Ray"
            lines.append(f"| {who} | {mark} | {' | '.join(cells)} |")
    if isinstance(engine, bop.RayEngine):
        engine.close()
    return lines


def reading(processes: list[int]) -> Reading:
    """CPU seconds of some processes together, and the largest peak memory of one."""
    cpu = peak = 0.0
    for process in processes:
        folder = pathlib.Path("/proc") / str(process)
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / TICKS
        high = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM"))
        peak = max(peak, int(high.split()[1]) / 1024)
    return Reading(time.perf_counter(), cpu, peak)


def workers_of_ray() -> list[int]:
    """The workers below this process; Ray names them after what they do."""
    parents, names = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue  # it has just ended

    def below(process: int) -> bool:
        return process == os.getpid() or (process in parents and below(parents[process]))

    return [process for process, name in names.items() if name.startswith("ray::Worker") and below(process)]


if __name__ == "__main__":
    main()
