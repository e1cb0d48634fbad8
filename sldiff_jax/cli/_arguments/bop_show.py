"""What ``sldiff-jax bop show`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .dataset import add_dataset

SUMMARY = "draw estimated poses into an image"
DESCRIPTION = """\
Draws one image of a data set with the outlines of estimated poses, and of those that they were refined from.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_dataset(parser, "--results")
    parser.add_argument("--results", type=Path, required=True, metavar="FILE", help="CSV with the poses")
    parser.add_argument("--before", type=Path, metavar="FILE", help="CSV with the poses that they were refined from")
    parser.add_argument(
        "--image", type=int, nargs=2, metavar=("SCENE", "IMAGE"), help="default: the one with most poses"
    )
    parser.add_argument("--output", type=Path, default=Path("poses.png"), help="picture; default: %(default)s")
