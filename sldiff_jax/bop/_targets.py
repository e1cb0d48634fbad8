"""Which objects are to be found in which images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ._json import Fields, read_json


class Target(NamedTuple):
    """Something to be found.

    Attributes:
        scene_id: number of the scene.
        image_id: number of the image.
        object_id: which object; None where any object of the data set may be in the image (bop24).
        instances: how many of them there are to be found; None where that is not told.
    """

    scene_id: int
    image_id: int
    object_id: int | None
    instances: int | None


def read_targets(path: Path, *, counted: bool) -> tuple[Target, ...]:
    """The targets of a file.

    Args:
        path: the file.
        counted: whether it says how many of which object there are (bop19), or names images only (bop24).

    Raises:
        ValueError: if it deviates from the format, or an object is listed twice.
    """
    document = read_json(path)
    if not isinstance(document, list):
        raise ValueError(f"{path}: expected a list of targets, got a {type(document).__name__}.")
    targets = []
    for number, entry in enumerate(document):
        fields = Fields(entry, f"{path}: target {number}")
        ids = fields.integer("scene_id"), fields.integer("im_id")
        if counted:
            targets.append(Target(*ids, fields.integer("obj_id"), fields.integer("inst_count", least=1)))
        else:
            targets.append(Target(*ids, None, None))
    distinct = dict.fromkeys(targets)
    if counted and len({target[:3] for target in targets}) < len(targets):
        raise ValueError(f"{path}: an object of an image is listed more than once.")
    return tuple(distinct)
