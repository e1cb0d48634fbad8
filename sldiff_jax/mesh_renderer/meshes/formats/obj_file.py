"""OBJ files as tables: which statements there are, and their numbers."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from .numbers import floats

# fmt: off
LEFT_OUT = frozenset((
    "vp", "p", "l", "s", "g", "o", "mg", "bevel", "c_interp", "d_interp", "lod", "shadow_obj", "trace_obj", "ctech",
    "stech", "maplib", "usemap", "end",
))
"""Statements that do not change triangles or their colours."""

FREE_FORM = frozenset((
    "cstype", "deg", "bmat", "step", "curv", "curv2", "surf", "parm", "trim", "hole", "scrv", "sp", "con", "bzp", "bsp",
    "cdc", "cdp", "res", "call", "csh",
))
# fmt: on
COMMENT = re.compile(r"(?:^|\s)#")  # 1.#QNAN is none


class Statements(NamedTuple):
    """The lines of a file by kind, without their keyword; `materials` are pairs of the first face and a name."""

    v: list[str]
    vt: list[str]
    vn: list[str]
    f: list[str]
    materials: list[tuple[int, str]]
    libraries: list[str]


def statements(lines: list[str]) -> Statements:
    """Sorts the lines of a file; numbers of faces that count back become numbers from 1.

    Raises:
        ValueError: if a line begins with what is no statement, or one that makes surfaces out of curves.
    """
    found = Statements([], [], [], [], [], [])
    rows = {"v": found.v, "vt": found.vt, "vn": found.vn, "f": found.f, "fo": found.f}
    for number, line in enumerate(lines, start=1):
        keyword, _, rest = line.partition(" ")
        if keyword not in rows or "#" in rest or (rest.find("-") >= 0 and rows[keyword] is found.f):
            words = line.split(None, 1)
            if not words or words[0][0] == "#":
                continue
            keyword, rest = words[0].lower(), words[1] if len(words) > 1 else ""
            if keyword in rows:
                rest = COMMENT.split(rest, maxsplit=1)[0]
            if keyword in ("f", "fo") and "-" in rest:
                rest = " ".join(_counted_from_start(word, found, number) for word in rest.split())
        if keyword in rows:
            rows[keyword].append(rest)
        elif keyword == "usemtl":
            found.materials.append((len(found.f), rest.strip()))
        elif keyword == "mtllib":
            found.libraries.append(rest.strip())
        elif keyword in FREE_FORM:
            raise ValueError(f"line {number} is free-form geometry ({keyword}), not triangles. Export it as polygons")
        elif keyword not in LEFT_OUT:
            raise ValueError(f"line {number} begins with {keyword[:40]!r}, which is no statement of the OBJ format")
    return found


def _counted_from_start(word: str, found: Statements, line: int) -> str:
    """A corner with numbers from 1; those below zero count back from what was defined above this line."""
    numbers = []
    for text, rows in zip(word.split("/"), (found.v, found.vt, found.vn)):
        if text.startswith("-"):
            number = len(rows) + 1 + int(text)
            if number < 1:
                raise ValueError(f"line {line} refers to {text}, before the first of {len(rows)}")
            text = str(number)
        numbers.append(text)
    return "/".join(numbers)


def _split(rows: list[str]) -> tuple[list[str], np.ndarray]:
    """The words of all rows behind each other, and how many each row has."""
    words = " ".join(rows).split()
    lengths = np.array([row.count(" ") + 1 for row in rows], np.int64)
    # A row without tabs has no more words than that: if the sum is right, each is.
    if len(words) != lengths.sum() or any("\t" in row for row in rows):
        lengths = np.array([len(row.split()) for row in rows], np.int64)
    return words, lengths


def positions_and_colors(rows: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """(V, 3) positions, and (V, 3) colours if any vertex has one: ``v x y z [w]`` or ``v x y z r g b [a]``."""
    words, lengths = _split(rows)
    wrong = np.flatnonzero((lengths < 3) | (lengths == 5) | (lengths > 7))
    if wrong.size:
        raise ValueError(f"vertex {wrong[0] + 1} has {lengths[wrong[0]]} numbers: 'v {rows[wrong[0]][:60]}'")
    values = _numbers(words, "v")
    first = np.cumsum(lengths) - lengths
    positions = values[first[:, None] + np.arange(3)]
    colored = lengths >= 6
    if not colored.any():
        return positions, None
    colors = np.ones((len(rows), 3))
    given = values[first[colored][:, None] + np.arange(3, 6)]
    finite = given[np.isfinite(given)]
    lowest, highest = finite.min(initial=0), finite.max(initial=0)
    if lowest < 0 or highest > 255:
        raise ValueError(f"its vertex colours lie in {lowest:g}..{highest:g}; 0..1 or 0..255 was expected")
    colors[colored] = given / (255 if highest > 1 else 1)
    return positions, colors


def table(rows: list[str], keyword: str, width: int, filler: str | None = None) -> np.ndarray:
    """(N, width) float64: the first numbers of each row, `filler` where all but the first are missing."""
    words, lengths = _split(rows)
    if filler is not None and (lengths == 1).any():
        return table([f"{row} {filler}" for row in rows], keyword, width)
    if (lengths < width).any():
        short = int(np.argmax(lengths < width))
        raise ValueError(f"'{keyword} {rows[short][:60]}' ({keyword} number {short + 1}) needs {width} numbers")
    first = np.cumsum(lengths) - lengths
    return _numbers(words, keyword)[first[:, None] + np.arange(width)].reshape(-1, width)


def _numbers(words: list[str], keyword: str) -> np.ndarray:
    try:
        return floats(words)
    except ValueError as error:
        raise ValueError(f"in a {keyword} statement, {error}") from None


def corners(rows: list[str], counts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many corners each face has, the different corners in their order, and which of them each corner is.

    Corners are (D, 3) int from 0: vertex, texture coordinate and normal, -1 where there is none.
    """
    words, sizes = _split(rows)
    number_of: dict[str, int] = {}
    number = np.array([number_of.setdefault(word, len(number_of)) for word in words], np.int64)
    distinct = np.full((len(number_of), 3), -1, np.int64)
    for row, word in enumerate(number_of):
        for column, text in enumerate(word.split("/")):
            if not text:
                continue
            if column > 2 or not text.isdecimal():
                raise ValueError(f"a face has the corner {word[:40]!r}, which is not v, v/vt, v//vn or v/vt/vn")
            if not 0 < len(text) < 18 or not 1 <= int(text) <= counts[column]:
                what = ("vertex", "texture coordinate", "normal")[column]
                raise ValueError(f"a face points to {what} {text[:40]}; 1..{counts[column]} are there")
            distinct[row, column] = int(text) - 1
    if (distinct[:, 0] < 0).any():
        raise ValueError("a face has a corner without vertex")
    return sizes, distinct, number
