"""Noticing wrong units: sizes and distances that cannot all be true at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ._errors import InputError

TOLERANCE, TOLERANCE_LARGE, TOLERANCE_HIDDEN = 5.0, 7.0, 20.0
"""Factor by which distances may disagree before units are suspected. Wrong units are off by 10, 100 or 1000.

An object may appear larger than its mask, because it is hidden in part: by how much is not known without depth, and
most of it may be where depth shows something nearer."""


class Seen(NamedTuple):
    """What pose, mesh and images say about sizes, in metres and pixels, and the scales that it was read with.

    Attributes:
        diameter: of the mesh, metres.
        distance: of the object from the camera by its pose, metres.
        focal_length: pixels.
        mask_extent: diagonal of the mask's bounding box, pixels; None without mask.
        measured_depth: median of the depth image where the object should be, metres; None without depth.
        mesh_scale: metres per unit of the mesh file.
        pose_scale: metres per unit of the pose file.
        depth_scale: metres per unit of the depth image.
        hidden: share of the object's pixels, outside of the mask, at which depth shows something nearer; None without
            mask or depth, or if there are none.
    """

    diameter: float
    distance: float
    focal_length: float
    mask_extent: float | None
    measured_depth: float | None
    mesh_scale: float
    pose_scale: float
    depth_scale: float
    hidden: float | None = None

    @property
    def projected(self) -> float:
        """The object's diameter in the image, pixels."""
        return self.focal_length * self.diameter / self.distance


def check_units(seen: Seen) -> None:
    """Raises an InputError, naming the flag to change, if object size, distance, mask and depth contradict each other.

    A depth image and a pose that agree leave the mesh to blame; a mesh and a pose that agree with the mask, the depth
    image; a depth and a mesh that would agree, the pose. Without a depth image, distances from 5 cm to 50 m are
    believed.
    """
    fits = _size_fits(seen)
    agrees = _depth_agrees(seen)
    if fits and agrees:
        return
    if fits:
        factor = seen.distance / (seen.measured_depth or 1)
        _fail(
            seen,
            "--depth-scale",
            seen.depth_scale,
            factor < 1,
            lambda c: seen._replace(measured_depth=(seen.measured_depth or 1) * c),
        )
    believed = agrees if seen.measured_depth is not None else 0.05 < seen.distance < 50
    smaller = _too_large(seen)
    if believed:
        _fail(seen, "--mesh-scale", seen.mesh_scale, smaller, lambda c: seen._replace(diameter=seen.diameter * c))
    _fail(seen, "--pose-scale", seen.pose_scale, not smaller, lambda c: seen._replace(distance=seen.distance * c))


def _fail(seen: Seen, flag: str, scale: float, smaller: bool, corrected: Callable[[float], Seen]) -> None:
    facts = [
        f"the mesh is {seen.diameter:.3g} m across (mesh scale {seen.mesh_scale:g})",
        f"the pose puts it {seen.distance:.3g} m from the camera (pose scale {seen.pose_scale:g})",
        f"so that it would appear {seen.projected:.3g} pixels large",
    ]
    if seen.mask_extent is not None:
        facts.append(f"the mask is {seen.mask_extent:.0f} pixels large")
    if seen.measured_depth is not None:
        facts.append(f"the depth image shows {seen.measured_depth:.3g} m there (depth scale {seen.depth_scale:g})")
    remedy = f"Check {flag} (metres per unit), and the other scales."
    for change in (1e-3, 1e-2, 1e-1) if smaller else (1e3, 1e2, 1e1):
        better = corrected(change)
        if _size_fits(better) and _depth_agrees(better):
            remedy = f"Probably wrong units: try {flag} {scale * change:g}."
            break
    raise InputError(f"Sizes do not fit together: {', '.join(facts)}. {remedy}")


def _too_large(seen: Seen) -> bool:
    limit = TOLERANCE_LARGE
    if seen.hidden is not None and _depth_agrees(seen):
        limit = TOLERANCE_HIDDEN if seen.hidden > 0.5 else TOLERANCE
    too_wide = seen.mask_extent is not None and seen.projected > limit * seen.mask_extent
    return too_wide or seen.diameter > TOLERANCE * seen.distance


def _size_fits(seen: Seen) -> bool:
    """Whether the object is no larger than the view and the mask allow, and no smaller than the mask."""
    smallest = 4.0 if seen.mask_extent is None else max(4.0, seen.mask_extent / TOLERANCE)
    return not _too_large(seen) and seen.projected >= smallest


def _depth_agrees(seen: Seen) -> bool:
    if seen.measured_depth is None:
        return True
    return 1 / TOLERANCE < seen.measured_depth / seen.distance < TOLERANCE
