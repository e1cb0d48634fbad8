"""How the jobs of ``sldiff-jax bop`` name a data set."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_dataset(parser: argparse.ArgumentParser, results: str) -> None:
    """Declares the data set and its split; `results` is the option whose file name tells the split."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with models and the split's scenes")
    parser.add_argument(
        "--split",
        help=f"folder of the scenes, such as test_primesense; default: as {results} is named, or test",
    )
