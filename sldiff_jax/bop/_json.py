"""JSON files of a data set, read with messages that name file, place and key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float


def read_json(path: Path) -> Any:
    """The contents of a JSON file, or a ValueError that says where it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error.msg} in line {error.lineno}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; JSON is expected.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None


def read_by_id(path: Path, kind: type, what: str) -> dict[int, Any]:
    """A JSON object whose keys are numbers, such as images or objects.

    Args:
        path: the file.
        kind: of the values, list or dict.
        what: the keys are, for messages.

    Returns:
        The values by number, in ascending order.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected an object with one entry per {what}, got a {type(document).__name__}.")
    entries = {}
    for key, value in document.items():
        if not key.isdecimal():
            raise ValueError(f'{path}: keys must be the numbers of {what}s, got "{key}".')
        if not isinstance(value, kind):
            expected = "a list" if kind is list else "an object"
            raise ValueError(f'{path}: {what} "{key}" must be {expected}, got a {type(value).__name__}.')
        entries[int(key)] = value
    return dict(sorted(entries.items()))


class Fields:
    """The entries of a JSON object, checked as they are read.

    Args:
        values: the object.
        where: file and place, for messages.
    """

    def __init__(self, values: Any, where: str):
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}: expected an object, got {_short(values)}.")
        self.values = values
        self.where = where

    def __contains__(self, key: str) -> bool:
        """Whether there is an entry."""
        return key in self.values

    def value(self, key: str) -> Any:
        """An entry as it is."""
        if key not in self.values:
            raise ValueError(f'{self.where}: the key "{key}" is missing, got {_short(sorted(self.values))}.')
        return self.values[key]

    def integer(self, key: str, least: int = 0) -> int:
        """A whole number."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(key, f"a whole number, at least {least}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        return float(self.numbers(key, 1)[0])

    def numbers(self, key: str, count: int) -> Float[np.ndarray, "count"]:
        """That many finite numbers, nested or not, row by row."""
        value = self.value(key)
        try:
            array = np.asarray(value, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):  # lists of unequal length, text, null
            array = np.full(1, np.nan)
        if len(array) != count or not np.isfinite(array).all():
            expected = "a finite number" if count == 1 else f"{count} finite numbers"
            raise self.wrong(key, expected + {9: " (a 3x3 matrix, row by row)", 16: " (a 4x4 matrix)"}.get(count, ""))
        return array

    def pose(self, rotation: str, translation: str) -> Float[np.ndarray, "4 4"]:
        """A rigid transform from nine numbers and three millimetres: (4, 4) float64, metres."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.numbers(rotation, 9).reshape(3, 3), 1e-3 * self.numbers(translation, 3)
        deviation = rotation_deviation(T[:3, :3])
        if deviation > 1e-2:
            raise self.wrong(rotation, f"a rotation, row by row (R^T R is off the identity by {deviation:.2g})")
        return T

    def wrong(self, key: str, expected: str) -> ValueError:
        """The error for an entry that is not what it should be."""
        return ValueError(f'{self.where}, key "{key}": expected {expected}, got {_short(self.values[key])}.')


def rotation_deviation(R: Float[np.ndarray, "3 3"]) -> float:
    """How far a matrix is from a rotation: the largest entry of ``R^T R - 1``; infinite for reflections and NaN."""
    if not np.isfinite(R).all() or np.linalg.det(R) <= 0:
        return float("inf")
    return float(np.abs(R.T @ R - np.eye(3)).max())


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
