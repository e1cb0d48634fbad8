"""How often fits whose stages are chosen come home on synthetic views, by what there is to go by.

The objects of the success curves, with something in front of them, clutter behind, other light and noise.

    python benchmarks/evidence.py [--objects demo can bunny] [--views 4] [--output benchmarks/results/evidence-NAME.md]

A fit is home if its ADD is below 10 % of the diameter. Everything is seeded.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
import record
from measure import machine
from trials import LEVELS, draw_starts, key_of, objects, observe, seeds

import sldiff_jax as sl
from sldiff_jax import metrics

EVIDENCE = {
    "mask and depth": ("rgb", "depth", "mask"),
    "mask": ("rgb", "mask"),
    "depth": ("rgb", "depth"),
    "a photo alone": ("rgb",),
}
STARTS = ("10+4", "20+30")
RIGHT = 0.1
"""Of the diameter."""
MARGIN = 0.25
SIZE = 128


def fit(name: str, mesh: sl.Mesh, fields: Sequence[str], level: str, number: int) -> tuple[float, sl.Status]:
    """One fit: its ADD in diameters, and what it says of itself."""
    renderer = sl.MeshRenderer([mesh], buffers="core")
    view = observe(mesh, np.random.default_rng(seeds(name, number)), disturbed=True)
    start = sl.Scene(draw_starts(key_of(name, level, number), view, LEVELS[level], 1)[0], view.scene.camera)
    seen = sl.Observation(**{field: getattr(view.observation, field) for field in fields})
    scene, seen = sl.crop_to_object(start, seen, renderer(start), margin=MARGIN)
    # All windows of one size, so that programs serve again; pixels need not be square.
    scene = sl.Scene(scene.T_world_object, scene.camera.resized(SIZE, SIZE))
    found = sl.refine_poses(scene, seen.resized(SIZE, SIZE), renderer, stages="auto", translation_unit=mesh.diameter)
    add = metrics.add(found.scene.T_world_object[0], view.scene.T_world_object[0], mesh.vertices)
    return float(add) / mesh.diameter, found.status


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
    for evidence, fields in EVIDENCE.items():
        cells, wrong = [], 0
        for name, level in itertools.product(meshes, STARTS):
            fits = [fit(name, meshes[name], fields, level, number) for number in range(options.views)]
            print(evidence, name, level, *(f"{add:.3f} {status.name}" for add, status in fits), flush=True)
            wrong += sum(add >= RIGHT and status is sl.Status.CONVERGED for add, status in fits)
            cells.append(f"{sum(add < RIGHT for add, _ in fits)} of {len(fits)}")
        lines.append(f"| {evidence} | {' | '.join(cells)} | {wrong} |")
    text = "\n".join(["# Fits by evidence, on synthetic views", "", f"Measured on: {machine()}.", "", *lines, ""])
    print(text)
    if options.output:
        record.write(options.output, text)


if __name__ == "__main__":
    main()
