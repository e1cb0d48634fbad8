"""Which loss explains a real photo, and from how far away? Two tables and a sheet of pictures.

The photo shows a can that another can hides in part, with depth, a mask, a scanned mesh and a rough pose. Every loss
refines that pose with the stages, the optimiser and the steps of ``sldiff-jax refine --loss ...``. Then the default
starts from random poses around its own result.

    python benchmarks/losses_on_photo.py FOLDER [--output photo_out] [--resolution 128] [--starts 20]

FOLDER holds rgb.png, depth.png (millimetres), seg.png, scene.json and AlphabetSoup.ply (millimetres).

The true pose is not known. What can be measured, at the resolution of the photo: overlap of rendered and observed
silhouette (IoU) where nothing stands in front, and the median depth residual inside of both. So that they can be added,
the IoU is converted to the distance by which the outline is off on average, in millimetres on the object: (1 - IoU)
times area over perimeter of the mask. Losses are ranked by the sum. Depth comes in whole millimetres, so whatever is
within a tenth of the best counts as equal to it. Among equals the correlation of the colours decides, which alone sees
the can turn about its axis.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
import time
from typing import NamedTuple

import jax
import numpy as np

import sldiff_jax as sl
from sldiff_jax import visualize
from sldiff_jax._refine.recipe import Recipe, choose_recipe
from sldiff_jax.cli._camera_files import parse_intrinsics
from sldiff_jax.cli._documents import read_document
from sldiff_jax.cli._fit import count_steps, fit
from sldiff_jax.cli._named_losses import parse_loss
from sldiff_jax.cli._photo_fit import MARGIN
from sldiff_jax.cli._pose_files import parse_pose
from sldiff_jax.cli._scores import pose_distance, score

COLORS = ("l1", "l2", "huber", "photometric", "zncc", "edge")
GEOMETRY = ("depth", "silhouette", "dice", "neg_iou")
LOSSES = (
    "default",
    *COLORS,
    *(f"pyramid:{name}" for name in COLORS),
    *(f"{name}+silhouette" for name in COLORS),
    *GEOMETRY,
    "zncc+depth+silhouette",
)
STEPS = count_steps("lm", None)
SPREAD_DEGREES, SPREAD_METRES = 20.0, 0.02
NEAR_DEGREES, NEAR_MILLIMETRES = 2.0, 3.0
EQUAL = 1e-4
"""Metres by which errors must differ to count as different."""

SHORT = {"silhouette": "silh", "photometric": "photom", "pyramid:": "pyr "}
"""Names that fit over a small picture."""


class Photo(NamedTuple):
    """The part of the photo around the object, as it is and reduced, and what draws the object."""

    scene: sl.Scene
    observation: sl.Observation
    small_scene: sl.Scene
    small_observation: sl.Observation
    renderer: sl.MeshRenderer


class Outcome(NamedTuple):
    """How well one loss did."""

    loss: str
    scene: sl.Scene
    iou: float
    outline_offset: float
    depth_residual: float
    correlation: float
    status: sl.Status

    @property
    def error(self) -> float:
        """Metres."""
        return self.outline_offset + self.depth_residual


def load(folder: pathlib.Path, longer_side: int) -> Photo:
    """Reads the photo, and crops and reduces it to so many pixels."""
    path = folder / "scene.json"
    document = read_document(path, "scene")
    observation = sl.Observation.load(folder / "rgb.png", folder / "depth.png", folder / "seg.png", depth_scale=1e-3)
    height, width = observation.size
    fx, fy, cx, cy, *_ = parse_intrinsics(document, path, (width, height), pixel_center=None)
    camera = sl.Camera.from_intrinsics(fx, fy, cx, cy, width=width, height=height)
    scene = sl.Scene(parse_pose(document, path, scale=1e-3)[None].astype(np.float32), camera)
    renderer = sl.MeshRenderer([sl.Mesh.load(folder / "AlphabetSoup.ply", scale=1e-3)], buffers="core")
    region = (np.asarray(renderer(scene).instance_index) > 0) | (np.asarray(observation.mask) > 0)
    scene, observation = sl.crop_to_object(scene, observation, region, margin=MARGIN)
    height, width = (round(longer_side / max(observation.size) * side) for side in observation.size)
    small_scene = dataclasses.replace(scene, camera=scene.camera.resized(width, height))
    return Photo(scene, observation, small_scene, observation.resized(width, height), renderer)


def refine(photo: Photo, loss: str) -> sl.Refinement:
    """The refinement from the given pose."""
    recipe = recipe_of(photo, None if loss == "default" else parse_loss(loss))
    return fit(photo.small_scene, photo.small_observation, photo.renderer, recipe)


def recipe_of(photo: Photo, loss: sl.Loss | None = None) -> Recipe:
    """What the command would do."""
    look = sl.render(photo.small_scene, photo.renderer)
    return choose_recipe(look, photo.small_observation, STEPS, loss=loss)


def with_pose(photo: Photo, T_camera_object) -> sl.Scene:
    """A pose seen at the resolution of the photo."""
    return sl.Scene(T_camera_object, photo.scene.camera)


def judge(photo: Photo, loss: str, refinement: sl.Refinement | None = None) -> Outcome:
    """Scores a refinement, or the given pose."""
    T = (photo.scene if refinement is None else refinement.scene).T_world_object
    scene = with_pose(photo, T)
    rendering, seen = sl.render(scene, photo.renderer), photo.observation
    mask, measured = np.asarray(seen.mask) > 0, np.asarray(seen.depth)
    depth = np.where(np.asarray(rendering.mask) > 0, np.asarray(rendering.depth), 0)
    scores = score(depth, mask, measured)
    iou = scores.iou or 0.0
    return Outcome(
        loss,
        scene,
        iou,
        (1 - iou) * radius(mask, measured, scene.camera),
        math.inf if scores.depth_residual is None else scores.depth_residual,
        1 - float(sl.zncc_loss(rendering, seen)),
        sl.Status.STEP_LIMIT if refinement is None else refinement.status,
    )


def radius(mask: np.ndarray, depth: np.ndarray, camera: sl.Camera) -> float:
    """Area over perimeter of what a mask shows, metres at its depth."""
    crossings = sum(np.count_nonzero(np.diff(mask, axis=axis)) for axis in (0, 1))
    perimeter = math.pi / 4 * crossings  # Crofton's formula for the two directions of a grid
    fx, fy = (float(f) for f in camera.intrinsics[:2])
    metres_per_pixel = np.median(depth[mask & (depth > 0)]) / math.sqrt(fx * fy)
    return float(mask.sum() / perimeter * metres_per_pixel)


def ranked(outcomes: list[Outcome]) -> list[Outcome]:
    """From the least error to the greatest; those equal to the least by the correlation of colours."""
    least = min(outcome.error for outcome in outcomes)
    return sorted(outcomes, key=lambda o: (max(o.error, least + EQUAL), -o.correlation))


def table_of_losses(start: Outcome, outcomes: list[Outcome]) -> str:
    """The ranking as a Markdown table."""
    best = next(outcome for outcome in outcomes if outcome.loss == "default")
    lines = [
        "| place | loss | IoU | outline off by | depth residual | correlation of colours | angle to default | ended |",
        "|---|---|---|---|---|---|---|---|",
    ]
    least = min(outcome.error for outcome in outcomes)
    for place, o in (("", start), *enumerate(outcomes, 1)):
        equal = " =" if o is not start and o.error <= least + EQUAL else ""
        degrees, _ = pose_distance(o.scene.T_world_object[0], best.scene.T_world_object[0])
        outline, residual = (f"{1e3 * metres:.2f} mm" for metres in (o.outline_offset, o.depth_residual))
        ended = "" if o is start else o.status.name.lower().replace("_", " ")
        cells = (
            f"{place}{equal}",
            o.loss,
            f"{o.iou:.3f}",
            outline,
            residual,
            f"{o.correlation:.3f}",
            f"{degrees:.2f}°",
        )
        lines.append(f"| {' | '.join((*cells, ended))} |")
    return "\n".join(lines)


def picture(photo: Photo, scene: sl.Scene) -> np.ndarray:
    """The outline over the photo; inside of it the rendering in every other square."""
    result, (height, width) = photo.renderer(scene), photo.observation.size
    mask = np.asarray(result.instance_index) > 0
    squares = visualize.checkerboard(height, width, max(height, width) // 10)
    return visualize.overlay(
        np.asarray(photo.observation.rgb), mask, np.asarray(result.color), opacity=squares, line_width=4
    )


def sheet(photo: Photo, start: Outcome, outcomes: list[Outcome]):
    """All results beside each other, the start first, then in the order of the ranking. A matplotlib figure."""
    pictures = [picture(photo, outcome.scene) for outcome in (start, *outcomes)]
    titles = ["start", *(f"{place} {short(outcome.loss)}" for place, outcome in enumerate(outcomes, 1))]
    default = [outcome.loss for outcome in outcomes].index("default")
    return visualize.panels(pictures, titles, columns=5, marked=1 + default)


def short(name: str) -> str:
    """A loss's name with its parts abbreviated."""
    for long, brief in SHORT.items():
        name = name.replace(long, brief)
    return name


def from_random_starts(photo: Photo, T_camera_object, count: int, seed: int) -> tuple[str, int]:
    """Refines with the default from random starts around a pose.

    Returns:
        A Markdown table, and how many came back.
    """
    around = sl.Scene(T_camera_object, photo.small_scene.camera)
    starts = sl.random_starts(
        jax.random.key(seed), around, count + 1, rotation=math.radians(SPREAD_DEGREES), translation=SPREAD_METRES
    )[1:]
    # Each start for itself: none is given up for another.
    alone = [dataclasses.replace(stage, keep=None) for stage in recipe_of(photo).stages.values()]
    refinement = fit(around, photo.small_observation, photo.renderer, alone, starts=starts)
    ends = refinement.T_world_object
    lines = ["| start | distance at the start | at the end | IoU | depth residual |", "|---|---|---|---|---|"]
    back = 0
    for i in range(count):
        before, after = (pose_distance(T[i, 0], T_camera_object[0]) for T in (starts, ends))
        back += after[0] <= NEAR_DEGREES and after[1] <= NEAR_MILLIMETRES
        outcome = judge(photo, "", dataclasses.replace(refinement, scene=with_pose(photo, ends[i])))
        lines.append(
            f"| {i + 1} | {before[0]:.1f}°, {before[1]:.1f} mm | {after[0]:.2f}°, {after[1]:.2f} mm "
            f"| {outcome.iou:.3f} | {1e3 * outcome.depth_residual:.2f} mm |"
        )
    return "\n".join(lines), back


def main() -> None:
    """Prints both tables and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="of the photo")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("photo_out"), help="folder")
    parser.add_argument("--resolution", type=int, default=128, help="longer side of the fitted part, pixels")
    parser.add_argument("--losses", nargs="*", default=LOSSES, help="default: all of them")
    parser.add_argument("--starts", type=int, default=20, help="number of random starts; 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="of these")
    arguments = parser.parse_args()
    began = time.perf_counter()
    photo = load(arguments.folder, arguments.resolution)
    start = judge(photo, "(start)")
    names = list(dict.fromkeys(["default", *arguments.losses]))
    outcomes = ranked([judge(photo, name, refine(photo, name)) for name in names])
    print(table_of_losses(start, outcomes))
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure = sheet(photo, start, outcomes)
    figure.savefig(arguments.output / "losses.png", dpi=figure.dpi)
    if arguments.starts:
        default = next(outcome for outcome in outcomes if outcome.loss == "default")
        table, back = from_random_starts(photo, default.scene.T_world_object, arguments.starts, arguments.seed)
        print(f"\n{table}\n")
        print(
            f"{back} of {arguments.starts} starts, {SPREAD_DEGREES:g} degrees and {1e3 * SPREAD_METRES:g} mm off, came "
            f"back to the default's pose within {NEAR_DEGREES:g} degrees and {NEAR_MILLIMETRES:g} mm."
        )
    height, width = photo.small_observation.size
    print(f"\nFitted at {width}x{height} pixels with Levenberg-Marquardt, seed {arguments.seed}.", end=" ")
    print(f"{time.perf_counter() - began:.0f} s in all, compilation included; the machine was shared with other work.")


if __name__ == "__main__":
    main()
