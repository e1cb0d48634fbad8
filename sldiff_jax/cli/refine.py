"""``sldiff-jax refine``: fit the pose of one object in a photo."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._images.crop import Window
from .._refine.refinement import Refinement, Stage, Status
from . import _pictures
from ._arguments.choices import LEAST_SQUARES
from ._errors import InputError
from ._fit import by_stage, count_steps
from ._inputs import Inputs, check_plausible, read_inputs, rendered_depth
from ._named_losses import parse_loss
from ._output import check_output, staged
from ._photo_fit import Spread, fit_photo
from ._pose_files import pose_document
from ._scores import Scores, depth_residual, pose_distance, score
from ._table import print_table
from ._verdicts import NOT_TRUSTED, deviations, explained, trust

FILES = ("pose.json", "history.json", *_pictures.NAMES)


def run(options: argparse.Namespace) -> int:
    """Reads, checks, refines, scores and writes."""
    steps = check_options(options)
    loss = None if options.loss is None else parse_loss(options.loss)
    spread = Spread(options.hypotheses, options.spread_rotation, options.spread_translation, options.seed)
    check_output(options.output)
    _pictures.check_matplotlib()
    inputs = read_inputs(options)
    start = rendered_depth(inputs, inputs.T_camera_object)
    check_plausible(inputs, start)
    for note in inputs.notes:
        print(f"sldiff-jax: note: {note}", file=sys.stderr)
    began = time.perf_counter()
    fitted = fit_photo(
        inputs, start, resolution=options.resolution, steps=steps, optimizer=options.optimizer,
        learning_rate=options.learning_rate, loss=loss, spread=spread,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    refinement, window, stages = fitted.refinement, fitted.window, fitted.recipe.stages
    for note in fitted.recipe.notes if loss is None else ():
        print(f"sldiff-jax: note: {note}", file=sys.stderr)

    result = rendered_depth(inputs, np.asarray(refinement.scene.T_world_object[0]))
    scores = {name: score(d, inputs.mask, inputs.depth) for name, d in (("start", start), ("result", result))}
    residual = depth_residual(result, inputs.mask, inputs.depth)
    losses = {"start": fitted.start_loss, "result": refinement.loss}
    report = _report(inputs, options, window, refinement, losses, scores, seconds)
    report["alternatives"] = fitted.others.tolist()
    if inputs.found is not None:
        report["search"] = _search(inputs.found)
    with staged(options.output, FILES) as folder:
        if inputs.found is not None:
            _pictures.write_hypotheses(
                folder, window.cut(inputs.image), window.camera(inputs.camera), inputs.mesh, inputs.found
            )
        _pictures.write_pictures(
            folder, window.cut(inputs.image), window.camera(inputs.camera), inputs.mesh, inputs.T_camera_object,
            refinement, tuple(stages), None if residual is None else window.cut(residual),
        )  # fmt: skip
        _write_json(folder / "pose.json", report)
        _write_json(folder / "history.json", _history(refinement, stages))
    _print_report(report, trust(refinement, len(fitted.others)), options.output)
    if refinement.status.trusted:
        return 0
    print(f"sldiff-jax: {explained(refinement)}", file=sys.stderr)
    return NOT_TRUSTED


def check_options(options: argparse.Namespace) -> int:
    """The number of steps; an InputError if the options make no sense."""
    steps = count_steps(options.optimizer, options.steps)
    if options.learning_rate is not None and options.optimizer in LEAST_SQUARES:
        raise InputError(f"--learning-rate is not for --optimizer {options.optimizer}, which needs none. Leave it out.")
    if options.depth_camera is not None and options.depth is None:
        raise InputError("--depth-camera is the camera of --depth, which is missing.")
    if options.box is not None and not (options.pose is None and options.mask is None):
        raise InputError("--box says where to look for the pose without --pose and without --mask. Leave it out.")
    if options.resolution < 16:
        raise InputError(f"--resolution must be at least 16 pixels, got {options.resolution}.")
    if options.hypotheses < 1:
        raise InputError(f"--hypotheses must be at least 1, got {options.hypotheses}.")
    for name in ("mesh_scale", "depth_scale", "pose_scale", "learning_rate", "spread_rotation", "spread_translation"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value:g}.")
    return steps


def _report(
    inputs: Inputs,
    options: argparse.Namespace,
    window: Window,
    refinement: Refinement,
    losses: dict[str, float],
    scores: dict[str, Scores],
    seconds: float,
) -> dict[str, Any]:
    """The contents of pose.json."""
    T_result = np.asarray(refinement.scene.T_world_object[0], np.float64)
    angle, moved = pose_distance(inputs.T_camera_object, T_result)
    settings = {name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items() if name != "run"}
    return {
        **pose_document(T_result),
        "scores": {
            name: {"loss": losses[name], "iou": s.iou, "median_abs_depth_residual_m": s.depth_residual}
            for name, s in scores.items()
        },
        "moved": {"rotation_deg": angle, "translation_mm": moved},
        "seconds": seconds,
        "status": _word(refinement.status),
        "doubts": list(refinement.doubts),
        "score": refinement.score,
        "standard_deviations": _deviations(refinement),
        "best_start": refinement.best_start,
        "statuses": [_word(status) for status in refinement.statuses],
        "steps": np.bincount(refinement.stage_history).tolist(),
        "steps_per_second_of_last_stage": 1 / refinement.seconds_per_step,
        "settings": settings
        | {
            "metres_per_unit": inputs.scales,
            "intrinsics_from_edge": [float(x) for x in inputs.camera.intrinsics],
            "window": window._asdict(),
        },
    }


def _deviations(refinement: Refinement) -> dict[str, float] | None:
    if refinement.covariance is None:
        return None
    return dict(zip(("rotation_deg", "translation_mm"), deviations(refinement.covariance[0])))


def _search(found: Refinement) -> dict[str, Any]:
    """What the search for the start found."""
    order = np.argsort(found.losses, kind="stable")
    return {
        "status": _word(found.status),
        "score": found.score,
        "seconds": found.seconds,
        "poses": [
            {"loss": float(found.losses[k]), "T_camera_object": found.T_world_object[k, 0].tolist()} for k in order
        ],
    }


def _history(refinement: Refinement, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The contents of history.json: losses of all starts, null where one took no part, and the best start's poses."""
    camera, best = refinement.scene.camera, refinement.best_start
    document = []
    for name, part in by_stage(refinement, stages).items():
        losses = refinement.loss_history[part]
        document.append(
            {
                "name": name,
                "width": round(stages[name].scale * camera.width),
                "height": round(stages[name].scale * camera.height),
                "best_step": int(np.nanargmin(losses[:, best])),
                "loss": [[float(x) if math.isfinite(x) else None for x in row] for row in losses],
                "T_camera_object": refinement.T_world_object_history[part, best, 0].tolist(),
            }
        )
    return {"best_start": best, "stages": document}


def _word(status: Status) -> str:
    return status.name.lower()


def _print_report(report: dict[str, Any], trusted: str | None, output: Path) -> None:
    start, result = report["scores"]["start"], report["scores"]["result"]
    rows = [("loss", f"{start['loss']:.4f}", f"{result['loss']:.4f}")]
    if result["iou"] is not None:
        rows.append(("silhouette IoU, visible part", f"{start['iou']:.3f}", f"{result['iou']:.3f}"))
    if "depth" in report["settings"]["metres_per_unit"]:
        before, after = (s["median_abs_depth_residual_m"] for s in (start, result))
        rows.append(("median |depth residual|", _millimetres(before), _millimetres(after)))
    print_table(("", "start", "result"), rows)
    angle, distance = report["moved"].values()
    print(f"moved by {angle:.2f} degrees and {distance:.2f} mm in {report['seconds']:.1f} s, compilation included")
    print(f"{report['status'].replace('_', ' ')} after {sum(report['steps'])} steps")
    if trusted is not None:
        print(trusted)
    print(f"pose and pictures are in {output}")


def _millimetres(metres: float | None) -> str:
    return "-" if metres is None else f"{1e3 * metres:.2f} mm"


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")
