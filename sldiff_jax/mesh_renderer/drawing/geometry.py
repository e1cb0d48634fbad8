"""The meshes of a renderer, packed for the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from ..._scene.transforms import to_jax
from ..meshes.mesh import Mesh
from ..meshes.mipmaps import coarser, level_sizes


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
        coarse: (K, 4) uint8, texels of the coarser levels of all images, or none without mipmaps. Of floating `texels`
            the levels are computed when they are drawn, so that derivatives go through all of them.
        levels: (M, L) int32, the first texel of each coarser level; L = 0 without mipmaps.
        base_colors: (M, 3) float32.
        edges: (E, 4) int32, vertex numbers within the mesh, see `Mesh.edges`.
        drawn_vertices, drawn_faces, drawn_edges: totals over all objects (static).
        images: of floating `texels` with mipmaps the images: first texel, width, height, first coarse texel (static).
        anisotropy: taps of a texture per pixel, at most; 0 without mipmaps (static).
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
    coarse: UInt8[Array, "coarse 4"]
    levels: Int[Array, "materials levels"]
    base_colors: Float[Array, "materials 3"]
    edges: Int[Array, "edges 4"]
    drawn_vertices: int = eqx.field(static=True)
    drawn_faces: int = eqx.field(static=True)
    drawn_edges: int = eqx.field(static=True)
    images: tuple[tuple[int, int, int, int], ...] = eqx.field(static=True)
    anisotropy: int = eqx.field(static=True)

    def __init__(self, meshes: Sequence[Mesh], *, anisotropy: int = 1):
        mipmaps = anisotropy > 0
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
        self.objects = to_jax(np.concatenate([drawn, in_arrays], axis=1), jnp.int32)
        self.drawn_vertices, self.drawn_faces, self.drawn_edges = (int(total) for total in drawn[-1])

        self.vertices = _packed([mesh.vertices for mesh in distinct], (0, 3), jnp.float32)
        self.normals = _packed([mesh.normals for mesh in distinct], (0, 3), jnp.float32)
        self.uv = _packed([mesh.uv for mesh in distinct], (0, 2), jnp.float32)
        colored = any(mesh.colors is not None for mesh in distinct)
        colors = [
            mesh.colors if mesh.colors is not None else jnp.ones_like(mesh.vertices) for mesh in distinct if colored
        ]
        self.colors = _packed(colors, (0, 3), jnp.float32)
        self.faces = _packed([mesh.faces for mesh in distinct], (0, 3), jnp.int32)
        self.edges = _packed([mesh.edges for mesh in distinct], (0, 4), jnp.int32)
        self.face_material = _packed(
            [_moved(mesh.face_material, first) for mesh, first in zip(distinct, first_material)], (0,), jnp.int32
        )
        texels = [mesh.materials.texels for mesh in distinct]
        floating = any(part.dtype != jnp.uint8 for part in texels)
        if floating:
            texels = [part if part.dtype != jnp.uint8 else part.astype(jnp.float32) / 255 for part in texels]
        self.texels = _packed(texels, (0, 4), jnp.float32 if floating else jnp.uint8)
        self.textures = _packed(
            [_moved(mesh.materials.textures, first, 0, 0) for mesh, first in zip(distinct, first_texel)],
            (0, 3), jnp.int32,
        )  # fmt: skip
        first_coarse = _starts([mesh.materials.coarse.shape[0] for mesh in distinct])
        levels = max([mesh.materials.levels.shape[1] for mesh in distinct], default=0) if mipmaps else 0
        self.coarse = _packed([mesh.materials.coarse for mesh in distinct] if mipmaps else [], (0, 4), jnp.uint8)
        self.levels = _packed(
            [_widened(_moved(mesh.materials.levels, first), levels) for mesh, first in zip(distinct, first_coarse)],
            (0, levels), jnp.int32,
        )  # fmt: skip
        images = [_images(mesh, *firsts) for mesh, *firsts in zip(distinct, first_texel, first_coarse)]
        self.images = tuple(image for own in images for image in own) if mipmaps and floating else ()
        self.base_colors = _packed([mesh.materials.base_colors for mesh in distinct], (0, 3), jnp.float32)
        self.anisotropy = anisotropy

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
    def most_taps(self) -> Float[Array, "1"]:
        """`anisotropy`, for the kernels."""
        return to_jax(np.array([self.anisotropy]), jnp.float32)

    @property
    def byte_texels(self) -> UInt8[Array, "texels 4"]:
        """`texels`, or none if they are floating."""
        return jnp.zeros((0, 4), jnp.uint8) if self._is_floating else self.texels

    @property
    def float_texels(self) -> Float[Array, "texels 4"]:
        """`texels`, or none if they are bytes."""
        return self.texels if self._is_floating else jnp.zeros((0, 4), jnp.float32)

    @property
    def byte_coarse(self) -> UInt8[Array, "coarse 4"]:
        """`coarse`, or none if `texels` are floating."""
        return jnp.zeros((0, 4), jnp.uint8) if self._is_floating else self.coarse

    @property
    def float_coarse(self) -> Float[Array, "coarse 4"]:
        """The coarser levels of floating `texels`, a differentiable function of them; none if they are bytes."""
        coarse = jnp.zeros((self.coarse.shape[0] if self._is_floating else 0, 4), jnp.float32)
        if coarse.size and not self.images:
            raise ValueError(
                "Texels that were bytes when the renderer was made cannot be replaced by floats: give the texture as "
                "floats, Mesh(texture=...) or mesh.replace(texture=...), or draw with texture_filter='bilinear'."
            )
        for first, width, height, first_coarse in self.images:
            image = self.texels[first : first + width * height].reshape(height, width, 4)
            for _ in level_sizes(width, height):
                image = coarser(image)
                texels = image.reshape(-1, 4)
                coarse = coarse.at[first_coarse : first_coarse + len(texels)].set(texels)
                first_coarse += len(texels)
        return coarse

    @property
    def _is_floating(self) -> bool:
        return self.texels.dtype != jnp.uint8


def _images(mesh: Mesh, first: int, first_coarse: int) -> list[tuple[int, int, int, int]]:
    """The images of a mesh, whose first texel and first coarse texel are given, for `Geometry.images`."""
    images = []
    for width, height in mesh.materials.sizes:
        images.append((first, width, height, first_coarse))
        first += width * height
        first_coarse += sum(w * h for w, h in level_sizes(width, height))
    return images


def _moved(numbers: Array, *by: int) -> Array:
    """Numbers plus those of `by`. What begins at the front stays as it is: nothing need be compiled for it."""
    return numbers + np.array(by, np.int32) if any(by) else numbers


def _widened(levels: Array, count: int) -> Array:
    """The first columns of (M, L), or zeros behind its last."""
    if levels.shape[1] == count:
        return levels
    levels = levels[:, :count]
    return jnp.pad(levels, ((0, 0), (0, count - levels.shape[1])))


def _starts(counts: list[int]) -> list[int]:
    return [int(start) for start in np.cumsum([0, *counts])]


def _packed(arrays: list[Array], empty: tuple[int, ...], dtype) -> Array:
    if len(arrays) == 1:  # most often: no program needs compiling, and no array copying
        return jnp.asarray(arrays[0], dtype)
    return jnp.concatenate(arrays).astype(dtype) if arrays else to_jax(np.zeros(empty), dtype)
