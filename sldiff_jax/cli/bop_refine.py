"""``sldiff-jax bop refine``: all poses of a data set."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from ..bop import (
    Dataset,
    Engine,
    LocalEngine,
    RayEngine,
    Run,
    Settings,
    read_detections,
    read_estimates,
    refine_dataset,
)
from ..bop._run_record import RunRecord
from ._bop_common import open_dataset, reporting, settings_of
from ._errors import InputError


def run(options: argparse.Namespace) -> int:
    """Reads, refines, writes and prints."""
    record = RunRecord(["sldiff-jax", *options.words], settings_of(options))
    with reporting():
        settings = Settings(
            joint=options.joint, resolution=options.resolution, steps=options.steps,
            use_depth=not options.no_depth, times=not options.no_times,
        )  # fmt: skip
        dataset = open_dataset(options.dataset, options.split, options.output)
        estimates = None if options.estimates is None else read_estimates(options.estimates)
        detections = None if options.detections is None else read_detections(options.detections)
        with _engine(options) as engine:
            result = _refine(dataset, options.output, estimates, detections, settings, engine)
    failures = {f"{scene_id}/{image_id}": error for (scene_id, image_id), error in result.failures.items()}
    record.write(options.output, result._asdict() | {"failures": failures})
    _print_summary(result, options.output)
    return 4 if result.failures else 0


@contextlib.contextmanager
def _engine(options: argparse.Namespace) -> Iterator[Engine]:
    """The engine that the options name, stopped in the end."""
    if options.engine == "local":
        for name in ("workers", "address"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name} is for --engine ray.")
        yield LocalEngine()
        return
    with contextlib.closing(RayEngine(options.workers, options.address)) as engine:
        yield engine


def _refine(
    dataset: Dataset,
    output: Path,
    estimates: list | None,
    detections: list | None,
    settings: Settings,
    engine: Engine,
) -> Run:
    with tqdm(desc="refine", unit="image", file=sys.stderr, smoothing=0.05) as bar:

        def progress(done: int, count: int) -> None:
            if bar.total is None:  # what an earlier run did says nothing about the speed of this one
                bar.total, bar.initial = count, done
            bar.update(done - bar.n)

        try:
            return refine_dataset(
                dataset, output, estimates=estimates, detections=detections, settings=settings, engine=engine,
                callback=progress,
            )  # fmt: skip
        except ValueError:
            bar.leave = False
            raise


def _print_summary(result: Run, output: Path) -> None:
    done = result.images - len(result.failures)
    print(f"{done} of {result.images} images done, {result.resumed} of them by an earlier run")
    if result.unseen:
        print(f"{result.unseen} estimates could not be seen at their start: they keep its pose, with a score of 0")
    for (scene_id, image_id), error in list(result.failures.items())[:10]:
        print(f"failed: scene {scene_id}, image {image_id}: {' '.join(error.split())}", file=sys.stderr)
    if len(result.failures) > 10:
        print(f"and {len(result.failures) - 10} more; all are in run.json", file=sys.stderr)
    if result.estimates:
        print(f"{result.estimates} estimates are in {output}")
    else:
        raise InputError(f"No image was refined, so {output} was not written. What failed is in run.json.")
