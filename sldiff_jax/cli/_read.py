"""Reading JSON with cameras and poses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._images.open_image import existing_file
from ._errors import InputError

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}


class Intrinsics(NamedTuple):
    """A camera without a pose, principal point measured from the left and top edge of the image, pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


def read_json(path: Path, what: str) -> Any:
    """The contents of a JSON file, or an InputError that says where it is broken."""
    try:
        return json.loads(existing_file(path, what).read_bytes().decode())
    except UnicodeDecodeError:
        raise InputError(f"{what} {path} is not a text file; JSON is expected.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{what} {path} is not valid JSON: {error.msg} in line {error.lineno}.") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(str(error)) from None


def stated_scale(document: Any, names: tuple[str, ...], path: Path) -> float | None:
    """Metres per unit as a document states them, e.g. ``"units": {"mesh": "mm"}``; None if it says nothing."""
    units = document.get("units") if isinstance(document, dict) else None
    if units is None:
        return None
    if not isinstance(units, dict):
        raise InputError(f'"units" in {path} must be an object such as {{"mesh": "mm"}}, got {json.dumps(units)}.')
    for name in names:
        if name in units:
            words = str(units[name]).split()
            if not words or words[0] not in UNITS:
                raise InputError(
                    f'The unit of "{name}" in {path} must begin with one of {", ".join(UNITS)}, '
                    f"got {json.dumps(units[name])}."
                )
            return UNITS[words[0]]
    return None


def parse_intrinsics(document: Any, path: Path, size: tuple[int, int], pixel_center: float | None) -> Intrinsics:
    """The camera that a JSON document describes.

    Args:
        document: ``{"camera": {"fx", "fy", "cx", "cy", and perhaps "width", "height", "pixel_center"}}``, its inner
            object alone, or an intrinsic matrix, 3x3 or padded to 4x4, as nested lists or under the key "K".
        path: its file, for messages.
        size: (width, height) of the image.
        pixel_center: coordinate of the centre of the first pixel, overriding what the document states. Without either
            it is 0, as OpenCV calibrates.

    Raises:
        InputError: if a field is missing or no number, the size differs from the image's, or the principal point is
            outside of it.
    """
    fields = document.get("camera", document) if isinstance(document, dict) else {"K": document}
    if not isinstance(fields, dict):
        fields = {"K": fields}
    if "K" in fields:
        K = _numbers(fields["K"], "the intrinsic matrix", path)
        if K.shape not in ((3, 3), (4, 4)):
            raise InputError(f"The intrinsic matrix in {path} must be 3x3 (or padded to 4x4), got shape {K.shape}.")
        if abs(K[0, 1]) > 1e-6 * abs(K[0, 0]) or not np.allclose(K[2, :3], (0, 0, 1)) or K[1, 0] != 0:
            raise InputError(
                f"The intrinsic matrix in {path} must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got "
                f"{K[:3, :3].tolist()}."
            )
        values = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    else:
        values = {name: float(_number(fields, name, path)) for name in ("fx", "fy", "cx", "cy")}
    if not (values["fx"] > 0 and values["fy"] > 0):
        raise InputError(f"fx and fy in {path} must be positive (pixels), got {values['fx']:g} and {values['fy']:g}.")
    stated = tuple(int(_number(fields, name, path)) if name in fields else None for name in ("width", "height"))
    if any(side not in (None, actual) for side, actual in zip(stated, size)):
        raise InputError(
            f"The camera in {path} is for images of {stated[0]}x{stated[1]} pixels, and the image has "
            f"{size[0]}x{size[1]}. Give the camera of this image."
        )
    if pixel_center is None:
        pixel_center = float(_number(fields, "pixel_center", path)) if "pixel_center" in fields else 0.0
    cx, cy = (values[name] + 0.5 - pixel_center for name in ("cx", "cy"))
    if not (0 < cx < size[0] and 0 < cy < size[1]):
        raise InputError(
            f"The principal point of the camera in {path} is at column {cx:g}, row {cy:g}, outside of the image of "
            f"{size[0]}x{size[1]} pixels. Give the camera of this image: intrinsics change with the resolution."
        )
    return Intrinsics(values["fx"], values["fy"], cx, cy, *size)


def parse_pose(document: Any, path: Path, scale: float) -> Float[np.ndarray, "4 4"]:
    """The pose that a JSON document describes.

    Args:
        document: a 4x4 matrix as nested lists; an object with "T_camera_object" (as ``pose.json`` of this command);
            or one with "rotation_row_major" (9 numbers) and "translation" (3). The latter two may stand alone or
            under "initial_pose" or "pose".
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
    if isinstance(fields, dict):
        for name in ("rotation_row_major", "translation"):
            if name not in fields:
                raise InputError(
                    f'The pose in {path} lacks "{name}". Expected: "rotation_row_major" (9 numbers) and "translation" '
                    '(3), or "T_camera_object", or a 4x4 matrix.'
                )
        rotation = _numbers(fields["rotation_row_major"], '"rotation_row_major"', path)
        translation = _numbers(fields["translation"], '"translation"', path)
        if rotation.size != 9 or translation.shape != (3,):
            raise InputError(
                f'The pose in {path} must have 9 numbers in "rotation_row_major" and 3 in "translation", got '
                f"{rotation.size} and {translation.size}."
            )
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = rotation.reshape(3, 3), translation
    else:
        T = _numbers(fields, "the pose", path)
        if T.shape != (4, 4):
            raise InputError(f"The pose in {path} must be a 4x4 matrix of nested lists, got shape {T.shape}.")
    return _rigid(T, path, scale)


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


def _number(fields: dict, name: str, path: Path) -> float:
    if name not in fields:
        raise InputError(
            f'The camera in {path} lacks "{name}". Expected: "fx", "fy", "cx", "cy" (pixels), and perhaps "width" and '
            '"height".'
        )
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(f'"{name}" in {path} must be a number, got {json.dumps(value)}.')
    return value


def _numbers(value: Any, what: str, path: Path) -> Float[np.ndarray, "..."]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if not np.isfinite(array).all():
        raise InputError(f"In {path}, {what} must be numbers in lists of equal length, got {json.dumps(value)[:80]}.")
    return array
