"""``sldiff-jax inspect``: what a mesh file holds."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from PIL import Image

from ..mesh_renderer import Mesh
from ..mesh_renderer.meshes.load import load_mesh, naming_file
from ._errors import InputError
from ._mesh_facts import doubts, is_of_one_color, mesh_facts
from ._output import check_output, staged
from ._six_sides import six_sides


def run(options: argparse.Namespace) -> int:
    """Inspects each file; the exit code is 2 if one of them cannot be read."""
    if not 0 < options.mesh_scale < math.inf:
        raise InputError(f"--mesh-scale must be a positive number, got {options.mesh_scale:g}.")
    check_output(options.output)
    files = list(dict.fromkeys(options.files))
    names = {path: f"{path.name}.png" for path in files}
    if len(set(names.values())) < len(files):  # of one name in different folders
        names = {path: f"{k + 1}_{path.name}.png" for k, path in enumerate(files)}
    failed = False
    with staged(options.output, list(names.values())) as folder:
        for path in files:
            try:
                _inspect(path, options.mesh_scale, folder / names[path])
                print(f"  {'picture':<16}{options.output / names[path]}")
            except ValueError as error:
                print(f"sldiff-jax: error: {' '.join(str(error).split())}", file=sys.stderr)
                failed = True
    return 2 if failed else 0


def _inspect(path: Path, scale: float, picture: Path) -> None:
    loaded = load_mesh(path, scale)
    with naming_file(path):
        mesh = Mesh(**loaded.arguments)
    print(f"{path} ({path.stat().st_size} bytes)")
    warnings = [("warning", text) for text in (*loaded.warnings, *doubts(mesh, scale))]
    for name, text in (*mesh_facts(mesh, scale), *(("left out", text) for text in loaded.notes), *warnings):
        print(f"  {name:<16}{text}")
    Image.fromarray(six_sides(mesh, lit=is_of_one_color(mesh))).save(picture, optimize=True)
