"""Renderers of single objects whose arrays have one size, so that one compiled program serves all objects."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..mesh_renderer import Mesh, MeshRenderer
from ._models import Models


class Drawables:
    """The objects of a data set, ready to be drawn alone or together.

    Args:
        models: all of which are loaded, once.
        object_ids: those that will be drawn.
    """

    def __init__(self, models: Models, object_ids: Sequence[int]):
        meshes = {object_id: models.mesh(object_id) for object_id in object_ids}
        colored = any(mesh.colors is not None for mesh in meshes.values())
        sizes = [_sizes(mesh) for mesh in meshes.values()]
        largest = tuple(max(column) for column in zip(*sizes))
        self._meshes = {object_id: _padded(mesh, largest, colored) for object_id, mesh in meshes.items()}
        self._renderers = {
            object_id: MeshRenderer([mesh], buffers="core") for object_id, mesh in self._meshes.items()
        }  # fmt: skip

    def alone(self, object_id: int) -> MeshRenderer:
        """The renderer of one object."""
        return self._renderers[object_id]

    def together(self, object_ids: Sequence[int]) -> MeshRenderer:
        """The renderer of several, repetitions included; its arrays depend on their number alone."""
        # Equal objects are told apart, or the renderer would pack them once.
        meshes = [self._meshes[object_id] for object_id in object_ids]
        distinct = [eqx.tree_at(lambda m: m.vertices, mesh, +mesh.vertices) for mesh in meshes]
        return MeshRenderer(distinct, buffers="core")


def stacked(renderers: Sequence[MeshRenderer]) -> MeshRenderer:
    """Renderers with arrays of equal sizes as one, with a leading axis on each array."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *renderers)


def structure(tree: PyTree) -> tuple:
    """Equal for two trees of arrays that a compiled program cannot tell apart."""
    leaves, definition = jax.tree.flatten(tree)
    return (definition, *((leaf.shape, str(leaf.dtype)) for leaf in leaves))


def _sizes(mesh: Mesh) -> tuple[int, ...]:
    """Numbers of vertices, triangles, edges, texels, texels of coarser levels, such levels and materials."""
    materials = mesh.materials
    texels = len(materials.texels), len(materials.coarse), materials.levels.shape[1]
    return len(mesh.vertices), len(mesh.faces), len(mesh.edges), *texels, materials.count


def _padded(mesh: Mesh, sizes: tuple[int, ...], colored: bool) -> Mesh:
    """The mesh with more of everything: vertices at its first, triangles without area, edges without length."""
    vertices, faces, edges, texels, coarse, levels, materials = sizes
    colors = mesh.colors
    if colored and colors is None:
        colors = jnp.ones_like(mesh.vertices)
    parts = {
        "vertices": _longer(mesh.vertices, vertices),
        "faces": _longer(mesh.faces, faces, 0),
        "normals": _longer(mesh.normals, vertices),
        "colors": None if colors is None else _longer(colors, vertices),
        "uv": _longer(mesh.uv, vertices),
        "face_material": _longer(mesh.face_material, faces),
        "edges": _longer(mesh.edges, edges, 0),
        "texels": _longer(mesh.materials.texels, texels),
        "coarse": _longer(mesh.materials.coarse, coarse, 0),
        "levels": _longer(_longer(mesh.materials.levels.T, levels, 0).T, materials),
        "textures": _longer(mesh.materials.textures, materials),
        "base_colors": _longer(mesh.materials.base_colors, materials),
    }
    return eqx.tree_at(
        lambda m: (
            m.vertices, m.faces, m.normals, m.colors, m.uv, m.face_material, m.edges,
            m.materials.texels, m.materials.coarse, m.materials.levels, m.materials.textures, m.materials.base_colors,
        ),
        mesh,
        tuple(parts.values()),
        is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip


def _longer(array: jax.Array, count: int, fill: int | None = None) -> jax.Array:
    """The array with its first row, or a number, repeated at the end."""
    rows = np.asarray(array)
    last = rows[:1] if fill is None else np.full((1, *rows.shape[1:]), fill, rows.dtype)
    return jnp.asarray(np.concatenate([rows, np.repeat(last, count - len(rows), axis=0)]))
