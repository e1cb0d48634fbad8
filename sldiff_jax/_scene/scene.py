"""The scene: which objects there are, where they are, and the camera that looks at them."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int

from .camera import Camera
from .transforms import as_floating, compose, is_concrete, to_jax
from .typing import Transforms

MAX_INSTANCE_INDEX = 32767


class Scene(eqx.Module):
    """Object poses, their labels in the image, and the camera.

    Conventions:
        - ``p_world = T_world_object[k] @ p_object`` for points of object k. Metres.
        - ``instance_index[k]`` is the label of object k in `RenderResult.instance_index`. Labels are arbitrary
          numbers in 1..32767 (int16); 0 is the background. They need not be sorted or contiguous.

    A batch of scenes is made and used under ``jax.vmap``; the constructor itself takes one scene.

    Attributes:
        T_world_object: (N, 4, 4) float, object frame to world frame, metres. N may be 0.
        camera: the `Camera`.
        instance_index: (N,) int32. Default: 1..N.

    Raises:
        ValueError: if a shape is wrong, or a label is repeated or outside 1..32767 (labels under trace are trusted).
    """

    T_world_object: Transforms
    camera: Camera
    instance_index: Int[Array, " objects"]

    def __init__(self, T_world_object: ArrayLike, camera: Camera, instance_index: ArrayLike | None = None):
        if not isinstance(camera, Camera):
            raise ValueError(f"Scene camera must be a sldiff_jax.Camera, got {type(camera).__name__}.")
        self.T_world_object = as_floating(T_world_object, "Scene T_world_object", (None, 4, 4))
        self.camera = camera
        objects = self.T_world_object.shape[0]
        if instance_index is None:
            instance_index = np.arange(1, objects + 1)
        if is_concrete(instance_index):
            _check_labels(np.asarray(instance_index), objects)
        self.instance_index = to_jax(instance_index, jnp.int32)
        if self.instance_index.shape != (objects,):
            raise ValueError(
                f"Scene instance_index must hold one label per object, shape ({objects},), "
                f"got {self.instance_index.shape}."
            )

    @property
    def T_camera_object(self) -> Transforms:
        """(N, 4, 4) float: object frames to the camera frame, metres."""
        return compose(self.camera.T_camera_world, self.T_world_object)

    @property
    def T_clip_object(self) -> Transforms:
        """(N, 4, 4) float: object frames to the clip frame, ``M_k`` in the formulas of this library."""
        return compose(self.camera.projection, self.T_camera_object)


def _check_labels(labels: np.ndarray, objects: int) -> None:
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Scene instance_index must be integers, got dtype {labels.dtype}.")
    if labels.shape != (objects,):
        raise ValueError(f"Scene instance_index must have shape ({objects},), got {labels.shape}.")
    if labels.size and (labels.min() < 1 or labels.max() > MAX_INSTANCE_INDEX):
        raise ValueError(
            f"Scene instance_index must lie in 1..{MAX_INSTANCE_INDEX} (0 is the background), got {labels.tolist()}."
        )
    if np.unique(labels).size != labels.size:
        raise ValueError(f"Scene instance_index must not repeat a label, got {labels.tolist()}.")
