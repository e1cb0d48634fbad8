"""Starts spread over several devices of one process: the same results, and clear errors."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._refine.devices import spread
from sldiff_jax.mesh_renderer import box_mesh

CODE = """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import sldiff_jax as sl
    from sldiff_jax._refine.devices import spread
    from sldiff_jax.mesh_renderer import box_mesh

    devices = tuple(jax.devices())
    assert len(devices) == 3
    for starts in (2, 3, 4, 7):
        x = jnp.arange(2.0 * starts).reshape(starts, 2)
        y = spread(jax.vmap(lambda row: {"sum": row.sum(), "row": row + 1}), starts, devices)(x)
        np.testing.assert_array_equal(y["sum"], x.sum(axis=1))
        np.testing.assert_array_equal(y["row"], x + 1)
    rows = jax.jit(lambda x: spread(jax.vmap(jnp.sin), 3, devices)(x))(jnp.ones((3, 2)))
    assert {shard.device for shard in rows.addressable_shards} == set(devices)

    camera = sl.Camera.from_fov(0.5, width=32, height=24)
    renderer = sl.MeshRenderer([box_mesh()], buffers="core")
    T = sl.se3_exp(jnp.array([0.4, 0.5, 0.6, 0, 0, 0])).at[2, 3].set(0.4)
    rendering = sl.render(sl.Scene(T[None], camera), renderer)
    observation = sl.Observation(rendering.rgb, rendering.depth, rendering.mask)
    start = sl.Scene((T @ sl.se3_exp(jnp.array([0.1, 0.1, -0.1, 0.004, 0, 0.002])))[None], camera)
    options = dict(optimizer=sl.LevenbergMarquardt(), steps=4, hypotheses=5, key=jax.random.key(1))
    alone = sl.refine_poses(start, observation, renderer, **options)
    together = sl.refine_poses(start, observation, renderer, devices=jax.devices(), **options)
    assert alone.statuses == together.statuses and alone.best_start == together.best_start
    np.testing.assert_allclose(together.loss_history, alone.loss_history, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(together.T_world_object, alone.T_world_object, atol=1e-5)
    print("equal")
"""


@pytest.mark.slow
def test_uneven_numbers_of_starts_over_three_devices():
    flags = "--xla_force_host_platform_device_count=3"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    code = textwrap.dedent(CODE)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("equal\n")


def test_one_device_in_the_list_is_that_device():
    x = jnp.arange(6.0).reshape(3, 2)
    y = spread(jax.vmap(lambda row: row.sum()), 3, tuple(jax.devices()[:1]))(x)
    np.testing.assert_array_equal(y, x.sum(axis=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": []}, r"such as jax.devices\(\), got none"),
        ({"devices": ["cpu:0"]}, r"such as jax.devices\(\), got \['cpu:0'\]"),
        ({"devices": [jax.devices()[0]] * 2}, "must not repeat one"),
        ({"devices": jax.devices()[:1], "jit": False}, "Leave out devices with jit=False"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_what_cannot_be_spread(options, message):
    camera = sl.Camera.from_fov(0.5, width=32, height=24)
    scene = sl.Scene(np.eye(4, dtype=np.float32)[None], camera)
    observation = sl.Observation(rgb=np.zeros((24, 32, 3), np.float32))
    with pytest.raises(ValueError, match=message):
        sl.refine_poses(scene, observation, sl.MeshRenderer([box_mesh()]), **options)
