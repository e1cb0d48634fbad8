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

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .._gradients.render import render
from .._images.crop import Window, window_around
from .._images.observation import Observation
from .._losses.loss import Loss
from .._refine.hypotheses import random_starts
from .._refine.refinement import Refinement, Stage, Status
from .._scene.scene import Scene
from ..mesh_renderer import MeshRenderer
from . import _pictures
from ._arguments.choices import LEAST_SQUARES
from ._errors import InputError
from ._fit import by_stage, count_steps, fit
from ._inputs import Inputs, check_plausible, read_inputs, rendered_depth
from ._named_losses import parse_loss
from ._output import check_output, staged
from ._photo_stages import default_photo_loss, photo_stages
from ._scores import Scores, depth_residual, pose_distance, score
from ._table import print_table

FILES = ("pose.json", "history.json", *_pictures.NAMES)
MARGIN = 0.25


def run(options: argparse.Namespace) -> int:
    """Reads, checks, refines, scores and writes."""
    steps = _check_options(options)
    loss = None if options.loss is None else parse_loss(options.loss)
    check_output(options.output)
    _pictures.check_matplotlib()
    inputs = read_inputs(options)
    start = rendered_depth(inputs, inputs.T_camera_object)
    check_plausible(inputs, start)
    for note in inputs.notes:
        print(f"sldiff-jax: note: {note}", file=sys.stderr)
    region = (start > 0) if inputs.mask is None else (start > 0) | inputs.mask
    window = window_around(region, MARGIN)

    observation = _seen(inputs, window, options.resolution)
    stages = photo_stages(observation, steps, loss)
    height, width = observation.size
    scene = Scene(inputs.T_camera_object[None], window.camera(inputs.camera).resized(width, height))
    renderer = MeshRenderer([inputs.mesh], buffers="core")
    began = time.perf_counter()
    try:
        refinement = fit(
            scene, observation, renderer, list(stages.values()), optimizer=options.optimizer,
            learning_rate=options.learning_rate, starts=_starts(scene, inputs, options),
        )  # fmt: skip
    except ValueError as error:
        raise InputError(str(error)) from None
    seconds = time.perf_counter() - began

    result = rendered_depth(inputs, np.asarray(refinement.scene.T_world_object[0]))
    scores = {name: score(d, inputs.mask, inputs.depth) for name, d in (("start", start), ("result", result))}
    residual = depth_residual(result, inputs.mask, inputs.depth)
    loss = default_photo_loss(observation) if loss is None else loss
    losses = {"start": float(_loss_there(loss, scene, renderer, observation)), "result": refinement.loss}
    report = _report(inputs, options, window, refinement, losses, scores, seconds)
    with staged(options.output, FILES) as folder:
        _pictures.write_pictures(
            folder, window.cut(inputs.image), window.camera(inputs.camera), inputs.mesh, inputs.T_camera_object,
            refinement, tuple(stages), None if residual is None else window.cut(residual),
        )  # fmt: skip
        _write_json(folder / "pose.json", report)
        _write_json(folder / "history.json", _history(refinement, stages))
    _print_report(report, options.output)
    return 0


@eqx.filter_jit
def _loss_there(loss: Loss, scene: Scene, renderer: MeshRenderer, observation: Observation) -> Float[Array, ""]:
    return loss(render(scene, renderer), observation)


def _check_options(options: argparse.Namespace) -> int:
    """The number of steps."""
    steps = count_steps(options.optimizer, options.steps)
    if options.learning_rate is not None and options.optimizer in LEAST_SQUARES:
        raise InputError(f"--learning-rate is not for --optimizer {options.optimizer}, which needs none. Leave it out.")
    if options.depth_camera is not None and options.depth is None:
        raise InputError("--depth-camera is the camera of --depth, which is missing.")
    if options.resolution < 16:
        raise InputError(f"--resolution must be at least 16 pixels, got {options.resolution}.")
    if options.hypotheses < 1:
        raise InputError(f"--hypotheses must be at least 1, got {options.hypotheses}.")
    for name in ("mesh_scale", "depth_scale", "pose_scale", "learning_rate", "spread_rotation", "spread_translation"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value:g}.")
    return steps


def _seen(inputs: Inputs, window: Window, longer_side: int) -> Observation:
    """What is to be explained, in the window."""
    width, height = window.reduced(longer_side)
    try:
        return Observation(inputs.image, inputs.depth, inputs.mask, inputs.seen).cropped(*window).resized(width, height)
    except ValueError:
        raise InputError(
            f"The mask vanishes at {width}x{height} pixels: it is much smaller than the rendered start. Raise "
            "--resolution, or check the start."
        ) from None


def _starts(scene: Scene, inputs: Inputs, options: argparse.Namespace) -> Float[Array, "starts 1 4 4"]:
    spread = options.spread_translation or 0.1 * inputs.mesh.diameter
    return random_starts(
        jax.random.key(options.seed), scene, options.hypotheses,
        rotation=math.radians(options.spread_rotation), translation=spread,
    )  # fmt: skip


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
        "T_camera_object": T_result.tolist(),
        "units": {"pose": "m"},
        "pose_convention": "camera_from_object, OpenCV camera axes (X right, Y down, Z forward)",
        "scores": {
            name: {"loss": losses[name], "iou": s.iou, "median_abs_depth_residual_m": s.depth_residual}
            for name, s in scores.items()
        },
        "moved": {"rotation_deg": angle, "translation_mm": moved},
        "seconds": seconds,
        "status": _word(refinement.status),
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


def _print_report(report: dict[str, Any], output: Path) -> None:
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
    print(f"pose and pictures are in {output}")


def _millimetres(metres: float | None) -> str:
    return "-" if metres is None else f"{1e3 * metres:.2f} mm"


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")
