"""What ``sldiff-jax bop make`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

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
