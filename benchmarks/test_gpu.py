"""The table of hypotheses comes to its end at a small size, and its figures are found."""

import math

import gpu
import record


def test_the_table_is_complete() -> None:
    """All programs, at one hypothesis and at several."""
    text = gpu.table([1, 2], 24, 2)
    figures = record.figures(text)
    for program in ("draw", "iteration", "Levenberg-Marquardt step"):
        for count in (1, 2):
            time, size, share = (
                figures[f"{program}, {count}: {column}"] for column in ("median (min) ms", "MB", "of the floor")
            )
            assert time > 0 and size > 0 and 0 < share < 100 and math.isfinite(time)
    assert "nvdiffrast" in text
