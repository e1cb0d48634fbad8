"""Results of a benchmark on disk: its tables as Markdown for people, and their figures as JSON beside it."""

from __future__ import annotations

import datetime
import json
import pathlib
import re
import sys

from measure import load, machine

FIGURE = re.compile(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*(?:[%°]|ms|s|MB)?(?:\s*\([^)]*\))?(?:,.*)?")
COUNTS = ("objects", "images", "scenes", "starts", "hypotheses", "resolution", "workers")
"""Columns of numbers that say what was measured."""


def write(path: pathlib.Path, text: str) -> None:
    """Writes a report in Markdown to `path`, and the figures of its tables to the file of that name in ``.json``.

    Args:
        path: such as ``results/NAME.md``.
        text: the report.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    document = {
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load": load(),
        "figures": figures(text),
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def figures(text: str) -> dict[str, float]:
    """All figures in the tables of a report, by section, row and column.

    A row is named by its first cells: words, and counts. A cell holds a number, perhaps with a unit and a second number
    in brackets, or several with semicolons between; what is no number is left out.
    """
    found: dict[str, float] = {}
    section, header = "", None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            section = line if line.strip() else section
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if header is None:
            header = cells
        elif not set("".join(cells)) <= set("-: "):
            keys = 0
            while keys < len(cells) and (header[keys] in COUNTS or not any(_parts(cells[keys]))):
                keys += 1
            row = ", ".join(cells[:keys])
            for name, cell in zip(header[keys:], cells[keys:]):
                parts = _parts(cell)
                for number, part in enumerate(parts):
                    if part:
                        place = f" [{number}]" if len(parts) > 1 else ""
                        found[_unused(f"{row}: {name}{place}", section, found)] = float(part[1])
    return found


def _parts(cell: str) -> list[re.Match | None]:
    return [FIGURE.fullmatch(part.strip()) for part in cell.split(";")]


def _unused(name: str, section: str, found: dict[str, float]) -> str:
    """The name, with its section where another table has the same."""
    return f"{section} {name}" if name in found else name
