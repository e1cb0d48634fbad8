"""How often fits whose stages are chosen come home on synthetic views, by what there is to go by.

The objects of the success curves, with something in front of them, clutter behind, other light and noise.

    python benchmarks/evidence.py [--objects demo can bunny] [--views 4] [--output benchmarks/results/evidence-NAME.md]

A fit is home if its ADD is below 10 % of the diameter. Everything is seeded.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
import record
from measure import machine
from trials import LEVELS, draw_starts, objects, observe, seeds

import sldiff_jax as sl
from sldiff_jax import metrics

EVIDENCE = {
    "mask and depth": ("rgb", "depth", "mask"),
    "mask": ("rgb", "mask"),
    "depth": ("rgb", "depth"),
    "a photo alone": ("rgb",),
}
STARTS = ("10+4", "20+30")
MARGIN = 0.25
SIZE = 128


def resized(scene: sl.Scene, seen: sl.Observation) -> tuple[sl.Scene, sl.Observation]:
    """All windows of one size, so that programs serve again; pixels need not be square."""
    camera = scene.camera.resized(SIZE, SIZE)
    return sl.Scene(scene.T_world_object, camera), seen.resized(SIZE, SIZE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the table if asked to."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--objects", nargs="+", choices=("demo", "can", "bunny"), default=("demo", "can", "bunny"))
    parser.add_argument("--views", type=int, default=4, help="of each object; default: 4")
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, and JSON beside it")
    options = parser.parse_args(arguments)
    meshes = {name: mesh for name, mesh in objects().items() if name in options.objects and mesh is not None}
    lines = [
        f"| there is | {' | '.join(f'{name}, {LEVELS[level]}' for name in meshes for level in STARTS)} "
        "| wrong but converged |",
        "|---" * (2 + len(STARTS) * len(meshes)) + "|",
    ]
    for evidence, names in EVIDENCE.items():
        cells, wrong = [], 0
        for name, mesh in meshes.items():
            renderer = sl.MeshRenderer([mesh], buffers="core")
            for level in STARTS:
                home = 0
                for number in range(options.views):
                    view = observe(mesh, np.random.default_rng(seeds(name, number)), disturbed=True)
                    key = jax.random.key(int(np.random.default_rng(seeds(name, level, number)).integers(1 << 31)))
                    start = sl.Scene(draw_starts(key, view, LEVELS[level], 1)[0], view.scene.camera)
                    part = {field: getattr(view.observation, field) for field in names}
                    scene, seen = sl.crop_to_object(start, sl.Observation(**part), renderer(start), margin=MARGIN)
                    scene, seen = resized(scene, seen)
                    fit = sl.refine_poses(scene, seen, renderer, stages="auto", translation_unit=mesh.diameter)
                    add = metrics.add(fit.scene.T_world_object[0], view.scene.T_world_object[0], mesh.vertices)
                    good = bool(add < 0.1 * mesh.diameter)
                    home += good
                    wrong += not good and fit.status is sl.Status.CONVERGED
                    print(evidence, name, level, number, float(add) / mesh.diameter, fit.status.name, flush=True)
                cells.append(f"{home} of {options.views}")
        lines.append(f"| {evidence} | {' | '.join(cells)} | {wrong} |")
    text = "\n".join(["# Fits by evidence, on synthetic views", "", f"Measured on: {machine()}.", "", *lines, ""])
    print(text)
    if options.output:
        record.write(options.output, text)


if __name__ == "__main__":
    main()
