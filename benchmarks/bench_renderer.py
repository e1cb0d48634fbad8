"""The embedded renderer on the recorded bunny of 69,451 triangles. Skipped without the recorded data."""

from __future__ import annotations

import jax
import pytest
import rendering

import sldiff_jax as sl


@pytest.fixture(scope="module")
def mesh() -> sl.Mesh:
    """The bunny."""
    loaded = rendering.bunny()
    if loaded is None:
        pytest.skip("no recorded data beside the repository (set SLDIFF_SHARED to the shared folder)")
    assert loaded.num_triangles == 69_451
    return loaded


@pytest.mark.parametrize("shading", ["flat", "phong"])
@pytest.mark.parametrize("buffers", ["all", "core"])
def test_render(benchmark, mesh, buffers, shading):
    """One image of 640x480."""
    benchmark.group = "render, 640x480"
    light = {"light_directions": [[0.3, 0.6, 0.8]], "light_colors": [[3.0, 3.0, 3.0]]} if shading == "phong" else {}
    _measure(benchmark, rendering.render(mesh, buffers=buffers, shading=shading, **light))


def test_render_small(benchmark, mesh):
    """One image of 320x240."""
    benchmark.group = "render, 320x240"
    _measure(benchmark, rendering.render(mesh, width=320, height=240, buffers="core"))


@pytest.mark.parametrize("way", ["vmap", "loop"])
def test_render_batch(benchmark, mesh, way):
    """A batch of images of 320x240: one launch, and one after the other; both give the same images."""
    benchmark.group = f"render {rendering.BATCH} images, 320x240"
    in_one_launch, one_by_one = rendering.render_batch(mesh, width=320, height=240, buffers="core")
    _measure(benchmark, in_one_launch if way == "vmap" else one_by_one)


def test_fit_step(benchmark, mesh):
    """Value and gradient of a photometric loss, rendering included."""
    benchmark.group = "value and gradient of a photometric loss, 640x480"
    _measure(benchmark, rendering.fit_step(mesh))


def _measure(benchmark, function) -> None:
    benchmark.pedantic(lambda: jax.block_until_ready(function()), rounds=15, warmup_rounds=3)
