"""Shares of estimates that are good enough, with the thresholds of the benchmarks.

Errors are of one estimate per object that there was to find; a missing estimate has an infinite error. An estimate is
correct if its error is *below* the threshold, so that infinite and NaN errors never are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._scene.transforms import as_floating
from ._checks import BOP_FRACTIONS, check_positive

Errors = Float[Array, "estimates"]


def average_recall(
    errors: Errors | ArrayLike | Sequence[Any],
    thresholds: Float[Array, "thresholds"] | Float[Array, "estimates thresholds"] | ArrayLike | Sequence[Any],
) -> Float[Array, ""]:
    """The share of estimates with an error below the threshold, averaged over the thresholds.

    Args:
        errors: (N,) float, in any unit.
        thresholds: (K,) float, in the same unit, or (N, K) if each estimate has its own.

    Returns:
        Scalar float in [0, 1]. Source: Hodan et al. 2020, "BOP Challenge 2020 on 6D Object Localization", section 2.
        The score AR of the challenge is the mean of `vsd_recall`, `mssd_recall` and `mspd_recall`.

    Raises:
        ValueError: if a shape is wrong, there are no errors, or a threshold is not positive.
    """
    errors = _errors("average_recall", errors)
    thresholds = jnp.asarray(thresholds)
    shape = (errors.shape[0], None) if thresholds.ndim == 2 else (None,)
    thresholds = check_positive(
        as_floating(thresholds, "average_recall thresholds", shape), "average_recall thresholds"
    )
    if thresholds.size == 0:
        raise ValueError("average_recall needs at least one threshold, got none.")
    return jnp.mean(errors[:, None] < thresholds, dtype=errors.dtype)


def vsd_recall(errors: Float[Array, "estimates taus"] | ArrayLike | Sequence[Any]) -> Float[Array, ""]:
    """AR_VSD of the BOP challenge: average recall over its thresholds 0.05, 0.1, ..., 0.5 and all tolerances tau.

    Args:
        errors: (N, T) float, for each estimate what `vsd` returned, with its default `taus`.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the shape is wrong or there are no errors.
    """
    errors = as_floating(jnp.asarray(errors), "vsd_recall errors", (None, None))
    return average_recall(_errors("vsd_recall", errors.reshape(-1)), BOP_FRACTIONS)


def mssd_recall(
    errors: Errors | ArrayLike | Sequence[Any], diameter: Errors | ArrayLike | Sequence[Any]
) -> Float[Array, ""]:
    """AR_MSSD of the BOP challenge: average recall over its thresholds 0.05, 0.1, ..., 0.5 of the diameter.

    Args:
        errors: (N,) float, what `mssd` returned, metres.
        diameter: scalar float, or (N,) float for several objects, metres.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if a shape is wrong, there are no errors, or a diameter is not positive.
    """
    errors = _errors("mssd_recall", errors)
    return average_recall(errors, _diameters("mssd_recall", diameter, errors) * jnp.array(BOP_FRACTIONS))


def mspd_recall(errors: Errors | ArrayLike | Sequence[Any], width: int) -> Float[Array, ""]:
    """AR_MSPD of the BOP challenge: average recall over 5, 10, ..., 50 pixels times ``width / 640``.

    Args:
        errors: (N,) float, what `mspd` returned, pixels.
        width: of the image, pixels.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the shape is wrong, there are no errors, or `width` is not positive.
    """
    errors = _errors("mspd_recall", errors)
    if not width > 0:
        raise ValueError(f"mspd_recall width must be positive (pixels), got {width}.")
    return average_recall(errors, [100 * fraction * width / 640 for fraction in BOP_FRACTIONS])


def add_recall(
    errors: Errors | ArrayLike | Sequence[Any], diameter: Errors | ArrayLike | Sequence[Any], *, fraction: float = 0.1
) -> Float[Array, ""]:
    """The share of estimates with an ADD or ADD-S below a fraction of the diameter.

    Args:
        errors: (N,) float, what `add` or `add_s` returned, metres.
        diameter: scalar float, or (N,) float for several objects, metres.
        fraction: threshold as a fraction of the diameter. Default: 10 %, as Hinterstoisser et al. 2012.

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if a shape is wrong, there are no errors, or `diameter` or `fraction` is not positive.
    """
    errors = _errors("add_recall", errors)
    if not fraction > 0:
        raise ValueError(f"add_recall fraction must be positive, got {fraction}.")
    return average_recall(errors, _diameters("add_recall", diameter, errors) * fraction)


def add_auc(errors: Errors | ArrayLike | Sequence[Any], *, limit: float = 0.1) -> Float[Array, ""]:
    """AUC of ADD or ADD-S: the share of estimates below a threshold, averaged over all thresholds up to a limit.

    The exact area under that curve, ``mean(max(0, 1 - error / limit))``. The script of the YCB-Video data set sums
    rectangles that reach above the curve; its result is higher by at most 1 / N.

    Args:
        errors: (N,) float, what `add` or `add_s` returned, metres.
        limit: the largest threshold, metres. Default: 10 cm, as Xiang et al. 2018, "PoseCNN".

    Returns:
        Scalar float in [0, 1].

    Raises:
        ValueError: if the shape is wrong, there are no errors, or `limit` is not positive.
    """
    errors = _errors("add_auc", errors)
    if not limit > 0:
        raise ValueError(f"add_auc limit must be positive (metres), got {limit}.")
    correct = errors < limit
    return jnp.mean(jnp.where(correct, 1 - jnp.where(correct, errors, 0) / limit, 0))


def _errors(metric: str, errors: ArrayLike | Sequence[Any]) -> Errors:
    errors = as_floating(jnp.asarray(errors), f"{metric} errors", (None,))
    if errors.shape[0] == 0:
        raise ValueError(f"{metric} needs at least one error, got none.")
    return errors


def _diameters(metric: str, diameter: ArrayLike | Sequence[Any], errors: Errors) -> Float[Array, "estimates 1"]:
    diameter = jnp.asarray(diameter)
    shape = (errors.shape[0],) if diameter.ndim else ()
    diameter = check_positive(as_floating(diameter, f"{metric} diameter", shape), f"{metric} diameter")
    return jnp.broadcast_to(diameter, errors.shape)[:, None]
