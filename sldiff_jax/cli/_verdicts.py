"""What a person is told of a fit that cannot be trusted."""

from __future__ import annotations

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
}


def explained(refinement: Refinement) -> str:
    """One line: what is wrong, and what the images say against the result."""
    sentence = SENTENCES[refinement.status]
    return f"{sentence}: {'; '.join(refinement.doubts)}." if refinement.doubts else f"{sentence}."
