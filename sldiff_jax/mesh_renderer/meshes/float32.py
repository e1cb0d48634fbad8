"""What float32 can hold: shapes that are not much smaller than their distance from the origin."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-4
"""How large a step may be, as a fraction of the shape: less than a tenth of a pixel in most images."""


def lost_in_float32(vertices: np.ndarray) -> tuple[float, float]:
    """How far apart neighbouring float32 numbers are, and how large the shape is.

    Args:
        vertices: (V, 3) float, finite or not.

    Returns:
        Step and diagonal of the bounding box, in the unit of the vertices; the step is 0 where it is small enough.
    """
    vertices = vertices[np.isfinite(vertices).all(axis=1)]
    if not len(vertices):
        return 0.0, 0.0
    size = float(np.linalg.norm(vertices.max(axis=0) - vertices.min(axis=0)))
    step = float(np.finfo(np.float32).eps * np.abs(vertices).max())
    return (step if 0 < TOLERANCE * size < step else 0.0), size


def check_stored(vertices: np.ndarray) -> None:
    """Refuses a shape that a file has lost already, by storing what is far from its origin as 32-bit floats."""
    step, size = lost_in_float32(vertices)
    if step:
        raise ValueError(
            f"it stores coordinates as 32-bit floats, which have steps of {step:.3g} where it is, and it is {size:.3g} "
            "across (in its units): its shape is lost. Export it nearer to its origin, or in double precision"
        )
