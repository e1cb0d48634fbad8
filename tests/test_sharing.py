"""What the caller writes into its NumPy arrays afterwards changes nothing here: JAX's arrays do not change."""

import jax
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import demo_mesh


def aligned(values, dtype):
    """An array that XLA could use where it lies."""
    values = np.asarray(values, dtype)
    memory = np.zeros(values.nbytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    array = memory[begin : begin + values.nbytes].view(dtype).reshape(values.shape)
    array[...] = values
    return array


def camera(T_world_camera=None):
    return sl.Camera.from_fov(1.0, width=64, height=48, T_world_camera=T_world_camera)


def mesh(vertices=None, faces=None, uv=None, texture=None):
    demo = demo_mesh()
    return sl.Mesh(
        np.asarray(demo.vertices) if vertices is None else vertices,
        np.asarray(demo.faces) if faces is None else faces,
        uv=np.asarray(demo.uv) if uv is None else uv,
        texture=np.full((8, 8, 3), 0.5, np.float32) if texture is None else texture,
    )


def seen(rgb=None, depth=None, mask=None):
    return sl.Observation(rgb, depth, mask)


demo = demo_mesh()
CASES = {
    "vertices": (lambda x: mesh(vertices=x), demo.vertices, np.float32),
    "faces": (lambda x: mesh(faces=x), demo.faces, np.int32),
    "uv": (lambda x: mesh(uv=x), demo.uv, np.float32),
    "float texture": (lambda x: mesh(texture=x), np.full((8, 8, 3), 0.5), np.float32),
    "byte texture": (lambda x: mesh(texture=x), np.full((8, 8, 3), 9), np.uint8),
    "replaced vertices": (lambda x: mesh().replace(vertices=x), demo.vertices, np.float32),
    "replaced texture": (lambda x: mesh().replace(texture=x), np.full((8, 8, 3), 0.5), np.float32),
    "poses": (lambda x: sl.Scene(x, camera()), np.eye(4)[None], np.float32),
    "labels": (lambda x: sl.Scene(np.tile(np.eye(4), (16, 1, 1)), camera(), x), np.arange(1, 17), np.int32),
    "camera": (lambda x: camera(T_world_camera=x), np.eye(4), np.float32),
    "rgb": (lambda x: seen(rgb=x), np.full((48, 64, 3), 0.5), np.float32),
    "depth": (lambda x: seen(depth=x), np.full((48, 64), 0.5), np.float32),
    "mask": (lambda x: seen(mask=x), np.full((48, 64), 0.5), np.float32),
    "background": (lambda x: sl.MeshRenderer([demo], background=x), np.full((48, 64, 3), 0.5), np.float32),
    "light": (
        lambda x: sl.MeshRenderer([demo], shading="phong", light_directions=x, light_colors=np.ones((16, 3))),
        np.ones((16, 3)), np.float32,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_arrays_are_copied(case):
    make, values, dtype = CASES[case]
    array = aligned(values, dtype)
    made = make(array)
    before = jax.tree.map(np.array, jax.tree.leaves(made))
    array[...] = 0
    for old, new in zip(before, jax.tree.leaves(made), strict=True):
        np.testing.assert_array_equal(new, old)
