"""Rotations that take a mesh to itself, found from points on its surface."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from ..._scene.even_rotations import even_rotations
from ...metrics._symmetries import symmetry_transforms
from .mesh import Mesh
from .surface_samples import surface_samples

TOLERANCE = 0.01
"""Of a diameter."""
COLOR_TOLERANCE = 0.03
"""Of the range of colours, on the mean."""
GRID, PROMISING = 4096, 256
"""Rotations tried, and how many of the best are brought to rest on the surface."""
FEW, SOME, MANY = 100, 800, 20_000
"""Points that are turned: at first, and in the end; and points on which they are to fall."""
ROUNDS = 10
"""Of bringing points to rest."""
MOST = 120
"""Rotations that may be found, at most; those of a prism with sixty sides."""
SAME = math.radians(9.0)
"""Rotations that are nearer to each other are one: the better one."""
STRAIGHT = math.radians(1.5)
"""An axis this near to one of the frame's is that, and an angle this near to a fraction of a turn likewise."""
ORDERS = 12
"""The smallest fraction of a turn to which angles are rounded."""
ODD_ANGLES = (0.3, 1.0, 2 * math.pi / 7, 2.0)
"""Radians, no fractions of a turn that anything but a body of revolution has in common."""


class MeshSymmetries(NamedTuple):
    """The rigid symmetries of a mesh, in the form of BOP's ``models_info.json``, but in metres.

    Attributes:
        discrete: (D, 4, 4), object to object frame, metres, without the identity.
        continuous: axes of revolution, each with ``axis`` (3,), of unit length, and ``offset`` (3,), a point on it,
            metres.
    """

    discrete: Float[np.ndarray, "discrete 4 4"]
    continuous: tuple[dict[str, np.ndarray], ...]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(len(self.discrete) or self.continuous)

    def transforms(self, max_step: float = 0.01) -> Float[Array, "symmetries 4 4"]:
        """(S, 4, 4): all of them, as metrics and refinements take them; see `metrics.symmetry_transforms`."""
        return symmetry_transforms(self.discrete, self.continuous, max_step=max_step, scale=1.0)


def find_symmetries(mesh: Mesh, *, tolerance: float | None = None, texture: bool = True) -> MeshSymmetries:
    """Finds the rotations that take a mesh to itself.

    Points on the surface are turned by rotations from all around, brought to rest on the surface (iterative closest
    points: Besl and McKay 1992), and must then lie on it.

    Args:
        mesh: the object.
        tolerance: by how much the turned surface may be off, metres; one point in a hundred may be farther off.
            Default: 1 % of the diameter.
        texture: whether colours must be the same, too, up to 3 % of their range on the mean.

    Returns:
        The `MeshSymmetries`: (D, 4, 4) transforms, and axes (3,) of revolution. Around a body of revolution discrete
        turns are not named; a ball has three axes.

    Raises:
        ValueError: if the tolerance is not positive.
    """
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise ValueError(f"find_symmetries tolerance must be positive (metres), got {tolerance!r}.")
    match = _Match(mesh, TOLERANCE * mesh.diameter if tolerance is None else tolerance)
    candidates = [turn for turn in match.promising() if match.shape(*turn)]
    axes = [*match.principal_axes(), *(_axis(R) for R, _ in candidates)]
    round_about: list[np.ndarray] = []
    for axis in axes:
        if all(abs(axis @ other) < math.cos(SAME) for other in round_about) and match.revolves(axis):
            round_about.append(axis)

    def colored(R: np.ndarray, t: np.ndarray) -> bool:
        return not texture or match.color(R, t)

    shown = [axis for axis in round_about if all(colored(_about(axis, angle), np.zeros(3)) for angle in ODD_ANGLES)]
    if len(shown) > 1:
        return MeshSymmetries(np.zeros((0, 4, 4)), tuple({"axis": axis, "offset": match.centre} for axis in np.eye(3)))
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for R, t in candidates:
        along = [float(R @ axis @ axis) for axis in shown]  # 1: what the axis says already; -1: one flip says all
        known = any(c > math.cos(SAME) or (c < -math.cos(SAME) and found) for c in along)
        if not known and colored(R, t):
            found.append((R, t))
    if not shown:
        found = _closed(found)
    c = match.centre
    discrete = [np.block([[R, (c + t - R @ c)[:, None]], [np.zeros(3), 1.0]]) for R, t in found]
    return MeshSymmetries(np.array(discrete).reshape(-1, 4, 4), tuple({"axis": axis, "offset": c} for axis in shown))


def colors_agree(mesh: Mesh, transforms: Float[np.ndarray, "symmetries 4 4"]) -> Bool[np.ndarray, " symmetries"]:
    """(S,): whether the colours of a mesh, turned by symmetries of its shape, are its colours."""
    match = _Match(mesh, TOLERANCE * mesh.diameter)
    shifted = transforms[:, :3, 3] + transforms[:, :3, :3] @ match.centre - match.centre
    return np.array([match.color(T[:3, :3], t) for T, t in zip(transforms, shifted)])


def _closed(turns: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """With all products of some turns: those of symmetries are symmetries."""
    turns = list(turns)
    for R_a, t_a in turns:
        for R_b, t_b in list(turns):
            R, t = R_a @ R_b, R_a @ t_b + t_a
            if len(turns) < MOST and _angle(R) > SAME and all(_angle(R.T @ other) > SAME for other, _ in turns):
                turns.append((R, t))
    return turns


class _Match:
    """Points on the surface, around their mean, and how well they fall onto others when they are turned."""

    def __init__(self, mesh: Mesh, tolerance: float):
        some, many = surface_samples(mesh, SOME, seed=0), surface_samples(mesh, MANY, seed=1)
        self.centre = many.points.mean(axis=0)
        self.some, self.many = (s._replace(points=s.points - self.centre) for s in (some, many))
        self.tree, self.tolerance = KDTree(self.many.points), tolerance
        _, nearest = self.tree.query(self.some.points)
        self.color_limit = float(np.abs(some.colors - many.colors[nearest]).mean()) + COLOR_TOLERANCE

    def promising(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rotations and shifts, at rest, different from each other and from none."""
        grid = np.asarray(even_rotations(GRID), np.float64)
        few = self.some.points[:: SOME // FEW]
        distances = self.tree.query(few @ np.swapaxes(grid, 1, 2))[0].mean(axis=1)
        R, t = self._rest(grid[np.argsort(distances, kind="stable")[:PROMISING]])
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        for turn in sorted((self._rounded(*turn) for turn in zip(R, t)), key=lambda turn: self._off(*turn)):
            if _angle(turn[0]) > SAME and all(_angle(turn[0].T @ other) > SAME for other, _ in kept):
                kept.append(turn)
        return kept

    def _rest(self, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(P, 3, 3), (P, 3): turns near these that bring points to rest on the surface."""
        points, t = self.some.points[:: SOME // FEW], np.zeros((len(R), 3))
        middle = points.mean(axis=0)
        for _ in range(ROUNDS):
            _, nearest = self.tree.query(points @ np.swapaxes(R, 1, 2) + t[:, None])
            onto = self.many.points[nearest]
            centre = onto.mean(axis=1)
            U, _, Vt = np.linalg.svd(np.einsum("pni,nj->pij", onto - centre[:, None], points - middle))
            U[:, :, 2] *= np.linalg.det(U @ Vt)[:, None]
            R = U @ Vt
            t = centre - R @ middle
        return R, t

    def _rounded(self, R: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The turn about an axis of the frame, by a fraction of a whole one, if it is near and as good."""
        rounded = _rounded(R)
        return (rounded, np.zeros(3)) if self._off(rounded, np.zeros(3)) <= 1.1 * self._off(R, t) else (R, t)

    def _off(self, R: np.ndarray, t: np.ndarray) -> float:
        return float(self._distances(self.some.points[:: SOME // (2 * FEW)] @ R.T + t).mean())

    def _distances(self, points: np.ndarray) -> np.ndarray:
        """From points to the surface: to the planes of the nearest samples, between which there are gaps."""
        _, nearest = self.tree.query(points, k=3)
        along = np.einsum("pki,pki->pk", points[:, None] - self.many.points[nearest], self.many.normals[nearest])
        return np.abs(along).min(axis=1)

    def shape(self, R: np.ndarray, t: np.ndarray) -> bool:
        """Whether the turned surface is the surface."""
        return float(np.quantile(self._distances(self.some.points @ R.T + t), 0.99)) <= self.tolerance

    def color(self, R: np.ndarray, t: np.ndarray) -> bool:
        """Whether the turned colours are the colours."""
        _, nearest = self.tree.query(self.some.points @ R.T + t)
        return float(np.abs(self.some.colors - self.many.colors[nearest]).mean()) <= self.color_limit

    def revolves(self, axis: np.ndarray) -> bool:
        """Whether it is a body of revolution about the axis."""
        return all(self.shape(_about(axis, angle), np.zeros(3)) for angle in ODD_ANGLES)

    def principal_axes(self) -> list[np.ndarray]:
        """Those of the surface, rounded."""
        _, vectors = np.linalg.eigh(np.cov(self.many.points.T))
        return [_straight(vector) for vector in vectors.T]


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    return Rotation.from_rotvec(angle * axis).as_matrix()


def _angle(R: np.ndarray) -> float:
    return float(np.arccos(np.clip(0.5 * (np.trace(R) - 1), -1, 1)))


def _axis(R: np.ndarray) -> np.ndarray:
    vector = Rotation.from_matrix(R).as_rotvec()
    return _straight(vector / max(float(np.linalg.norm(vector)), 1e-12))


def _straight(axis: np.ndarray) -> np.ndarray:
    """The axis, or one of the frame's that is near; its largest component positive."""
    largest = int(np.argmax(np.abs(axis)))
    axis = axis * np.sign(axis[largest])
    return np.eye(3)[largest] if axis[largest] > math.cos(STRAIGHT) else axis


def _rounded(R: np.ndarray) -> np.ndarray:
    """About an axis of the frame, and by a fraction of a turn, where it is near."""
    axis = _axis(R)
    angle = float(Rotation.from_matrix(R).as_rotvec() @ axis)
    for order in range(2, ORDERS + 1):
        step = 2 * math.pi / order
        if abs(angle - step * round(angle / step)) < STRAIGHT:
            return _about(axis, step * round(angle / step))
    return _about(axis, angle)
