"""Declaring subcommands, each with the module that runs it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import ModuleType


def add_subcommands(
    parser: argparse.ArgumentParser, title: str, metavar: str, declared: Mapping[str, ModuleType]
) -> None:  # fmt: skip
    """Declares subcommands.

    Args:
        parser: of the command above them.
        title: over their list in its help.
        metavar: what stands for one of them.
        declared: by name, modules with SUMMARY, DESCRIPTION and ``add_arguments``; and JOBS, if these are subcommands
            again. The options then hold as ``command`` the name of the innermost module that was chosen.
    """
    group = parser.add_subparsers(title=title, required=True, metavar=metavar)
    for name, module in declared.items():
        subparser = group.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.set_defaults(command=module.__name__.rpartition(".")[2])
        module.add_arguments(subparser)
        if not hasattr(module, "JOBS"):
            subparser.add_argument(
                "--no-compilation-cache", action="store_true", help="compile all anew, and keep nothing of it"
            )
