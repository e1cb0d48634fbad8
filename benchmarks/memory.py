"""How much memory a step of refinement takes, by hypotheses and resolution: as XLA plans it, without running it."""

from __future__ import annotations

import argparse
import pathlib

import equinox as eqx
import gpu
import jax.numpy as jnp
import record
from measure import machine

import sldiff_jax as sl
from sldiff_jax._refine.descent import Problem, advance, begin


def megabytes(hypotheses: int, resolution: int) -> float:
    """Of a Levenberg-Marquardt step of `default_loss` on colour, depth and mask; temporary memory alone."""
    task, method = gpu.make_task(hypotheses, resolution), sl.LevenbergMarquardt()
    scene = sl.Scene(task.T_world_object[0], task.camera)
    problem = Problem(scene, task.observation, task.renderer, sl.default_loss, sl.apply_twist, jnp.ones((1, 6)), 1e-4)
    step = eqx.filter_jit(lambda problem, progress: advance(problem, method, progress, 1))
    lowered = step.lower(problem, begin(method, task.T_world_object, 1))
    return lowered.compile().compiled.memory_analysis().temp_size_in_bytes / 1e6


def table(hypotheses: list[int], resolutions: list[int]) -> str:
    """Measures, as a report in Markdown."""
    lines = ["| hypotheses | " + " | ".join(f"{size}x{size}" for size in resolutions) + " |"]
    lines.append("|---" * (len(resolutions) + 1) + "|")
    for count in hypotheses:
        cells = [f"{megabytes(count, size):.1f} MB" for size in resolutions]
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(
        [
            "# Memory of a Levenberg-Marquardt step",
            "",
            f"By XLA's own plan on: {machine()}. The demo object; `default_loss` of colour, depth and mask.",
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Measures, prints, and writes the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hypotheses", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, and JSON beside it")
    arguments = parser.parse_args()
    text = table(arguments.hypotheses, arguments.resolutions)
    print(text)
    if arguments.output:
        record.write(arguments.output, text)


if __name__ == "__main__":
    main()
