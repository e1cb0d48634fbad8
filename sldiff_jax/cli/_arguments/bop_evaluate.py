"""What ``sldiff-jax bop evaluate`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .dataset import add_dataset

SUMMARY = "score estimated poses as the BOP challenge does"
DESCRIPTION = """\
Scores a file of estimated poses: average recall (bop19: VSD, MSSD, MSPD), average precision (bop24: MSSD, MSPD) and
ADD(-S) recall, in all and per object, as BOP's own toolkit computes them. Writes JSON under BOP's names, and run.json
beside it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_dataset(parser, "--results")
    parser.add_argument("--results", type=Path, required=True, metavar="FILE", help="CSV, METHOD_DATASET-SPLIT.csv")
    parser.add_argument("--output", type=Path, default=Path("scores.json"), help="JSON file; default: %(default)s")
