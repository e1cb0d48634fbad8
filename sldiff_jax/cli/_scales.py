"""Metres per unit, as files state them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ._documents import number, shown
from ._errors import InputError

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}


def stated_scale(document: Any, names: tuple[str, ...], path: Path) -> float | None:
    """Metres per unit as a document states them, e.g. ``"units": {"mesh": "mm"}``; None if it says nothing.

    A number is metres per unit.
    """
    units = document.get("units") if isinstance(document, dict) else None
    if units is None:
        return None
    if not isinstance(units, dict):
        raise InputError(f'"units" in {path} must be an object such as {{"mesh": "mm"}}, got {shown(units)}.')
    for name in names:
        if name in units:
            return _metres(units[name], name, path)
    return None


def stated_depth_scale(camera: Any, path: Path) -> float | None:
    """Metres per unit of the depth image, from a camera file of BOP (millimetres per unit) or of our own."""
    if not isinstance(camera, dict):
        return None
    for name, metres in (("depth_scale_m_per_unit", 1.0), ("depth_scale", 1e-3)):
        if camera.get(name) is not None:
            scale = number(camera[name], f'"{name}"', path) * metres
            if not scale > 0:
                raise InputError(f'"{name}" in {path} must be positive, got {shown(camera[name])}.')
            return scale
    return None


def stated_pose_scale(pose: Any, path: Path) -> float | None:
    """Metres per unit of a pose: as its file states them, else millimetres in an entry of BOP's scene_gt.json."""
    stated = stated_scale(pose, ("pose",), path)
    return 1e-3 if stated is None and isinstance(pose, dict) and "cam_t_m2c" in pose else stated


def _metres(unit: Any, name: str, path: Path) -> float:
    if isinstance(unit, int | float) and not isinstance(unit, bool) and 0 < unit < math.inf:
        return float(unit)
    words = str(unit).split()
    if isinstance(unit, str) and words and words[0] in UNITS:
        return UNITS[words[0]]
    raise InputError(
        f'The unit of "{name}" in {path} must begin with one of {", ".join(UNITS)}, got {shown(unit)}. A positive '
        "number is metres per unit."
    )
