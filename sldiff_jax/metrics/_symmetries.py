"""Object symmetries as the BOP challenge describes them, and the least error among symmetric poses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._scene.transforms import compose
from .._scene.typing import Transform
from ._checks import Symmetries

POSES_AT_A_TIME = 16
"""Symmetric poses that are compared side by side; more would only cost memory."""


def symmetry_transforms(
    discrete: ArrayLike | Sequence[Any] | None = None,
    continuous: Sequence[Mapping[str, Any]] | None = None,
    *,
    max_step: float = 0.01,
    scale: float | None = None,
) -> Symmetries:
    """The set of transforms that leave an object looking the same, in the conventions of BOP's ``models_info.json``.

    Every discrete symmetry, and the identity, is followed by every rotation about every axis of continuous symmetry,
    in ``ceil(pi / max_step)`` equal steps. As in the BOP challenge, rotations about different axes are not combined:
    for a ball, the set is not the whole group.

    Convention: a symmetry ``S`` maps object points to object points; if ``T`` is a pose, so is ``T @ S``.

    Args:
        discrete: optional (D, 4, 4) rigid transforms, or D lists of 16 numbers, row by row: the entry
            ``symmetries_discrete``. The identity need not be among them.
        continuous: optional list of mappings with ``axis`` (3,), of any length but zero, and ``offset`` (3,), a
            point on the axis: the entry ``symmetries_continuous``.
        max_step: the farthest that a vertex may travel between neighbouring rotations, as a fraction of the object's
            diameter, in (0, 1]. The BOP challenge takes 0.01.
        scale: metres per unit of the translations and offsets: 1.0 for metres, 1e-3 for ``models_info.json``, which is
            in millimetres. It must be given unless all of them are zero, for the numbers alone do not tell the unit.

    Returns:
        (S, 4, 4) float, translations in metres, the identity first. S is 1 + D, times the number of rotations if
        there are any. Source: Hodan et al. 2020, "BOP Challenge 2020 on 6D Object Localization", section 2.

    Raises:
        ValueError: if a shape is wrong, a discrete symmetry is not rigid, an axis is zero or an entry is missing, if
            `max_step` leaves (0, 1], or if the unit of translations is left open.
    """
    if not 0 < max_step <= 1:
        raise ValueError(f"max_step must be a fraction of the diameter in (0, 1], got {max_step}.")
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive (metres per unit), got {scale}.")
    flips = np.concatenate([np.eye(4)[None], _discrete(discrete)])
    steps = math.ceil(math.pi / max_step)
    turns = [_rotations(i, symmetry, steps) for i, symmetry in enumerate(continuous or ())]
    translated = np.any(flips[:, :3, 3]) or any(np.any(turn[:, :3, 3]) for turn in turns)
    if translated and scale is None:
        raise ValueError(
            "The symmetries have translations or offsets, whose unit must be said: pass scale=1.0 if they are in "
            "metres, scale=1e-3 if they are in millimetres, as in BOP's models_info.json."
        )
    transforms = flips
    if turns:
        transforms = (np.concatenate(turns)[None] @ flips[:, None]).reshape(-1, 4, 4)
    transforms[:, :3, 3] *= 1.0 if scale is None else scale
    return jnp.asarray(transforms, dtype=jnp.result_type(float))


def _discrete(discrete: ArrayLike | Sequence[Any] | None) -> Float[np.ndarray, "discrete 4 4"]:
    if discrete is None or len(discrete) == 0:  # pyright: ignore[reportArgumentType]
        return np.zeros((0, 4, 4))
    transforms = np.asarray(discrete, dtype=np.float64)
    if transforms.shape[1:] not in ((4, 4), (16,)):
        raise ValueError(f"discrete must have shape (D, 4, 4) or (D, 16), got {transforms.shape}.")
    transforms = transforms.reshape(-1, 4, 4)
    R = transforms[:, :3, :3]
    # BOP's own files carry about four digits.
    rigid = np.allclose(R @ np.swapaxes(R, 1, 2), np.eye(3), atol=1e-2) and np.all(np.linalg.det(R) > 0)
    if not (rigid and np.all(transforms[:, 3] == [0, 0, 0, 1]) and np.isfinite(transforms).all()):
        raise ValueError(
            "discrete must hold rigid transforms: rotations without reflection, and (0, 0, 0, 1) as the last row of "
            f"each, got {transforms.tolist()}."
        )
    return transforms


def _rotations(row: int, symmetry: Mapping[str, Any], steps: int) -> Float[np.ndarray, "steps 4 4"]:
    vectors = []
    for key in ("axis", "offset"):
        if key not in symmetry:
            raise ValueError(f"continuous[{row}] needs the entries axis and offset, got {sorted(symmetry)}.")
        vector = np.asarray(symmetry[key], dtype=np.float64)
        if vector.shape != (3,) or not np.isfinite(vector).all():
            raise ValueError(f"continuous[{row}] {key} must be three finite numbers, got {symmetry[key]}.")
        vectors.append(vector)
    axis, offset = vectors
    if not np.any(axis):
        raise ValueError(f"continuous[{row}] axis must not be zero.")
    angles = 2 * np.pi * np.arange(steps) / steps
    from scipy.spatial.transform import Rotation  # slow to import

    R = Rotation.from_rotvec(angles[:, None] * axis / np.linalg.norm(axis)).as_matrix()
    transforms = np.tile(np.eye(4), (steps, 1, 1))
    transforms[:, :3, :3] = R
    transforms[:, :3, 3] = offset - R @ offset
    return transforms


def least_error(
    error: Callable[[Transform], Float[Array, ""]], T_true: Transform, symmetries: Symmetries | None
) -> Float[Array, ""]:
    """The least ``error(T_true @ S)`` over the symmetries S and the identity, which is always one of them."""
    if symmetries is None:
        return error(T_true)
    poses = jnp.concatenate([T_true[None], compose(T_true, symmetries)])
    # Backward, errors are computed again instead of kept: there are hundreds of poses of thousands of points.
    return jnp.min(jax.lax.map(jax.checkpoint(error), poses, batch_size=POSES_AT_A_TIME))
