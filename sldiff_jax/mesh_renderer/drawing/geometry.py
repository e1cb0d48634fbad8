"""The meshes of a renderer, packed for the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from ..meshes.mesh import Mesh


class Geometry(eqx.Module):
    """All meshes behind each other, each distinct `Mesh` object once, and which object draws which part.

    Attributes:
        objects: (N + 1, 6) int32: row k holds, for object k, its first vertex, triangle and edge in the lists of all
            that are drawn, and its first vertex, triangle and edge in the arrays below. The last row ends the lists.
        vertices, normals: (V, 3) float32.
        colors: (V, 3) float32, or (0, 3) if no mesh has vertex colours.
        uv: (V, 2) float32.
        faces: (F, 3) int32, vertex numbers within the mesh.
        face_material: (F,) int32, row of `textures` and `base_colors`.
        texels: (T, 4) uint8, or float32 if a texture of any mesh is floating.
        textures: (M, 3) int32, first texel, width, height.
        base_colors: (M, 3) float32.
        edges: (E, 4) int32, vertex numbers within the mesh, see `Mesh.edges`.
        drawn_vertices, drawn_faces, drawn_edges: totals over all objects (static).
    """

    objects: Int[Array, "objects+1 6"]
    vertices: Float[Array, "vertices 3"]
    normals: Float[Array, "vertices 3"]
    colors: Float[Array, "colored 3"]
    uv: Float[Array, "vertices 2"]
    faces: Int[Array, "faces 3"]
    face_material: Int[Array, " faces"]
    texels: UInt8[Array, "texels 4"] | Float[Array, "texels 4"]
    textures: Int[Array, "materials 3"]
    base_colors: Float[Array, "materials 3"]
    edges: Int[Array, "edges 4"]
    drawn_vertices: int = eqx.field(static=True)
    drawn_faces: int = eqx.field(static=True)
    drawn_edges: int = eqx.field(static=True)

    def __init__(self, meshes: Sequence[Mesh]):
        distinct = list({id(mesh): mesh for mesh in meshes}.values())
        row = {id(mesh): k for k, mesh in enumerate(distinct)}
        counts = [(mesh.vertices.shape[0], mesh.num_triangles, mesh.edges.shape[0]) for mesh in distinct]
        first_material = _starts([mesh.materials.count for mesh in distinct])
        first_texel = _starts([mesh.materials.texels.shape[0] for mesh in distinct])

        of_object = [row[id(mesh)] for mesh in meshes]
        zero = np.zeros((1, 3), int)
        first = np.cumsum(np.concatenate([zero, np.reshape(counts, (-1, 3))]), axis=0)
        drawn = np.cumsum(np.concatenate([zero, np.reshape([counts[k] for k in of_object], (-1, 3))]), axis=0)
        in_arrays = np.concatenate([first[of_object], zero]) if of_object else zero
        self.objects = jnp.asarray(np.concatenate([drawn, in_arrays], axis=1), jnp.int32)
        self.drawn_vertices, self.drawn_faces, self.drawn_edges = (int(total) for total in drawn[-1])

        self.vertices = _packed([mesh.vertices for mesh in distinct], (0, 3), jnp.float32)
        self.normals = _packed([mesh.normals for mesh in distinct], (0, 3), jnp.float32)
        self.uv = _packed([mesh.uv for mesh in distinct], (0, 2), jnp.float32)
        colored = any(mesh.colors is not None for mesh in distinct)
        colors = [jnp.ones_like(mesh.vertices) if mesh.colors is None else mesh.colors for mesh in distinct]
        self.colors = _packed(colors if colored else [], (0, 3), jnp.float32)
        self.faces = _packed([mesh.faces for mesh in distinct], (0, 3), jnp.int32)
        self.edges = _packed([mesh.edges for mesh in distinct], (0, 4), jnp.int32)
        self.face_material = _packed(
            [mesh.face_material + first for mesh, first in zip(distinct, first_material)], (0,), jnp.int32
        )
        texels = [mesh.materials.texels for mesh in distinct]
        floating = any(part.dtype != jnp.uint8 for part in texels)
        as_floats = [part if part.dtype != jnp.uint8 else part.astype(jnp.float32) / 255 for part in texels]
        self.texels = _packed(as_floats, (0, 4), jnp.float32) if floating else _packed(texels, (0, 4), jnp.uint8)
        self.textures = _packed(
            [mesh.materials.textures + jnp.array([first, 0, 0]) for mesh, first in zip(distinct, first_texel)],
            (0, 3), jnp.int32,
        )  # fmt: skip
        self.base_colors = _packed([mesh.materials.base_colors for mesh in distinct], (0, 3), jnp.float32)

    def check(self) -> None:
        """A ValueError if arrays were replaced by some of another size, for the kernels would read past their ends."""
        count = self.vertices.shape[0]
        rows = {"vertices": self.vertices, "normals": self.normals, "uv": self.uv}
        if self.colors.shape[0]:
            rows["colors"] = self.colors
        sizes = {name: array.shape for name, array in rows.items()}
        if any(shape != (count, 2 if name == "uv" else 3) for name, shape in sizes.items()):
            raise ValueError(
                f"The arrays of a mesh belong together, one row per vertex, got {sizes}. Change them with "
                "Mesh.replace, which keeps their shapes, or make another Mesh."
            )

    @property
    def byte_texels(self) -> UInt8[Array, "texels 4"]:
        """`texels`, or none if they are floating."""
        return self.texels if self.texels.dtype == jnp.uint8 else jnp.zeros((0, 4), jnp.uint8)

    @property
    def float_texels(self) -> Float[Array, "texels 4"]:
        """`texels`, or none if they are bytes."""
        return jnp.zeros((0, 4), jnp.float32) if self.texels.dtype == jnp.uint8 else self.texels


def _starts(counts: list[int]) -> list[int]:
    return [int(start) for start in np.cumsum([0, *counts])]


def _packed(arrays: list[Array], empty: tuple[int, ...], dtype) -> Array:
    return jnp.concatenate(arrays).astype(dtype) if arrays else jnp.zeros(empty, dtype)
