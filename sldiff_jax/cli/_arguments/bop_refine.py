"""What ``sldiff-jax bop refine`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .dataset import add_dataset

SUMMARY = "refine all estimated poses of a data set"
DESCRIPTION = """\
Refines every estimated pose by rendering and comparing, in crops around the objects, and writes the file that the BOP
challenge accepts, METHOD_DATASET-SPLIT.csv, with run.json beside it. From detections, or from masks alone, it searches
the rotation too.

Nothing is lost: each image leaves a file in OUTPUT.parts when it is done. A run that was stopped or killed goes on
when it is started again. An image that fails is recorded with its error, and the others go on; the next start tries it
again.

Exit codes: 0 done, 2 wrong input, 4 done but for images that failed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_dataset(parser, "--output")
    starts = parser.add_mutually_exclusive_group()
    starts.add_argument("--estimates", type=Path, metavar="FILE", help="CSV with the poses to begin from")
    starts.add_argument(
        "--detections", type=Path, metavar="FILE",
        help="JSON with masks or boxes to begin from; without either: the data set's masks of visible parts",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="METHOD_DATASET-SPLIT.csv")
    fitting = parser.add_argument_group("refinement")
    fitting.add_argument("--joint", action="store_true", help="move the objects of an image together")
    fitting.add_argument("--no-depth", action="store_true", help="look at colour alone")
    fitting.add_argument("--steps", type=int, default=30, help="at most, all stages together; default: %(default)s")
    fitting.add_argument(
        "--resolution", type=int, default=128, metavar="PIXELS", help="side of the largest crop; default: %(default)s"
    )
    fitting.add_argument("--no-times", action="store_true", help="write -1 as time: equal runs make equal files")
    engines = parser.add_argument_group("engine")
    engines.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this process, or Ray's; default: %(default)s"
    )
    engines.add_argument("--workers", type=int, metavar="N", help="processes of ray; default: one per GPU")
    engines.add_argument("--address", help="of a Ray cluster, such as auto; default: processes of this machine")
