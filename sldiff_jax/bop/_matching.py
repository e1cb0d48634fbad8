"""Which estimate is of which instance, and what that says: recall and average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int


def match(errors: Float[np.ndarray, "estimates instances"], threshold: float) -> Int[np.ndarray, "estimates"]:
    """Matches estimates to instances greedily, as the BOP challenge does.

    Args:
        errors: (E, G) float, the estimates in order of falling score. NaN is never good enough.
        threshold: an error is good enough if it is below.

    Returns:
        (E,) int: the instance of each estimate, the one with the least error among those that are left; -1 for none.
    """
    left = np.where(errors < threshold, errors, np.inf)
    matches = np.full(len(left), -1)
    for i in range(len(left)):
        if left.shape[1] and np.isfinite(best := left[i].min()):
            matches[i] = int(np.flatnonzero(left[i] == best)[0])
            left[:, matches[i]] = np.inf
    return matches


def average_precision(
    scores: Sequence[float], correct: Bool[np.ndarray, "estimates"], instances: int
) -> float:  # fmt: skip
    """The mean over the recalls 0, 0.01, ..., 1 of the best precision at that recall or beyond.

    Args:
        scores: of E estimates. Of equal ones the first comes first.
        correct: (E,) bool, whether an estimate is of an instance.
        instances: how many there are to be found, at least one.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    hits = np.cumsum(correct[order])
    recall = np.concatenate([hits / instances, [1.0]])
    precision = np.concatenate([hits / np.arange(1, len(hits) + 1), [0.0]])
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.mean(best[np.searchsorted(recall, np.linspace(0, 1, 101), side="left")]))
