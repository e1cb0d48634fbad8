"""Objects of equal array sizes draw as they did, and one compiled program cannot tell them apart."""

import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax import bop
from sldiff_jax.bop._drawable import Drawables, structure
from sldiff_jax.bop._write import write_models
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

MESHES = {2: box_mesh(), 7: demo_mesh(), 9: sphere_mesh()}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> bop.Models:
    folder = tmp_path_factory.mktemp("drawable")
    write_models(folder, MESHES, {})
    return bop.Models(folder / "models")


def test_padded_objects_look_and_move_as_before(models):
    drawables = Drawables(models, list(models))
    assert len({structure(drawables.alone(object_id)) for object_id in models}) == 1
    camera = sl.Camera.from_fov(0.5, width=48, height=36)
    T = np.array(sl.se3_exp(np.array([0.4, 0.5, 0.6, 0, 0, 0], np.float32)))
    T[2, 3] = 0.4
    scene = sl.Scene(T[None], camera)
    for object_id in models:
        plain, padded = sl.MeshRenderer([models.mesh(object_id)], buffers="core"), drawables.alone(object_id)
        for before, after in zip(vars(sl.render(scene, plain)).values(), vars(sl.render(scene, padded)).values()):
            assert (before is None) == (after is None)
            if before is not None:
                np.testing.assert_allclose(after, before, atol=1e-6)


def test_scenes_of_equal_numbers_are_alike(models):
    drawables = Drawables(models, list(models))
    assert structure(drawables.together([2, 7])) == structure(drawables.together([9, 9]))
    assert structure(drawables.together([2, 7])) != structure(drawables.together([2, 7, 9]))
