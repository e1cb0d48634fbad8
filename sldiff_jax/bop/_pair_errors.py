"""Errors of estimated poses against the true poses of the same object in one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._scene.camera import Camera
from .._scene.render_result import BACKGROUND_DEPTH
from .._scene.scene import Scene
from ..mesh_renderer import MeshRenderer
from ..metrics import add, add_s, mspd, mssd, vsd
from ._frame import Frame, Instance
from ._models import Models

Pose = Float[np.ndarray, "4 4"]

TAUS = 10
"""Misalignment tolerances of VSD, those that `metrics.vsd` takes by default."""


class PairErrors(NamedTuple):
    """Errors of E estimates against G true poses of one object in one image.

    Attributes:
        vsd: (E, G, 10) float, for each misalignment tolerance; None if there is no depth image, or nobody asked.
        mssd: (E, G) float, metres.
        mspd: (E, G) float, pixels of the image.
        ad: (E, G) float, metres: ADD-S if the object has a symmetry, else ADD.
    """

    vsd: Float[np.ndarray, "estimates instances taus"] | None
    mssd: Float[np.ndarray, "estimates instances"]
    mspd: Float[np.ndarray, "estimates instances"]
    ad: Float[np.ndarray, "estimates instances"]


class PairErrorMeter:
    """Measures errors as BOP's scoring does, with its shortcuts: far-off estimates get the worst value unmeasured.

    Args:
        models: those of ``models_eval``. Their vertices are loaded once.
    """

    def __init__(self, models: Models):
        self.models = models
        self._renderers: dict[int, MeshRenderer] = {}

    def measure(
        self,
        frame: Frame,
        object_id: int,
        T_estimates: Sequence[Pose],
        instances: Sequence[Instance],
        depth: Float[np.ndarray, "height width"] | None,
        vsd_wanted: Sequence[bool],
    ) -> PairErrors:
        """Errors of all pairs.

        Args:
            frame: the image.
            object_id: which object.
            T_estimates: E poses, (4, 4), metres.
            instances: G true instances of that object.
            depth: (H, W) measured depth, metres, or None.
            vsd_wanted: E flags, whether VSD is wanted; it is 1 elsewhere.

        Returns:
            The `PairErrors`.

        Raises:
            ValueError: if there is no such object.
        """
        if object_id not in self.models:
            raise ValueError(
                f"{frame.name} has an object {object_id}, and {self.models.folder} only {list(self.models)}."
            )
        model, camera = self.models[object_id], frame.camera_at_origin
        points = self.models.mesh(object_id).vertices
        symmetries = model.symmetries.astype(np.float32) if model.symmetric else None
        shape = (len(T_estimates), len(instances))
        errors = PairErrors(
            None if depth is None else np.ones((*shape, TAUS)), *(np.full(shape, np.inf) for _ in range(3))
        )
        true_depths: dict[int, np.ndarray] = {}
        for i, T_estimate in enumerate(T_estimates):
            if not np.isfinite(T_estimate).all():
                continue
            estimated_depth = None
            T_e = T_estimate.astype(np.float32)
            for j, instance in enumerate(instances):
                T_t = instance.T_camera_object.astype(np.float32)
                errors.mspd[i, j] = mspd(T_e, T_t, points, camera, symmetries=symmetries)
                if np.linalg.norm(T_estimate[:3, 3] - instance.T_camera_object[:3, 3]) < model.diameter:
                    errors.mssd[i, j] = mssd(T_e, T_t, points, symmetries=symmetries)
                    errors.ad[i, j] = add_s(T_e, T_t, points) if model.symmetric else add(T_e, T_t, points)
                if errors.vsd is None or depth is None or not vsd_wanted[i]:
                    continue
                if not _silhouettes_may_meet(T_estimate, instance.T_camera_object, 0.5 * model.diameter):
                    continue
                # BOP's renderer counts the principal point from the image's edge, its distances from pixel centres.
                drawing = frame.camera_at(None, pixel_center=0.0)
                if estimated_depth is None:
                    estimated_depth = self._draw(object_id, T_e, drawing)
                if j not in true_depths:
                    true_depths[j] = self._draw(object_id, T_t, drawing)
                errors.vsd[i, j] = vsd(estimated_depth, true_depths[j], depth, camera, model.diameter)
        return errors

    def _draw(self, object_id: int, T_camera_object: Pose, camera: Camera) -> Float[np.ndarray, "height width"]:
        """Depth of the object alone, metres, 0 where it is not seen."""
        if object_id not in self._renderers:
            self._renderers[object_id] = MeshRenderer([self.models.mesh(object_id)], buffers="core")
        depth = np.asarray(self._renderers[object_id](Scene(T_camera_object[None], camera)).depth)
        return np.where(depth < BACKGROUND_DEPTH, depth, 0)


def _silhouettes_may_meet(T_a: Pose, T_b: Pose, radius: float) -> bool:
    """Whether spheres around the origins of an object in two poses meet in the image, as BOP asks before VSD."""
    (*a, z_a), (*b, z_b) = T_a[:3, 3].tolist(), T_b[:3, 3].tolist()
    if z_a == 0 or z_b == 0:
        return False
    distance = np.hypot(a[0] / z_a - b[0] / z_b, a[1] / z_a - b[1] / z_b)
    return bool(distance < radius * (1 / z_a + 1 / z_b))
