"""What the jobs of ``sldiff-jax bop`` share: naming a data set, and errors without a traceback."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..bop import Dataset, parse_result_name
from ._errors import InputError


def open_dataset(folder: Path, split: str | None, results: Path) -> Dataset:
    """The data set; without a split, the one in the name of a result file, or else ``test``."""
    if split is None:
        try:
            split = parse_result_name(results).split
        except ValueError:
            split = "test"
    return Dataset.open(folder, split)


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """What is wrong with a data set or its files is the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from None


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options as JSON values."""
    hidden = ("command", "words")
    return {
        name: str(value) if isinstance(value, Path) else [str(v) for v in value] if isinstance(value, list) else value
        for name, value in vars(options).items()
        if name not in hidden
    }
