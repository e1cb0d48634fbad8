"""Detected objects, boxes and masks, in the JSON files that the BOP challenge exchanges."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from ._atomic import write_atomically
from ._json import Fields, read_json
from ._rle import decode_mask, encode_mask


class Detection(NamedTuple):
    """One object that a detector found in an image.

    Attributes:
        scene_id: number of the scene.
        image_id: number of the image.
        object_id: which object.
        score: the higher, the surer.
        box: (left, top, width, height), pixels; None if only a mask is given.
        mask: (H, W) bool; None if only a box is given.
        time: seconds that were spent on the image; -1 if unknown.
    """

    scene_id: int
    image_id: int
    object_id: int
    score: float
    box: tuple[float, float, float, float] | None = None
    mask: Bool[np.ndarray, "height width"] | None = None
    time: float = -1.0


def read_detections(path: str | os.PathLike[str]) -> list[Detection]:
    """Reads detections from a JSON file in the form of the BOP challenge (COCO's, with scenes).

    Args:
        path: the file: a list of objects with ``scene_id``, ``image_id``, ``category_id``, ``score``, ``bbox``,
            ``segmentation`` (run lengths, as a list or as COCO's string) and ``time``.

    Returns:
        The detections in the order of the file; masks (H, W).

    Raises:
        ValueError: if the file cannot be read, or an entry has neither box nor mask or deviates from the form.
    """
    path = Path(path)
    document = read_json(path)
    if not isinstance(document, list):
        raise ValueError(f"{path}: expected a list of detections, got a {type(document).__name__}.")
    return [_parse(Fields(entry, f"{path}: detection {number}")) for number, entry in enumerate(document)]


def write_detections(path: str | os.PathLike[str], detections: Iterable[Detection]) -> None:
    """Writes detections as `read_detections` reads them, all of the file or nothing.

    Args:
        path: the file. Its folder is made.
        detections: each with a box, or a mask (H, W), or both. A mask brings its box.

    Raises:
        ValueError: if one has neither, or the file cannot be written.
    """
    entries = []
    for detection in detections:
        box = detection.box
        if box is None and detection.mask is not None and detection.mask.any():
            (top, bottom), (left, right) = (
                np.flatnonzero(detection.mask.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0)
            )
            box = (left, top, right - left + 1, bottom - top + 1)
        if box is None:
            raise ValueError(f"A detection needs a box, or a mask that is not empty, got {detection}.")
        entry = {
            "scene_id": detection.scene_id,
            "image_id": detection.image_id,
            "category_id": detection.object_id,
            "score": float(detection.score),
            "bbox": [float(side) for side in box],
            "time": float(detection.time),
        }
        if detection.mask is not None:
            entry["segmentation"] = encode_mask(detection.mask)
        entries.append(entry)
    write_atomically(Path(path), json.dumps(entries) + "\n")


def _parse(fields: Fields) -> Detection:
    box = mask = None
    if fields.values.get("bbox"):
        left, top, width, height = fields.numbers("bbox", 4).tolist()
        if not (width > 0 and height > 0):
            raise fields.wrong("bbox", "left, top, width and height in pixels, the latter two positive")
        box = (left, top, width, height)
    if fields.values.get("segmentation"):
        segmentation = Fields(fields.value("segmentation"), f'{fields.where}, key "segmentation"')
        height, width = segmentation.numbers("size", 2).astype(int).tolist()
        try:
            mask = decode_mask(segmentation.value("counts"), (height, width))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{segmentation.where}: {error}.") from None
    if box is None and mask is None:
        raise ValueError(f'{fields.where}: expected a "bbox" or a "segmentation", got neither.')
    return Detection(
        fields.integer("scene_id"),
        fields.integer("image_id"),
        fields.integer("category_id"),
        fields.number("score"),
        box,
        mask,
        fields.number("time") if "time" in fields else -1.0,
    )
