"""How accurate is the gradient of a rendering? Central differences of a supersampled render are the reference.

Random scenes seen at 160 x 120: three textured objects that hide each other in part; two dense meshes (the recorded
bunny, 69,451 triangles, left out without the recorded data); a coarse one (a box). Losses compare with a rendering of
slightly different poses and another lamp, once blurred and squared (smooth), once pixel by pixel and absolute (sharp);
depth is weighted with both masks. Prints a table: `MeshRenderer`'s own derivative at one and at four samples per pixel,
what the estimator from buffers makes of the same images, and `backpropagate_gradient_to_poses`, stillleben's estimator.
Poses are six degrees of freedom per object, vertices six smooth deformations of each mesh, light the direction and
colour of a lamp, the ambient light and the exposure.

    python benchmarks/gradient_accuracy.py [--scenes 20]

The differences are of images at 8 x 8 samples per pixel, an eighth of a pixel to either side: at half a pixel they are
of the absolute value's kinks, by up to a third. The error of an object is
relative to the norm of its whole finite difference, rotations and translations weighted by these steps.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import record
from measure import machine
from rendering import bunny

import sldiff_jax as sl
from sldiff_jax._gradients.check_grad import averaged, pixel_steps
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

WIDTH, HEIGHT = 160, 120
FEWEST_PIXELS = 50
CAMERA = sl.Camera.from_fov(0.8, width=WIDTH, height=HEIGHT)
BACKGROUND = (0.2, 0.3, 0.5)
LAMP = {"light_directions": [[0.3, 0.5, 1.0]], "light_colors": [[1.5, 1.4, 1.2]], "ambient_light": [0.3, 0.3, 0.35]}
OTHER_LAMP = {
    "light_directions": [[0.1, 0.6, 1.0]], "light_colors": [[1.2, 1.3, 1.3]], "ambient_light": [0.36, 0.3, 0.3]
}  # fmt: skip
SUPERSAMPLE = 8
STEP = 0.125
LIGHT_STEP = 0.01


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


def losses(target: sl.Rendering, rendering: sl.Rendering) -> dict[tuple[str, str], jax.Array]:
    """By kind and image: the mean squared difference of blurred images, and the mean absolute difference."""
    differences = {modality: difference(modality, rendering, target) for modality in ("rgb", "depth", "mask")}
    smooth = {("smooth", name): jnp.mean(blurred(image) ** 2) for name, image in differences.items()}
    return smooth | {("sharp", name): jnp.mean(jnp.abs(image)) for name, image in differences.items()}


class Parameters(NamedTuple):
    """What images depend on, as changes.

    Attributes:
        twist: (N, 6), of the objects' poses.
        bend: (N, 6), metres of the six smooth deformations of the meshes.
        light: (10,), of the lamp's direction and colour, the ambient light and the exposure.
    """

    twist: jax.Array
    bend: jax.Array
    light: jax.Array


def bent(mesh: sl.Mesh, metres: jax.Array) -> sl.Mesh:
    """Waves that are about as long as the mesh run through it along its axes, and across them."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    phase = 2 * np.pi * (mesh.vertices - low) / jnp.max(high - low)
    waves = jnp.stack([jnp.sin(phase), jnp.cos(jnp.roll(phase, 1, axis=1))])  # (2, V, 3)
    return mesh.replace(vertices=mesh.vertices + jnp.einsum("kvi,ki->vi", waves, metres.reshape(2, 3)))


@partial(jax.jit, static_argnames=("buffers", "scale"))
def image(parameters: Parameters, scene: sl.Scene, renderer: sl.MeshRenderer, meshes, *, buffers=False, scale=1):
    """The `Rendering`, averaged over scale x scale pixels."""
    moved = jax.vmap(jnp.matmul)(scene.T_world_object, jax.vmap(sl.se3_exp)(parameters.twist))
    renderer = renderer.with_meshes([bent(mesh, bend) for mesh, bend in zip(meshes, parameters.bend)])
    if renderer.lighting is not None:
        direction, color, ambient, exposure = jnp.split(parameters.light, [3, 6, 9])
        light = renderer.lighting
        leaves = (light.light_directions, light.light_colors, light.ambient_light, light.exposure)
        changed = [leaf + change for leaf, change in zip(leaves, (direction, color, ambient, exposure[0]))]
        renderer = eqx.tree_at(
            lambda r: (r.lighting.light_directions, r.lighting.light_colors, r.lighting.ambient_light,
                       r.lighting.exposure), renderer, changed,
        )  # fmt: skip
    camera = scene.camera.resized(scale * scene.camera.width, scale * scene.camera.height)
    rendering = sl.render(sl.Scene(moved, camera), (lambda scene: renderer(scene)) if buffers else renderer)
    return averaged(sl.Rendering(rendering.rgb, rendering.depth, rendering.mask, None), scale)


@jax.jit
def values(target: sl.Rendering, rendering: sl.Rendering) -> dict[tuple[str, str], jax.Array]:
    """The losses, compiled."""
    return losses(target, rendering)


@jax.jit
def cotangents(target: sl.Rendering, rendering: sl.Rendering) -> dict[tuple[str, str], sl.Rendering]:
    """The gradients of the losses by the images."""
    return jax.jacrev(partial(losses, target))(rendering)


@partial(jax.jit, static_argnames="buffers")
def gradient(parameters, cotangent: sl.Rendering, scene, renderer, meshes, *, buffers: bool) -> Parameters:
    """The derivative by the parameters from that by the images."""
    return jax.vjp(lambda p: image(p, scene, renderer, meshes, buffers=buffers), parameters)[1](cotangent)[0]


def steps(scene: sl.Scene, result: sl.RenderResult) -> Parameters:
    """By how much the parameters change for the differences: so that a pixel's half is crossed, or a little light."""
    twist = pixel_steps(scene, result, STEP)
    return Parameters(twist, np.tile(twist[:, 3:4], 6), np.full(10, LIGHT_STEP))


def directions(step: Parameters, wanted: tuple[str, ...]) -> Iterator[tuple[str, tuple[int, ...], Parameters]]:
    """Every single change: of which parameter, at which index, and the change itself."""
    zero = jax.tree.map(np.zeros_like, step)
    for name in wanted:
        for index in np.ndindex(getattr(step, name).shape):
            change = getattr(zero, name).copy()
            change[index] = getattr(step, name)[index]
            yield name, index, zero._replace(**{name: change.astype(np.float32)})


def add(pairs, key, gradient: np.ndarray, numeric: np.ndarray, seen: np.ndarray) -> None:
    """One pair per object that is seen; of light one in all."""
    if gradient.ndim == 1:
        pairs.setdefault(key, []).append((gradient, numeric))
    else:
        pairs.setdefault(key, []).extend((gradient[k], numeric[k]) for k in np.flatnonzero(seen))


def compare(pairs, scene, meshes, renderers, target, wanted: tuple[str, ...]) -> None:
    """Adds, for every loss and estimator, pairs of gradient and difference of every object, weighted by the step."""
    result = renderers[0](scene)
    labels = np.asarray(result.instance_index)
    seen = np.array([np.sum(labels == label) >= FEWEST_PIXELS for label in np.asarray(scene.instance_index)])
    step = steps(scene, result)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.float32), step)
    numeric: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for name, index, change in directions(step, wanted):
        ahead, behind = (
            values(target, image(jax.tree.map(lambda c, s=sign: s * c, change), scene, renderers[0], meshes,
                                 scale=SUPERSAMPLE))
            for sign in (1, -1)
        )  # fmt: skip
        for loss, value in ahead.items():
            of = numeric.setdefault(loss, {n: np.zeros(getattr(step, n).shape) for n in wanted})
            of[name][index] = 0.5 * float(value - behind[loss])
    estimators = [("1 sample", renderers[0], False, wanted), ("2x2 samples", renderers[1], False, wanted)]
    if "twist" in wanted:  # all that buffers tell of
        estimators.append(("from buffers", renderers[0], True, ("twist",)))
    for estimator, renderer, from_buffers, names in estimators:
        rendering = image(zero, scene, renderer, meshes, buffers=from_buffers)
        for loss, cotangent in cotangents(target, rendering).items():
            by = gradient(zero, cotangent, scene, renderer, meshes, buffers=from_buffers)._asdict()
            for name in names:
                if name != "light" or loss[1] == "rgb":
                    weighted = np.asarray(by[name]) * getattr(step, name)
                    add(pairs, (*loss, name, estimator), weighted, numeric[loss][name], seen)
            if from_buffers and loss[1] == "rgb":
                by_stillleben = sl.backpropagate_gradient_to_poses(scene, result, jnp.moveaxis(cotangent.rgb, -1, 0))
                key = (*loss, "twist", "stillleben's estimator")
                add(pairs, key, by_stillleben * step.twist, numeric[loss]["twist"], seen)


def measure(group, scenes: int, seed: int) -> dict[tuple[str, str, str, str], list[tuple[np.ndarray, np.ndarray]]]:
    """All pairs of so many random scenes."""
    rng = np.random.default_rng(seed)
    pairs: dict[tuple[str, str, str, str], list] = {}
    for _ in range(scenes):
        meshes, depths = group(rng)
        scene = sl.Scene(np.stack([random_pose(rng, depth) for depth in depths]), CAMERA)
        flat, lit = (
            [sl.MeshRenderer(meshes, background=BACKGROUND, supersample=s, **options) for s in (1, 2)]
            for options in ({}, {"shading": "phong", **LAMP})
        )
        labels = np.asarray(flat[0](scene).instance_index)
        if not all(np.any(labels == label) for label in np.asarray(scene.instance_index)):
            continue
        offset = rng.normal(size=(len(meshes), 6)) * ([0.03] * 3 + [0.004] * 3)
        target_poses = scene.T_world_object @ jax.vmap(sl.se3_exp)(jnp.asarray(offset, jnp.float32))
        other = sl.MeshRenderer(meshes, background=BACKGROUND, shading="phong", **OTHER_LAMP)
        for renderers, seen, wanted in ((flat, flat[0], ("twist", "bend")), (lit, other, ("light",))):
            target = sl.render(sl.Scene(target_poses, CAMERA), seen)
            target = sl.Rendering(target.rgb, target.depth, target.mask, None)
            compare(pairs, scene, meshes, renderers, target, wanted)
    return pairs


NAMES = {"twist": "poses", "bend": "vertices", "light": "light"}
ORDER = ("smooth", "sharp", "rgb", "depth", "mask", "1 sample", "2x2 samples", "from buffers", "stillleben's estimator")


def table(pairs) -> str:
    """The errors as a Markdown table."""
    lines = [
        "| by | loss | images | estimator | median error | 90th percentile | median cosine |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in NAMES.items():
        for (kind, modality, by, estimator), values in sorted(pairs.items(), key=_place):
            if by == name:
                gradients, differences = (np.stack(side) for side in zip(*values))
                norm = np.linalg.norm(differences, axis=1)
                cosine = np.sum(gradients * differences, axis=1) / (np.linalg.norm(gradients, axis=1) * norm)
                error = np.linalg.norm(gradients - differences, axis=1) / norm
                lines.append(
                    f"| {title} | {kind} | {modality} | {estimator} | {np.median(error):.1%} "
                    f"| {np.percentile(error, 90):.1%} | {np.median(cosine):.4f} |"
                )
    return "\n".join(lines)


def _place(item) -> list[int]:
    kind, modality, _, estimator = item[0]
    return [ORDER.index(word) for word in (kind, modality, estimator)]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20, help="of three objects; a quarter as many of the others")
    parser.add_argument("--groups", nargs="+", default=["objects", "box", "bunnies"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="also write the tables to this file, and JSON beside it")
    arguments = parser.parse_args()
    groups = {
        "objects": ("Three objects", objects, arguments.scenes),
        "box": ("A box", coarse, -(-arguments.scenes // 4)),
    }
    if (mesh := bunny()) is not None:
        centred = np.eye(4)
        centred[:3, 3] = -mesh.bounds.mean(axis=0)
        groups["bunnies"] = ("Two bunnies", partial(dense, mesh.transformed(centred)), -(-arguments.scenes // 4))
    report = [
        "# Accuracy of gradients\n",
        f"What it measures and against what: the docstring of the script. {machine()}.\n",
    ]
    for title, group, scenes in (groups[name] for name in arguments.groups if name in groups):
        began = time.perf_counter()
        pairs = measure(group, scenes, arguments.seed)
        count, seconds = len(next(iter(pairs.values()))), time.perf_counter() - began
        text = (
            f"{title}: {scenes} scenes, {count} objects with at least {FEWEST_PIXELS} visible pixels, "
            f"{WIDTH}x{HEIGHT}, seed {arguments.seed}, {seconds:.0f} s.\n\n{table(pairs)}\n"
        )
        print(text, flush=True)
        report.append(text)
    if arguments.output:
        record.write(arguments.output, "\n".join(report))


if __name__ == "__main__":
    main()
