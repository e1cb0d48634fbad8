"""Numbers in text files, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def floats(words: Sequence[str]) -> np.ndarray:
    """(N,) float64. ``nan(ind)``, ``1.#QNAN`` and the like, which Microsoft's library writes, are NaN.

    Raises:
        ValueError: that names the first word that is no number.
    """
    try:
        return np.array(words, np.float64)
    except ValueError:
        return np.array([_float(word) for word in words], np.float64)


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        lower = word.lower().lstrip("+-")
        if lower.startswith("nan") or "#ind" in lower or "#qnan" in lower or "#snan" in lower:
            return float("nan")
        if "#inf" in lower:
            return float("inf")
        raise ValueError(f"{word[:40]!r} is no number") from None
