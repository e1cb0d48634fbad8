"""Masks as lengths of runs, in COCO's two spellings: a list of numbers, or a string."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> dict[str, list[int]]:
    """A mask in BOP's form: run lengths column by column, background first, and ``size`` (height, width)."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = [0, *changes.tolist(), len(flat)]
    counts = np.diff(edges).tolist()
    if len(flat) and flat[0]:
        counts = [0, *counts]
    return {"counts": counts, "size": list(mask.shape)}


def decode_mask(counts: Sequence[int] | str, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask of that (height, width).

    Args:
        counts: run lengths column by column, background first; or COCO's string for them.
        size: (height, width), pixels.

    Raises:
        ValueError: if the runs do not fill the image.
    """
    runs = _from_text(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise ValueError(f"run lengths must fill {size[1]}x{size[0]} pixels, got a sum of {sum(runs)}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size, order="F")


def _from_text(text: str) -> list[int]:
    """COCO's string: numbers in groups of five bits, low first, the sixth for more to come.

    From the third run on they are differences to the run before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:  # negative
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
