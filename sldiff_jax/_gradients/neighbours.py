"""The eight neighbours of every pixel, as shifted views of an image with a margin.

Stencils that follow each other work on a shrinking margin: an input is padded once, by as many pixels as there are
stencils, and every stencil returns an image that is smaller by one pixel on each side. Padding what a stencil has
computed would cost several times the stencil itself, because XLA then computes it element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

Carry = TypeVar("Carry")

OFFSETS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))
"""Row and column offsets of the eight neighbours, in row-major scan order."""


def with_margin(
    image: Shaped[Array, "height width *channels"], margin: int, *, fill: float | None = None
) -> Shaped[Array, "height_with_margin width_with_margin *channels"]:
    """Pads by `margin` pixels on each side, with the constant `fill` or, if it is None, by repeating the border."""
    widths = ((margin, margin), (margin, margin)) + ((0, 0),) * (image.ndim - 2)
    if fill is None:
        return jnp.pad(image, widths, mode="edge")
    return jnp.pad(image, widths, constant_values=fill)


def neighbour(
    image: Shaped[Array, "height width *channels"], dy: int = 0, dx: int = 0, *, trim: int = 1
) -> Shaped[Array, "trimmed_height trimmed_width *channels"]:
    """``image[y + dy, x + dx]`` for every pixel (y, x) that is at least `trim` pixels away from the border."""
    height, width = image.shape[:2]
    return image[trim + dy : height - trim + dy, trim + dx : width - trim + dx]


def fold_neighbours(
    step: Callable[..., Carry], carry: Carry, *images: Shaped[Array, "height width *channels"]
) -> Carry:
    """Folds ``carry = step(carry, i, *views)`` over the eight offsets, where the views show neighbour ``OFFSETS[i]``.

    A loop, although it is short: XLA computes what enters a loop once, but what enters eight slices up to eight times.
    """

    def body(carry: Carry, i_and_offset: tuple[Array, Array]) -> tuple[Carry, None]:
        i, offset = i_and_offset
        views = [
            jax.lax.dynamic_slice(
                image,
                (offset[0] + 1, offset[1] + 1) + (0,) * (image.ndim - 2),
                (image.shape[0] - 2, image.shape[1] - 2, *image.shape[2:]),
            )
            for image in images
        ]
        return step(carry, i, *views), None

    indices = jnp.arange(len(OFFSETS), dtype=jnp.uint8)
    return jax.lax.scan(body, carry, (indices, jnp.array(OFFSETS, dtype=jnp.int32)))[0]
