"""Distances between the vertices of an object in two poses: ADD, ADD-S, MSSD; and its diameter."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._scene.transforms import is_concrete
from .._scene.typing import Transform
from ._checks import Points, Poses, Symmetries, check_points, check_poses
from ._farthest_pair import farthest_pair
from ._geometry import apply_affine, length, safe_sqrt
from ._symmetries import least_error

POINTS_AT_A_TIME = 16
"""Points that are compared with all others side by side: 16 V distances are in memory, never V^2."""


def add(
    T_estimate: Transform | ArrayLike,
    T_true: Transform | ArrayLike,
    points: Points | ArrayLike,
    *,
    symmetries: Symmetries | ArrayLike | None = None,
) -> Float[Array, ""]:
    """ADD: the mean distance between the vertices in the estimated and in the true pose.

    Usual threshold: 10 % of the diameter, see `add_recall`.

    Args:
        T_estimate: (4, 4) float, object frame to any frame, metres.
        T_true: (4, 4) float, object frame to the same frame, metres.
        points: (V, 3) float, vertices in the object frame, metres.
        symmetries: optional (S, 4, 4) float, as `symmetry_transforms` makes them: the result is the least over them.
            The definition knows none; for symmetric objects it takes `add_s` instead.

    Returns:
        Scalar float, metres. Source: Hinterstoisser et al. 2012, "Model Based Training, Detection and Pose
        Estimation of Texture-Less 3D Objects in Heavily Cluttered Scenes".

    Raises:
        ValueError: if a shape is wrong or there are no points.
    """
    return _add(check_poses("add", T_estimate, T_true, symmetries), check_points("add", points))


@jax.jit
def _add(poses: Poses, points: Points) -> Float[Array, ""]:
    def mean_distance(T_true: Transform) -> Float[Array, ""]:
        return jnp.mean(_distances(poses.T_estimate, T_true, points))

    return least_error(mean_distance, poses.T_true, poses.symmetries)


def add_s(
    T_estimate: Transform | ArrayLike, T_true: Transform | ArrayLike, points: Points | ArrayLike
) -> Float[Array, ""]:
    """ADD-S (also ADI): the mean distance from the vertices in the true pose to the nearest in the estimated pose.

    For objects with symmetries, without naming them. It is never more than `add`, and forgiving: a wrong pose that
    covers the same surface scores well. Time grows with V^2 (a CPU core compares about a
    billion pairs a second), memory with V.

    Args:
        T_estimate: (4, 4) float, object frame to any frame, metres.
        T_true: (4, 4) float, object frame to the same frame, metres.
        points: (V, 3) float, vertices in the object frame, metres.

    Returns:
        Scalar float, metres. Source: Hinterstoisser et al. 2012, "Model Based Training, Detection and Pose
        Estimation of Texture-Less 3D Objects in Heavily Cluttered Scenes".

    Raises:
        ValueError: if a shape is wrong or there are no points.
    """
    return _add_s(check_poses("add_s", T_estimate, T_true), check_points("add_s", points))


@jax.jit
def _add_s(poses: Poses, points: Points) -> Float[Array, ""]:
    # Relative to the true position: far from the origin, float32 would not resolve small distances.
    offset = jnp.zeros_like(poses.T_true).at[:3, 3].set(poses.T_true[:3, 3])
    estimate = apply_affine((poses.T_estimate - offset)[:3], points)
    true = apply_affine((poses.T_true - offset)[:3], points)

    return jnp.mean(safe_sqrt(_reduce_squared_distances(jnp.min, true, estimate)))


def mssd(
    T_estimate: Transform | ArrayLike,
    T_true: Transform | ArrayLike,
    points: Points | ArrayLike,
    *,
    symmetries: Symmetries | ArrayLike | None = None,
) -> Float[Array, ""]:
    """MSSD: the largest distance between the vertices in the estimated and in the nearest true pose.

    The largest distance is attained on the convex hull, so its vertices are enough as `points`. Thresholds of the BOP
    challenge: 5 % to 50 % of the diameter, see `mssd_recall`.

    Args:
        T_estimate: (4, 4) float, object frame to any frame, metres.
        T_true: (4, 4) float, object frame to the same frame, metres.
        points: (V, 3) float, vertices in the object frame, metres.
        symmetries: optional (S, 4, 4) float, as `symmetry_transforms` makes them. The identity always counts too.

    Returns:
        Scalar float, metres. Source: Hodan et al. 2020, "BOP Challenge 2020 on 6D Object Localization", section 2.2.

    Raises:
        ValueError: if a shape is wrong or there are no points.
    """
    return _mssd(check_poses("mssd", T_estimate, T_true, symmetries), check_points("mssd", points))


@jax.jit
def _mssd(poses: Poses, points: Points) -> Float[Array, ""]:
    def largest_distance(T_true: Transform) -> Float[Array, ""]:
        return jnp.max(_distances(poses.T_estimate, T_true, points))

    return least_error(largest_distance, poses.T_true, poses.symmetries)


def diameter(points: Points | ArrayLike) -> Float[Array, ""]:
    """The largest distance between two points, exactly.

    Outside of `jit`, `vmap` and `grad`, time grows little faster than V. Inside, it grows with V^2, memory with V.

    Args:
        points: (V, 3) float, metres or any other unit.

    Returns:
        Scalar float, in the unit of the points. It is the ``diameter`` of BOP's ``models_info.json``, which is in
        millimetres.

    Raises:
        ValueError: if the shape is wrong or there are no points.
    """
    points = check_points("diameter", points)
    if is_concrete(points):
        values = np.asarray(points, dtype=np.float64)
        if np.isfinite(values).all():  # NaN spreads, as the definition has it
            points = points[np.array(farthest_pair(values))]
    return _diameter(points)


@jax.jit
def _diameter(points: Points) -> Float[Array, ""]:
    return safe_sqrt(jnp.max(_reduce_squared_distances(jnp.max, points, points)))


def _distances(T_estimate: Transform, T_true: Transform, points: Points) -> Float[Array, "vertices"]:
    # The difference of the poses first: equal poses give zero, and small differences keep their digits.
    return length(apply_affine((T_estimate - T_true)[:3], points))


def _reduce_squared_distances(
    reduce: Callable[[Array], Array], points: Points, others: Float[Array, "others 3"]
) -> Float[Array, "vertices"]:
    """For every point, the least or the largest of its squared distances to all others."""
    x, y, z = others.T  # axis by axis: ten times as fast on CPU as a sum over the last axis

    def reduced(point: Float[Array, "3"]) -> Float[Array, ""]:
        return reduce((x - point[0]) ** 2 + (y - point[1]) ** 2 + (z - point[2]) ** 2)

    # Backward, distances are computed again instead of kept, for the same bound on memory.
    return jax.lax.map(jax.checkpoint(reduced), points, batch_size=POINTS_AT_A_TIME)
