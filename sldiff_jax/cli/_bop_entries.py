"""The entry that is meant in files of the BOP format, which hold those of all images and objects of a scene."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ._errors import InputError


def image_entry(document: Any, path: Path, image: Path, image_id: int | None) -> Any:
    """The part of a scene_camera.json or scene_gt.json that belongs to an image; other documents as they are.

    Args:
        document: what the file holds.
        path: the file, for messages.
        image: the photo. If its name is a number, that is its id, as in BOP's folders.
        image_id: the id, if the user gave it.

    Raises:
        InputError: if the file holds several images and which is meant is unknown, or not this one.
    """
    if not (isinstance(document, dict) and document and all(re.fullmatch(r"\d+", str(key)) for key in document)):
        return document
    entries = {int(key): entry for key, entry in document.items()}
    if image_id is None and re.fullmatch(r"\d+", image.stem):
        image_id = int(image.stem)
    if image_id is None and len(entries) == 1:
        return next(iter(entries.values()))
    if image_id not in entries:
        what = "which of them is meant is not known" if image_id is None else f"not {image_id}"
        raise InputError(f"{path} is for the images {_listed(entries)}, and {what}. Name one with --image-id.")
    return entries[image_id]


def object_entry(document: Any, path: Path, mesh: Path, object_id: int | None, instance: int | None) -> Any:
    """The part of an image's list in scene_gt.json that belongs to an object; other documents as they are.

    Args:
        document: an image's entry.
        path: the file, for messages.
        mesh: the mesh file. If its name is as BOP's, obj_000005.ply, that is the object's id.
        object_id: the id, if the user gave it.
        instance: place in the list, from 0, if the user gave it.

    Raises:
        InputError: if several entries fit, or none.
    """
    if not (isinstance(document, list) and document and all(isinstance(entry, dict) for entry in document)):
        return document
    ids = [entry.get("obj_id") for entry in document]
    if instance is not None:
        if not 0 <= instance < len(document):
            raise InputError(f"{path} has instances 0 to {len(document) - 1} in this image, and not {instance}.")
        return document[instance]
    named = re.fullmatch(r"obj_(\d+)", mesh.stem)
    if object_id is None and named:
        object_id = int(named[1])
    if object_id is None and len(document) == 1:
        return document[0]
    found = [place for place, known in enumerate(ids) if known == object_id]
    if len(found) == 1:
        return document[found[0]]
    if object_id is None or not found:
        what = "which of them is meant is not known" if object_id is None else f"not {object_id}"
        raise InputError(f"{path} has the objects {_listed(ids)} in this image, and {what}. Name one with --object-id.")
    raise InputError(
        f"{path} has object {object_id} {len(found)} times in this image. Name one with --instance: {_listed(found)}."
    )


def _listed(values: Any) -> str:
    values = list(dict.fromkeys(values))
    return ", ".join(str(value) for value in values[:20]) + (", ..." if len(values) > 20 else "")
