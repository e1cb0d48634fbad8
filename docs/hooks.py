"""What mkdocs does besides its plugins: notebooks in the menu, formulas as MathML, tables taken from the README.

Formulas become MathML while the site is built, so that no page fetches a script from elsewhere to show them.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"

TABLE_OF_README = re.compile(r"<!-- table of README: (.+?) -->")
FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
FORMULA_IN_NOTEBOOK = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\w$])", re.DOTALL)
VERBATIM = re.compile(
    r'(?:<(?P<tag>pre|code|script|style|svg)\b.*?</(?P=tag)>|<div class="clipboard-copy-txt".*?</div>|<[^>]+>)',
    re.DOTALL,
)
FETCHED_SCRIPT = re.compile(r'<script[^>]*\bsrc="https?://[^>]*>\s*</script>')


def readme_table(heading: str) -> str:
    """The first table of the README below a heading, so that a number is written down once.

    Args:
        heading: its words, without the marks.

    Returns:
        The lines of the table in Markdown.

    Raises:
        ValueError: if there is no such heading, or no table below it.
    """
    sections = re.split(r"^#+ +(.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2])).get(heading)
    table = None if found is None else re.search(r"(?:^\|.*\n)+", found, re.MULTILINE)
    if table is None:
        raise ValueError(f"The README has no table under a heading {heading!r}.")
    return table.group()


def on_config(config):
    """Appends the notebooks to the menu."""
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    if notebooks:
        config.nav.insert(len(config.nav) - 1, {"Notebooks": [f"notebooks/{path.name}" for path in notebooks]})
    return config


def on_files(files, config):
    """Adds the notebooks, which lie outside of the documentation's folder, before their plugin looks for them."""
    from mkdocs.structure.files import File

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        files.append(File(f"notebooks/{path.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    return files


# mkdocs runs hooks after plugins unless told otherwise; this is what mkdocs.plugins.event_priority does.
on_files.mkdocs_priority = 100


def on_page_markdown(markdown: str, **_) -> str:
    """Puts tables of the README where a comment asks for them."""
    return TABLE_OF_README.sub(lambda match: readme_table(match.group(1)), markdown)


def on_page_content(content: str, page, **_) -> str:
    """Turns formulas into MathML."""
    if page.file.src_uri.endswith(".ipynb"):
        content = FETCHED_SCRIPT.sub("", content)
        verbatim = [match.group() for match in VERBATIM.finditer(content)]
        text = [FORMULA_IN_NOTEBOOK.sub(_of_notebook, part) for part in VERBATIM.split(content)[::2]]
        return "".join(part + code for part, code in zip(text, [*verbatim, ""]))
    return FORMULA.sub(
        lambda match: mathml(html.unescape(match.group(2))[2:-2], block=match.group(1) == "div"), content
    )


def mathml(tex: str, *, block: bool) -> str:
    r"""A formula in TeX as MathML.

    Args:
        tex: without dollars. No environments but matrices, no alignment.
        block: on a line of its own.
    """
    from latex2mathml.converter import convert

    return convert(tex.strip(), display="block" if block else "inline")


def _of_notebook(match: re.Match) -> str:
    block, inline = match.groups()
    return mathml(html.unescape(block or inline), block=block is not None)
