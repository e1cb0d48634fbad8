"""How accurate is the gradient of a rendering? Central differences of a supersampled render are the reference.

Random scenes seen at 160 x 120: three textured objects that hide each other in part; two dense meshes (the recorded
bunny, 69,451 triangles, left out without the recorded data); a coarse one (a box). Losses compare with a rendering of
slightly different poses, once blurred and squared (smooth), once pixel by pixel and absolute (sharp); depth is weighted
with both masks. Prints a table: `MeshRenderer`'s own derivative at one and at four samples per pixel, what the
estimator from buffers makes of the same images, and `backpropagate_gradient_to_poses`, stillleben's estimator.

    python benchmarks/gradient_accuracy.py [--scenes 20]

The differences are of images at 8 x 8 samples per pixel, half a pixel to either side. The error of an object is
relative to the norm of its whole finite difference, rotations and translations weighted by these steps.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from rendering import bunny

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

WIDTH, HEIGHT = 160, 120
FEWEST_PIXELS = 50
CAMERA = sl.Camera.from_fov(0.8, width=WIDTH, height=HEIGHT)
BACKGROUND = (0.2, 0.3, 0.5)


def random_pose(rng: np.random.Generator, depth: float) -> np.ndarray:
    """(4, 4): turned at random, in view, about so far away."""
    rotation = rng.normal(size=3)
    rotation *= rng.uniform(0, np.pi) / np.linalg.norm(rotation)
    pose = np.array(sl.se3_exp(np.concatenate([rotation, np.zeros(3)]).astype(np.float32)))
    pose[:3, 3] = rng.uniform(-0.06, 0.06), rng.uniform(-0.04, 0.04), depth + rng.uniform(-0.02, 0.02)
    return pose


def objects(rng: np.random.Generator) -> tuple[list[sl.Mesh], list[float]]:
    """Three different objects, and their depths."""
    seed = int(rng.integers(1 << 30))
    meshes = [demo_mesh(), sphere_mesh(0.05, seed=seed), box_mesh((0.09, 0.07, 0.05), seed=seed)]
    return [meshes[i] for i in rng.permutation(3)], [0.4, 0.48, 0.56]


def dense(mesh: sl.Mesh, rng: np.random.Generator) -> tuple[list[sl.Mesh], list[float]]:
    """Twice the same mesh."""
    return [mesh, mesh], [0.55, 0.75]


def coarse(rng: np.random.Generator) -> tuple[list[sl.Mesh], list[float]]:
    """Twelve triangles."""
    return [box_mesh((0.09, 0.07, 0.05), seed=int(rng.integers(1 << 30)))], [0.4]


def difference(modality: str, rendering: sl.Rendering, target: sl.Rendering) -> jax.Array:
    """(H, W, C): rendering minus target. Depth counts as much as both cover the pixel."""
    a, b = getattr(rendering, modality), getattr(target, modality)
    if modality == "depth":
        return ((a - b) / 0.01 * rendering.mask * target.mask)[..., None]
    return a - b if modality == "rgb" else (a - b)[..., None]


def blurred(image: jax.Array, sigma: float = 3.0) -> jax.Array:
    """(H, W, C) convolved with a Gaussian of `sigma` pixels."""
    x = np.arange(-9, 10)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    kernel = jnp.asarray(kernel / kernel.sum(), image.dtype)
    smooth = partial(jnp.convolve, v=kernel, mode="same")
    return jnp.apply_along_axis(smooth, 1, jnp.apply_along_axis(smooth, 0, image))


def smooth_loss(modality: str, target: sl.Rendering, rendering: sl.Rendering) -> jax.Array:
    """Mean squared difference of blurred images."""
    return jnp.mean(blurred(difference(modality, rendering, target)) ** 2)


def sharp_loss(modality: str, target: sl.Rendering, rendering: sl.Rendering) -> jax.Array:
    """Mean absolute difference."""
    return jnp.mean(jnp.abs(difference(modality, rendering, target)))


def reference_gradient(scene: sl.Scene, renderer: sl.MeshRenderer, loss) -> np.ndarray:
    """(N, 6): the gradient of a colour loss by the estimator of stillleben.diff."""
    rendering = sl.render(scene, renderer)
    cotangent = jax.grad(lambda rgb: loss(eqx.tree_at(lambda r: r.rgb, rendering, rgb)))(rendering.rgb)
    return np.asarray(sl.backpropagate_gradient_to_poses(scene, renderer(scene), jnp.moveaxis(cotangent, -1, 0)))


def measure(group, scenes: int, seed: int) -> dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]]:
    """For every loss and estimator, pairs of gradient and finite difference of every object, weighted by the step."""
    rng = np.random.default_rng(seed)
    pairs: dict[tuple[str, str, str], list] = {}
    for _ in range(scenes):
        meshes, depths = group(rng)
        scene = sl.Scene(np.stack([random_pose(rng, depth) for depth in depths]), CAMERA)
        once, twice = (sl.MeshRenderer(meshes, background=BACKGROUND, supersample=s) for s in (1, 2))
        labels = np.asarray(once(scene).instance_index)
        pixels = np.array([np.sum(labels == label) for label in np.asarray(scene.instance_index)])
        if not pixels.all():
            continue
        offset = rng.normal(size=(len(meshes), 6)) * ([0.03] * 3 + [0.004] * 3)
        target_poses = scene.T_world_object @ jax.vmap(sl.se3_exp)(jnp.asarray(offset, jnp.float32))
        target = sl.render(sl.Scene(target_poses, CAMERA), once)
        for kind, loss_of in (("smooth", smooth_loss), ("sharp", sharp_loss)):
            for modality in ("rgb", "depth", "mask"):
                loss = jax.jit(partial(loss_of, modality, target))
                check = sl.check_grad(scene, once, loss, supersample=8, pixels=0.5)
                gradients = {
                    "1 sample": check.analytic,
                    "2x2 samples": gradient(scene, twice, loss),
                    "from buffers": gradient(scene, lambda scene, once=once: once(scene), loss),
                }
                if modality == "rgb":
                    gradients["stillleben's estimator"] = reference_gradient(scene, once, loss)
                for name, values in gradients.items():
                    for k in np.flatnonzero(pixels >= FEWEST_PIXELS):
                        pair = (values[k] * check.step[k], check.numeric[k] * check.step[k])
                        pairs.setdefault((kind, modality, name), []).append(pair)
    return pairs


def gradient(scene: sl.Scene, renderer, loss) -> np.ndarray:
    """(N, 6): by a twist of each object."""

    def after(twist):
        moved = scene.T_world_object @ jax.vmap(sl.se3_exp)(twist)
        return loss(sl.render(sl.Scene(moved, scene.camera), renderer))

    return np.asarray(jax.jit(jax.grad(after))(jnp.zeros((len(scene.T_world_object), 6))))


def table(pairs: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]]) -> str:
    """The errors as a Markdown table."""
    lines = [
        "| loss | images | estimator | median error | 90th percentile | median cosine |",
        "|---|---|---|---|---|---|",
    ]
    for (kind, modality, name), values in pairs.items():
        gradients, differences = (np.stack(side) for side in zip(*values))
        norm = np.linalg.norm(differences, axis=1)
        cosine = np.sum(gradients * differences, axis=1) / (np.linalg.norm(gradients, axis=1) * norm)
        error = np.linalg.norm(gradients - differences, axis=1) / norm
        lines.append(
            f"| {kind} | {modality} | {name} | {np.median(error):.1%} | {np.percentile(error, 90):.1%} "
            f"| {np.median(cosine):.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20, help="of three objects; a quarter as many of the others")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    groups = {"Three objects": (objects, arguments.scenes), "A box": (coarse, -(-arguments.scenes // 4))}
    if (mesh := bunny()) is not None:
        centred = np.eye(4)
        centred[:3, 3] = -mesh.bounds.mean(axis=0)
        groups["Two bunnies"] = (partial(dense, mesh.transformed(centred)), -(-arguments.scenes // 4))
    for title, (group, scenes) in groups.items():
        began = time.perf_counter()
        pairs = measure(group, scenes, arguments.seed)
        count, seconds = len(next(iter(pairs.values()))), time.perf_counter() - began
        print(f"{title}: {scenes} scenes, {count} objects with at least {FEWEST_PIXELS} visible pixels, ", end="")
        print(f"{WIDTH}x{HEIGHT}, seed {arguments.seed}, {seconds:.0f} s.\n")
        print(table(pairs), "\n", flush=True)


if __name__ == "__main__":
    main()
