"""Meshes with other numbers and the same topology, inside of traced functions too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ..._scene.transforms import is_concrete, to_jax
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
        shape = mesh.materials.base_colors.shape
        one_for_all = np.shape(base_color) == shape[1:]
        color = _checked(base_color, "base_color", shape[1:] if one_for_all else shape, unit=True)
        arrays["base_colors"] = jnp.broadcast_to(color, shape)
    return arrays


def _texels(mesh: Mesh, texture: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "texels 4"]:
    images: list[Any] = list(texture) if isinstance(texture, list | tuple) else [texture]
    shapes = [np.shape(image) for image in images]
    if any(len(shape) != 3 or shape[-1] != 3 for shape in shapes):
        raise ValueError(f"Mesh.replace texture must be (Ht, Wt, 3), got {shapes}.")
    images = [_checked(image, "texture", shape, unit=True) for image, shape in zip(images, shapes)]
    sizes, own = [(image.shape[1], image.shape[0]) for image in images], list(mesh.materials.sizes)
    if sizes != own:
        raise ValueError(
            f"Mesh.replace keeps the topology: the images of this mesh, (width, height) {own}, have "
            f"{mesh.materials.texels.shape[0]} texels in all, got images of (width, height) {sizes}. Make another Mesh "
            "for textures of another size."
        )
    flat = jnp.concatenate([image.reshape(-1, 3) for image in images])
    return jnp.concatenate([flat, jnp.ones_like(flat[:, :1])], axis=1)


def _checked(value: ArrayLike, name: str, shape: tuple[int, ...], *, unit: bool = False) -> Float[Array, "..."]:
    """The value as float32. What can be looked at is checked, in traced functions too."""
    # Differentiation of eager code does not hide the values.
    seen = value if is_concrete(*jax.tree.leaves(value)) else jax.lax.stop_gradient(value)
    known = is_concrete(*jax.tree.leaves(seen))
    array = np.asarray(seen) if known else jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"Mesh.replace keeps the topology: {name} must have shape {shape}, got {array.shape}.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"Mesh.replace {name} must be floating, got dtype {array.dtype}.")
    if known:
        with np.errstate(over="ignore"):
            numbers = np.asarray(array, np.float32)
        if not np.isfinite(numbers).all():
            raise ValueError(f"Mesh.replace {name} must be finite, got {(~np.isfinite(numbers)).sum()} that are not.")
        if unit and numbers.size and not (numbers.min() >= 0 and numbers.max() <= 1):
            raise ValueError(f"Mesh.replace {name} must lie in [0, 1], got {numbers.min():.4g}..{numbers.max():.4g}.")
    return to_jax(value, jnp.float32)
