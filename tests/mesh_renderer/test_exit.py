"""A process ends, whatever it leaves unfinished."""

import subprocess
import sys

import pytest

SCRIPT = """
import jax, jax.numpy as jnp, sldiff_jax as sl
from sldiff_jax.mesh_renderer import demo_mesh

camera = sl.Camera.from_fov(0.8, width=320, height=240)
renderer = sl.MeshRenderer([demo_mesh()], buffers="core")
T = jnp.eye(4).at[2, 3].set(0.4)
loss = lambda T: jnp.sum(sl.render(sl.Scene(T[None], camera), renderer).rgb)
scene = sl.Scene(T[None], camera)
pull = lambda T: sl.backpropagate_gradient_to_poses(sl.Scene(T[None], camera), result, jnp.ones((3, 240, 320)))
result = renderer(scene)
f = jax.jit({f})
jax.block_until_ready(f(T))
for _ in range(5):
    last = f(T)
{last}
print("the end")
"""


@pytest.mark.parametrize("f", ["loss", "jax.grad(loss)", "pull"])
@pytest.mark.parametrize("last", ["", "del last"])
def test_a_process_ends_while_something_is_computed(f, last):
    """It used to wait forever."""
    script = SCRIPT.replace("{f}", f).replace("{last}", last)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the end\n"
