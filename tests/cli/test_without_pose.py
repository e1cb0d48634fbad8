"""``sldiff-jax refine`` without a start."""

import argparse
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image
from rendered_photo import arguments, write_photo

import sldiff_jax as sl
from sldiff_jax import metrics
from sldiff_jax._refine import search
from sldiff_jax.cli import _inputs, main
from sldiff_jax.cli._arguments.refine import add_arguments
from sldiff_jax.cli._photo_fit import PhotoFit, fit_photo


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo")
    write_photo(folder)
    return folder


def refine(folder, output, **changed) -> list[str]:
    return ["refine", *arguments(folder, output, pose=None, port=None, **changed)[1:]]


@pytest.mark.slow
def test_the_pose_is_found(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "KEPT", (32, 16, 4))
    code = main(refine(photo, tmp_path / "out"))
    said = capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "pose.json").read_text())
    T, T_true = (
        np.array(x, np.float32) for x in (document["T_camera_object"], json.loads((photo / "true.json").read_text()))
    )
    assert float(metrics.rotation_error(T, T_true)) < np.radians(3)
    assert float(metrics.translation_error(T, T_true)) < 0.02
    assert code == 0
    assert document["score"] > 0.7
    assert document["search"]["poses"][0]["loss"] == min(pose["loss"] for pose in document["search"]["poses"])
    assert set(document["standard_deviations"]) == {"rotation_deg", "translation_mm"}
    assert "no other pose found fits as well" in said
    assert (tmp_path / "out" / "hypotheses.png").stat().st_size > 1000


def fitted(folder, output, monkeypatch, poses, losses, *, T_measured=None) -> PhotoFit:
    """The fit after a search that ended with these poses; with the depth of the object at one, if it is given."""

    def find_start(images, camera, mesh, options):
        observation = sl.Observation(images.photo, mask=images.mask)
        T = jnp.asarray(np.stack(poses), jnp.float32)[:, None]
        scene = sl.Scene(T[0], camera)
        found = sl.refine_poses(
            scene, observation, sl.MeshRenderer([mesh], buffers="core"), loss=sl.silhouette_loss, steps=1
        )
        return dataclasses.replace(
            found, scene=scene, T_world_object=np.asarray(T), losses=np.array(losses), alternatives=np.asarray(T[1:])
        )

    monkeypatch.setattr(_inputs, "find_start", find_start)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    inputs = _inputs.read_inputs(parser.parse_args(refine(folder, output)[1:]))
    if T_measured is not None:
        inputs = inputs._replace(depth=_inputs.rendered_depth(inputs, T_measured))
    return fit_photo(inputs, resolution=64, steps=30)


def test_poses_that_a_search_cannot_tell_apart_are_fitted_and_told_apart(photo, tmp_path, monkeypatch):
    T_true = np.array(json.loads((photo / "true.json").read_text()), np.float32)
    turned, near = (T_true @ np.asarray(sl.se3_exp(jnp.array([0.0, angle, 0, 0, 0, 0]))) for angle in (2.5, 0.15))
    for T_measured in (None, T_true):
        fit = fitted(photo, tmp_path, monkeypatch, [turned, near], [0.1, 0.101], T_measured=T_measured)
        assert len(fit.others) == 0
        assert float(metrics.rotation_error(fit.refinement.scene.T_world_object[0], T_true)) < np.radians(2)
        assert len(fit.refinement.losses) >= 2 and fit.refinement.best_start != 0
        # Without depth, colours in another light may tell them apart the wrong way round.
        assert fit.refinement.status.trusted == (T_measured is not None)


def test_poses_that_the_photo_cannot_tell_apart_are_doubted(tmp_path, monkeypatch):
    """A box from the front, of which only the sides, which do not show, tell what is up."""
    write_photo(tmp_path)
    box = trimesh.creation.box((0.1, 0.06, 0.04))
    box.unmerge_vertices()
    box.visual.vertex_colors = np.where(box.vertex_normals[:, :1] > 0.9, [[255, 0, 0, 255]], [[150, 150, 150, 255]])
    box.export(tmp_path / "mesh.ply")
    T_true = np.eye(4, dtype=np.float32)
    T_true[:3, 3] = [0.01, -0.008, 0.4]
    camera = sl.Camera.from_intrinsics(330.0, 330.0, 124.0, 87.0, width=240, height=180)
    mesh = sl.Mesh.load(tmp_path / "mesh.ply")
    seen = sl.MeshRenderer([mesh], supersample=2)(sl.Scene(T_true[None], camera))
    Image.fromarray(np.asarray(seen.rgb)[..., :3]).save(tmp_path / "image.png")
    Image.fromarray(np.where(np.asarray(seen.instance_index) > 0, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    upside_down = T_true @ np.diag([-1.0, -1, 1, 1]).astype(np.float32)
    fit = fitted(tmp_path, tmp_path / "out", monkeypatch, [T_true, upside_down], [0.1, 0.101])
    assert fit.refinement.status is sl.Status.DOUBTFUL and "more than one pose" in fit.refinement.doubts[-1]
    assert len(fit.others) == 1
    # The sides are what tells: without them, both poses are one.
    box.visual.vertex_colors = [150, 150, 150, 255]
    box.export(tmp_path / "mesh.ply")
    assert len(fitted(tmp_path, tmp_path / "out", monkeypatch, [T_true, upside_down], [0.1, 0.101]).others) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mask": None}, "Nothing says where the object is: give --pose"),
        ({"box": "1 2 3 4"}, "--box says where to look"),
        ({"mesh_scale": 1000}, "m away to look as large"),
    ],
)
def test_bad_input(photo, tmp_path, capsys, changed, message):
    words = refine(photo, tmp_path / "out", **{k: v for k, v in changed.items() if k != "box"})
    if "box" in changed:
        words += ["--box", *changed["box"].split()]
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_box_outside_of_the_photo(photo, tmp_path, capsys):
    words = [*refine(photo, tmp_path / "out", mask=None), "--box", "500", "10", "30", "30"]
    assert main(words) == 2
    assert "outside of the image of 240x180" in capsys.readouterr().err
