"""``sldiff-jax demo``: find a hidden pose again."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from .._camera import Camera
from .._losses import photometric_loss
from .._observation import Observation
from .._poses import se3_exp
from .._refine import Refinement, random_starts
from .._scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer, demo_mesh
from . import _pictures
from ._errors import InputError
from ._fit import OPTIMIZERS, Stage, check_optimizer, refine_in_stages, split_steps
from ._output import check_output, staged
from ._scores import pose_distance
from ._table import print_table
from ._window import reduce_color

SUMMARY = "find the hidden pose of a rendered object again, and draw how"
DESCRIPTION = """\
Renders an object built in code at a hidden pose, starts 10 degrees and 4 mm away from it, and finds it again by
minimising the colour difference alone (photometric_loss). Writes pictures, and the errors of all iterates.
"""

FILES = ("history.json", *_pictures.NAMES)
START_ROTATION, START_TRANSLATION = math.radians(10), 4e-3


class Task(NamedTuple):
    """What the demonstration hides and shows: the true pose, the start, and the picture."""

    mesh: Mesh
    camera: Camera
    image: UInt8[np.ndarray, "height width 3"]
    background: UInt8[np.ndarray, "height width 3"]
    T_camera_object: Float[np.ndarray, "4 4"]
    T_camera_object_start: Float[np.ndarray, "4 4"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--output", type=Path, default=Path("demo_out"), help="folder; default: %(default)s")
    parser.add_argument("--steps", type=int, default=150, help="of the optimiser, both stages; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of hidden pose and start; default: %(default)s")
    parser.add_argument(
        "--resolution", type=int, default=320, metavar="PIXELS", help="width of the picture; default: %(default)s"
    )
    parser.add_argument("--optimizer", default="adam", help=f"{', '.join(OPTIMIZERS)}; default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Renders, refines, prints and writes."""
    check_optimizer(options.optimizer, options.steps)
    if options.resolution < 32:
        raise InputError(f"--resolution must be at least 32 pixels, got {options.resolution}.")
    check_output(options.output)
    _pictures.check_matplotlib()

    task = make_task(options.seed, options.resolution)
    began = time.perf_counter()
    refinements = solve(task, options.steps, options.optimizer)
    seconds = time.perf_counter() - began

    errors = [
        [pose_distance(T, task.T_camera_object) for T in r.T_world_object_history[:, r.best_start, 0]]
        for r in refinements
    ]
    before = pose_distance(task.T_camera_object_start, task.T_camera_object)
    after = pose_distance(np.asarray(refinements[-1].scene.T_world_object[0]), task.T_camera_object)
    with staged(options.output, FILES) as folder:
        _pictures.write_pictures(folder, task.image, task.camera, task.mesh, task.T_camera_object_start, refinements)
        history = [
            {"width": r.scene.camera.width, "loss": r.loss_history[:, r.best_start].tolist(), "error_deg_mm": e}
            for r, e in zip(refinements, errors)
        ]
        (folder / "history.json").write_text(json.dumps({"stages": history}, indent=2) + "\n")

    rows = [
        ("rotation error", f"{before[0]:.3f} degrees", f"{after[0]:.3f} degrees"),
        ("translation error", f"{before[1]:.3f} mm", f"{after[1]:.3f} mm"),
    ]
    print_table(("", "start", "result"), rows)
    speeds = ", ".join(
        f"{1 / r.seconds_per_step:.0f} at {r.scene.camera.width}x{r.scene.camera.height}" for r in refinements
    )
    print(f"{seconds:.1f} s, compilation included; iterations per second: {speeds}")
    print(f"loss: colour difference alone (photometric_loss); pictures are in {options.output}")
    return 0


def make_task(seed: int, width: int) -> Task:
    """Hides an object.

    Args:
        seed: of the hidden pose, and of axis and direction by which the start is off.
        width: of the picture, pixels; its height is three quarters of it.
    """
    pose_key, start_key = jax.random.split(jax.random.key(seed))
    height = 3 * width // 4
    camera = Camera.from_fov(math.radians(40), width=width, height=height)
    mesh = demo_mesh()
    rotation_key, place_key = jax.random.split(pose_key)
    rotation = 3 * jax.random.normal(rotation_key, (3,))
    place = jax.random.uniform(place_key, (3,), minval=-0.015, maxval=0.015) + jnp.array([0, 0, 0.28])
    T = se3_exp(jnp.concatenate([rotation, jnp.zeros(3)])).at[:3, 3].set(place)
    scene = Scene(T[None], camera)
    starts = random_starts(start_key, scene, 2, rotation=START_ROTATION, translation=START_TRANSLATION)
    background = _background(width, height)
    shown = MeshRenderer([mesh], background=background, supersample=2, buffers="core")(scene)
    image = np.asarray(shown.rgb)[..., :3]
    return Task(mesh, camera, image, background, np.asarray(T), np.asarray(starts[1, 0]))


def solve(task: Task, steps: int, optimizer: str) -> list[Refinement]:
    """Finds the pose again from colour, at half the resolution first."""
    height, width = task.image.shape[:2]
    stages = []
    for divisor, stage_steps in zip((2, 1), split_steps(steps, share=0.4)):
        size = (width // divisor, height // divisor)
        renderer = MeshRenderer(
            [task.mesh], background=reduce_color(task.background, *size), supersample=2, buffers="core"
        )
        observation = Observation(rgb=reduce_color(task.image, *size))
        stages.append(Stage(task.camera.resized(*size), observation, renderer, stage_steps))
    start = jnp.asarray(task.T_camera_object_start)[None, None]
    return refine_in_stages(start, stages, loss=photometric_loss, optimizer=optimizer)


def _background(width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    """A calm backdrop: a vertical gradient, and a lighter pool behind the object."""
    y, x = np.mgrid[0:height, 0:width]
    y, x = (y + 0.5) / height, (x + 0.5) / width
    top, bottom = np.array([0.93, 0.94, 0.96]), np.array([0.62, 0.66, 0.72])
    backdrop = top + y[..., None] * (bottom - top)
    pool = np.exp(-(((x - 0.5) / 0.45) ** 2 + ((y - 0.55) / 0.4) ** 2))
    return np.round(255 * np.clip(backdrop + 0.06 * pool[..., None], 0, 1)).astype(np.uint8)
