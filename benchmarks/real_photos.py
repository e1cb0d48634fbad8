"""Do fits of real photos help, or say that they cannot? Every case, every kind of evidence, seeded starts.

Each case is a folder with a photo, a mesh, and in `scene.json` camera and reference pose; depth and mask where there
are some. The reference, turned about the object's centre and shifted, is the start. What ``sldiff-jax refine`` makes of
it by default is compared with the reference, and with what it says of itself.

    python benchmarks/real_photos.py FOLDER [--cases ycbv_mug ...] [--evidence RGB-D+mask ...]
        [--levels 5+10 20+30 none] [--starts 3] [--output results.md] [--sheet sheet.png]

A fit is home if its ADD is below a tenth of the diameter: ADD-S for objects that look alike from several sides, and so
much more where the reference itself is known to be off (`KNOWN`).
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from measure import machine
from PIL import Image
from scipy.spatial import KDTree

from sldiff_jax import visualize
from sldiff_jax._images.crop import window_around
from sldiff_jax.cli._arguments.refine import add_arguments
from sldiff_jax.cli._inputs import Inputs, read_inputs, rendered_depth
from sldiff_jax.cli._photo_fit import fit_photo
from sldiff_jax.cli._scores import pose_distance, score

EVIDENCE = {
    "RGB-D+mask": ("depth", "mask"),
    "RGB+mask": ("mask",),
    "RGB-D": ("depth",),
    "RGB": (),
}
LEVELS = {"5+10": (5.0, 0.1), "20+30": (20.0, 0.3)}
"""Degrees, and diameters."""
CELL = 160
"""Side of a picture in the sheet, pixels."""
NOTHING = "none"
"""In place of a level: no start is given, and the pose looked for where the mask is."""

KNOWN = {
    "ycbv_foam_brick": (True, 0.0),
    "lmo_watering_can": (False, 0.024),
    "m3t_triangle": (True, 0.003),
    "visp_cube_00": (True, 0.010),
    "visp_dragon_00": (False, 0.010),
}
"""Whether several turns look alike, and by how many metres the reference is off; of the others neither."""


class Case(NamedTuple):
    """A folder, and what its object is like."""

    folder: pathlib.Path
    files: dict[str, str]
    T_reference: np.ndarray
    points: np.ndarray
    diameter: float
    symmetric: bool
    off: float


class Trial(NamedTuple):
    """One fit. Lengths in metres, angles in degrees."""

    case: str
    evidence: str
    level: str
    seed: int
    start: float
    end: float
    limit: float
    off: float
    degrees: float
    millimetres: float
    iou: float
    residual: float
    said: str
    doubts: str
    trusted: bool
    seconds: float
    picture: np.ndarray | None

    @property
    def home(self) -> bool:
        """Whether it came home."""
        return self.end < self.limit

    @property
    def worse(self) -> bool:
        """Farther off than the start, by more than the reference is worth."""
        return self.end > self.start + self.off


def load(folder: pathlib.Path) -> Case:
    """Reads a case; its images are read by the command's own reader, for every fit."""
    document = json.loads((folder / "scene.json").read_text())
    inputs = _inputs(folder, document["files"], folder / "scene.json", ())
    vertices = np.asarray(inputs.mesh.vertices, np.float64)[np.unique(inputs.mesh.faces)]
    points = vertices[:: -(-len(vertices) // 2000)]
    return Case(
        folder, document["files"], np.asarray(inputs.T_camera_object, np.float64), points, inputs.mesh.diameter,
        *KNOWN.get(folder.name, (False, 0.0)),
    )  # fmt: skip


def _inputs(folder: pathlib.Path, files: dict[str, str], pose: pathlib.Path | None, evidence: Sequence[str]) -> Inputs:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--mesh", str(folder / files["mesh"]), "--image", str(folder / files["image"])]
    words += ["--camera", str(folder / "scene.json"), *([] if pose is None else ["--pose", str(pose)])]
    for name in evidence:
        if name in files:
            words += [f"--{name}", str(folder / files[name])]
    stated = json.loads((folder / "scene.json").read_text())
    if "depth" in evidence and "depth" in files and "depth_scale_m_per_unit" not in stated:
        words += [] if "depth" in stated.get("units", {}) else ["--depth-scale", "1e-4"]
    return read_inputs(parser.parse_args(words))


def start_of(case: Case, level: str, seed: int) -> np.ndarray:
    """The reference, turned about the middle of the object and shifted, in random directions."""
    degrees, share = LEVELS[level]
    rng = np.random.default_rng([seed, *case.folder.name.encode(), *level.encode()])
    axis, direction = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    x, y, z = axis * math.sin(math.radians(degrees) / 2)
    w = math.cos(math.radians(degrees) / 2)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    middle = (case.points.min(axis=0) + case.points.max(axis=0)) / 2
    T = np.eye(4)
    T[:3, :3] = case.T_reference[:3, :3] @ turn
    centre = case.T_reference[:3, :3] @ middle + case.T_reference[:3, 3] + share * case.diameter * direction
    T[:3, 3] = centre - T[:3, :3] @ middle
    return T


def error(case: Case, T: np.ndarray) -> float:
    """ADD, or ADD-S where several turns look alike, metres."""
    moved, true = (case.points @ pose[:3, :3].T + pose[:3, 3] for pose in (T, case.T_reference))
    if case.symmetric:
        return float(np.mean(KDTree(moved).query(true)[0]))
    return float(np.mean(np.linalg.norm(moved - true, axis=1)))


def run(case: Case, evidence: str, level: str, seed: int, *, picture: bool) -> Trial:
    """One fit, from files to judgement."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = None
        if level != NOTHING:
            path = pathlib.Path(folder) / "start.json"
            T_start = start_of(case, level, seed)
            path.write_text(json.dumps({"T_camera_object": T_start.tolist(), "units": {"pose": "m"}}))
        inputs = _inputs(case.folder, case.files, path, EVIDENCE[evidence])
        found = fit_photo(inputs).refinement
    seconds = time.process_time() - began
    T = np.asarray(found.scene.T_world_object[0], np.float64)
    everything = _inputs(case.folder, case.files, case.folder / "scene.json", ("depth", "mask"))
    depth = rendered_depth(everything, T)
    scores = score(depth, everything.mask, everything.depth)
    angle, distance = pose_distance(T, case.T_reference)
    start = math.inf if level == NOTHING else error(case, start_of(case, level, seed))
    return Trial(
        case.folder.name, evidence, level, seed, start, error(case, T), 0.1 * case.diameter + case.off,
        case.off, angle, distance, math.nan if scores.iou is None else scores.iou,
        math.nan if scores.depth_residual is None else scores.depth_residual,
        found.status.name.lower().replace("_", " "), f"{found.agreement}. {'; '.join(found.doubts)}",
        found.status.name == "CONVERGED", seconds,
        _picture(everything, depth, case.T_reference) if picture else None,
    )  # fmt: skip


def _picture(inputs: Inputs, depth: np.ndarray, T_reference: np.ndarray) -> np.ndarray:
    """(CELL, CELL, 3): the outlines of the reference, white, and of the result, on the photo around both."""
    true = rendered_depth(inputs, T_reference) > 0
    window = window_around(true | (depth > 0), 0.15)
    photo, *masks = (Image.fromarray(window.cut(x)) for x in (inputs.image, true, depth > 0))
    scale = CELL / max(photo.size)
    size = tuple(round(scale * side) for side in photo.size)
    shown = np.asarray(photo.resize(size))
    for mask, color in zip(masks, ("#ffffff", visualize.BLUE)):
        shown = visualize.overlay(shown, np.asarray(mask.resize(size)), color=color, line_width=2)
    cell = np.full((CELL, CELL, 3), 255, np.uint8)
    top, left = ((CELL - side) // 2 for side in shown.shape[:2])
    cell[top : top + size[1], left : left + size[0]] = shown
    return cell


def line(trial: Trial) -> str:
    """One line of the table of all fits."""
    verdict = "home" if trial.home else "WORSE" if trial.worse else "off"
    return (
        f"| {trial.case} | {trial.evidence} | {trial.level} | {trial.seed} | {1e3 * trial.start:.1f} | "
        f"{1e3 * trial.end:.1f} | {verdict} | {trial.degrees:.1f} | {trial.millimetres:.1f} | {trial.iou:.3f} | "
        f"{1e3 * trial.residual:.1f} | {trial.said} | {trial.seconds:.0f} | {trial.doubts} |"
    )


HEAD = (
    "| case | evidence | start | seed | ADD(-S) of the start mm | of the result mm | | rotation error ° | translation "
    "error mm | IoU | depth residual mm | said | CPU s | doubts |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def summary(trials: Sequence[Trial]) -> list[str]:
    """By evidence and start: how many are home, how many farther off than the start, and what they said."""
    lines = [
        "| evidence | start | home | farther off than the start | of these converged | converged in all | of these not "
        "home | home, but not converged |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for evidence in EVIDENCE:
        for level in (*LEVELS, NOTHING):
            some = [t for t in trials if (t.evidence, t.level) == (evidence, level)]
            if some:
                lines.append(f"| {evidence} | {level} | {_counts(some)} |")
    return [*lines, f"| all | | {_counts(trials)} |"]


def by_case(trials: Sequence[Trial]) -> list[str]:
    """Home from both kinds of starts, by case and evidence."""
    kinds = [e for e in EVIDENCE if any(t.evidence == e for t in trials)]
    lines = [f"| case | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for case in dict.fromkeys(t.case for t in trials):
        cells = []
        for evidence in kinds:
            parts = []
            for level in (*LEVELS, NOTHING):
                some = [t for t in trials if (t.case, t.evidence, t.level) == (case, evidence, level)]
                if some:
                    parts.append(f"{sum(t.home for t in some)}/{len(some)}")
            cells.append(", ".join(parts))
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return lines


def _counts(trials: Sequence[Trial]) -> str:
    worse, trusted = [t for t in trials if t.worse], [t for t in trials if t.trusted]
    return (
        f"{sum(t.home for t in trials)} of {len(trials)} | {len(worse)} | {sum(t.trusted for t in worse)} | "
        f"{len(trusted)} | {sum(not t.home for t in trusted)} | {sum(t.home and not t.trusted for t in trials)}"
    )


def report(trials: Sequence[Trial]) -> str:
    """All tables, as Markdown."""
    parts = [
        "# Fits of real photos", "", f"Measured on: {machine()}.", "", *summary(trials), "",
        "Home from 5 degrees + 10 %, from 20 degrees + 30 %, and with a mask from no start at all:", "",
        *by_case(trials), "", "All fits:", "", *HEAD,
        *map(line, trials), "",
    ]  # fmt: skip
    return "\n".join(parts)


def sheet(trials: Sequence[Trial], path: pathlib.Path) -> None:
    """All results that have a picture: a row for each case, a column for each evidence and start."""
    shown = {(t.case, t.evidence, t.level): t for t in trials if t.picture is not None}
    cases = list(dict.fromkeys(case for case, _, _ in shown))
    columns = [(e, level) for e in EVIDENCE for level in (*LEVELS, NOTHING) if any(k[1:] == (e, level) for k in shown)]
    pictures, titles = [], []
    for case in cases:
        for evidence, level in columns:
            trial = shown.get((case, evidence, level))
            pictures.append(np.full((CELL, CELL, 3), 255, np.uint8) if trial is None else trial.picture)
            said = "" if trial is None else f"{'home' if trial.home else 'off'}, {trial.said}"
            titles.append("" if trial is None else f"{evidence} {level}: {said}")
    figure = visualize.panels(pictures, titles, columns=len(columns))
    figure.savefig(path, dpi=figure.dpi)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits, prints each result as it comes, and writes the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="with one folder per case")
    parser.add_argument("--cases", nargs="+", help="default: all")
    parser.add_argument("--evidence", nargs="+", choices=tuple(EVIDENCE), default=tuple(EVIDENCE))
    parser.add_argument("--levels", nargs="+", choices=(*LEVELS, NOTHING), default=(*LEVELS, NOTHING))
    parser.add_argument("--starts", type=int, default=3, help="of each level")
    parser.add_argument("--output", type=pathlib.Path, help="also write the tables to this file")
    parser.add_argument("--sheet", type=pathlib.Path, help="pictures of the first start of each level")
    options = parser.parse_args(arguments)
    found = sorted(path.parent for path in options.folder.glob("*/scene.json"))
    trials: list[Trial] = []
    print("\n".join(HEAD))
    for folder in found:
        if options.cases and folder.name not in options.cases:
            continue
        case = load(folder)
        for evidence in options.evidence:
            if not set(EVIDENCE[evidence]) <= set(case.files):
                continue
            for level in options.levels:
                if level == NOTHING and "mask" not in EVIDENCE[evidence]:
                    continue
                for seed in range(1 if level == NOTHING else options.starts):
                    trials.append(run(case, evidence, level, seed, picture=bool(options.sheet) and seed == 0))
                    print(line(trials[-1]), flush=True)
    text = report(trials)
    print("\n" + text.partition("All fits:")[0])
    if options.output:
        options.output.write_text(text)
    if options.sheet:
        sheet(trials, options.sheet)


if __name__ == "__main__":
    main()
