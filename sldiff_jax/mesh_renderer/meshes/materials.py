"""Materials: textures packed into one flat buffer of texels, and base colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from numpy.typing import ArrayLike

from ..._scene.transforms import to_jax
from .arrays import as_array, as_unit_color
from .mipmaps import coarser_bytes, level_sizes

WHITE = np.full((1, 1, 3), 255, np.uint8)


class Materials(eqx.Module):
    """The materials of a mesh. A material without a texture has one white texel.

    Attributes:
        texels: (T, 4) RGBA of all textures, each row by row from its top left corner: uint8 (alpha 255), or float32 in
            [0, 1] (alpha 1) if an image is floating. An image that several materials share is there once.
        textures: (M, 3) int32: first texel, width and height of the texture of each material.
        coarse: (K, 4) uint8, the texels of the images' coarser levels: see `mipmaps`. Anything where texels are floats,
            whose levels follow from them.
        levels: (M, L) int32, the first texel of each material's coarser levels; anything behind its last.
        base_colors: (M, 3) float32 in [0, 1], multiplied with the texture.
        sizes: (width, height) of each image, in their order (static).
    """

    texels: UInt8[Array, "texels 4"] | Float[Array, "texels 4"]
    textures: Int[Array, "materials 3"]
    coarse: UInt8[Array, "coarse 4"]
    levels: Int[Array, "materials levels"]
    base_colors: Float[Array, "materials 3"]
    sizes: tuple[tuple[int, int], ...] = eqx.field(static=True)

    def __init__(self, texture: ArrayLike | Sequence[ArrayLike | None] | None, base_color: ArrayLike | None):
        images: list[Any] = list(texture) if isinstance(texture, list | tuple) else [texture]
        images = [WHITE if image is None else image for image in images]
        distinct = {id(image): as_texels(image) for image in images}
        if not distinct or any(image.size == 0 for image in distinct.values()):
            raise ValueError("Mesh texture must not be empty: give an (Ht, Wt, 3) array, a list of them, or None.")
        base_color = np.ones(3) if base_color is None else np.asarray(base_color)
        if base_color.ndim == 1:
            base_color = np.broadcast_to(base_color, (len(images), *base_color.shape))
        base_color = as_unit_color(base_color, "base_color", (len(images),))

        floating = any(image.dtype != np.uint8 for image in distinct.values())
        count = sum(image.shape[0] * image.shape[1] for image in distinct.values())
        texels = np.ones((count, 4), np.float32) if floating else np.full((count, 4), 255, np.uint8)
        rows, first = {}, 0
        for key, image in distinct.items():
            height, width, _ = image.shape
            image = image / np.float32(255) if floating and image.dtype == np.uint8 else image
            texels[first : first + height * width, :3] = image.reshape(-1, 3)
            rows[key] = (first, width, height)
            first += height * width
        self.texels = to_jax(texels)
        del texels
        self.textures = to_jax(np.array([rows[id(image)] for image in images]), jnp.int32)
        self.sizes = tuple((width, height) for _, width, height in rows.values())
        coarse, first_levels = _coarser_levels(list(distinct.values()))
        self.coarse = to_jax(coarse)
        row = {key: k for k, key in enumerate(distinct)}
        self.levels = to_jax(first_levels[[row[id(image)] for image in images]], jnp.int32)
        self.base_colors = to_jax(base_color, jnp.float32)

    @property
    def count(self) -> int:
        """Number of materials."""
        return self.textures.shape[0]


def _coarser_levels(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(K, 4) uint8 texels of all coarser levels, zeros for floating images; and (I, L) where those of each begin."""
    counts = [[w * h for w, h in level_sizes(image.shape[1], image.shape[0])] for image in images]
    texels = np.zeros((sum(map(sum, counts)), 4), np.uint8)
    firsts = np.zeros((len(images), max(map(len, counts))), int)
    first = 0
    for k, image in enumerate(images):
        for level, count in enumerate(counts[k]):
            firsts[k, level] = first
            if image.dtype == np.uint8:
                image = coarser_bytes(image)
                texels[first : first + count] = 255
                texels[first : first + count, :3] = image.reshape(-1, 3)
            first += count
    return texels, firsts


def as_texels(image: ArrayLike) -> np.ndarray:
    """A texture (Ht, Wt, 3 or 4) as (Ht, Wt, 3) uint8 or float32 in [0, 1]. Bytes are not copied."""
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.shape[-1:] in ((3,), (4,)):
        return as_array(array, "texture", (None, None, array.shape[-1]), np.uint8)[..., :3]
    return as_unit_color(array, "texture", (None, None)).astype(np.float32)
