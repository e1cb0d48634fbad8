"""The scores of the BOP challenge: average recalls of 2019, average precision of 2024, and ADD(-S) recall."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..metrics._checks import BOP_FRACTIONS
from ._dataset import Dataset
from ._estimates import Estimate
from ._frame import Frame, Instance
from ._matching import average_precision, match
from ._pair_errors import PairErrorMeter, PairErrors

logger = logging.getLogger(__name__)

FRACTIONS = np.array(BOP_FRACTIONS)
LEAST_VISIBILITY = 0.1
ESTIMATES_PER_IMAGE = 100
AD_FRACTION = 0.1

RECALLS = ("vsd", "mssd", "mspd")
PRECISIONS = ("mssd", "mssd_mm", "mspd")


class Scores(NamedTuple):
    """What estimates of a data set are worth.

    Attributes:
        summary: under the names of BOP's own results: ``bop19_average_recall``, ``bop19_average_recall_vsd``,
            ``..._mssd``, ``..._mspd``, ``bop24_mAP``, ``bop24_mAP_mssd``, ``..._mssd_mm``, ``..._mspd``,
            ``bop25_mAP``, ``bop25_mAP_mm``, ``bop19_average_time_per_image``, ``bop24_average_time_per_image``;
            and ``ad_recall``, the share of targets with an ADD (ADD-S where the object has a symmetry) below a tenth
            of the diameter. None where something needed is missing: VSD without depth images.
        objects: by number of the object: ``targets``, ``average_recall`` and its three parts, ``ad_recall``;
            ``instances``, ``mAP`` and its parts. None where there is nothing to be found.
    """

    summary: dict[str, float | None]
    objects: dict[int, dict[str, float | None]]


class _Tally:
    """What is counted of one object."""

    def __init__(self):
        self.targets = 0
        self.hits = {
            name: np.zeros((10, 10) if name == "vsd" else 10 if name != "ad" else 1) for name in (*RECALLS, "ad")
        }
        self.instances = 0
        self.estimates: list[tuple[float, dict[str, Int[np.ndarray, "10"]]]] = []  # 1 correct, 0 wrong, -1 ignored


def evaluate(
    dataset: Dataset, estimates: Iterable[Estimate], *, callback: Callable[[int, int], None] | None = None
) -> Scores:
    """Scores estimated poses as the BOP challenge does.

    Args:
        dataset: with ground truth.
        estimates: those of all images, with poses (4, 4), in the order of their file: it decides between equal scores.
        callback: called after each image with how many are done, and how many there are.

    Returns:
        The `Scores`. Source: Hodan et al. 2020, "BOP Challenge 2020 on 6D Object Localization", section 2, and Hodan
        et al. 2024, "BOP Challenge 2023 on Detection, Segmentation and Pose Estimation of Seen and Unseen Rigid
        Objects", for average precision; details as in the toolkit of the challenge.

    Raises:
        ValueError: if there are no estimates, or the ground truth of an image with targets is not public.
    """
    by_image: dict[tuple[int, int], list[Estimate]] = {}
    for estimate in estimates:
        by_image.setdefault((estimate.scene_id, estimate.image_id), []).append(estimate)
    if not by_image:
        raise ValueError("There are no estimates to score.")
    _tell_unknown(dataset, by_image)

    counts: dict[tuple[int, int], dict[int, int]] = {}
    for target in dataset.targets_bop19:
        assert target.object_id is not None and target.instances is not None
        counts.setdefault((target.scene_id, target.image_id), {})[target.object_id] = target.instances
    detection_images = dict.fromkeys((target.scene_id, target.image_id) for target in dataset.targets_bop24)

    meter, tallies, depth_missing = PairErrorMeter(dataset.models_eval), {}, False
    images = list(dict.fromkeys([*detection_images, *counts]))
    scenes = list(dict.fromkeys(scene_id for scene_id, _ in images))
    images.sort(key=lambda ids: scenes.index(ids[0]))  # scene by scene: it decides between equal scores
    for done, ids in enumerate(images, start=1):
        frame, depth = dataset.frame(*ids), None
        if frame.instances is None:
            raise ValueError(f"The ground truth of {frame.name} of {dataset.folder} is not public: nothing to score.")
        if ids in counts:
            depth = frame.depth
            depth_missing |= depth is None
        _count_image(
            frame, depth, by_image.get(ids, []), counts.get(ids, {}), ids in detection_images, meter, tallies
        )  # fmt: skip
        if callback is not None:
            callback(done, len(images))
    if depth_missing:
        logger.warning("%s lacks depth images: there is no VSD, and no average with it.", dataset.folder)
    return _scores(tallies, depth_missing, _average_time(by_image))


def _count_image(
    frame: Frame,
    depth: Float[np.ndarray, "height width"] | None,
    estimates: Sequence[Estimate],
    counts: dict[int, int],
    detection: bool,
    meter: PairErrorMeter,
    tallies: dict[int, _Tally],
) -> None:
    """Adds what one image says to the tallies."""
    assert frame.instances is not None
    order = _by_score([estimate.score for estimate in estimates])
    detected = set(order[:ESTIMATES_PER_IMAGE]) if detection else set()
    present = {instance.object_id for instance in frame.instances}
    for object_id in sorted(present | set(counts)):
        tally = tallies.setdefault(object_id, _Tally())
        instances = [instance for instance in frame.instances if instance.object_id == object_id]
        ranked = [i for i in order if estimates[i].object_id == object_id]
        wanted = counts.get(object_id, 0)
        ranked = [i for place, i in enumerate(ranked) if place < wanted or i in detected]
        errors = meter.measure(
            frame, object_id, [estimates[i].T_camera_object for i in ranked], instances, depth,
            [place < wanted for place in range(len(ranked))],
        )  # fmt: skip
        relative = _relative(errors, meter.models[object_id].diameter, frame.size[1])
        if wanted:
            _count_recall(tally, relative, instances, wanted)
        if detection:
            kept = [place for place, i in enumerate(ranked) if i in detected]
            scores = [estimates[ranked[place]].score for place in kept]
            _count_precision(tally, {name: relative[name][kept] for name in PRECISIONS}, scores, instances)


def _relative(errors: PairErrors, diameter: float, width: int) -> dict[str, Float[np.ndarray, "..."]]:
    """Errors in the units of the thresholds."""
    relative = {
        "mssd": errors.mssd / diameter,
        "mssd_mm": 1e3 * errors.mssd,
        "mspd": errors.mspd * 640 / width,
        "ad": errors.ad / diameter,
    }
    return relative if errors.vsd is None else relative | {"vsd": errors.vsd}


THRESHOLDS = {
    "vsd": FRACTIONS,
    "mssd": FRACTIONS,
    "mssd_mm": np.arange(2.0, 21.0, 2.0),
    "mspd": np.arange(5.0, 51.0, 5.0),
    "ad": np.array([AD_FRACTION]),
}


def _count_recall(tally: _Tally, errors: dict, instances: Sequence[Instance], wanted: int) -> None:
    """The best estimates against the most visible instances, as many of each as the target says."""
    visible = _by_score([_visibility(instance) for instance in instances])[:wanted]
    chosen = sorted(visible)
    tally.targets += len(chosen)
    for name, hits in tally.hits.items():
        if name not in errors:
            continue
        among = errors[name][:wanted][:, chosen]
        for k, threshold in enumerate(THRESHOLDS[name]):
            if name == "vsd":
                hits[:, k] += [np.sum(match(among[..., tau], threshold) >= 0) for tau in range(among.shape[-1])]
            else:
                hits[k] += np.sum(match(among, threshold) >= 0)


def _count_precision(
    tally: _Tally, errors: dict, scores: Sequence[float], instances: Sequence[Instance]
) -> None:  # fmt: skip
    """All estimates against all instances. Who matches one that hardly shows counts neither for nor against."""
    shows = np.array([_visibility(instance) >= LEAST_VISIBILITY for instance in instances], bool)
    tally.instances += int(shows.sum())
    verdicts = {name: np.zeros((len(scores), 10), int) for name in PRECISIONS}
    for name, verdict in verdicts.items():
        for k, threshold in enumerate(THRESHOLDS[name]):
            matches = match(errors[name], threshold)
            matched = matches >= 0
            verdict[matched, k] = np.where(shows[matches[matched]], 1, -1)
    for place, score in enumerate(scores):
        tally.estimates.append((score, {name: verdict[place] for name, verdict in verdicts.items()}))


def _scores(tallies: dict[int, _Tally], depth_missing: bool, time: float) -> Scores:
    """Shares and means of what was counted."""
    summary: dict[str, float | None] = {}
    objects: dict[int, dict[str, float | None]] = {object_id: {} for object_id in sorted(tallies)}
    targets = sum(tally.targets for tally in tallies.values())
    recalls: dict[str, float | None] = {}
    for name in (*RECALLS, "ad"):
        absent = name == "vsd" and depth_missing
        recalls[name] = None if absent else _share(sum(t.hits[name].mean() for t in tallies.values()), targets)
        for object_id, tally in tallies.items():
            key = "ad_recall" if name == "ad" else f"average_recall_{name}"
            objects[object_id][key] = None if absent else _share(tally.hits[name].mean(), tally.targets)
    summary["bop19_average_recall"] = _mean([recalls[name] for name in RECALLS])
    summary |= {f"bop19_average_recall_{name}": recalls[name] for name in RECALLS}
    summary["bop19_average_time_per_image"] = time
    for object_id, tally in tallies.items():
        scores = objects[object_id]
        scores["average_recall"] = _mean([scores[f"average_recall_{name}"] for name in RECALLS])
        scores |= {"targets": tally.targets, "instances": tally.instances}
        scores |= {f"mAP_{name}": _precision(tally, name) for name in PRECISIONS}
        scores["mAP"] = _mean([scores["mAP_mssd"], scores["mAP_mspd"]])
    found = {object_id for object_id, tally in tallies.items() if tally.instances}
    precisions = {name: _mean([objects[object_id][f"mAP_{name}"] for object_id in found]) for name in PRECISIONS}
    summary["bop24_mAP"] = _mean([precisions["mssd"], precisions["mspd"]])
    summary |= {f"bop24_mAP_{name}": precisions[name] for name in PRECISIONS}
    summary["bop24_average_time_per_image"] = time
    summary |= {"bop25_mAP": precisions["mssd"], "bop25_mAP_mm": precisions["mssd_mm"], "ad_recall": recalls["ad"]}
    return Scores(summary, objects)


def _precision(tally: _Tally, name: str) -> float | None:
    """Average precision, averaged over the thresholds."""
    if not tally.instances:
        return None
    values = []
    for k in range(10):
        kept = [(score, verdicts[name][k]) for score, verdicts in tally.estimates if verdicts[name][k] >= 0]
        correct: Bool[np.ndarray, "estimates"] = np.array([verdict == 1 for _, verdict in kept], bool)
        values.append(average_precision([score for score, _ in kept], correct, tally.instances))
    return float(np.mean(values))


def _by_score(scores: Sequence[float]) -> list[int]:
    """Places in order of falling score; of equal ones the first comes first, NaN last."""
    return np.argsort([-score if score == score else np.inf for score in scores], kind="stable").tolist()


def _visibility(instance: Instance) -> float:
    return 1.0 if instance.visibility is None else instance.visibility


def _share(part: float, whole: int) -> float | None:
    return float(part) / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) > 0 else None


def _average_time(by_image: dict[tuple[int, int], list[Estimate]]) -> float:
    """Seconds per image; -1 if one is not known."""
    times = [estimates[0].time for estimates in by_image.values()]
    unknown = any(not estimate.time >= 0 for estimates in by_image.values() for estimate in estimates)
    return -1.0 if unknown else float(np.mean(times))


def _tell_unknown(dataset: Dataset, by_image: dict[tuple[int, int], list[Estimate]]) -> None:
    """Says which estimates are of nothing that the data set has."""
    images = [ids for ids in by_image if ids not in dataset]
    objects = {estimate.object_id for estimates in by_image.values() for estimate in estimates}
    if images:
        logger.warning(
            "Estimates of %d images that %s lacks do not count: %s.", len(images), dataset.folder, images[:5]
        )
    if unknown := sorted(objects - set(dataset.models_eval)):
        logger.warning("Estimates of objects that %s lacks do not count: %s.", dataset.models_eval.folder, unknown)
