"""stillleben's objects behind one renderer, on their thread. Nothing of JAX may run in here."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._stillleben_buffers import check_width, read_labels, read_result
from ._torch import torch


class Stage:
    """stillleben's objects behind one renderer. Lives, works and dies on their thread."""

    def __init__(self, scene: Any, render_pass: Any):
        self.viewport = tuple(scene.viewport)
        check_width(self.viewport[0])
        self.scene = scene
        self.objects = list(scene.objects)
        read_labels(self.objects)
        self.render_pass = render_pass

    def render(
        self, poses, camera_pose, projection, labels, *, size: tuple[int, int], buffers: str
    ) -> dict[str, torch.Tensor]:
        """Sets (N, 4, 4) poses of the objects labelled (N,) and the (4, 4) matrices of the camera, renders, reads.

        An image smaller than the viewport is drawn into its top left corner: the same pixels as in a viewport of that
        size. To reduce the buffers of a full image would be another thing: colour would be averaged, and labels could
        not be.
        """
        by_label = self._objects_by_label(labels)
        poses = [nearest_rigid(pose, f"T_world_object[{row}]") for row, pose in enumerate(poses)]
        camera_pose = nearest_rigid(camera_pose, "camera.T_world_camera")
        for label, pose in zip(labels.tolist(), poses):
            by_label[label].set_pose(torch.from_numpy(pose))
        self.scene.set_camera_pose(torch.from_numpy(camera_pose))
        self.scene.set_camera_projection(torch.from_numpy(into_corner(projection, size, self.viewport)))
        try:
            tensors = read_result(self.render_pass.render(self.scene), buffers)
        finally:
            self.scene.set_camera_projection(torch.from_numpy(np.array(projection)))
        width, height = self.viewport
        for name, tensor in tensors.items():
            if tensor.shape[:2] != (height, width):
                raise ValueError(
                    f"This renderer's RenderPass gave {name} of {tensor.shape[1]} x {tensor.shape[0]} pixels for a "
                    f"scene of {width} x {height}: it has drawn another size before, and stillleben keeps that. Use "
                    "one RenderPass for each image size, or leave it out."
                )
        return {name: tensor[: size[1], : size[0]] for name, tensor in tensors.items()}

    def _objects_by_label(self, labels: np.ndarray) -> dict[int, Any]:
        objects = self.scene.objects
        if len(objects) != len(self.objects) or any(now is not before for now, before in zip(objects, self.objects)):
            raise ValueError(
                "Objects were added to stillleben's scene or removed from it since this renderer was made. Make a new "
                "StilllebenRenderer."
            )
        actual = read_labels(objects).tolist()
        if sorted(actual) != sorted(labels.tolist()):
            raise ValueError(
                f"stillleben's objects have instance_index {actual}, those of the scene to render {labels.tolist()}. "
                "Start from StilllebenRenderer.scene()."
            )
        return dict(zip(actual, objects))


def into_corner(projection: np.ndarray, size: tuple[int, int], viewport: tuple[int, int]) -> np.ndarray:
    """The (4, 4) projection with which an image of `size` appears in the top left corner of the viewport.

    Args:
        projection: (4, 4) float, camera frame to clip space of the image, whose row 3 gives clip w.
        size: width and height of the image, pixels.
        viewport: width and height of the viewport, pixels; not smaller.
    """
    P = np.array(projection, np.float64)
    for axis in (0, 1):
        share = size[axis] / viewport[axis]
        P[axis] = share * P[axis] + (share - 1) * P[3]  # NDC: share * (x + 1) - 1
    return P.astype(np.float32)


def nearest_rigid(T: np.ndarray, name: str) -> np.ndarray:
    """The (4, 4) float32 transform with the nearest rotation.

    Raises:
        ValueError: if `T` is not finite, mirrors, scales by more than a factor of 2, or does not end in (0, 0, 0, 1).
    """
    T = np.asarray(T, np.float64)
    if not np.isfinite(T).all():
        raise ValueError(f"{name} is not finite: {T.tolist()}. Has the optimisation diverged? Lower its step size.")
    U, scales, Vt = np.linalg.svd(T[:3, :3])
    if np.linalg.det(U @ Vt) < 0 or scales.min() < 0.5 or scales.max() > 2 or not np.allclose(T[3], (0, 0, 0, 1)):
        raise ValueError(f"{name} must be a rigid transform, or nearly one, got {T.tolist()}.")
    rigid = np.eye(4, dtype=np.float32)
    rigid[:3, :3], rigid[:3, 3] = U @ Vt, T[:3, 3]
    return rigid
