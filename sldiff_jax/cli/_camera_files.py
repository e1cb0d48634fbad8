"""Cameras as calibrations and data sets describe them, by the names that they use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._documents import number, numbers, shown
from ._errors import InputError
from ._lens import LENS, check_harmless, distortion_of, not_zero, plain

# Names are compared without upper case and underscores.
MATRIX = ("k", "cameramatrix", "camk", "intrinsicmatrix", "intrinsics", "mtx")
SCALARS = {"fx": "fx", "fy": "fy", "cx": "cx", "cy": "cy", "ppx": "cx", "ppy": "cy"}
SIZES = {"width": "width", "height": "height", "imagewidth": "width", "imageheight": "height"}
# Understood elsewhere, or of no consequence for one camera whose image is as it was taken.
OTHERS = (
    "camera", "pixelcenter", "units", "depthscale", "depthscalemperunit", "initialpose", "pose", "poseconvention",
    "tcameraobject", "tcameradepth", "camrw2c", "camtw2c", "header", "cameraname", "calibrationtime", "nframes", "r",
    "p", "rectificationmatrix", "projectionmatrix", "avgreprojectionerror", "binningx", "binningy", "roi",
)  # fmt: skip
UNDERSTOOD = (
    'Expected: "fx", "fy", "cx", "cy" (pixels), or an intrinsic matrix "K" ("camera_matrix", "cam_K"); and perhaps '
    '"width", "height", "pixel_center", distortion "D" ("dist_coeffs", "distortion_coefficients") or "k1", "k2", "p1", '
    '"p2", "k3", and "depth_scale".'
)


class Intrinsics(NamedTuple):
    """A camera without a pose, principal point measured from the left and top edge of the image, pixels.

    `distortion` holds OpenCV's coefficients, if any is not zero; `unknown` the keys that were not understood.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    unknown: tuple[str, ...] = ()


def parse_intrinsics(document: Any, path: Path, size: tuple[int, int], pixel_center: float | None) -> Intrinsics:
    """The camera that a document describes.

    Args:
        document: ``{"camera": {"fx", "fy", "cx", "cy", and perhaps "width", "height", "pixel_center"}}``, its inner
            object alone, or an intrinsic matrix, 3x3 or padded to 4x4, as lists or under the key "K"; also by the names
            of OpenCV, ROS, RealSense and of an entry of BOP's scene_camera.json, with OpenCV's distortion.
        path: its file, for messages.
        size: (width, height) of the image.
        pixel_center: coordinate of the centre of the first pixel, overriding what the document states. Without either
            it is 0, as OpenCV calibrates.

    Raises:
        InputError: if a field is missing or no number, the size differs from the image's, the principal point is
            outside of it, or the lens is of a model that is not understood.
    """
    keys, fields = _fields(document, path)
    values = _focal_lengths_and_center(keys, fields, path)
    if not (values["fx"] > 0 and values["fy"] > 0):
        raise InputError(f"fx and fy in {path} must be positive (pixels), got {values['fx']:g} and {values['fy']:g}.")
    stated = {SIZES[name]: int(number(fields[name], f'"{keys[name]}"', path)) for name in SIZES if name in fields}
    if any(stated.get(side, actual) != actual for side, actual in zip(("width", "height"), size)):
        raise InputError(
            f"The camera in {path} is for images of {stated.get('width')}x{stated.get('height')} pixels, and the image "
            f"has {size[0]}x{size[1]}. Give the camera of this image."
        )
    if pixel_center is None:
        pixel_center = number(fields.get("pixelcenter", 0.0), '"pixel_center"', path)
    cx, cy = (values[name] + 0.5 - pixel_center for name in ("cx", "cy"))
    if not (0 < cx < size[0] and 0 < cy < size[1]):
        raise InputError(
            f"The principal point of the camera in {path} is at column {cx:g}, row {cy:g}, outside of the image of "
            f"{size[0]}x{size[1]} pixels. Give the camera of this image: intrinsics change with the resolution."
        )
    _check_window(fields, path)
    known = {*MATRIX, *SCALARS, *SIZES, *OTHERS, *LENS}
    unknown = {keys[name]: fields[name] for name in fields if name not in known}
    check_harmless(unknown, path)
    distortion = distortion_of(keys, fields, path)
    return Intrinsics(values["fx"], values["fy"], cx, cy, *size, distortion, tuple(unknown))


def _fields(document: Any, path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """What the document says of the camera, by plain names, and how those are written; the inner object wins."""
    document = document if isinstance(document, dict) else {"K": document}
    inner = document.get("camera", {})
    if not isinstance(inner, dict):
        inner = {"K": inner}
    if isinstance(document.get("intrinsics"), dict):  # as RealSense nests it
        inner = document["intrinsics"] | inner
        document = {key: value for key, value in document.items() if key != "intrinsics"}
    # Texts of an inner object are plain too; what stands beside it may concern the lens.
    merged = document | inner
    keys = {plain(str(key)): str(key) for key in merged}
    if len(keys) < len(merged):
        raise InputError(
            f"The camera in {path} has keys that differ in nothing but their spelling: {shown(list(merged))}."
        )
    return keys, {plain(str(key)): value for key, value in merged.items()}


def _focal_lengths_and_center(keys: Mapping[str, str], fields: Mapping[str, Any], path: Path) -> dict[str, float]:
    given = [name for name in MATRIX if name in fields]
    if given:
        K = numbers(fields[given[0]], "the intrinsic matrix", path)
        if K.shape in ((9,), (1, 9)):
            K = K.reshape(3, 3)
            K = K.T if K[0, 2] == K[1, 2] == 0 and K[2, 0] > 0 else K  # Open3D writes columns
        if K.shape not in ((3, 3), (4, 4)):
            raise InputError(f"The intrinsic matrix in {path} must be 3x3 (or padded to 4x4), got shape {K.shape}.")
        if abs(K[0, 1]) > 1e-6 * abs(K[0, 0]) or not np.allclose(K[2, :3], (0, 0, 1)) or K[1, 0] != 0:
            raise InputError(
                f"The intrinsic matrix in {path} must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got "
                f"{K[:3, :3].tolist()}."
            )
        return {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    found = {SCALARS[name]: name for name in SCALARS if name in fields}
    for name in ("fx", "fy", "cx", "cy"):
        if name not in found:
            got = ", ".join(f'"{key}"' for key in keys.values()) or "nothing"
            raise InputError(f'The camera in {path} lacks "{name}". {UNDERSTOOD} Got: {got}.')
    return {name: number(fields[key], f'"{name}"', path) for name, key in found.items()}


def _check_window(fields: Mapping[str, Any], path: Path) -> None:
    """ROS: the image may be a window of the sensor's, or binned; then its intrinsics are others."""
    roi = fields.get("roi") if isinstance(fields.get("roi"), dict) else {}
    assert isinstance(roi, dict)
    binned = any(not_zero(fields.get(name)) and fields[name] != 1 for name in ("binningx", "binningy"))
    if binned or any(not_zero(roi.get(name)) for name in ("x_offset", "y_offset")):
        raise InputError(
            f"The camera in {path} is that of the whole sensor, and its image is a window of it, or binned. Give the "
            "camera of this image, without binning and roi."
        )
