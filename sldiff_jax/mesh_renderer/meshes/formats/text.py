"""Text files as people save them."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, in UTF-8, UTF-16 with its mark, or Latin-1; a backslash at the end joins two."""
    data = path.read_bytes()
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, "replace")
            break
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\" in text:
        text = re.sub(r"\\[ \t]*\n", " ", text)
    return text.split("\n")
