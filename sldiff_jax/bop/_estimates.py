"""Estimated poses in the files that the BOP challenge accepts."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._atomic import write_atomically
from ._json import rotation_deviation

logger = logging.getLogger(__name__)

HEADER = "scene_id,im_id,obj_id,score,R,t,time"
FILE_NAME = re.compile(
    r"(?P<method>[^_.]+)_(?P<dataset>[^_.-]+)-(?P<split>[^_.-]+(?:-[^_.-]+)?)(?:_(?P<id>[^.]+))?\.csv"
)
ROTATION_TOLERANCE = 1e-3
TIME_TOLERANCE = 1e-3
"""Seconds by which the times of one image may differ."""


class Estimate(NamedTuple):
    """The estimated pose of one object in one image.

    Attributes:
        scene_id: number of the scene.
        image_id: number of the image.
        object_id: which object.
        score: the higher, the surer. Any unit.
        T_camera_object: (4, 4) float64, object frame to camera frame, metres.
        time: seconds that were spent on the image, the same for all its estimates; -1 if unknown.
    """

    scene_id: int
    image_id: int
    object_id: int
    score: float
    T_camera_object: Float[np.ndarray, "4 4"]
    time: float = -1.0


class ResultName(NamedTuple):
    """What the name of a result file says: ``METHOD_DATASET-SPLIT.csv``."""

    method: str
    dataset: str
    split: str


def parse_result_name(path: str | os.PathLike[str]) -> ResultName:
    """Method, data set and split of a result file, ``METHOD_DATASET-SPLIT[-TYPE][_ID].csv``.

    Args:
        path: the file, which need not exist.

    Returns:
        The `ResultName`; its split includes the type, if there is one.

    Raises:
        ValueError: if the name is not of this form.
    """
    match = FILE_NAME.fullmatch(Path(path).name)
    if not match:
        raise ValueError(
            f"The file name {Path(path).name} must be METHOD_DATASET-SPLIT.csv, such as mine_lmo-test.csv, with no "
            '"_" and no "." in METHOD: the benchmark reads it.'
        )
    return ResultName(match["method"], match["dataset"], match["split"])


def read_estimates(path: str | os.PathLike[str]) -> list[Estimate]:
    """Reads estimated poses from a CSV file in the format of the BOP challenge.

    What the benchmark rejects raises an error. What it accepts and can hardly be meant is read and told in the log:
    numbers that are not finite, matrices that are no rotations, the same estimate twice.

    Args:
        path: the file, with the header ``scene_id,im_id,obj_id,score,R,t,time``, R (3, 3) row by row and t (3,) in
            millimetres, numbers separated by spaces.

    Returns:
        The estimates in the order of the file, with poses (4, 4) in metres.

    Raises:
        ValueError: if the file cannot be read, is empty, has a wrong header or a line that is not of this form, or
            times of one image differ; with file, line, what was expected and what came.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"The estimates {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"The estimates {path} are not a text file; CSV is expected.") from None
    first = 1 if lines and HEADER in lines[0] else 0
    if not first and lines and not lines[0][:1].isdecimal():
        raise ValueError(f"{path}, line 1: expected the header {HEADER}, got {lines[0][:80]!r}.")
    if len(lines) == first:
        raise ValueError(f"{path} holds no estimates.")
    if not first:
        logger.warning("%s has no header. Expected: %s", path, HEADER)
    estimates = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines[first:], start=first + 1)]
    _check_times(estimates, str(path))
    doubtful = {
        "hold numbers that are not finite": sum(not _finite(estimate) for estimate in estimates),
        "hold a matrix that is no rotation": sum(
            _finite(estimate) and not _rotates(estimate) for estimate in estimates
        ),
        "repeat another one": len(estimates) - len({_identity(estimate) for estimate in estimates}),
    }
    for what, count in doubtful.items():
        if count:
            logger.warning("%s: %d of %d estimates %s.", path, count, len(estimates), what)
    return estimates


def write_estimates(path: str | os.PathLike[str], estimates: Iterable[Estimate]) -> None:
    """Writes estimated poses as a CSV file that the BOP challenge accepts, all of it or nothing.

    Args:
        path: the file, named ``METHOD_DATASET-SPLIT[-TYPE][_ID].csv``. Its folder is made.
        estimates: at least one, with rigid poses (4, 4) in metres.

    Raises:
        ValueError: if the name is not of that form, there are no estimates, one holds a number that is not finite or a
            matrix that is no rotation, or is given twice, or times of one image differ or are negative (but -1, for
            unknown).
    """
    path, estimates = Path(path), list(estimates)
    parse_result_name(path)
    if not estimates:
        raise ValueError(f"There are no estimates to write to {path}; the benchmark rejects an empty file.")
    seen: set[tuple] = set()
    for estimate in estimates:
        where = f"The estimate of object {estimate.object_id} in scene {estimate.scene_id}, image {estimate.image_id}"
        if not _finite(estimate):
            raise ValueError(f"{where} must be of finite numbers, got {estimate}.")
        if not _rotates(estimate) or np.abs(estimate.T_camera_object[3] - (0, 0, 0, 1)).max() > 0:
            raise ValueError(f"{where} must have a rigid pose, got {estimate.T_camera_object.tolist()}.")
        if min(estimate[:3]) < 0:
            raise ValueError(f"{where} must have numbers that are not negative.")
        if estimate.time < 0 and estimate.time != -1:
            raise ValueError(f"{where} must have a time in seconds, or -1 for unknown, got {estimate.time}.")
        if _identity(estimate) in seen:
            raise ValueError(f"{where} is given twice. Leave one out.")
        seen.add(_identity(estimate))
    _check_times(estimates, str(path))
    write_atomically(path, "".join(f"{line}\n" for line in [HEADER, *map(_format, estimates)]))


def _parse(line: str, where: str) -> Estimate:
    fields = line.split(",")
    if len(fields) != 7:
        raise ValueError(f"{where}: expected the 7 columns {HEADER}, got {len(fields)}: {line[:80]!r}.")
    try:
        ids = [int(field) for field in fields[:3]]
    except ValueError:
        raise ValueError(f"{where}: scene_id, im_id and obj_id must be whole numbers, got {fields[:3]}.") from None
    T = np.eye(4)
    T[:3, :3] = _numbers(fields[4], 9, f"{where}: R").reshape(3, 3)
    T[:3, 3] = 1e-3 * _numbers(fields[5], 3, f"{where}: t")
    score, time = (float(_numbers(fields[k], 1, f"{where}: {name}")[0]) for k, name in ((3, "score"), (6, "time")))
    return Estimate(ids[0], ids[1], ids[2], score, T, time)


def _numbers(field: str, count: int, what: str) -> Float[np.ndarray, "count"]:
    try:
        values = np.array([float(word) for word in field.split()])
    except ValueError:
        values = np.empty(0)
    if len(values) != count:
        expected = "a number" if count == 1 else f"{count} numbers separated by spaces"
        raise ValueError(f"{what} must be {expected}, got {field[:80]!r}.")
    return values


def _format(estimate: Estimate) -> str:
    R, t = estimate.T_camera_object[:3, :3], 1e3 * estimate.T_camera_object[:3, 3]
    numbers = [" ".join(repr(float(x)) for x in values.reshape(-1)) for values in (R, t)]
    ids = ",".join(str(int(number)) for number in estimate[:3])
    return f"{ids},{float(estimate.score)!r},{numbers[0]},{numbers[1]},{float(estimate.time)!r}"


def _check_times(estimates: list[Estimate], where: str) -> None:
    first: dict[tuple[int, int], float] = {}
    for estimate in estimates:
        image = estimate.scene_id, estimate.image_id
        time = first.setdefault(image, estimate.time)
        if abs(time - estimate.time) > TIME_TOLERANCE:
            raise ValueError(
                f"{where}: all estimates of an image must have the same time, that spent on the whole image, got "
                f"{time} and {estimate.time} for scene {image[0]}, image {image[1]}."
            )


def _finite(estimate: Estimate) -> bool:
    return bool(np.isfinite(estimate.T_camera_object).all()) and all(
        map(math.isfinite, (estimate.score, estimate.time))
    )


def _rotates(estimate: Estimate) -> bool:
    return rotation_deviation(estimate.T_camera_object[:3, :3]) <= ROTATION_TOLERANCE


def _identity(estimate: Estimate) -> tuple:
    return (*estimate[:4], estimate.T_camera_object.tobytes())
