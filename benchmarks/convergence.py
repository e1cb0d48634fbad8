"""How far away may a start be? Refines poses from random starts at known distances, and counts what comes home.

Three objects, seen at 320x240 with something in front of them, clutter behind, other light than the renderer's, and
noise on colour and depth; and once without any of that. Prints tables, and writes them if asked to.

    python benchmarks/convergence.py [--quick] [--objects demo can bunny] [--levels 40+16] [--starts 100]
        [--output benchmarks/results/convergence-NAME.md]

A start is home if its ADD, the mean distance of the vertices from where they should be, is below a share of the
object's diameter. Everything is seeded.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import record
from measure import load, machine
from recipes import METHODS, RECOMMENDED, RECOMMENDED_MANY, fit, loss_of_truth, overlap_of_starts
from trials import LEVELS, View, draw_starts, key_of, objects, observe, seeds

import sldiff_jax as sl
from sldiff_jax import metrics

STARTS_PER_VIEW = 10
THRESHOLDS = (0.1, 0.05, 0.02)
FAR = 20
"""Degrees from which on several hypotheses are tried."""
POINTS = 2000
"""At most so many vertices are compared with all others for ADD-S."""


class Outcome(NamedTuple):
    """One method on all starts of one level of one object: N starts.

    Attributes:
        disturbed: whether the views are.
        name: of the object.
        level: key of `LEVELS`.
        method: key of `METHODS`.
        add: (N,) float, in diameters.
        add_s: (N,) float, in diameters: small if the shape fits, whatever the print.
        degrees: (N,) float, rotation error.
        millimetres: (N,) float, translation error.
        excess: (N,) float, the loss divided by that of the true pose.
        overlap: (N,) float, of the silhouettes of start and truth, IoU.
        steps: made per start, on average.
        seconds: per start, the median over the views.
    """

    disturbed: bool
    name: str
    level: str
    method: str
    add: np.ndarray
    add_s: np.ndarray
    degrees: np.ndarray
    millimetres: np.ndarray
    excess: np.ndarray
    overlap: np.ndarray
    steps: float
    seconds: float


def measure(
    name: str, mesh: sl.Mesh, views: Sequence[View], level: str, method: str, starts_per_view: int, disturbed: bool
) -> Outcome:
    """Runs one method from all starts of one level."""
    renderer = sl.MeshRenderer([mesh], buffers="core")
    diameter = mesh.diameter
    rows, steps, seconds = [], [], []
    for number, view in enumerate(views):
        key = key_of(name, level, number)
        starts = draw_starts(key, view, LEVELS[level], starts_per_view)
        fits = fit(view, renderer, starts, METHODS[method], diameter=diameter, level=LEVELS[level])
        errors = _errors(jnp.asarray(fits.T_world_object), view.scene.T_world_object[0], mesh.vertices)
        add, add_s, radians, metres = (np.asarray(error) for error in errors)
        excess = fits.loss / loss_of_truth(view, renderer)
        overlap = overlap_of_starts(view, renderer, starts)
        rows.append([add / diameter, add_s / diameter, np.degrees(radians), 1e3 * metres, excess, overlap])
        steps.append(fits.steps)
        seconds.append(fits.seconds)
    columns = np.concatenate([np.stack(row) for row in rows], axis=1)
    return Outcome(
        disturbed, name, level, method, *columns, steps=float(np.mean(steps)), seconds=float(np.median(seconds))
    )


@jax.jit
def _errors(T_estimates: jax.Array, T_true: jax.Array, vertices: jax.Array) -> tuple[jax.Array, ...]:
    some = vertices[:: -(-len(vertices) // POINTS)]
    return (
        jax.vmap(lambda T: metrics.add(T, T_true, vertices))(T_estimates),
        jax.lax.map(lambda T: metrics.add_s(T, T_true, some), T_estimates),
        jax.vmap(lambda T: metrics.rotation_error(T, T_true))(T_estimates),
        jax.vmap(lambda T: metrics.translation_error(T, T_true))(T_estimates),
    )


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """The share home at 10 % by level and method, over all objects."""
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    lines = [f"| start off by | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for level in dict.fromkeys(outcome.level for outcome in outcomes):
        cells = []
        for method in methods:
            some = [outcome for outcome in outcomes if (outcome.level, outcome.method) == (level, method)]
            if some:
                add, degrees = (np.concatenate(errors) for errors in zip(*((o.add, o.degrees) for o in some)))
                cells.append(f"{_share(add < THRESHOLDS[0])}, {np.median(degrees):.2g}°")
            else:
                cells.append("")
        lines.append(f"| {LEVELS[level]} | {' | '.join(cells)} |")
    return lines


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """One line per object, level and method."""
    return [
        "| object | start off by | method | ADD < 10 % | < 5 % | < 2 % | median rotation error ° | median translation "
        "error mm | steps | seconds per start |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(line(outcome) for outcome in outcomes),
    ]


def line(outcome: Outcome) -> str:
    """A line of `table`."""
    shares = " | ".join(_share(outcome.add < threshold) for threshold in THRESHOLDS)
    return (
        f"| {outcome.name} | {LEVELS[outcome.level]} | {outcome.method} | {shares} | {np.median(outcome.degrees):.2f} "
        f"| {np.median(outcome.millimetres):.2f} | {outcome.steps:.0f} | {outcome.seconds:.2f} |"
    )


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """Where the starts that did not come home ended, and how they differ from the others."""
    lines = [
        "| object | start off by | method | failed | loss above 1.05 x that of the truth | shape fits, print does not "
        "(ADD-S < 5 %) | median rotation error ° | median start IoU: failed | home |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        failed = ~(outcome.add < THRESHOLDS[0])
        if failed.any():
            home = f"{np.median(outcome.overlap[~failed]):.2f}" if not failed.all() else ""
            lines.append(
                f"| {outcome.name} | {LEVELS[outcome.level]} | {outcome.method} | {failed.sum()} of {len(failed)} "
                f"| {np.sum(failed & (outcome.excess > 1.05))} | {np.sum(failed & (outcome.add_s < 0.05))} "
                f"| {np.median(outcome.degrees[failed]):.0f} | {np.median(outcome.overlap[failed]):.2f} | {home} |"
            )
    return lines


def _share(home: np.ndarray) -> str:
    return f"{100 * np.mean(home):.0f} %"


def run(meshes: dict[str, sl.Mesh | None], levels: Sequence[str], methods: Sequence[str], starts: int) -> list[Outcome]:
    """Every object at every level by every method in disturbed views, and by the recommended one in clear views."""
    per_view = min(starts, STARTS_PER_VIEW)
    outcomes = []
    for name, mesh in meshes.items():
        if mesh is None:
            print(f"{name}: skipped, the recorded data is not there (set SLDIFF_SHARED to its folder)")
            continue
        for disturbed in (True, False):
            views = [
                observe(mesh, np.random.default_rng(seeds(name, number)), disturbed=disturbed)
                for number in range(-(-starts // per_view))
            ]
            for level in levels:
                for method in _methods_for(level, methods) if disturbed else [m for m in methods if m == RECOMMENDED]:
                    outcomes.append(measure(name, mesh, views, level, method, per_view, disturbed))
                    print(("" if disturbed else "undisturbed: ") + line(outcomes[-1]), flush=True)
    return outcomes


def _methods_for(level: str, methods: Sequence[str]) -> list[str]:
    """Many hypotheses are for starts that are far off."""
    return [method for method in methods if method != RECOMMENDED_MANY or LEVELS[level].degrees >= FAR]


def report(outcomes: Sequence[Outcome], starts: int, took: float, first_load: str) -> str:
    """All tables, as Markdown."""
    disturbed = [outcome for outcome in outcomes if outcome.disturbed]
    recommended = [outcome for outcome in disturbed if outcome.method in (RECOMMENDED, RECOMMENDED_MANY)]
    return "\n".join(
        [
            "# Success curves",
            "",
            f"Measured on: {machine()}. {starts} starts per object and level, {took / 60:.0f} minutes. Load average of "
            f"the last minute: {first_load} before, {load()} after; above about 1.0 something else was running too and "
            "the seconds mean little.",
            "",
            "Share of all starts with ADD below 10 % of the diameter, and median rotation error:",
            "",
            *summary(disturbed),
            "",
            "By object:",
            "",
            *table(disturbed),
            "",
            "Without occluder, clutter, noise and change of light:",
            "",
            *table([outcome for outcome in outcomes if not outcome.disturbed]),
            "",
            "The starts that failed:",
            "",
            *failures(recommended),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the tables if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 starts per object and level")
    parser.add_argument("--objects", nargs="+", choices=("demo", "can", "bunny"), default=("demo", "can", "bunny"))
    parser.add_argument("--levels", nargs="+", choices=tuple(LEVELS), default=tuple(LEVELS), help="degrees+millimetres")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=tuple(METHODS))
    parser.add_argument("--starts", type=int, help="per object and level; default: 100")
    parser.add_argument("--output", type=pathlib.Path, help="also write the tables to this file, and JSON beside it")
    options = parser.parse_args(arguments)
    if not any(_methods_for(level, options.methods) for level in options.levels):
        parser.error(f"{RECOMMENDED_MANY!r} is for starts from {FAR} degrees on, got {options.levels} alone")
    starts = options.starts or (STARTS_PER_VIEW if options.quick else 100)
    first_load, began = load(), time.perf_counter()
    meshes = {name: mesh for name, mesh in objects().items() if name in options.objects}
    outcomes = run(meshes, options.levels, options.methods, starts)
    text = report(outcomes, starts, time.perf_counter() - began, first_load)
    print(text)
    if options.output:
        record.write(options.output, text)


if __name__ == "__main__":
    main()
