"""Meshes with other numbers and the same topology, inside of traced functions too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ..._scene.transforms import is_concrete
from .vertex_normals import differentiable_vertex_normals

if TYPE_CHECKING:
    from .mesh import Mesh


def replaced_arrays(
    mesh: Mesh,
    vertices: ArrayLike | None,
    colors: ArrayLike | None,
    texture: ArrayLike | Sequence[ArrayLike] | None,
    base_color: ArrayLike | None,
) -> dict[str, Array]:
    """The arrays of `Mesh.replace` under the names of the mesh's and its materials' attributes, those that change."""
    arrays: dict[str, Array] = {}
    if vertices is not None:
        arrays["vertices"] = _checked(vertices, "vertices", mesh.vertices.shape)
        if mesh.computed_normals:
            arrays["normals"] = differentiable_vertex_normals(arrays["vertices"], mesh.faces)
    if colors is not None:
        arrays["colors"] = _checked(colors, "colors", mesh.vertices.shape, unit=True)
    if texture is not None:
        arrays["texels"] = _texels(mesh, texture)
    if base_color is not None:
        shape, color = mesh.materials.base_colors.shape, jnp.asarray(base_color)
        color = jnp.broadcast_to(color, shape) if color.shape == shape[1:] else color
        arrays["base_colors"] = _checked(color, "base_color", shape, unit=True)
    return arrays


def _texels(mesh: Mesh, texture: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "texels 4"]:
    images: list[Any] = list(texture) if isinstance(texture, list | tuple) else [texture]
    images = [jnp.asarray(image) for image in images]
    if any(image.ndim != 3 or image.shape[-1] != 3 for image in images):
        raise ValueError(f"Mesh.replace texture must be (Ht, Wt, 3), got {[image.shape for image in images]}.")
    images = [_checked(image, "texture", image.shape, unit=True) for image in images]
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    count = mesh.materials.texels.shape[0]
    fits = sum(width * height for width, height in sizes) == count
    if is_concrete(mesh.materials.textures):
        rows = np.unique(np.asarray(mesh.materials.textures), axis=0)
        fits = fits and sizes == [(int(width), int(height)) for _, width, height in rows]
    if not fits:
        raise ValueError(
            f"Mesh.replace keeps the topology: the images of this mesh have {count} texels in all, got images of "
            f"(width, height) {sizes}. Make another Mesh for textures of another size."
        )
    flat = jnp.concatenate([image.reshape(-1, 3) for image in images])
    return jnp.concatenate([flat, jnp.ones_like(flat[:, :1])], axis=1)


def _checked(value: ArrayLike, name: str, shape: tuple[int, ...], *, unit: bool = False) -> Float[Array, "..."]:
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"Mesh.replace keeps the topology: {name} must have shape {shape}, got {array.shape}.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"Mesh.replace {name} must be floating, got dtype {array.dtype}.")
    array = array.astype(jnp.float32)
    if is_concrete(array):
        numbers = np.asarray(array)
        if not np.isfinite(numbers).all():
            raise ValueError(f"Mesh.replace {name} must be finite, got {(~np.isfinite(numbers)).sum()} that are not.")
        if unit and numbers.size and not (numbers.min() >= 0 and numbers.max() <= 1):
            raise ValueError(f"Mesh.replace {name} must lie in [0, 1], got {numbers.min():.4g}..{numbers.max():.4g}.")
    return array
