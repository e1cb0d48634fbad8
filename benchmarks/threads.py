"""A batch of scenes on one thread and on several: drawn, and with the gradient of a loss by every pose.

16 bunnies of 69,451 triangles at 160x120. The results must be the same, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import record
from measure import interleaved, load, machine
from rendering import BATCH, bunny, bunny_scene

import sldiff_jax as sl

VARIABLE = "SLDIFF_JAX_THREADS"


def table(threads: int, rounds: int) -> str:
    """Measures, as a report in Markdown."""
    mesh = bunny()
    if mesh is None:
        raise SystemExit("threads.py needs the recorded bunny: set SLDIFF_SHARED to the shared folder.")
    renderer, size = sl.MeshRenderer([mesh], buffers="core"), (160, 120)
    camera = bunny_scene(mesh, *size).camera
    shifts = np.linspace(-0.05, 0.05, BATCH)
    poses = jnp.stack([bunny_scene(mesh, *size, shift=shift).T_world_object for shift in shifts])
    seen = sl.Observation(rgb=renderer(bunny_scene(mesh, *size, shift=0.01)).color)

    def draw(T, renderer, camera, seen):
        return renderer(sl.Scene(T, camera)).rgb

    def loss(T, renderer, camera, seen):
        return sl.photometric_loss(sl.render(sl.Scene(T, camera), renderer), seen)

    before = load()
    lines = [
        f"| what | 1 thread: median (min) ms | {threads} threads: median (min) ms | ratio of minima |",
        "|---|---|---|---|",
    ]
    for name, function in (("drawing", draw), ("gradients", jax.value_and_grad(loss))):
        batched = jax.jit(jax.vmap(function, in_axes=(0, None, None, None)))

        def run(count: int, batched=batched):
            os.environ[VARIABLE] = str(count)
            return jax.block_until_ready(batched(poses, renderer, camera, seen))

        for one, other in zip(*(jax.tree.leaves(jax.tree.map(np.asarray, run(count))) for count in (1, threads))):
            np.testing.assert_array_equal(one, other)
        alone, shared = interleaved(lambda: run(1), lambda: run(threads), rounds=rounds)
        cells = [f"{times.median:.0f} ({times.minimum:.0f})" for times in (alone, shared)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {alone.minimum / shared.minimum:.2f} |")
    return "\n".join(
        [
            "# Threads",
            "",
            f"Measured on: {machine()}. {rounds} rounds in turn. Load average of the last minute: {before} "
            f"before, {load()} after; above about 1.0 something else was running too.",
            "",
            f"{BATCH} bunnies at {size[0]}x{size[1]}. All results are equal, bit for bit.",
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Measures, prints, and writes the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, and JSON beside it")
    arguments = parser.parse_args()
    text = table(arguments.threads, arguments.rounds)
    print(text)
    if arguments.output:
        record.write(arguments.output, text)


if __name__ == "__main__":
    main()
