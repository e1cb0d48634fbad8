"""Lens distortion as calibrations state it, in OpenCV's coefficients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._documents import number, numbers, shown
from ._errors import InputError

# Names are compared without upper case and underscores: `plain`.
LISTS = (
    "d", "dist", "distcoeffs", "distcoefs", "distortion", "distortioncoefficients", "distortioncoeffs", "coeffs",
)  # fmt: skip
COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
MODEL = ("distortionmodel", "cameramodel", "model")
LENS = (*LISTS, *COEFFICIENTS, *MODEL)
MODELS = ("", "none", "pinhole", "plumbbob", "brownconrady", "radtan", "opencv", "rationalpolynomial", "fullopencv")
# What changes where a point is seen, by whatever name.
HARMFUL = re.compile(r"dist|radial|tangential|skew|fisheye|lens|^[kps]\d+$|^tau")
REMEDY = "Undistort photo, mask and depth, and leave it out"


def distortion_of(keys: Mapping[str, str], fields: Mapping[str, Any], path: Path) -> tuple[float, ...]:
    """The distortion of a camera.

    Args:
        keys: how the plain names of its fields are written.
        fields: the camera's fields, by plain names.
        path: the file, for messages.

    Returns:
        The first 4, 5 or 8 of OpenCV's coefficients; none if all are zero.

    Raises:
        InputError: if they are stated twice, or are of another model.
    """
    lists = [name for name in LISTS if name in fields and fields[name] is not None]
    single = [name for name in COEFFICIENTS if name in fields]
    if len(lists) + bool(single) > 1:
        names = ", ".join(f'"{keys[name]}"' for name in (*lists, *single))
        raise InputError(f"The camera in {path} states its distortion several times: {names}. Leave one.")
    values = np.zeros(0)
    if lists:
        value, name = fields[lists[0]], f'"{keys[lists[0]]}"'
        if isinstance(value, dict) and not {"rows", "cols", "data"} <= value.keys():
            by_name = {plain(str(key)): coefficient for key, coefficient in value.items()}
            if not by_name.keys() <= set(COEFFICIENTS):
                raise InputError(f"{name} in {path} must hold {', '.join(COEFFICIENTS)}, got {shown(value)}.")
            values = np.array([number(by_name.get(key, 0.0), f'"{key}"', path) for key in COEFFICIENTS])
        else:
            values = numbers(value, name, path).ravel()
    elif single:
        values = np.array([number(fields.get(key, 0.0), f'"{key}"', path) for key in COEFFICIENTS])
    if not values.any():
        return ()
    for model in (str(fields[name]) for name in MODEL if fields.get(name) is not None):
        if plain(model.rpartition(".")[2]) not in MODELS:
            raise InputError(
                f'The lens in {path} is of the model "{model}", which is not understood; "plumb_bob" and '
                f'"rational_polynomial" are. {REMEDY}.'
            )
    if len(values) not in (4, 5, 8) and (len(values) not in (12, 14) or values[8:].any()):
        raise InputError(
            f"The distortion in {path} must be the first 4, 5 or 8 of OpenCV's coefficients "
            f"{', '.join(COEFFICIENTS)}, got {len(values)}: {shown(values.tolist())}. {REMEDY}."
        )
    return tuple(values[:8].tolist())


def check_harmless(unknown: Mapping[str, Any], path: Path) -> None:
    """An InputError if a field that is not understood, or one within it, seems to bend the image."""
    for key, value in unknown.items():
        if HARMFUL.search(plain(key)) and not_zero(value):
            raise InputError(
                f'"{key}" of the camera in {path} is not understood and may bend the image: {shown(value)}. Distortion '
                f'is understood as {", ".join(COEFFICIENTS)}, or a list of these as "D" or "dist_coeffs". {REMEDY}.'
            )
        if isinstance(value, dict):
            check_harmless({str(inner): part for inner, part in value.items()}, path)


def not_zero(value: Any) -> bool:
    """Whether anything in a value is a number that is not zero, or a word."""
    if isinstance(value, dict | list):
        return any(not_zero(part) for part in (value.values() if isinstance(value, dict) else value))
    return str(value).lower() not in ("", "none", "false") and not re.fullmatch(r"[-+]?0*\.?0*(e.*)?", str(value))


def plain(key: str) -> str:
    """A name without upper case, underscores, hyphens and spaces."""
    return re.sub(r"[_\- ]", "", key).lower()
