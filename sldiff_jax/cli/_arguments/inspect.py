"""What ``sldiff-jax inspect`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "say what mesh files hold, and draw them from six sides"
DESCRIPTION = """\
Reads mesh files as everything here does, and says what came of it: size in metres, triangles, materials, textures,
symmetries (from samples of the surface), and what was left out or looks doubtful. Draws each from six sides, as
NAME.png in the output folder. The first thing to send along with a question about a mesh.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="glTF, GLB, OBJ, PLY or STL file")
    parser.add_argument(
        "--mesh-scale", type=float, default=1.0, metavar="M", help="metres per unit of the files; default: 1"
    )
    parser.add_argument("--output", type=Path, default=Path("inspect_out"), help="folder; default: %(default)s")
