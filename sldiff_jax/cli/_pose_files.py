"""Poses as files describe them: of an object, and of a depth camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ._documents import numbers
from ._errors import InputError

ROTATION = ("rotation_row_major", "cam_R_m2c")
TRANSLATION = ("translation", "cam_t_m2c")
UNDERSTOOD = (
    'Expected: "rotation_row_major" (9 numbers) and "translation" (3), or BOP\'s "cam_R_m2c" and "cam_t_m2c", or '
    '"T_camera_object", or a 4x4 matrix.'
)


def pose_document(T_camera_object: Float[np.ndarray, "4 4"]) -> dict[str, Any]:
    """How the command writes a pose, in metres; `parse_pose` reads it."""
    return {
        "T_camera_object": np.asarray(T_camera_object, np.float64).tolist(),
        "units": {"pose": "m"},
        "pose_convention": "camera_from_object, OpenCV camera axes (X right, Y down, Z forward)",
    }


def parse_pose(document: Any, path: Path, scale: float) -> Float[np.ndarray, "4 4"]:
    """The pose that a document describes.

    Args:
        document: a 4x4 matrix as nested lists; an object with "T_camera_object" (as ``pose.json`` of this command);
            one with "rotation_row_major" (9 numbers) and "translation" (3); or an entry of BOP's scene_gt.json. The
            first three may stand alone or under "initial_pose" or "pose".
        path: its file, for messages.
        scale: metres per unit of the translation.

    Returns:
        (4, 4) float64 ``T_camera_object``, rigid, metres.

    Raises:
        InputError: if a field is missing or no number, or the transform is not rigid.
    """
    fields = document
    if isinstance(document, dict):
        convention = str(document.get("pose_convention", "camera_from_object"))
        if not convention.startswith("camera_from_object"):
            raise InputError(f'The pose in {path} must be "camera_from_object", its pose_convention is "{convention}".')
        fields = next((document[name] for name in ("initial_pose", "pose") if name in document), document)
    if isinstance(fields, dict) and "T_camera_object" in fields:
        fields = fields["T_camera_object"]
    return _rigid(_matrix(fields, path), path, scale)


def parse_depth_camera_pose(document: Any, path: Path, scale: float) -> Float[np.ndarray, "4 4"]:
    """The pose of a depth camera in the frame of the colour camera, under "T_camera_depth" of a document.

    Args:
        document: an object with "T_camera_depth": a 4x4 matrix as nested lists, or "rotation_row_major" (9 numbers)
            and "translation" (3).
        path: its file, for messages.
        scale: metres per unit of the translation.

    Returns:
        (4, 4) float64 ``T_camera_depth``: points of the depth camera's frame to that of the colour camera; metres.
    """
    if not isinstance(document, dict) or "T_camera_depth" not in document:
        raise InputError(
            f'The depth camera in {path} lacks "T_camera_depth": its pose in the frame of the colour camera, a 4x4 '
            "matrix that takes points of the depth camera to points of the colour camera (OpenCV axes, metres)."
        )
    return _rigid(_matrix(document["T_camera_depth"], path), path, scale)


def _matrix(fields: Any, path: Path) -> Float[np.ndarray, "4 4"]:
    """A 4x4 matrix, from one or from rotation and translation."""
    if not isinstance(fields, dict):
        T = numbers(fields, "the pose", path)
        if T.shape != (4, 4):
            raise InputError(f"The pose in {path} must be a 4x4 matrix of nested lists, got shape {T.shape}.")
        return T
    parts = []
    for names in (ROTATION, TRANSLATION):
        name = next((name for name in names if name in fields), None)
        if name is None:
            got = ", ".join(f'"{key}"' for key in list(fields)[:20]) or "nothing"
            raise InputError(f'The pose in {path} lacks "{names[0]}". {UNDERSTOOD} Got: {got}.')
        parts.append(numbers(fields[name], f'"{name}"', path).ravel())
    rotation, translation = parts
    if rotation.size != 9 or translation.size != 3:
        raise InputError(
            f'The pose in {path} must have 9 numbers in "rotation_row_major" and 3 in "translation", got '
            f"{rotation.size} and {translation.size}."
        )
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation.reshape(3, 3), translation
    return T


def _rigid(T: Float[np.ndarray, "4 4"], path: Path, scale: float) -> Float[np.ndarray, "4 4"]:
    R = T[:3, :3]
    if np.abs(T[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise InputError(f"The last row of the pose in {path} must be 0 0 0 1, got {T[3].tolist()}.")
    error = np.abs(R.T @ R - np.eye(3)).max()
    if error > 1e-3 or np.linalg.det(R) < 0:
        lengths = ", ".join(f"{length:.4g}" for length in np.linalg.norm(R, axis=0))
        raise InputError(
            f"The pose in {path} is not rigid: R^T R differs from the identity by {error:.2g} and det R is "
            f"{np.linalg.det(R):.3g} (columns of length {lengths}). A rotation is expected; --pose-scale scales "
            "translations."
        )
    U, _, Vt = np.linalg.svd(R)
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = U @ Vt, T[:3, 3] * scale
    return rigid
