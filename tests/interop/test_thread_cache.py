"""stillleben's objects that several factories share."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import gc

import numpy as np

from interop.stillleben import thread_cache


@pytest.fixture
def meshes(boundary):
    """A cached function of a seed and options, and the list of its calls."""
    calls = []

    @thread_cache
    def mesh(seed, **options):
        """A mesh."""
        calls.append((seed, options))
        if seed < 0:
            raise ValueError("a negative seed")
        return boundary.stillleben.Mesh((0.1, 0.1, 0.1), seed=seed)

    yield mesh, calls
    mesh.clear()


def factory(boundary, mesh, *seeds, **options):
    def build():
        scene = boundary.stillleben.Scene((16, 12))
        for seed in seeds:
            item = boundary.stillleben.Object(mesh(seed, **options))
            pose = item.pose()
            pose[2, 3] = 0.5 + 0.1 * len(scene.objects)
            item.set_pose(pose)
            scene.add_object(item)
        return scene

    return build


def test_a_mesh_is_made_once_for_all_factories(boundary, meshes):
    mesh, calls = meshes
    first = boundary.Renderer.build(factory(boundary, mesh, 0, 1))
    second = boundary.Renderer.build(factory(boundary, mesh, 1, 0, 1))
    assert [seed for seed, _ in calls] == [0, 1]
    boundary.Renderer.build(factory(boundary, mesh, 0, colour="red"))
    assert calls[2:] == [(0, {"colour": "red"})]
    expected = first(first.scene())
    del second
    gc.collect()
    np.testing.assert_array_equal(first(first.scene()).rgb, expected.rgb)
    assert mesh.__name__ == "mesh" and mesh.__doc__ == "A mesh."


def test_what_is_cleared_is_made_again_and_scenes_keep_theirs(boundary, meshes):
    mesh, calls = meshes
    renderer = boundary.Renderer.build(factory(boundary, mesh, 0))
    expected = renderer(renderer.scene())
    mesh.clear()
    mesh.clear()
    np.testing.assert_array_equal(renderer(renderer.scene()).rgb, expected.rgb)
    boundary.Renderer.build(factory(boundary, mesh, 0))
    assert len(calls) == 2


def test_elsewhere_it_says_where_it_works(boundary, meshes):
    mesh, calls = meshes
    with pytest.raises(RuntimeError, match=r"mesh keeps stillleben's objects.*StilllebenRenderer\.build"):
        mesh(0)
    assert calls == []


def test_a_failure_is_not_kept(boundary, meshes):
    mesh, calls = meshes
    for _ in range(2):
        with pytest.raises(ValueError, match="a negative seed"):
            boundary.Renderer.build(factory(boundary, mesh, -1))
    assert len(calls) == 2
