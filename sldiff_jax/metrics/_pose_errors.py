"""Angle and distance between two poses."""

from __future__ import annotations

import jax
from jaxtyping import Array, ArrayLike, Float

from .._scene.poses import se3_log
from .._scene.transforms import compose, inverse_transform
from .._scene.typing import Transform
from ._checks import Poses, Symmetries, check_poses
from ._geometry import length
from ._symmetries import least_error


def rotation_error(
    T_estimate: Transform | ArrayLike,
    T_true: Transform | ArrayLike,
    *,
    symmetries: Symmetries | ArrayLike | None = None,
) -> Float[Array, ""]:
    """The angle of the rotation between two poses.

    Through the unit quaternion, so that small angles and angles near pi keep their digits, which the arc cosine of the
    trace loses. Its derivative where the rotations are equal is zero.

    Args:
        T_estimate: (4, 4) float, rigid, object frame to any frame.
        T_true: (4, 4) float, rigid, object frame to the same frame.
        symmetries: optional (S, 4, 4) float, as `symmetry_transforms` makes them. The identity always counts too.

    Returns:
        Scalar float, radians, in [0, pi]: the least over the symmetries.

    Raises:
        ValueError: if a shape is wrong.
    """
    return _rotation_error(check_poses("rotation_error", T_estimate, T_true, symmetries))


@jax.jit
def _rotation_error(poses: Poses) -> Float[Array, ""]:
    def angle(T_true: Transform) -> Float[Array, ""]:
        return length(se3_log(compose(inverse_transform(T_true), poses.T_estimate))[:3])

    return least_error(angle, poses.T_true, poses.symmetries)


def translation_error(
    T_estimate: Transform | ArrayLike,
    T_true: Transform | ArrayLike,
    *,
    symmetries: Symmetries | ArrayLike | None = None,
) -> Float[Array, ""]:
    """The distance between the origins of the object frame under two poses.

    Its derivative where the origins coincide is zero.

    Args:
        T_estimate: (4, 4) float, rigid, object frame to any frame, metres.
        T_true: (4, 4) float, rigid, object frame to the same frame, metres.
        symmetries: optional (S, 4, 4) float, as `symmetry_transforms` makes them. They matter only if they move the
            origin. The symmetry that is best here need not be the one that is best in `rotation_error`.

    Returns:
        Scalar float, metres: the least over the symmetries.

    Raises:
        ValueError: if a shape is wrong.
    """
    return _translation_error(check_poses("translation_error", T_estimate, T_true, symmetries))


@jax.jit
def _translation_error(poses: Poses) -> Float[Array, ""]:
    def distance(T_true: Transform) -> Float[Array, ""]:
        return length(poses.T_estimate[:3, 3] - T_true[:3, 3])

    return least_error(distance, poses.T_true, poses.symmetries)
