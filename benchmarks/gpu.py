"""How fast, and how large, many hypotheses at once are: one drawing, one iteration of descent, one of least squares.

On a GPU 1, 16, 256 and 4096 hypotheses at 128x128 in a few minutes; on a CPU fewer and smaller ones, in less than one.

The floor is the time that the device's memory takes to write what a drawing consists of, and for an iteration to read
it again: no program that goes through a drawing is faster. The speed of the memory is measured by adding one to a large
array.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import record
from measure import interleaved, load, machine

import sldiff_jax as sl
from sldiff_jax._refine.least_squares import normal_equations, solve
from sldiff_jax.mesh_renderer.meshes.shapes import demo_mesh

COPIED = {"gpu": 1 << 30, "cpu": 1 << 26}
"""Bytes of the array by which the memory is timed."""


class Row(NamedTuple):
    """One program: its median and least time, milliseconds, its memory in MB, and its share of the floor in percent."""

    median: float
    minimum: float
    megabytes: float
    share: float

    def cells(self) -> str:
        """For the table."""
        return f"{self.median:.2f} ({self.minimum:.2f}) | {self.megabytes:.0f} | {self.share:.1f} %"


class Task(NamedTuple):
    """One object before a camera, seen from poses around the one in which it is."""

    renderer: sl.MeshRenderer
    camera: sl.Camera
    observation: sl.Observation
    T_world_object: jax.Array


def make_task(hypotheses: int, resolution: int) -> Task:
    """The demo object, filling most of the image; poses 10 degrees and 5 mm around the one that is observed."""
    renderer = sl.MeshRenderer([demo_mesh()], buffers="core")
    camera = sl.Camera.from_fov(0.6, width=resolution, height=resolution)
    scene = sl.Scene(jnp.eye(4).at[2, 3].set(0.25)[None], camera)
    seen = sl.render(scene, renderer)
    starts = sl.random_starts(jax.random.key(0), scene, hypotheses + 1, rotation=0.17, translation=0.005)[1:]
    return Task(renderer, camera, sl.Observation(seen.rgb, seen.depth, seen.mask), starts)


def programs(task: Task) -> dict[str, Callable[..., Any]]:
    """Functions of renderer, camera, observation and one pose."""

    def draw(renderer, camera, observation, T):
        return renderer.draw(sl.Scene(T, camera))

    def iteration(renderer, camera, observation, T):
        def loss(delta):
            moved = jax.vmap(sl.apply_twist)(T, delta)
            return sl.default_loss(sl.render(sl.Scene(moved, camera), renderer), observation)

        return jax.value_and_grad(loss)(jnp.zeros((1, 6)))

    def least_squares(renderer, camera, observation, T):
        scene = sl.Scene(T, camera)
        unit = jnp.ones((1, 6))
        equations = normal_equations(sl.default_loss, scene, renderer, renderer.draw(scene), observation, unit)
        return equations.loss, solve(equations, 0.01, 0.3)

    return {"draw": draw, "iteration": iteration, "Levenberg-Marquardt step": least_squares}


def measure(function: Callable[..., Any], task: Task, rounds: int, speed: float, floor: float) -> Row | str:
    """Compiles and times a program over all hypotheses; says so where they do not fit.

    Args:
        function: of one hypothesis.
        task: with all of them.
        rounds: how often it is timed.
        speed: of the memory, bytes per second.
        floor: bytes that must be moved.
    """
    batched = eqx.filter_jit(jax.vmap(function, in_axes=(None, None, None, 0)))
    arguments = (task.renderer, task.camera, task.observation, task.T_world_object)
    try:
        compiled = batched.lower(*arguments).compile()
        (times,) = interleaved(lambda: compiled(*arguments), rounds=rounds, warm_up=1)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return "does not fit"
    analysis = compiled.compiled.memory_analysis()
    size = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return Row(times.median, times.minimum, size / 1e6, 100 * 1e3 * floor / speed / times.minimum)


def memory_speed(rounds: int) -> float:
    """Bytes per second, read and written."""
    x = jnp.zeros(COPIED[jax.default_backend()] // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    (times,) = interleaved(lambda: add(x), rounds=rounds)
    return 2 * x.nbytes / (1e-3 * times.minimum)


def in_nvdiffrast(task: Task, resolution: int, rounds: int) -> dict[str, str]:
    """Times of nvdiffrast for the same drawing and the gradient of a squared difference, or why there are none."""
    try:
        import nvdiffrast.torch as dr
        import torch
    except ImportError as error:
        return {"nvdiffrast": f"not measured: {error}"}
    if not torch.cuda.is_available():
        return {"nvdiffrast": "not measured: torch sees no CUDA device"}
    geometry = task.renderer.geometry

    def tensor(array, kind=torch.float32):
        return torch.tensor(np.asarray(array), dtype=kind, device="cuda")

    context = dr.RasterizeCudaContext()
    vertices, faces = tensor(geometry.vertices), tensor(geometry.faces, torch.int32)
    colors = tensor(geometry.colors if len(geometry.colors) else geometry.normals)[None].contiguous()
    points = torch.cat([vertices, torch.ones_like(vertices[:, :1])], dim=1)
    T_clip_world = tensor(task.camera.projection) @ tensor(task.camera.T_camera_world)
    T = tensor(task.T_world_object[:, 0])
    target = torch.zeros(1, resolution, resolution, 3, device="cuda")

    def draw(T):
        clip = (points @ (T_clip_world @ T).transpose(1, 2)).contiguous()
        found, _ = dr.rasterize(context, clip, faces, resolution=[resolution, resolution])
        image, _ = dr.interpolate(colors, found, faces)
        return dr.antialias(image, found, clip, faces)

    def iteration():
        moving = T.clone().requires_grad_()
        loss = ((draw(moving) - target) ** 2).mean(dim=(1, 2, 3)).sum()
        gradient = torch.autograd.grad(loss, moving)[0]
        torch.cuda.synchronize()
        return gradient.shape

    def drawn():
        with torch.no_grad():
            image = draw(T)
        torch.cuda.synchronize()
        return image.shape

    drawing, iterating = interleaved(drawn, iteration, rounds=rounds)
    return {
        "nvdiffrast, draw": f"{drawing.median:.2f} ({drawing.minimum:.2f})",
        "nvdiffrast, iteration": f"{iterating.median:.2f} ({iterating.minimum:.2f})",
    }


def table(hypotheses: list[int], resolution: int, rounds: int) -> str:
    """Measures everything, as a report in Markdown."""
    speed = memory_speed(rounds)
    lines = ["| program | hypotheses | median (min) ms | MB | of the floor |", "|---|---|---|---|---|"]
    others = ["| program | hypotheses | median (min) ms |", "|---|---|---|"]
    for count in hypotheses:
        task = make_task(count, resolution)
        functions = programs(task)
        drawing = jax.eval_shape(functions["draw"], *task[:3], task.T_world_object[0])
        floor = count * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(drawing))
        for name, function in functions.items():
            row = measure(function, task, rounds, speed, floor if name == "draw" else 2 * floor)
            cells = row if isinstance(row, str) else row.cells()
            lines.append(f"| {name} | {count} | {cells}" + (" | - | - |" if isinstance(row, str) else " |"))
        others += [f"| {name} | {count} | {cell} |" for name, cell in in_nvdiffrast(task, resolution, rounds).items()]
    return "\n".join(
        [
            f"# Many hypotheses on a {jax.default_backend().upper()}",
            "",
            f"Measured on: {machine()}. Load average {load()}. The demo object at {resolution}x{resolution}, "
            f"default_loss of colour, depth and mask, {rounds} rounds. Memory: {speed / 1e9:.0f} GB/s.",
            "",
            *lines,
            "",
            *others,
            "",
        ]
    )


def main() -> None:
    """Measures, prints, and writes the tables if asked to."""
    on_gpu = jax.default_backend() != "cpu"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hypotheses", type=int, nargs="+", default=[1, 16, 256, 4096] if on_gpu else [1, 4])
    parser.add_argument("--resolution", type=int, default=128 if on_gpu else 48)
    parser.add_argument("--rounds", type=int, default=20 if on_gpu else 5)
    parser.add_argument("--output", type=pathlib.Path, help="also write the tables to this file, and JSON beside it")
    arguments = parser.parse_args()
    text = table(arguments.hypotheses, arguments.resolution, arguments.rounds)
    print(text)
    if arguments.output:
        record.write(arguments.output, text)


if __name__ == "__main__":
    main()
