"""Images for the tests of losses: a rendering of one object, and observations of it. Depth is flat, colour is noise."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import sldiff_jax as sl

HEIGHT, WIDTH = 9, 12


def make_rendering(seed: int = 0, height: int = HEIGHT, width: int = WIDTH, dtype=jnp.float32) -> sl.Rendering:
    """An object half a metre away that fills the middle of the image."""
    mask = np.zeros((height, width))
    mask[2:-2, 3:-3] = 1
    rgb = np.random.default_rng(seed).random((height, width, 3))
    return sl.Rendering(jnp.asarray(rgb, dtype), jnp.asarray(0.5 * mask, dtype), jnp.asarray(mask, dtype))


def observed(rendering: sl.Rendering, **changes) -> sl.Observation:
    """A perfect match, but for the changes."""
    return sl.Observation(**({"rgb": rendering.rgb, "depth": rendering.depth, "mask": rendering.mask} | changes))
