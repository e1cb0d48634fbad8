"""Command line: which subcommands there are, and how errors end."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from ._arguments import bop, demo, doctor, inspect, refine, view
from ._arguments.subcommands import add_subcommands
from ._compilation_cache import forget_compiled_programs, keep_compiled_programs
from ._errors import InputError
from ._quick_compilation import compile_quickly
from ._versions import installed_version

GARBAGE = 100_000
"""How many objects more there are when Python looks for cycles again. JAX makes millions that live on while it traces:
a look every 700 takes a tenth of a short run."""

EXAMPLES = """\
examples:
  sldiff-jax demo
  sldiff-jax refine --mesh can.ply --mesh-scale 0.001 --image rgb.png --mask seg.png \\
      --depth depth.png --depth-scale 0.001 --camera scene.json --pose scene.json --output fit
  sldiff-jax view --mesh can.ply --mesh-scale 0.001 --image rgb.png --camera scene.json --pose scene.json
  sldiff-jax inspect --mesh-scale 0.001 can.ply
  sldiff-jax bop evaluate lmo --results mine_lmo-test.csv
  sldiff-jax doctor

What is compiled is kept for the next run (`sldiff-jax doctor` says where), unless --no-compilation-cache or the
environment variable SLDIFF_JAX_COMPILATION_CACHE=off says not to; the variable may also name another folder.

Exit codes: 0 done, 2 wrong input (one line on the standard error says what), 3 a fit that need not be better than its
start (one line says why), 4 images failed (bop refine), 130 interrupted.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the arguments after the command's name. Default: those of the process, in which JAX then keeps what it
            compiles in the user's folder for caches.

    Returns:
        The exit code: 0 done, 2 wrong input, 3 a fit not to be trusted, 130 interrupted; that of `doctor` is its own.

    Raises:
        SystemExit: with code 0, after ``--help`` and ``--version``.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        options = _parser().parse_args(words)
        options.words = words  # for jobs that leave a record of their command
        forget = vars(options).pop("no_compilation_cache")
        if argv is None:  # the process is the command's own; otherwise JAX's configuration is the caller's
            (forget_compiled_programs if forget else keep_compiled_programs)()
            compile_quickly()
            gc.set_threshold(GARBAGE)
        # What runs it is imported only now: help and wrong options need neither JAX nor NumPy.
        return importlib.import_module(f".{options.command}", __package__).run(options)
    except InputError as error:
        print(f"sldiff-jax: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sldiff-jax: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sldiff-jax",
        description="Fits 6-DoF object poses by rendering and comparing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sldiff-jax {installed_version('sldiff-jax')}")
    commands = {"demo": demo, "refine": refine, "view": view, "inspect": inspect, "bop": bop, "doctor": doctor}
    add_subcommands(parser, "commands", "COMMAND", commands)
    return parser
