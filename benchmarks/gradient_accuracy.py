"""How accurate is the gradient of a rendering? Central differences of a supersampled render are the reference.

Random scenes of three textured objects that hide each other in part, seen at 160 x 120; losses compare with a rendering
of slightly different poses, once blurred and squared (smooth), once pixel by pixel and absolute (sharp). Prints a
table; the rows "stillleben's estimator" put `backpropagate_gradient_to_poses` to the same test.

    python benchmarks/gradient_accuracy.py [--scenes 20]

The error of a group of parameters is relative to the norm of the whole finite difference: a ball's outline does not
change when the ball turns, and nothing is relative to nothing.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

WIDTH, HEIGHT = 160, 120
FEWEST_PIXELS = 50
GROUPS = {"all": slice(0, 6), "rotation": slice(0, 3), "translation": slice(3, 6)}


def random_scene(rng: np.random.Generator) -> tuple[sl.Scene, sl.MeshRenderer]:
    """Three different objects, the nearer ones in front of the others, and a renderer for them."""
    seed = int(rng.integers(1 << 30))
    meshes = [demo_mesh(), sphere_mesh(0.05, seed=seed), box_mesh((0.09, 0.07, 0.05), seed=seed)]
    meshes = [meshes[i] for i in rng.permutation(3)]
    poses = []
    for depth in (0.4, 0.48, 0.56):
        rotation = rng.normal(size=3)
        rotation *= rng.uniform(0, np.pi) / np.linalg.norm(rotation)
        pose = np.array(sl.se3_exp(np.concatenate([rotation, np.zeros(3)]).astype(np.float32)))
        pose[:3, 3] = rng.uniform(-0.06, 0.06), rng.uniform(-0.04, 0.04), depth + rng.uniform(-0.02, 0.02)
        poses.append(pose)
    camera = sl.Camera.from_fov(0.8, width=WIDTH, height=HEIGHT)
    return sl.Scene(np.stack(poses), camera), sl.MeshRenderer(meshes, background=(0.2, 0.3, 0.5))


def difference(modality: str, rendering: sl.Rendering, target: sl.Rendering) -> jax.Array:
    """(H, W, C): rendering minus target. Depth counts where both have it."""
    a, b = getattr(rendering, modality), getattr(target, modality)
    if modality == "depth":
        a, b = a[..., None] / 0.01, b[..., None] / 0.01
        return jnp.where((a > 0) & (b > 0), a - b, 0)
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


def measure(scenes: int, seed: int) -> dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]:
    """For every kind of loss, pairs of gradient and finite difference of every object, weighted by the step."""
    rng = np.random.default_rng(seed)
    pairs: dict[tuple[str, str], list] = {}
    for _ in range(scenes):
        scene, renderer = random_scene(rng)
        labels = np.asarray(renderer(scene).instance_index)
        visible = [np.sum(labels == label) >= FEWEST_PIXELS for label in np.asarray(scene.instance_index)]
        if not all(np.any(labels == label) for label in np.asarray(scene.instance_index)):
            continue
        offset = rng.normal(size=(3, 6)) * ([0.03] * 3 + [0.004] * 3)
        target_poses = scene.T_world_object @ jax.vmap(sl.se3_exp)(jnp.asarray(offset, jnp.float32))
        target = sl.render(sl.Scene(target_poses, scene.camera), renderer)
        for kind, loss_of in (("smooth", smooth_loss), ("sharp", sharp_loss)):
            for modality in ("rgb", "depth", "mask"):
                loss = jax.jit(partial(loss_of, modality, target))
                check = sl.check_grad(scene, renderer, loss)
                results = {modality: check.analytic}
                if modality == "rgb":
                    results["rgb, stillleben's estimator"] = reference_gradient(scene, renderer, loss)
                for name, gradient in results.items():
                    for k in np.flatnonzero(visible):
                        pair = (gradient[k] * check.step[k], check.numeric[k] * check.step[k])
                        pairs.setdefault((kind, name), []).append(pair)
    return pairs


def table(pairs: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]) -> str:
    """The errors as a Markdown table."""
    lines = [
        "| loss | images | parameters | median error | 90th percentile | median cosine |",
        "|---|---|---|---|---|---|",
    ]
    for (kind, name), values in pairs.items():
        gradients, differences = (np.stack(side) for side in zip(*values))
        norm = np.linalg.norm(differences, axis=1)
        cosine = np.sum(gradients * differences, axis=1) / (np.linalg.norm(gradients, axis=1) * norm)
        for group, columns in GROUPS.items():
            error = np.linalg.norm((gradients - differences)[:, columns], axis=1) / norm
            lines.append(
                f"| {kind} | {name} | {group} | {np.median(error):.1%} | {np.percentile(error, 90):.1%} "
                f"| {f'{np.median(cosine):.4f}' if group == 'all' else ''} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    pairs = measure(arguments.scenes, arguments.seed)
    print(table(pairs))
    count = len(next(iter(pairs.values())))
    print(
        f"\n{arguments.scenes} scenes, {count} objects with at least {FEWEST_PIXELS} visible pixels, "
        f"{WIDTH}x{HEIGHT}, seed {arguments.seed}, {time.perf_counter() - began:.0f} s."
    )


if __name__ == "__main__":
    main()
