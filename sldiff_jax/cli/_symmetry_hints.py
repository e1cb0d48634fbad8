"""Turns that take a mesh to itself, as far as samples of its surface tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from ..mesh_renderer import Mesh
from ..mesh_renderer.meshes.surface_samples import Samples, surface_samples

ORDERS = (12, 10, 9, 8, 6, 5, 4, 3, 2)
ODD_ANGLE = 1.0
"""Radians; no fraction of a turn."""

FEW, MANY = 1500, 30000
SHAPE_TOLERANCE, COLOR_TOLERANCE = 0.004, 0.03
"""By how much points and colours may be off, on the mean: as a fraction of the diameter, and of 0..1."""


class Symmetry(NamedTuple):
    """A turn about an axis through the middle of the mesh.

    Attributes:
        axis: (3,) unit vector in the object frame.
        order: it looks the same every 1/order of a turn; 0 for every angle.
        colors: whether the colours are the same, too, and not only the shape.
    """

    axis: Float[np.ndarray, "3"]
    order: int
    colors: bool

    def __str__(self) -> str:
        names = [name for k, name in enumerate("xyz") if abs(self.axis[k]) > 0.9999]
        axis = names[0] if names else "(" + ", ".join(f"{x:.3f}" for x in self.axis) + ")"
        turn = "at every angle" if self.order == 0 else f"every {360 / self.order:g} degrees"
        return f"about {axis}, {turn}" + ("" if self.colors else ", in shape but not in colour")


def symmetry_hints(mesh: Mesh) -> list[Symmetry]:
    """Turns about the axes of the object frame and the principal axes of the surface."""
    few, many = surface_samples(mesh, FEW, seed=0), surface_samples(mesh, MANY, seed=1)
    middle = many.points.mean(axis=0)
    few, many = (Samples(samples.points - middle, samples.colors) for samples in (few, many))
    match = _Match(few, many, mesh.diameter)
    hints: list[Symmetry] = []
    for axis in _candidates(many.points):
        if any(abs(axis @ hint.axis) > 0.999 for hint in hints):
            continue
        order = 0 if match.shape(axis, ODD_ANGLE) and match.shape(axis, 2 * np.pi / 7) else None
        if order is None:
            order = next((n for n in ORDERS if match.shape(axis, 2 * np.pi / n)), None)
        if order is not None:
            angle = 2 * np.pi / order if order else ODD_ANGLE
            hints.append(Symmetry(axis, order, match.color(axis, angle)))
    return hints


class _Match:
    """How well turned samples fall onto others, compared with samples that are not turned."""

    def __init__(self, few: Samples, many: Samples, diameter: float):
        self.few, self.many = few, many
        self.tree = KDTree(many.points)
        distance, nearest = self.tree.query(few.points)
        self.distance_limit = 1.1 * distance.mean() + SHAPE_TOLERANCE * diameter
        self.color_limit = np.abs(few.colors - many.colors[nearest]).mean() + COLOR_TOLERANCE

    def shape(self, axis: np.ndarray, angle: float) -> bool:
        distance, _ = self.tree.query(self.few.points @ _rotation(axis, angle).T)
        # A small part that is elsewhere, as a handle, must not drown in the mean.
        return bool(distance.mean() <= self.distance_limit and np.quantile(distance, 0.99) <= 4 * self.distance_limit)

    def color(self, axis: np.ndarray, angle: float) -> bool:
        _, nearest = self.tree.query(self.few.points @ _rotation(axis, angle).T)
        return bool(np.abs(self.few.colors - self.many.colors[nearest]).mean() <= self.color_limit)


def _candidates(points: np.ndarray) -> list[np.ndarray]:
    _, vectors = np.linalg.eigh(np.cov(points.T))
    return [*np.eye(3), *(vector * np.sign(vector[np.argmax(np.abs(vector))]) for vector in vectors.T)]


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
