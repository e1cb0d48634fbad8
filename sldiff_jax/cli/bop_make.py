"""``sldiff-jax bop make``: a synthetic data set to try everything with."""

from __future__ import annotations

import argparse
import math
import sys

from tqdm import tqdm

from ..bop import Offset, make_dataset
from ..bop._run_record import RunRecord
from ..mesh_renderer import Mesh
from ._bop_common import reporting, settings_of
from ._errors import InputError


def run(options: argparse.Namespace) -> int:
    """Makes the data set."""
    for name in ("mesh_scale", "offset_rotation", "offset_translation"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value:g}.")
    record = RunRecord(["sldiff-jax", *options.words], settings_of(options))
    with reporting(), tqdm(total=options.images, desc="make", unit="image", file=sys.stderr) as bar:
        meshes = None
        if options.meshes is not None:
            loaded = [Mesh.load(path, scale=options.mesh_scale) for path in options.meshes]
            meshes = dict(enumerate(loaded, start=1))
        translation = options.offset_translation
        if translation is None:
            translation = 0.01 if meshes is None else 0.1 * min(mesh.diameter for mesh in meshes.values())

        def progress(done: int, count: int) -> None:
            bar.update(done - bar.n)

        dataset = make_dataset(
            options.output, meshes, images=options.images, seed=options.seed,
            size=(3 * options.width // 4, options.width),
            offset=Offset(math.radians(options.offset_rotation), translation),
            callback=progress,
        )  # fmt: skip
        targets = sum(target.instances or 0 for target in dataset.targets_bop19)
        coarse = options.output / f"coarse_{dataset.name}-test.csv"
        record.write(coarse, {"images": len(dataset), "targets": targets})
    print(f"{len(dataset)} images with {targets} objects to find are in {options.output}")
    print(f"coarse estimates are in {coarse}")
    return 0
