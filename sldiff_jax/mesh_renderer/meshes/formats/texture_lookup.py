"""How a texture continues outside of its rectangle, worked into its pixels: the renderer always repeats."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .part import Material, Part, with_own_vertices

Wrap = Literal["repeat", "clamp", "mirror"]

MAX_GROWTH = 16
"""How many times larger a texture may become."""


class Lookups:
    """Textures whose continuation was worked in, each once however many parts use it."""

    def __init__(self):
        self._made: dict[tuple, np.ndarray] = {}
        self._kept: list[np.ndarray] = []  # so that no other array gets the same id

    def bake(self, texture: np.ndarray, uv: np.ndarray, wrap: tuple[Wrap, Wrap]) -> tuple[np.ndarray, np.ndarray]:
        """A texture and coordinates that look the same when the texture repeats.

        Args:
            texture: (H, W, 3) uint8.
            uv: (V, 2) float, v up, of the vertices that use it.
            wrap: how it continues along u and v.

        Returns:
            The texture and (V, 2) float.

        Raises:
            ValueError: if it would become much larger.
        """
        rows, v = _axis(1 - uv[:, 1], texture.shape[0], wrap[1])
        columns, u = _axis(uv[:, 0], texture.shape[1], wrap[0])
        if rows is None and columns is None:
            return texture, uv
        height = texture.shape[0] if rows is None else len(rows)
        width = texture.shape[1] if columns is None else len(columns)
        if height * width > max(MAX_GROWTH * texture.shape[0] * texture.shape[1], 2**20):
            raise ValueError(
                f"its texture coordinates reach to {uv.min():.3g}..{uv.max():.3g} with a texture that does not repeat "
                f"(wrap mode {' and '.join(wrap)}). Bring them into 0..1, or let the texture repeat"
            )
        spans = [None if index is None else (index[0], len(index), index[-1]) for index in (rows, columns)]
        key = (id(texture), *spans)
        if key not in self._made:
            made = texture if rows is None else texture[rows]
            self._made[key] = made if columns is None else made[:, columns]
            self._kept.append(texture)
        return self._made[key], np.stack([u, 1 - v], axis=1)


def bake_faces(part: Part, chosen: np.ndarray, material: int, wrap: tuple[Wrap, Wrap], lookups: Lookups) -> Part:
    """Works the continuation of one material's texture into a part.

    Args:
        part: the part, with coordinates.
        chosen: (F,) bool, the faces of that material.
        material: its row.
        wrap: how its texture continues along u and v.
        lookups: the textures made so far.
    """
    texture = part.materials[material].texture
    if wrap == ("repeat", "repeat") or texture is None or part.uv is None or not chosen.any():
        return part
    part, own = with_own_vertices(part, chosen)
    uv = part.uv.copy()  # pyright: ignore[reportOptionalMemberAccess]
    baked, uv[own] = lookups.bake(texture, uv[own], wrap)
    materials = list(part.materials)
    materials[material] = Material(baked, part.materials[material].base_color)
    return part._replace(uv=uv, materials=materials)


def _axis(x: np.ndarray, size: int, wrap: Wrap) -> tuple[np.ndarray | None, np.ndarray]:
    """Which texels to take along one axis, None for all, and the coordinates in what results.

    `x` counts from the first texel's edge, in sizes of the texture. A look-up blends the two texels whose centres are
    next to it.
    """
    margin = 0.5 / size
    lowest, highest = x.min(initial=0.5), x.max(initial=0.5)
    within = lowest >= 0 and highest <= 1
    if wrap == "repeat" or (lowest >= margin and highest <= 1 - margin):
        return None, x
    if wrap == "mirror" and not within:
        there = np.arange(size)
        return np.concatenate([there, there[::-1]]), x / 2
    # Inside of the rectangle a mirrored texture is a clamped one: the outermost texel comes twice.
    first = min(-1, int(np.floor(lowest * size - 0.5)))
    last = max(size, int(np.ceil(highest * size - 0.5)))
    if last - first > MAX_GROWTH * size + 2**20:
        return np.broadcast_to(0, (last - first,)), x  # refused by the caller
    index = np.clip(np.arange(first, last + 1), 0, size - 1)
    return index, (x * size - first) / len(index)
