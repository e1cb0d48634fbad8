"""What a person is told of a fit that cannot be trusted."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from .._refine.refinement import Refinement, Status

NOT_TRUSTED = 3
"""Exit code of a fit that ended, but whose result need not be better than the start."""

SENTENCES = {
    Status.NOT_VISIBLE: "the object left the image or was hidden altogether. Begin nearer to where it is",
    Status.DIVERGED: "the fit went astray: its loss rose. Begin nearer, or give a mask or depth",
    Status.STOPPED: "the fit was stopped before it had settled",
    Status.PRUNED: "another start was better",
    Status.NO_PULL: "nothing pulls at the start: it does not meet the object in the photo. Begin where they overlap",
    Status.NOT_BETTER: "no better pose than the start was found: it is returned. Begin nearer, or give a mask or depth",
    Status.DOUBTFUL: "do not trust this result",
    Status.LOST: "the object was not found: do not use this result",
}


def trust(refinement: Refinement, others: int) -> str | None:
    """One line: how far the images bear the result out, how far it is known, and what else fits; None if not judged.

    Args:
        refinement: what is to be trusted.
        others: how many other poses fit about as well.
    """
    if refinement.score is None:
        return None
    words = [f"score {refinement.score:.2f} of 1"]
    if refinement.covariance is not None:
        degrees, millimetres = deviations(refinement.covariance[0])
        words.append(f"noise alone would move it by {degrees:.2g} degrees and {millimetres:.2g} mm")
    words.append(f"{others} other poses fit about as well" if others else "no other pose found fits as well")
    return "; ".join(words)


def deviations(covariance: Float[np.ndarray, "6 6"]) -> tuple[float, float]:
    """Standard deviations of rotation and translation, degrees and millimetres: of all axes together."""
    variances = np.diag(covariance)
    return math.degrees(math.sqrt(variances[:3].sum())), 1e3 * math.sqrt(variances[3:].sum())


def explained(refinement: Refinement) -> str:
    """One line: what is wrong, and what the images say against the result."""
    sentence = SENTENCES[refinement.status]
    return f"{sentence}: {'; '.join(refinement.doubts)}." if refinement.doubts else f"{sentence}."
