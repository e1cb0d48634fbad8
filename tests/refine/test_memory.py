"""Memory is compared before a program runs, and the number in the error is one that works."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._refine import memory
from sldiff_jax._refine.compiled import kept_program, program
from sldiff_jax.mesh_renderer.meshes.shapes import demo_mesh

SIZE = 32


@pytest.fixture(scope="module")
def task():
    renderer = sl.MeshRenderer([demo_mesh()], buffers="core")
    camera = sl.Camera.from_fov(0.6, width=SIZE, height=SIZE)
    scene = sl.Scene(jnp.eye(4).at[2, 3].set(0.25)[None], camera)
    seen = sl.render(scene, renderer)
    return scene, sl.Observation(seen.rgb), renderer


def refine(task, hypotheses):
    return sl.refine_poses(*task, loss=sl.photometric_loss, steps=2, hypotheses=hypotheses)


def test_the_error_names_a_number_that_fits(task, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 1_500_000)
    with pytest.raises(ValueError, match=rf"16 starts at once, at {SIZE}x{SIZE} pixels, need .* are free") as raised:
        refine(task, 16)
    (fitting,) = map(int, re.findall(r"(\d+) fit: ask for fewer hypotheses", str(raised.value)))
    assert 1 < fitting < 16
    assert refine(task, fitting).T_world_object.shape[0] == fitting
    with pytest.raises(ValueError, match="ask for fewer hypotheses"):
        refine(task, fitting + 3)


def test_where_not_one_fits(task, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 10_000)
    with pytest.raises(ValueError, match="Not one fits: reduce the images"):
        refine(task, 1)


@pytest.mark.parametrize("free", [None, 10**12])
def test_nothing_is_compiled_twice_where_there_is_room(task, monkeypatch, free):
    monkeypatch.setattr(memory, "free_bytes", lambda: free)

    def never(*_):
        raise AssertionError("compiled to look at its memory")

    looked_at = program(lambda x: x)._replace(bytes_needed=never)
    memory.check_fits(looked_at, (jnp.zeros(3),), task[0], 1000, 2)


@pytest.mark.parametrize("make", [program, kept_program])
def test_bytes_are_those_of_results_and_of_what_lies_between(make):
    x = jnp.zeros(100_000)
    assert make(lambda x: x + 1).bytes_needed(x) == 400_000
    # The product of 300 x 300 is needed as a whole before its rows are sorted.
    assert make(lambda y: jnp.sort(y @ y, axis=0).sum()).bytes_needed(jnp.zeros((300, 300))) >= 360_000


def test_free_memory_is_that_of_the_machine_at_most():
    free = memory.free_bytes()
    if free is None:
        pytest.skip("nothing tells how much memory is free here")
    assert free > 0
    if jax.default_backend() == "cpu" and (total := memory._free_on_machine()) is not None:
        assert free <= 1.2 * total
        held = np.ones(200_000_000 // 8)  # 200 MB, touched
        assert memory._free_on_machine() < total + 100_000_000 and held[0] == 1


@pytest.mark.slow
def test_the_bound_holds_for_blurred_least_squares(task):
    """What lies below it is never looked at."""
    scene, observation, renderer = task
    look = sl.render(scene, renderer)
    seen = sl.Observation(observation.rgb, look.depth, look.mask)
    found = []

    def looked(compiled, args, scene, starts, supersample):
        found.append(compiled.bytes_needed(*args) / starts / SIZE**2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sldiff_jax._refine.loop.check_fits", looked)
        stages = [sl.Stage(1, blur=2.0, optimizer=sl.LevenbergMarquardt())]
        sl.refine_poses(scene, seen, renderer, loss=sl.default_loss, stages=stages, hypotheses=3)
    assert len(found) >= 2 and 500 < max(found) < memory.AT_MOST
