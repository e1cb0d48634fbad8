"""How many estimates per second a run over a data set refines, and whether cost and memory grow with the images.

``python benchmarks/data_sets.py`` makes a data set in a temporary folder and refines it with one process, then with two
workers of Ray. Times leave out what comes before the first image of each worker is done: loading and compilation.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from sldiff_jax import bop

MARKS = (1, 10, 100)


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=103)
    parser.add_argument("--resolution", type=int, default=128)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    dataset = bop.make_dataset(folder / "synthetic", images=options.images)
    coarse = bop.read_estimates(folder / "synthetic" / "coarse_synthetic-test.csv")
    settings = bop.Settings(resolution=options.resolution)
    print("| engine | images | estimates per second | seconds per estimate | peak memory of this process |")
    print("|---|---|---|---|---|")
    for name, warm in (("local", 1), ("ray, 2 workers", 2)):
        engine = bop.LocalEngine() if name == "local" else bop.RayEngine(2)
        done: list[tuple[float, float]] = []

        def progress(count: int, images: int) -> None:
            done.append((time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10))  # noqa: B023

        output = folder / f"{name.split(',')[0]}_synthetic-test.csv"
        bop.refine_dataset(dataset, output, estimates=coarse, settings=settings, engine=engine, callback=progress)
        began = done[warm][0]
        for mark in MARKS:
            if mark + warm >= len(done):
                break
            images = dataset.image_ids[warm : warm + mark]
            count = sum(estimate[:2] in images for estimate in coarse)
            seconds = done[warm + mark][0] - began
            print(
                f"| {name} | {mark} | {count / seconds:.1f} | {seconds / count:.3f} | {done[warm + mark][1]:.0f} MB |"
            )


if __name__ == "__main__":
    main()
