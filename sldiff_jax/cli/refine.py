"""``sldiff-jax refine``: fit the pose of one object in a photo."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from .._losses import default_loss
from .._observation import Observation
from .._refine import Refinement, random_starts
from .._render import render
from .._scene import Scene
from ..mesh_renderer import MeshRenderer
from . import _pictures
from ._errors import InputError
from ._fit import OPTIMIZERS, Stage, check_optimizer, refine_in_stages, split_steps
from ._inputs import Inputs, check_plausible, read_inputs, rendered_depth
from ._output import check_output, staged
from ._scores import Scores, depth_residual, pose_distance, score
from ._table import print_table
from ._window import Window, reduce_color, reduce_depth, reduce_mask, window_around

SUMMARY = "fit the pose of an object in a photo, from a mesh, a camera and a coarse pose"
DESCRIPTION = """\
Fits the pose of one object in a photo by rendering its mesh and comparing colour, and depth and silhouette where
given. Writes pose.json, history.json and pictures.

--camera   JSON: {"camera": {"fx": 600, "fy": 600, "cx": 320, "cy": 240, "width": 640, "height": 480}}, or the inner
           object alone, or a 3x3 intrinsic matrix. cx and cy count from the centre of the first pixel, as OpenCV
           does; "pixel_center": 0.5 in the file, or --pixel-center 0.5, says that they count from the image's edge.
--pose     JSON: {"initial_pose": {"rotation_row_major": [9 numbers], "translation": [3 numbers]}}, or the inner
           object alone, or a 4x4 matrix T_camera_object as nested lists, or a pose.json written by this command.
           OpenCV camera axes: X right, Y down, Z forward.
units      are metres, unless "units": {"mesh": "mm", "depth": "mm", "pose": "mm"} in these files or the flags
           --mesh-scale, --depth-scale, --pose-scale (metres per unit) say otherwise. The flags win.
"""

FILES = ("pose.json", "history.json", *_pictures.NAMES)
MARGIN = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    files = parser.add_argument_group("input")
    files.add_argument("--mesh", type=Path, required=True, help="glTF, GLB, OBJ, PLY or STL file")
    files.add_argument("--mesh-scale", type=float, metavar="M", help="metres per unit of the mesh file")
    files.add_argument("--image", type=Path, required=True, help="photo")
    files.add_argument("--mask", type=Path, help="image, not zero where the object is seen")
    files.add_argument("--depth", type=Path, help="depth image or .npy array, 0 where nothing was measured")
    files.add_argument("--depth-scale", type=float, metavar="M", help="metres per unit of the depth image")
    files.add_argument("--camera", type=Path, required=True, help="JSON file")
    files.add_argument("--pixel-center", type=float, choices=(0.0, 0.5), help="see above; default: 0")
    files.add_argument("--pose", type=Path, required=True, help="JSON file with the start")
    files.add_argument("--pose-scale", type=float, metavar="M", help="metres per unit of the start's translation")
    parser.add_argument("--output", type=Path, default=Path("refine_out"), help="folder; default: %(default)s")
    fit = parser.add_argument_group("refinement")
    fit.add_argument("--steps", type=int, default=150, help="of the optimiser, both stages together; default: 150")
    fit.add_argument("--optimizer", default="adam", help=f"{', '.join(OPTIMIZERS)}; default: adam")
    fit.add_argument("--learning-rate", type=float, metavar="RATE", help="default: fits the optimiser")
    fit.add_argument(
        "--resolution", type=int, default=192, metavar="PIXELS",
        help="longer side of the fitted part of the image; a first stage has half of it; default: 192",
    )  # fmt: skip
    fit.add_argument("--hypotheses", type=int, default=1, metavar="K", help="starts around the pose; default: 1")
    fit.add_argument("--spread-rotation", type=float, default=20.0, metavar="DEG", help="of the starts; default: 20")
    fit.add_argument(
        "--spread-translation", type=float, metavar="M", help="of the starts, metres; default: a tenth of the object"
    )
    fit.add_argument("--seed", type=int, default=0, help="of the starts; default: 0")


def run(options: argparse.Namespace) -> int:
    """Reads, checks, refines, scores and writes."""
    _check_options(options)
    check_output(options.output)
    _pictures.check_matplotlib()
    inputs = read_inputs(options)
    start = rendered_depth(inputs, inputs.T_camera_object)
    check_plausible(inputs, start)
    region = (start > 0) if inputs.mask is None else (start > 0) | inputs.mask
    window = window_around(region, MARGIN)

    began = time.perf_counter()
    stages = _stages(inputs, window, options)
    refinements = _refine(inputs, stages, options)
    seconds = time.perf_counter() - began

    result = rendered_depth(inputs, np.asarray(refinements[-1].scene.T_world_object[0]))
    scores = {name: score(d, inputs.mask, inputs.depth) for name, d in (("start", start), ("result", result))}
    residual = depth_residual(result, inputs.mask, inputs.depth)
    losses = {"start": _loss(stages[-1], inputs.T_camera_object), "result": refinements[-1].loss}
    report = _report(inputs, options, window, refinements, losses, scores, seconds)
    with staged(options.output, FILES) as folder:
        _pictures.write_pictures(
            folder, window.cut(inputs.image), window.camera(inputs.camera), inputs.mesh, inputs.T_camera_object,
            refinements, None if residual is None else window.cut(residual),
        )  # fmt: skip
        _write_json(folder / "pose.json", report)
        _write_json(folder / "history.json", _history(refinements))
    _print_report(report, options.output)
    return 0


def _check_options(options: argparse.Namespace) -> None:
    check_optimizer(options.optimizer, options.steps)
    if options.resolution < 16:
        raise InputError(f"--resolution must be at least 16 pixels, got {options.resolution}.")
    if options.hypotheses < 1:
        raise InputError(f"--hypotheses must be at least 1, got {options.hypotheses}.")
    for name in ("mesh_scale", "depth_scale", "pose_scale", "learning_rate", "spread_rotation", "spread_translation"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value:g}.")


def _stages(inputs: Inputs, window: Window, options: argparse.Namespace) -> list[Stage]:
    """Two stages, the first with half the resolution."""
    steps = split_steps(options.steps, share=0.45)
    renderer = MeshRenderer([inputs.mesh], buffers="core")
    stages = []
    for longer_side, stage_steps in zip((options.resolution // 2, options.resolution), steps):
        width, height = window.reduced(longer_side)
        observation = Observation(
            rgb=reduce_color(window.cut(inputs.image), width, height),
            depth=None if inputs.depth is None else reduce_depth(window.cut(inputs.depth), width, height),
            mask=None if inputs.mask is None else _reduced_mask(window.cut(inputs.mask), width, height),
        )
        stages.append(Stage(window.camera(inputs.camera).resized(width, height), observation, renderer, stage_steps))
    return stages


def _refine(inputs: Inputs, stages: list[Stage], options: argparse.Namespace) -> list[Refinement]:
    """All hypotheses take part in the first stage."""
    scene = Scene(inputs.T_camera_object[None], stages[0].camera)
    spread = options.spread_translation or 0.1 * inputs.mesh.diameter
    starts = random_starts(
        jax.random.key(options.seed), scene, options.hypotheses,
        rotation=math.radians(options.spread_rotation), translation=spread,
    )  # fmt: skip
    try:
        return refine_in_stages(
            starts, stages, loss=default_loss, optimizer=options.optimizer, learning_rate=options.learning_rate
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def _loss(stage: Stage, T_camera_object: Float[np.ndarray, "4 4"]) -> float:
    rendering = render(Scene(T_camera_object[None], stage.camera), stage.renderer)
    return float(default_loss(rendering, stage.observation))


def _reduced_mask(mask: Bool[np.ndarray, "_h _w"], width: int, height: int) -> Bool[np.ndarray, "height width"]:
    reduced = reduce_mask(mask, width, height)
    if not reduced.any():
        raise InputError(
            f"The mask vanishes at {width}x{height} pixels: it is much smaller than the rendered start. Raise "
            "--resolution, or check the start."
        )
    return reduced


def _report(
    inputs: Inputs,
    options: argparse.Namespace,
    window: Window,
    refinements: list[Refinement],
    losses: dict[str, float],
    scores: dict[str, Scores],
    seconds: float,
) -> dict[str, Any]:
    """The contents of pose.json."""
    T_result = np.asarray(refinements[-1].scene.T_world_object[0], np.float64)
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
        "steps": [len(r.loss_history) for r in refinements],
        "steps_per_second": [1 / r.seconds_per_step for r in refinements],
        "settings": settings
        | {
            "metres_per_unit": inputs.scales,
            "intrinsics_from_edge": [float(x) for x in inputs.camera.intrinsics],
            "window": window._asdict(),
        },
    }


def _history(refinements: list[Refinement]) -> dict[str, Any]:
    return {
        "stages": [
            {
                "width": r.scene.camera.width,
                "height": r.scene.camera.height,
                "best_start": r.best_start,
                "best_step": r.best_step,
                "loss": r.loss_history.tolist(),
                "T_camera_object": r.T_world_object_history[:, r.best_start, 0].tolist(),
            }
            for r in refinements
        ]
    }


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
    print(f"pose and pictures are in {output}")


def _millimetres(metres: float | None) -> str:
    return "-" if metres is None else f"{1e3 * metres:.2f} mm"


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")
