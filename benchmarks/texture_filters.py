"""What mipmaps are worth: the recorded bunny (a texture of 2048 x 2048) and can, seen 64 pixels wide.

For "bilinear", "mipmap" and the latter with anisotropy, at one and at four samples per pixel, inside the object and
against 16 x 16 samples:

- error: root mean square difference, in grey levels;
- flicker: that of its change when the object moves by an eighth of a pixel;
- gradient: median and 90th percentile of the relative error of the gradient of a mean squared difference to another
  pose, by the object's pose, against central differences of images of 8 x 8 samples (`sldiff_jax.check_grad`).

    python benchmarks/texture_filters.py [--poses 12]

Prints a table in Markdown. The time of an iteration is what `bench_renderer.py` measures.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from rendering import bunny
from scenes import shared_data

import sldiff_jax as sl

WIDTH, HEIGHT = 64, 48
CAMERA = sl.Camera.from_fov(0.6, width=WIDTH, height=HEIGHT)
DEPTH = 0.5
PIXEL = DEPTH / float(CAMERA.intrinsics[0])  # metres
SHIFTS = 16
FILTERS = {
    "bilinear": {},
    "mipmap": {"texture_filter": "mipmap"},
    "mipmap, anisotropy 8": {"texture_filter": "mipmap", "anisotropy": 8},
}


def centred(mesh: sl.Mesh) -> sl.Mesh:
    """The mesh about its middle, 0.2 m across."""
    T = np.diag([*[0.2 / mesh.diameter] * 3, 1.0])
    T[:3, 3] = -T[0, 0] * mesh.bounds.mean(axis=0)
    return mesh.transformed(T)


def pose(rng: np.random.Generator) -> jax.Array:
    """(4, 4): turned at random, about in the middle."""
    rotation = rng.normal(size=3)
    rotation *= rng.uniform(0, np.pi) / np.linalg.norm(rotation)
    turned = sl.se3_exp(jnp.asarray([*rotation, 0, 0, 0], jnp.float32))
    return turned.at[:3, 3].set(jnp.asarray([*rng.uniform(-0.02, 0.02, 2), DEPTH], jnp.float32))


def images(renderer: sl.MeshRenderer, poses: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Colours (B, H, W, 3) in grey levels and masks (B, H, W) at poses (B, 4, 4)."""
    draw = jax.jit(lambda T: sl.render(sl.Scene(T[None], CAMERA), renderer))
    drawn = [draw(T) for T in poses]
    return np.stack([255 * r.rgb for r in drawn]), np.stack([r.mask for r in drawn])


def aliasing(renderer: sl.MeshRenderer, moves: list[tuple[jax.Array, np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Root mean squares of error and flicker."""
    errors, changes = [], []
    for poses, truth, inside in moves:
        error = images(renderer, poses)[0] - truth
        errors.append(error[:, inside].ravel())
        changes.append(np.diff(error[:, inside], axis=0).ravel())
    return tuple(float(np.sqrt(np.mean(np.concatenate(part) ** 2))) for part in (errors, changes))


def gradient_errors(renderer: sl.MeshRenderer, poses: list[jax.Array]) -> np.ndarray:
    """(B,) relative errors; the other pose is about two pixels away."""
    errors = []
    for k, T in enumerate(poses):
        offset = np.random.default_rng(k).normal(size=6) * ([0.03] * 3 + [0.004] * 3)
        target = sl.render(sl.Scene((T @ sl.se3_exp(jnp.asarray(offset, jnp.float32)))[None], CAMERA), renderer).rgb
        check = sl.check_grad(
            sl.Scene(T[None], CAMERA), renderer, lambda r, target=target: jnp.mean((r.rgb - target) ** 2),
            supersample=8, pixels=0.5,
        )  # fmt: skip
        errors.append(float(check.relative_error[0]))
    return np.array(errors)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--poses", type=int, default=12)
    count = parser.parse_args().poses
    folder, loaded = shared_data(), bunny()
    if folder is None or loaded is None:
        raise SystemExit("The meshes are in the recorded data beside the repository (set SLDIFF_SHARED).")
    can = sl.Mesh.load(folder / "hope_alphabet_soup" / "AlphabetSoup.ply", scale=1e-3)
    print("| object | samples | texture filter | error | flicker | gradient, median | 90th percentile |")
    print("|---|---|---|---|---|---|---|")
    for name, mesh in (("bunny", centred(loaded)), ("can", centred(can))):
        rng = np.random.default_rng(0)
        poses = [pose(rng) for _ in range(count)]
        exact = sl.MeshRenderer([mesh], antialias=False, supersample=16)
        steps = jnp.arange(SHIFTS) * PIXEL / 8
        moves = []
        for T in poses[: max(count // 3, 1)]:
            moved = jax.vmap(lambda step, T=T: T.at[0, 3].add(step))(steps)
            truth, masks = images(exact, moved)
            moves.append((moved, truth, (masks == 1).all(axis=0)))
        for samples in (1, 2):
            for texture_filter, options in FILTERS.items():
                renderer = sl.MeshRenderer([mesh], supersample=samples, **options)
                error, flicker = aliasing(renderer, moves)
                gradients = gradient_errors(renderer, poses)
                print(
                    f"| {name} | {samples} x {samples} | {texture_filter} | {error:.1f} | {flicker:.1f} "
                    f"| {np.median(gradients):.3f} | {np.percentile(gradients, 90):.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
