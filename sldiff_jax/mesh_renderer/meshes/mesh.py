"""Triangle meshes with vertex colours and textured materials."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ..._scene.transforms import to_jax
from ...metrics._farthest_pair import farthest_pair
from .arrays import as_array, as_unit_color, finite_where_unused, refuse_traced
from .float32 import lost_in_float32
from .materials import Materials
from .replace import replaced_arrays
from .topology import find_edges
from .vertex_normals import mended_normals, vertex_normals


class Mesh(eqx.Module):
    """A textured triangle mesh in its object frame.

    Conventions:
        - Metres. The object frame is the frame of the vertices.
        - Both sides of a triangle are drawn. Its front is where its corners run counter-clockwise: computed normals
          point there, and light turns the normals where it shows its back.
        - uv (0, 0) is the lower left corner of the texture, v points up, textures repeat. Row 0 of a texture is its
          top. (glTF counts v downwards; `Mesh.load` converts.)
        - Colour of a point = texture x vertex colour x base colour of the material, all taken as they are: no gamma.

    Attributes:
        vertices: (V, 3) float32, metres.
        faces: (F, 3) int32, vertex numbers from 0.
        normals: (V, 3) float32, unit length.
        colors: optional (V, 3) float32 in [0, 1].
        uv: (V, 2) float32; zeros if there is no texture.
        face_material: (F,) int32, row of `materials` for each triangle.
        materials: the `Materials`.
        edges: (E, 4) int32, the edges between vertices welded by position: vertex numbers of both ends, of the third
            corner of a triangle at the edge, and of that of the other triangle, -1 if there is none.
        computed_normals: whether the normals follow from the vertices (static).
    """

    vertices: Float[Array, "vertices 3"]
    faces: Int[Array, "faces 3"]
    normals: Float[Array, "vertices 3"]
    colors: Float[Array, "vertices 3"] | None
    uv: Float[Array, "vertices 2"]
    face_material: Int[Array, " faces"]
    materials: Materials
    edges: Int[Array, "edges 4"]
    computed_normals: bool = eqx.field(static=True)

    def __init__(
        self,
        vertices: ArrayLike,
        faces: ArrayLike,
        *,
        normals: ArrayLike | None = None,
        colors: ArrayLike | None = None,
        uv: ArrayLike | None = None,
        texture: ArrayLike | Sequence[ArrayLike | None] | None = None,
        base_color: ArrayLike | None = None,
        face_material: ArrayLike | None = None,
    ):
        """Builds a mesh from arrays.

        Args:
            vertices: (V, 3) float, metres. Those that no triangle uses may be anything.
            faces: (F, 3) int, vertex numbers from 0.
            normals: (V, 3) float; normalised. Default, also where they are zero or NaN: the mean of the adjacent
                triangles' normals, weighted by angle.
            colors: (V, 3) or (V, 4), uint8 or float in [0, 1]; alpha is ignored. Default: white.
            uv: (V, 2) float texture coordinates, v up.
            texture: (Ht, Wt, 3) or (Ht, Wt, 4), uint8 or float in [0, 1]; alpha is ignored. For several materials
                a list, with None for one that has no texture.
            base_color: (3,) or (4,) float in [0, 1], or one row per material. Default: white.
            face_material: (F,) int, the material of each triangle. Default: 0.

        Raises:
            ValueError: if a shape, dtype or value is not as described, or the mesh is so far from its origin that
                float32 cannot hold its shape.
        """
        refuse_traced(
            vertices=vertices, faces=faces, normals=normals, colors=colors, uv=uv, texture=texture,
            base_color=base_color, face_material=face_material,
        )  # fmt: skip
        vertices = as_array(vertices, "vertices", (None, 3), np.floating, finite=False)
        faces = as_array(faces, "faces", (None, 3), np.integer)
        count = vertices.shape[0]
        if count == 0 or faces.shape[0] == 0:
            raise ValueError(f"Mesh is empty: got {count} vertices and {faces.shape[0]} faces.")
        if faces.min() < 0 or faces.max() >= count:
            raise ValueError(
                f"Mesh faces must hold vertex numbers in 0..{count - 1}, got {faces.min()}..{faces.max()}."
            )
        used = _used(faces, count)
        vertices = as_array(finite_where_unused(vertices, used), "vertices", (None, 3), np.floating)
        step, size = lost_in_float32(vertices[used])
        if step:
            raise ValueError(
                f"Mesh vertices must not lie too far from the origin: float32 has steps of {step:.3g} m there, and the "
                f"mesh is {size:.3g} m across. Subtract {vertices[used].mean(axis=0).tolist()} from them."
            )
        if texture is not None and uv is None:
            raise ValueError("Mesh texture needs uv coordinates, got none. Give uv=(V, 2).")
        self.materials = Materials(texture, base_color)
        if face_material is None:
            face_material = np.zeros(faces.shape[0], np.int32)
        face_material = as_array(face_material, "face_material", (faces.shape[0],), np.integer)
        if face_material.min() < 0 or face_material.max() >= self.materials.count:
            raise ValueError(
                f"Mesh face_material must lie in 0..{self.materials.count - 1}, "
                f"got {face_material.min()}..{face_material.max()}."
            )
        self.computed_normals = normals is None
        if normals is None:
            normals = vertex_normals(vertices, faces)
        else:
            normals = as_array(normals, "normals", (count, 3), np.floating, finite=False)
            normals = mended_normals(normals, vertices, faces)
        if colors is not None:
            colors = as_unit_color(finite_where_unused(colors, used), "colors", (count,))
        uv = np.zeros((count, 2)) if uv is None else finite_where_unused(uv, used)
        uv = as_array(uv, "uv", (count, 2), np.floating)

        self.vertices = to_jax(vertices, jnp.float32)
        self.faces = to_jax(faces, jnp.int32)
        self.normals = to_jax(normals, jnp.float32)
        self.colors = None if colors is None else to_jax(colors, jnp.float32)
        self.uv = to_jax(uv, jnp.float32)
        self.face_material = to_jax(face_material, jnp.int32)
        self.edges = to_jax(find_edges(np.asarray(vertices, np.float32), faces), jnp.int32)

    @classmethod
    def load(cls, path: str | Path, *, scale: float = 1.0, origin: Sequence[float] | ArrayLike | None = None) -> Mesh:
        """Reads a mesh file: glTF, GLB, OBJ, PLY or STL.

        Takes textures, vertex colours, base colours and normals from the file, cuts faces of many corners into
        triangles, joins several parts into one mesh and applies node transforms, skins and morph weights at rest. What
        would come out wrong is refused, by name; what is only drawn otherwise (transparency) is warned of.

        Convention:
            The vertices of a part keep the order of the file, so that vertex numbers can be compared. Where a corner
            has another normal or texture coordinate than the first at its vertex, it gets a vertex behind these. If
            there are colours per triangle, each triangle gets vertices of its own.

        Args:
            path: the file. Textures are looked for where the file says, relative to it.
            scale: metres per unit of the file; 1e-3 for a file in millimetres.
            origin: (3,) float, the point that becomes the origin of the object frame, in units of the file; for files
                that are far from their own, as georeferenced scans are. Default: the origin of the file.

        Returns:
            The mesh.

        Raises:
            ValueError: if the file is missing, damaged, holds no triangles or something that is not supported, or scale
                or origin are not as described. The message is one line, and names the file.
        """
        from .load import load_mesh, naming_file  # the readers are needed by few

        loaded = load_mesh(path, scale, None if origin is None else np.asarray(origin))
        for warning in loaded.warnings:
            warnings.warn(f"Mesh file {path}: {warning}.", stacklevel=2)
        with naming_file(Path(path)):
            return cls(**loaded.arguments)

    @property
    def num_triangles(self) -> int:
        """Number of triangles."""
        return self.faces.shape[0]

    @property
    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """(2, 3) float: smallest and largest coordinates of the vertices that triangles use, metres."""
        vertices = self._used_vertices()
        return np.stack([vertices.min(axis=0), vertices.max(axis=0)])

    @cached_property
    def diameter(self) -> float:
        """Largest distance between two vertices that triangles use, metres. Computed once."""
        vertices = self._used_vertices().astype(np.float64)
        first, second = farthest_pair(vertices)
        return float(np.linalg.norm(vertices[first] - vertices[second]))

    @cached_property
    def reduced(self) -> Mesh:
        """The mesh with some thousand triangles, for small images: itself, if it has no more. Computed once."""
        from .reduced import reduced_mesh  # needed by few

        return reduced_mesh(self)

    def _used_vertices(self) -> np.ndarray:
        return np.asarray(self.vertices)[_used(np.asarray(self.faces), self.vertices.shape[0])]

    def replace(
        self,
        *,
        vertices: ArrayLike | None = None,
        colors: ArrayLike | None = None,
        texture: ArrayLike | Sequence[ArrayLike] | None = None,
        base_color: ArrayLike | None = None,
    ) -> Mesh:
        """The mesh with other numbers and the same topology. Works inside of traced functions, and is differentiable.

        Args:
            vertices: (V, 3) float, metres. Normals that were computed are computed again, others stay.
            colors: (V, 3) float in [0, 1].
            texture: (Ht, Wt, 3) float in [0, 1], of the size of the mesh's; a list if it has several images, in their
                order. Kept as float32, so that it has a gradient.
            base_color: (3,) float in [0, 1], or one row per material.

        Returns:
            The mesh.

        Raises:
            ValueError: if a shape or dtype changes, or a value is not finite or not in its range. What is known while
                a function is traced is checked then; traced values are trusted.
        """
        arrays = replaced_arrays(self, vertices, colors, texture, base_color)
        mesh = self
        for name, array in arrays.items():
            inner = name in ("texels", "base_colors")
            mesh = eqx.tree_at(
                lambda mesh, name=name, inner=inner: getattr(mesh.materials if inner else mesh, name),
                mesh,
                array,
                is_leaf=lambda leaf: leaf is None,
            )
        return mesh

    def transformed(self, T_object_mesh: ArrayLike) -> Mesh:
        """The mesh in another object frame.

        Args:
            T_object_mesh: (4, 4) float, mesh frame to the new object frame: rotation, uniform scale and translation
                (stillleben's pretransform).

        Returns:
            The mesh with transformed vertices and normals.

        Raises:
            ValueError: if the shape is wrong or the upper left block is no rotation times a positive scale.
        """
        T = as_array(T_object_mesh, "T_object_mesh", (4, 4), np.floating).astype(np.float64)
        A = T[:3, :3]
        scale = np.cbrt(np.linalg.det(A))
        if not scale > 0 or np.abs(A.T @ A - scale**2 * np.eye(3)).max() > 1e-4 * scale**2:
            raise ValueError(
                f"T_object_mesh must be a rotation times one positive scale (upper left 3x3), got {A.tolist()}."
            )
        vertices = np.asarray(self.vertices, np.float64) @ A.T + T[:3, 3]
        normals = np.asarray(self.normals, np.float64) @ (A / scale).T
        return eqx.tree_at(
            lambda mesh: (mesh.vertices, mesh.normals),
            self,
            (to_jax(vertices, jnp.float32), to_jax(normals, jnp.float32)),
        )


def _used(faces: np.ndarray, count: int) -> np.ndarray:
    """(V,) bool: the vertices that triangles use."""
    used = np.zeros(count, bool)
    used[faces] = True
    return used
