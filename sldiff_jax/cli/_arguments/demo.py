"""What ``sldiff-jax demo`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .choices import OPTIMIZERS_HELP, STEPS_HELP

SUMMARY = "find the hidden pose of a rendered object again, and draw how"
DESCRIPTION = """\
Renders an object built in code at a hidden pose, starts 10 degrees and 4 mm away from it, and finds it again by
minimising the colour difference alone (photometric_loss), of blurred pictures first. Writes pictures, and the errors of
all iterates.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--output", type=Path, default=Path("demo_out"), help="folder; default: %(default)s")
    parser.add_argument("--steps", type=int, help=STEPS_HELP)
    parser.add_argument("--seed", type=int, default=0, help="of hidden pose and start; default: %(default)s")
    parser.add_argument(
        "--resolution", type=int, default=320, metavar="PIXELS", help="width of the picture; default: %(default)s"
    )
    parser.add_argument("--optimizer", default="lm", help=OPTIMIZERS_HELP)
