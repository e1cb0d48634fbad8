"""How often is a pose found from a mask alone, and does its score tell right from wrong?

The three objects of the success curves with something in front of them, clutter behind, other light and noise, with
and without depth; and from one start that is 60 degrees and 50 mm off. Prints a table, and writes it if asked to.

    python benchmarks/no_start.py [--objects demo can bunny] [--views 100]
        [--output benchmarks/results/no-start-NAME.md]

A pose is right if its ADD is below 10 % of the diameter. Everything is seeded.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import record
from measure import load, machine
from trials import LEVELS, View, draw_starts, key_of, objects, observe, seeds

import sldiff_jax as sl
from sldiff_jax import metrics

RIGHT = 0.1
"""Of the diameter."""
FAR = LEVELS["60+50"]


class Trial(NamedTuple):
    """One search.

    Attributes:
        name: of the object.
        kind: what was given.
        add: the error, in diameters.
        score: what the fit says of itself.
        status: likewise.
        seconds: wall-clock time.
        cpu_seconds: of all cores.
    """

    name: str
    kind: str
    add: float
    score: float
    status: sl.Status
    seconds: float
    cpu_seconds: float


def search(name: str, number: int, view: View, mesh: sl.Mesh, kind: str) -> Trial:
    """Finds the pose in a view."""
    seen, starts = view.observation, None
    if "no depth" in kind:
        seen = sl.Observation(seen.rgb, None, seen.mask)
    if "start" in kind:
        key = key_of(name, "60+50", number)
        starts = draw_starts(key, view, FAR, 1)[0]
    began, cpu_began = time.perf_counter(), time.process_time()
    found = sl.find_poses(seen, mesh, view.scene.camera, starts=starts)
    add = metrics.add(found.scene.T_world_object[0], view.scene.T_world_object[0], mesh.vertices)
    return Trial(
        name, kind, float(add) / mesh.diameter, found.score or 0.0, found.status,
        time.perf_counter() - began, time.process_time() - cpu_began,
    )  # fmt: skip


def area_under_curve(scores: np.ndarray, right: np.ndarray) -> float:
    """How probably a right pose has a higher score than a wrong one (area under the ROC curve); NaN without both."""
    above = scores[right][:, None] - scores[~right]
    return float(np.mean((above > 0) + 0.5 * (above == 0))) if above.size else float("nan")


def table(trials: Sequence[Trial]) -> list[str]:
    """One line per object and kind."""
    lines = [
        "| object | given | found (ADD < 10 %) | wrong but trusted | wrong and doubted | median s | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, kind in dict.fromkeys((trial.name, trial.kind) for trial in trials):
        some = [trial for trial in trials if (trial.name, trial.kind) == (name, kind)]
        wrong = [trial for trial in some if not trial.add < RIGHT]
        trusted = sum(trial.status.trusted for trial in wrong)
        lines.append(
            f"| {name} | {kind} | {len(some) - len(wrong)} of {len(some)} | {trusted} | {len(wrong) - trusted} "
            f"| {np.median([trial.seconds for trial in some]):.1f} | {np.median([t.cpu_seconds for t in some]):.1f} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", nargs="+", choices=("demo", "can", "bunny"), default=("demo", "can", "bunny"))
    parser.add_argument("--views", type=int, default=100, help="of each object; default: 100")
    parser.add_argument("--kinds", nargs="+", default=("mask", "mask, no depth", "mask and a start off by 60° + 50 mm"))
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, and JSON beside it")
    options = parser.parse_args(arguments)
    first_load, began = load(), time.perf_counter()
    trials = []
    meshes = objects()
    for name in options.objects:  # one after the other: programs of all at once are more than are kept
        mesh = meshes[name]
        if mesh is None:
            print(f"{name}: skipped, the recorded data is not there (set SLDIFF_SHARED to its folder)")
            continue
        for number in range(options.views):
            view = observe(mesh, np.random.default_rng(seeds(name, number)), disturbed=True)
            for kind in options.kinds:
                trials.append(search(name, number, view, mesh, kind))
                print(f"{number} {trials[-1]}", flush=True)
    right = np.array([trial.add < RIGHT for trial in trials])
    scores = np.array([trial.score for trial in trials])
    text = "\n".join(
        [
            "# Poses without a start",
            "",
            f"Measured on: {machine()}. {options.views} views per object, {(time.perf_counter() - began) / 60:.0f} "
            f"minutes. Load average of the last minute: {first_load} before, {load()} after; the first search of an "
            "object compiles.",
            "",
            *table(trials),
            "",
            f"Scores tell right from wrong: area under the ROC curve {area_under_curve(scores, right):.3f}, of "
            f"{right.sum()} right and {(~right).sum()} wrong poses.",
            "",
        ]
    )
    print(text)
    if options.output:
        record.write(options.output, text)


if __name__ == "__main__":
    main()
