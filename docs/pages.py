"""The Python on the pages of the documentation: it is run by the tests, and draws the pictures that the pages show.

``python docs/pages.py`` runs every page that shows a picture of its own and leaves the pictures beside it. Needs the
extra `viz`. Blocks fenced as ``python`` are run, one after the other in one namespace; those fenced as ``py`` show code
of other libraries, or that needs them, and are not.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```python(?: [^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> Iterator[Path]:
    """The README, and all pages that have Python to run."""
    for page in (DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))):
        if blocks(page):
            yield page


def blocks(page: Path) -> list[str]:
    """The Python of a page, each block preceded by blank lines so that errors name the line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text[: match.start(1)].count("\n") + match.group(1) for match in BLOCK.finditer(text)]


def run(page: Path, folder: Path) -> None:
    """Runs a page's Python; what it writes lands in a folder."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for block in blocks(page):
            exec(compile(block, str(page), "exec"), namespace)


def main() -> None:
    """Draws the pictures."""
    for page in pages():
        if page.parent != DOCS.parent and "savefig(" in page.read_text(encoding="utf-8"):
            print(os.path.relpath(page))  # noqa: T201
            run(page, page.parent)


if __name__ == "__main__":
    main()
