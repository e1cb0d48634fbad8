"""The same task here and elsewhere: draw a mesh, square the difference to an image, derive that by the pose.

The bunny of 69,451 triangles at 256x256, its colours given at the vertices, unlit. Mitsuba 3 draws with random samples,
and runs in a process of its own, with another Python if need be (``--mitsuba-python``); the plain torch formulation has
no renderer and takes buffers that were drawn here.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import record
from measure import Times, interleaved, load, machine
from rendering import bunny, bunny_scene

import sldiff_jax as sl

HERE = pathlib.Path(__file__).resolve().parent


def vertex_colored(mesh: sl.Mesh) -> sl.Mesh:
    """The mesh without its texture, coloured by place."""
    vertices = np.asarray(mesh.vertices)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    colors = 0.5 + 0.4 * np.sin(12 * (vertices - low) / (high - low))
    return sl.Mesh(vertices, np.asarray(mesh.faces), colors=colors.astype(np.float32))


class Here:
    """The task in this library."""

    def __init__(self, mesh: sl.Mesh, size: int):
        self.mesh, self.renderer = mesh, sl.MeshRenderer([mesh], buffers="core")
        self.scene = bunny_scene(mesh, size, size)
        self.target = sl.render(bunny_scene(mesh, size, size, shift=0.01), self.renderer).rgb

        def loss(delta, scene, renderer, target):
            moved = sl.Scene(jax.vmap(sl.apply_twist)(scene.T_world_object, delta), scene.camera)
            return jnp.mean((sl.render(moved, renderer).rgb - target) ** 2)

        self._draw = jax.jit(lambda scene, renderer: sl.render(scene, renderer).rgb)
        self._iteration = jax.jit(jax.value_and_grad(loss))

    def draw(self) -> jax.Array:
        """The image."""
        return self._draw(self.scene, self.renderer)

    def iteration(self) -> tuple[jax.Array, jax.Array]:
        """The loss and its gradient, (1, 6)."""
        return self._iteration(jnp.zeros((1, 6)), self.scene, self.renderer, self.target)


def in_torch(here: Here, rounds: int) -> dict[str, str]:
    """Squared difference and gradient in plain torch, from buffers that were drawn here."""
    try:
        import torch
        import torch_reference
        from comparison import as_torch
    except ImportError as error:
        return {"plain torch": f"not measured: {error}"}
    buffers = as_torch(here.scene, here.renderer(here.scene))
    target = torch.tensor(np.array(here.target)).permute(2, 0, 1)

    def iteration():
        image = buffers.rgb[..., :3].permute(2, 0, 1).float() / 255
        return torch_reference.pose_gradients(buffers, 2 * (image - target) / image.numel())

    (times,) = interleaved(iteration, rounds=rounds)
    cosine = _cosine(iteration().numpy()[0], here.iteration()[1][0])
    return {f"plain torch {torch.__version__}, from our buffers": f"- | {_cell(times)} | {cosine:.3f}"}


def in_mitsuba(here: Here, rounds: int, python: str) -> dict[str, str]:
    """Everything in Mitsuba 3."""
    size, fx = here.scene.camera.width, float(here.scene.camera.intrinsics[0])
    with tempfile.TemporaryDirectory() as folder:
        task = pathlib.Path(folder) / "task.npz"
        np.savez(
            task, vertices=here.mesh.vertices, faces=here.mesh.faces, colors=here.mesh.colors,
            T_camera_object=here.scene.T_camera_object[0], fov=2 * np.arctan(size / 2 / fx), size=size, rounds=rounds,
            target=here.target, image=here.draw(),
        )  # fmt: skip
        done = subprocess.run([python, str(HERE / "peer_mitsuba.py"), str(task)], capture_output=True, text=True)
    if done.returncode:
        return {"Mitsuba 3": f"not measured: {done.stderr.strip().splitlines()[-1]}"}
    # Mitsuba prints on its own account, and what it prints ends with a change of colour.
    (found,) = (json.loads(line[line.index('{"') :]) for line in done.stdout.splitlines() if '{"' in line)
    if "reason" in found:
        return {"Mitsuba 3": f"not measured: {found['reason']}"}
    if found["difference"] > 0.01:
        raise RuntimeError(f"Mitsuba draws another picture: the mean difference is {found['difference']:.3f}.")
    cells = [_cell(Times(*found["times"][name])) for name in ("draw", "iteration")]
    cosine = _cosine(np.array(found["gradient"]), here.iteration()[1][0])
    return {f"{found['version']}, direct_projective, 4 samples": f"{cells[0]} | {cells[1]} | {cosine:.3f}"}


def table(size: int, rounds: int, python: str) -> str:
    """Measures everything, as a report in Markdown."""
    mesh = bunny()
    if mesh is None:
        raise SystemExit("peers.py needs the recorded bunny: set SLDIFF_SHARED to the shared folder.")
    here, before = Here(vertex_colored(mesh), size), load()
    drawing, iterating = interleaved(here.draw, here.iteration, rounds=rounds)
    rows = {"sldiff-jax": f"{_cell(drawing)} | {_cell(iterating)} | 1.000"}
    rows |= in_mitsuba(here, rounds, python) | in_torch(here, rounds)
    lines = [
        "| library | draw: median (min) ms | with gradient: median (min) ms | cosine to ours |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {cells} |" for name, cells in rows.items() if not cells.startswith("not measured")]
    missing = [f"- {name}: {cells}." for name, cells in rows.items() if cells.startswith("not measured")]
    text = [
        "# Side by side",
        "",
        f"Measured on: {machine()}. {rounds} rounds. Load average of the last minute: {before} before, {load()} after; "
        "above about 1.0 something else was running too.",
        "",
        f"The bunny (69,451 triangles, colours at its vertices, unlit) at {size}x{size}: drawn; and drawn, compared "
        "with an image by its squared difference, and that derived by the pose. Compilation does not count. The cosine "
        "is that of the gradient, of Mitsuba's the mean over 8 seeds.",
        "",
        *lines,
        "",
        *missing,
    ]
    return "\n".join(text).rstrip() + "\n"


def _cell(times: Times) -> str:
    return f"{times.median:.1f} ({times.minimum:.1f})"


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def main() -> None:
    """Measures, prints, and writes the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--mitsuba-python", default=sys.executable, help="the Python that has Mitsuba 3")
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, and JSON beside it")
    arguments = parser.parse_args()
    text = table(arguments.size, arguments.rounds, arguments.mitsuba_python)
    print(text)
    if arguments.output:
        record.write(arguments.output, text)


if __name__ == "__main__":
    main()
