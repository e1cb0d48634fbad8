"""Reading stillleben's objects, on their thread and without JAX, and making arrays of what was read."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sldiff_jax as sl

from ._torch import torch
from .dlpack import from_torch

MAX_INSTANCE_INDEX = 32767

# Of RenderResult's fields: the method of stillleben's render result, channels (None: one, without an axis), dtype.
CORE = {
    "rgb": ("rgb", 4, jnp.uint8),
    "coord_depth": ("coordDepth", 4, jnp.float32),
    "instance_index": ("instance_index", None, jnp.int16),
}
ALL = CORE | {
    "class_index": ("class_index", None, jnp.int16),
    "normals": ("normals", 4, jnp.float32),
    "vertex_indices": ("vertex_indices", 3, jnp.int32),
    "barycentric_coeffs": ("barycentric_coeffs", 3, jnp.float32),
    "cam_coordinates": ("cam_coordinates", 4, jnp.float32),
}


def read_scene(scene: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """(N, 4, 4) poses, (N,) labels, (4, 4) camera pose, (4, 4) projection and (width, height) of a stillleben scene."""
    width, height = scene.viewport
    check_width(width)
    objects = scene.objects
    poses = np.stack([_matrix(item.pose()) for item in objects]) if objects else np.zeros((0, 4, 4), np.float32)
    return (
        poses,
        read_labels(objects),
        _matrix(scene.camera_pose()),
        _matrix(scene.projection_matrix()),
        (width, height),
    )


def make_scene(
    poses: np.ndarray, labels: np.ndarray, camera_pose: np.ndarray, projection: np.ndarray, viewport: tuple[int, int]
) -> sl.Scene:
    """The scene of what `read_scene` returns."""
    return sl.Scene(poses, sl.Camera(projection, camera_pose, width=viewport[0], height=viewport[1]), labels)


def read_labels(objects: list) -> np.ndarray:
    """The (N,) instance indices of stillleben's objects.

    Raises:
        ValueError: if one is repeated or outside 1..32767.
    """
    labels = np.array([item.instance_index for item in objects], np.int64)
    if np.unique(labels).size != labels.size:
        raise ValueError(f"Each object of stillleben's scene needs its own instance_index, got {labels.tolist()}.")
    if labels.size and (labels.min() < 1 or labels.max() > MAX_INSTANCE_INDEX):
        raise ValueError(
            f"instance_index must lie in 1..{MAX_INSTANCE_INDEX} (stillleben's label images are int16 and 0 is the "
            f"background), got {labels.tolist()}."
        )
    return labels


def read_result(result: Any, buffers: str) -> dict[str, torch.Tensor]:
    """Buffers by the names of RenderResult's fields, as stillleben hands them out, label images as (H, W)."""
    tensors = {name: getattr(result, method)() for name, (method, _, _) in fields(buffers).items()}
    height, width = tensors["rgb"].shape[:2]
    check_width(width)
    for name in tensors.keys() & {"instance_index", "class_index"}:
        tensors[name] = tensors[name].view(height, width)
    return tensors


def make_result(tensors: dict[str, torch.Tensor]) -> sl.RenderResult:
    """The render result that shares what `read_result` returns, or copies it where it must."""
    return sl.RenderResult(**{name: from_torch(tensor) for name, tensor in tensors.items()})


def result_shapes(buffers: str, height: int, width: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of what `read_result` returns."""
    return {
        name: jax.ShapeDtypeStruct((height, width) if channels is None else (height, width, channels), dtype)
        for name, (_, channels, dtype) in fields(buffers).items()
    }


def fields(buffers: str) -> dict[str, tuple]:
    """The buffers to read.

    Raises:
        ValueError: if `buffers` is neither "all" nor "core".
    """
    if buffers not in ("all", "core"):
        raise ValueError(f'buffers must be "all" or "core", got {buffers!r}.')
    return ALL if buffers == "all" else CORE


def check_width(width: int) -> None:
    """Raises ValueError if the width is odd: stillleben ignores the padding of its rows then."""
    if width % 2:
        raise ValueError(f"stillleben shears instance_index if the image width is odd, got {width}. Use an even width.")


def _matrix(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32)
