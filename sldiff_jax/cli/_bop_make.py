"""``sldiff-jax bop make``: a synthetic data set to try everything with."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from tqdm import tqdm

from ..bop import Offset, make_dataset
from ..bop._run_record import RunRecord
from ..mesh_renderer import Mesh
from ._bop_common import reporting, settings_of
from ._errors import InputError

SUMMARY = "make up a data set with ground truth and coarse estimates"
DESCRIPTION = """\
Makes a data set in BOP's layout: objects in random poses that hide each other among clutter, in changing light, seen
by a noisy camera; with ground truth, masks, targets, and coarse estimates in coarse_NAME-test.csv. Takes any mesh
files, or three built-in objects.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--meshes", type=Path, nargs="+", metavar="FILE", help="default: three built-in objects")
    parser.add_argument(
        "--mesh-scale", type=float, default=1.0, metavar="M", help="metres per unit of them; default: 1"
    )
    parser.add_argument("--output", type=Path, default=Path("synthetic"), help="new folder; default: %(default)s")
    parser.add_argument("--images", type=int, default=50, help="how many; default: %(default)s")
    parser.add_argument(
        "--width", type=int, default=320, help="of the images, pixels, three quarters high; default: 320"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random; default: 0")
    offsets = parser.add_argument_group("coarse estimates")
    offsets.add_argument("--offset-rotation", type=float, default=10.0, metavar="DEG", help="default: %(default)g")
    offsets.add_argument(
        "--offset-translation", type=float, metavar="M", help="metres; default: a tenth of the smallest object"
    )


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
