"""Material libraries of OBJ files (MTL)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .numbers import floats
from .text import read_lines
from .texture_lookup import Wrap

WORDS_OF_OPTION = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-bm": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-texres": 1,
    "-type": 1,
}  # fmt: skip
VECTORS = ("-o", "-s", "-t")
"""Options with one to three numbers."""


class ColorMap(NamedTuple):
    """A ``map_Kd``: the name of the image, and how coordinates are looked up in it: ``scale * uv + offset``."""

    name: str
    scale: np.ndarray
    offset: np.ndarray
    wrap: tuple[Wrap, Wrap]


class MtlMaterial(NamedTuple):
    """What a library says about one material. Opacity 1 is opaque."""

    folder: Path
    diffuse: np.ndarray | None = None
    color_map: ColorMap | None = None
    opacity: float = 1.0


def read_library(path: Path) -> dict[str, MtlMaterial]:
    """The materials of a MTL file, by name."""
    materials: dict[str, MtlMaterial] = {}
    name = None
    for number, line in enumerate(read_lines(path), start=1):
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        keyword, rest = keyword.lower(), rest.strip()
        if keyword == "newmtl":
            name = rest
            materials[name] = MtlMaterial(path.parent)
        elif name is not None:
            try:
                materials[name] = _with_statement(materials[name], keyword, rest)
            except ValueError as error:
                raise ValueError(f"its material {name!r} ({path.name}, line {number}): {error}") from None
    return materials


def _with_statement(material: MtlMaterial, keyword: str, rest: str) -> MtlMaterial:
    if keyword == "kd":
        return material._replace(diffuse=_color(rest.partition("#")[0]))
    if keyword == "map_kd":
        return material._replace(color_map=_color_map(rest))
    if keyword in ("d", "tr"):
        opacity = float(floats(rest.partition("#")[0].split()[-1:] or ["1"])[0])
        return material._replace(opacity=opacity if keyword == "d" else 1 - opacity)
    return material


def _color(text: str) -> np.ndarray:
    words = text.split()
    if words and words[0].lower() in ("spectral", "xyz"):
        raise ValueError(f"Kd is given as {words[0]}; write it as red, green and blue in 0..1")
    if len(words) not in (1, 3, 4):  # some write an opacity behind
        raise ValueError(f"Kd needs three numbers, got {text!r}")
    color = floats(words[:3] if len(words) > 1 else words * 3)
    if not (color.min() >= 0 and color.max() <= 1 + 1e-4):
        raise ValueError(f"Kd must lie in 0..1, got {text!r}")
    return np.minimum(color, 1)


def _color_map(text: str) -> ColorMap:
    scale, offset, clamp = np.ones(2), np.zeros(2), False
    while match := re.match(r"(-[a-z]+)\s+", text, re.IGNORECASE):
        option = match[1].lower()
        if option in VECTORS:
            numbers = re.match(r"((?:[-+.\d][-+.\deE]*\s+){1,3})", text[match.end() :])
            if numbers is None:
                raise ValueError(f"the option {option} of map_Kd needs numbers, got {text!r}")
            values, length = floats(numbers[0].split()), numbers.end()
        elif option in WORDS_OF_OPTION:
            words = re.match(rf"(?:\S+\s+){{{WORDS_OF_OPTION[option]}}}", text[match.end() :])
            if words is None:
                raise ValueError(f"the option {option} of map_Kd needs {WORDS_OF_OPTION[option]} words, got {text!r}")
            values, length = words[0].lower().split(), words.end()
        else:
            break  # a name that begins with a hyphen
        text = text[match.end() + length :]
        if option == "-s":
            scale = np.array([*values, 1.0])[:2]
        elif option == "-o":
            offset = np.array([*values, 0.0])[:2]
        elif option == "-clamp":
            clamp = values == ["on"]
        elif _changes_colors(option, list(values)):
            raise ValueError(f"the option {option} of map_Kd is not supported. Work it into the image {text}")
    if not text:
        raise ValueError("map_Kd names no image")
    wrap: Wrap = "clamp" if clamp else "repeat"
    return ColorMap(text, scale, offset, (wrap, wrap))


def _changes_colors(option: str, values: list) -> bool:
    if option == "-mm":
        return floats(values).tolist() != [0, 1]
    if option == "-t":
        return any(values)
    return (option == "-cc" and values == ["on"]) or (option == "-imfchan" and values != ["rgb"])
