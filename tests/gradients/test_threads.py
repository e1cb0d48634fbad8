"""Sharing a launch: every part once, errors come through, and no bit depends on the number of threads."""

import threading

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._gradients.threads import VARIABLE, share, thread_count
from sldiff_jax.mesh_renderer.meshes.shapes import demo_mesh


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [0, 1, 5, 16])
def test_every_part_is_done_once(monkeypatch, threads, size):
    monkeypatch.setenv(VARIABLE, str(threads))
    done, names = np.zeros(size, int), set()

    def work(first, end):
        assert end - first <= -(-size // min(threads, max(size, 1)))
        done[first:end] += 1
        names.add(threading.current_thread().name)
        if threads > 1 and threading.current_thread() is not threading.main_thread():
            assert thread_count() == 1

    share(size, work)
    np.testing.assert_array_equal(done, 1)
    assert len(names) <= max(1, min(threads, size))


def test_errors_of_other_threads_are_raised(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2")

    def work(first, end):
        if first > 0:
            raise LookupError("in the second part")

    with pytest.raises(LookupError, match="in the second part"):
        share(4, work)


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_is_an_error(monkeypatch, said):
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(ValueError, match="must be a positive number of threads"):
        thread_count()


def test_no_bit_depends_on_the_number_of_threads(monkeypatch):
    renderer = sl.MeshRenderer([demo_mesh()], buffers="core")
    camera = sl.Camera.from_fov(0.7, width=40, height=30)
    T = jnp.tile(jnp.eye(4), (5, 1, 1, 1)).at[:, 0, 2, 3].set(jnp.linspace(0.25, 0.4, 5))
    observation = sl.Observation(rgb=np.random.default_rng(0).random((30, 40, 3), np.float32))

    def loss(T):
        return sl.photometric_loss(sl.render(sl.Scene(T, camera), renderer), observation)

    def change(T):
        return sl.render_jvp(sl.Scene(T, camera), renderer, jnp.ones((1, 6)))

    functions = [
        jax.jit(jax.vmap(f)) for f in (jax.value_and_grad(loss), change, lambda T: renderer(sl.Scene(T, camera)))
    ]
    scene, result = analytic.random_buffers(1, uint8=True)
    cotangent = analytic.random_cotangent(1)

    def everything(threads):
        monkeypatch.setenv(VARIABLE, str(threads))
        outputs = [function(T) for function in functions]
        outputs.append(sl.backpropagate_gradient_to_poses(scene, result, cotangent))
        return [np.asarray(x) for x in jax.tree.leaves(outputs)]

    expected = everything(1)
    assert all(np.abs(x).max() > 0 for x in expected[:2])
    for threads in (2, 3, 7):
        for got, alone in zip(everything(threads), expected, strict=True):
            np.testing.assert_array_equal(got, alone)
