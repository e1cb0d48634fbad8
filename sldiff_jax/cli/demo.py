"""``sldiff-jax demo``: find a hidden pose again."""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from .._images.observation import Observation
from .._images.resample import reduce_color
from .._losses.colour import photometric_loss
from .._refine.hypotheses import random_starts
from .._refine.recipe import shares
from .._refine.refinement import Refinement, Stage
from .._scene.camera import Camera
from .._scene.poses import se3_exp
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer, demo_mesh
from . import _pictures
from ._errors import InputError
from ._fit import by_stage, count_steps, fit
from ._output import check_output, staged
from ._scores import pose_distance
from ._table import print_table

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


def run(options: argparse.Namespace) -> int:
    """Renders, refines, prints and writes."""
    steps = count_steps(options.optimizer, options.steps)
    if options.resolution < 32:
        raise InputError(f"--resolution must be at least 32 pixels, got {options.resolution}.")
    check_output(options.output)
    _pictures.check_matplotlib()

    task = make_task(options.seed, options.resolution)
    began = time.perf_counter()
    refinement = solve(task, steps, options.optimizer)
    seconds = time.perf_counter() - began

    errors = [
        pose_distance(T, task.T_camera_object) for T in refinement.T_world_object_history[:, refinement.best_start, 0]
    ]
    before = pose_distance(task.T_camera_object_start, task.T_camera_object)
    after = pose_distance(np.asarray(refinement.scene.T_world_object[0]), task.T_camera_object)
    made = by_stage(refinement, demo_stages(steps, options.resolution))
    with staged(options.output, FILES) as folder:
        _pictures.write_pictures(
            folder, task.image, task.camera, task.mesh, task.T_camera_object_start, refinement, tuple(made)
        )
        history = [
            {"name": name, "loss": refinement.loss_history[part, 0].tolist(), "error_deg_mm": errors[part]}
            for name, part in made.items()
        ]
        document = {"status": refinement.status.name.lower(), "stages": history}
        (folder / "history.json").write_text(json.dumps(document, indent=2) + "\n")

    rows = [
        ("rotation error", f"{before[0]:.3f} degrees", f"{after[0]:.3f} degrees"),
        ("translation error", f"{before[1]:.3f} mm", f"{after[1]:.3f} mm"),
    ]
    print_table(("", "start", "result"), rows)
    print(
        f"{refinement.status.name.lower().replace('_', ' ')} after {len(errors)} steps in {seconds:.1f} s, compilation "
        f"included; {1 / refinement.seconds_per_step:.0f} iterations per second in the last stage"
    )
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
    T = _hidden_pose(pose_key)
    scene = Scene(T[None], camera)
    starts = random_starts(start_key, scene, 2, rotation=START_ROTATION, translation=START_TRANSLATION)
    background = _background(width, height)
    shown = MeshRenderer([mesh], background=background, supersample=2, buffers="core")(scene)
    image = np.asarray(shown.rgb)[..., :3]
    return Task(mesh, camera, image, background, np.asarray(T), np.asarray(starts[1, 0]))


@jax.jit
def _hidden_pose(key: PRNGKeyArray) -> Float[Array, "4 4"]:
    rotation_key, place_key = jax.random.split(key)
    rotation = 3 * jax.random.normal(rotation_key, (3,))
    place = jax.random.uniform(place_key, (3,), minval=-0.015, maxval=0.015) + jnp.array([0, 0, 0.28])
    return se3_exp(jnp.concatenate([rotation, jnp.zeros(3)])).at[:3, 3].set(place)


class _OnBackdrop(eqx.Module):
    """A renderer for cameras of several sizes, with a backdrop of each size."""

    by_width: dict[int, MeshRenderer]

    def __call__(self, scene: Scene) -> RenderResult:
        return self.by_width[scene.camera.width](scene)


def solve(task: Task, steps: int, optimizer: str = "lm") -> Refinement:
    """Finds the pose again from colour: blurred and at half the resolution first."""
    height, width = task.image.shape[:2]
    stages = demo_stages(steps, width)
    renderers = {}
    for stage in stages.values():
        size = (round(stage.scale * width), round(stage.scale * height))
        backdrop = reduce_color(task.background, *size)
        renderers[size[0]] = MeshRenderer([task.mesh], background=backdrop, supersample=2, buffers="core")
    scene = Scene(jnp.asarray(task.T_camera_object_start)[None], task.camera)
    return fit(
        scene, Observation(rgb=task.image), _OnBackdrop(renderers), list(stages.values()),
        optimizer=optimizer, loss=photometric_loss,
    )  # fmt: skip


def demo_stages(steps: int, width: int) -> dict[str, Stage]:
    """The stages for a picture of that width; one that gets no steps is left out."""
    coarse, fine = shares(steps, (0.4, 0.6))
    blurred = {"blurred": Stage(coarse, scale=0.5, blur=width / 160)} if coarse else {}
    return blurred | {"fine": Stage(fine)}


def _background(width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    """A calm backdrop: a vertical gradient, and a lighter pool behind the object."""
    y, x = np.mgrid[0:height, 0:width]
    y, x = (y + 0.5) / height, (x + 0.5) / width
    top, bottom = np.array([0.93, 0.94, 0.96]), np.array([0.62, 0.66, 0.72])
    backdrop = top + y[..., None] * (bottom - top)
    pool = np.exp(-(((x - 0.5) / 0.45) ** 2 + ((y - 0.55) / 0.4) ** 2))
    return np.round(255 * np.clip(backdrop + 0.06 * pool[..., None], 0, 1)).astype(np.uint8)
