"""What ``sldiff-jax view`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import refine

SUMMARY = "move an object over its photo by hand, in the browser, and refine from there"
DESCRIPTION = """\
Serves a page with the photo as the camera saw it and the object before it, to be dragged and turned. What is drawn over
the photo follows. "Refine" fits the pose from there as `sldiff-jax refine` does, and shows it on its way; "Save" writes
pose.json. Ctrl-C ends it. Needs the extra `viewer`.

The page is served to this machine alone. From another one, forward its port and open the address there:
ssh -L 8080:127.0.0.1:8080 MACHINE.

""" + refine.DESCRIPTION.partition("\n\n")[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options: those of ``refine``, and where the page is served."""
    refine.add_arguments(parser)
    parser.set_defaults(output=Path("view_out"))
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host", default="127.0.0.1",
        help="address to serve at; anyone who reaches it can move the object and save; default: %(default)s",
    )  # fmt: skip
    page.add_argument("--port", type=int, default=8080, help="0: any that is free; default: %(default)s")
