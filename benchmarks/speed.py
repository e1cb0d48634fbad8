"""Prints the tables of `benchmarks/results`: run it as ``python benchmarks/speed.py``."""

from __future__ import annotations

import argparse
import pathlib

import comparison
import record
import rendering
from measure import interleaved, load, machine

IMAGE_GRADIENTS = {1: "45", 5: "45", 20: "45"}
BACKPROPAGATION = {1: "56", 5: "72", 20: "170-196"}
"""Published medians of the original in milliseconds, by number of objects: 2 CPU cores, 640x480."""


def core_table(rounds: int) -> list[str]:
    """Both functions for 1, 5 and 20 objects, ours and in torch."""
    lines = [
        "| function | objects | ours: median (min) ms | torch: median (min) ms | torch / ours | original ms "
        "| original / ours | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cases = (
        ("image-space gradients", comparison.image_space_gradients, IMAGE_GRADIENTS),
        ("backpropagation to poses", comparison.backpropagation, BACKPROPAGATION),
    )
    for name, make_pair, published in cases:
        for count in comparison.OBJECTS:
            ours, *in_torch = interleaved(*make_pair(count), rounds=rounds)
            in_torch = min(in_torch, key=lambda times: times.median)
            original = float(published[count].split("-")[0])
            lines.append(
                f"| {name} | {count} | {ours.median:.1f} ({ours.minimum:.1f}) "
                f"| {in_torch.median:.1f} ({in_torch.minimum:.1f}) | {in_torch.median / ours.median:.1f} "
                f"| {published[count]} | {original / ours.median:.1f} | {load()} |"
            )
    return lines


def render_table(rounds: int) -> list[str]:
    """The differentiable render, and the embedded renderer where the recorded mesh is present."""
    cases = {
        f"value and gradient of a photometric loss, {count} objects, rendering not counted": (
            rendering.differentiate_rendered(count),
        )
        for count in comparison.OBJECTS
    }
    mesh = rendering.bunny()
    if mesh is not None:
        light = {"light_directions": [[0.3, 0.6, 0.8]], "light_colors": [[3.0, 3.0, 3.0]]}
        in_one_launch, one_by_one = rendering.render_batch(mesh, width=320, height=240, buffers="core")
        cases |= {
            "bunny, all buffers, flat": (rendering.render(mesh),),
            "bunny, all buffers, phong (original: 60 without shadows, 181 as it comes)": (
                rendering.render(mesh, shading="phong", **light),
            ),
            "bunny, core buffers": (rendering.render(mesh, buffers="core"),),
            "bunny, core buffers, 320x240": (rendering.render(mesh, width=320, height=240, buffers="core"),),
            f"{rendering.BATCH} bunnies, core buffers, 320x240: vmap; loop": (in_one_launch, one_by_one),
            "bunny, value and gradient of a photometric loss, rendering counted": (rendering.fit_step(mesh),),
        }
    lines = ["| what | median (min) ms | load |", "|---|---|---|"]
    for name, functions in cases.items():
        times = "; ".join(f"{time.median:.1f} ({time.minimum:.1f})" for time in interleaved(*functions, rounds=rounds))
        lines.append(f"| {name} | {times} | {load()} |")
    return lines


def main() -> None:
    """Measures, prints, and writes the tables if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how often each function is timed")
    parser.add_argument("--output", type=pathlib.Path, help="also write the tables to this file, and JSON beside it")
    arguments = parser.parse_args()
    first_load = load()
    core, render = core_table(arguments.rounds), render_table(arguments.rounds)
    text = "\n".join(
        [
            "# Speed",
            "",
            f"Measured on: {machine()}. 640x480 where nothing else is said, {arguments.rounds} rounds after warm-up.",
            f"Load average of the last minute: {first_load} before, {load()} after, and beside each line; above about "
            "1.0 something else was running too and only the minima mean something.",
            "",
            "Image gradients and backpropagation, ours and torch in turn in one process, results equal to 1e-4. Torch "
            "on one core or on all, whichever is faster. Original: its published medians, on 2 CPU cores.",
            "",
            *core,
            "",
            "Differentiable render and embedded renderer; the bunny has 69,451 triangles.",
            "",
            *render,
            "",
        ]
    )
    print(text)
    if arguments.output:
        record.write(arguments.output, text)


if __name__ == "__main__":
    main()
