"""The renderer's derivative against finite differences of images that the real stillleben rendered."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer

WEIGHT = np.array([10.0, 10.0, 10.0, 1.0, 1.0, 1.0])  # a radian counts as 0.1 m of motion at the surface


def relative_error(gradient: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(N,) of (N, 6)."""
    return np.linalg.norm((gradient - measured) * WEIGHT, axis=1) / np.linalg.norm(measured * WEIGHT, axis=1)


@pytest.mark.parametrize(
    ("name", "supersample", "bound"),
    [("five_flat", 1, 0.07), ("five_flat", 2, 0.06), ("two_bunnies_flat", 1, 0.09), ("two_bunnies_flat", 2, 0.06)],
)
def test_finite_differences_of_the_real_stillleben(golden, shared_data, name, supersample, bound):
    """Dense textured meshes that hide each other and themselves, without shadows."""
    scene, _, data = golden(name)
    rows = data["object_mesh_id"].tolist()
    meshes = {
        k: Mesh.load(shared_data / "stillleben_golden" / str(data[f"mesh{k}_file"])).transformed(
            data[f"mesh{k}_pretransform"]
        )
        for k in set(rows)
    }
    renderer = MeshRenderer(
        [meshes[k] for k in rows],
        shading="phong",
        ambient_light=data["ambient_light"],
        exposure=data["manual_exposure"],
        supersample=supersample,
    )

    @jax.jit
    @jax.grad
    def gradient(delta):
        moved = dataclasses.replace(scene, T_world_object=sl.apply_pose_delta(scene.T_world_object, delta))
        return jnp.sum(sl.render(moved, renderer).rgb * jnp.moveaxis(data["grad_image"], 0, -1))

    measured = data["fd_pose_grad"]
    errors = relative_error(np.asarray(gradient(jnp.zeros(measured.shape))), measured)
    assert np.median(errors) <= bound
