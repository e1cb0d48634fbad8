"""Synthetic data sets: the same from the same seed, with what was promised in them."""

import json
import math
import pathlib

import numpy as np
import pytest

from sldiff_jax import bop
from sldiff_jax.cli import main
from sldiff_jax.mesh_renderer import box_mesh

SIZE = (72, 96)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> bop.Dataset:
    folder = tmp_path_factory.mktemp("made") / "small"
    return bop.make_dataset(folder, images=27, seed=2, size=SIZE, offset=bop.Offset(math.radians(12), 0.015))


def test_images_and_objects(made):
    assert made.image_ids == (*((1, k) for k in range(25)), (2, 0), (2, 1))
    counts = [len(frame.instances) for frame in made]
    assert min(counts) >= 2 and max(counts) == 3
    visible = [i.visibility for frame in made for i in frame.instances]
    assert 0.1 < np.mean(np.array(visible) < 0.95) < 0.9  # some hide others
    assert {i.object_id for frame in made for i in frame.instances} == {1, 2, 3}
    frame = made[0]
    assert frame.rgb.shape == (*SIZE, 3) and frame.rgb.std() > 20
    measured = frame.depth > 0
    assert 0.9 < measured.mean() < 1  # holes
    assert frame.T_world_camera is not None and not np.allclose(frame.T_world_camera, made[1].T_world_camera)


def test_masks_show_the_objects_and_depth_agrees(made):
    for frame in made[:5]:
        for instance in frame.instances:
            mask = frame.mask(instance.place)
            if mask.sum() < 20:
                continue
            depth = frame.depth[mask & (frame.depth > 0)]
            z = instance.T_camera_object[2, 3]
            assert np.abs(np.median(depth) - z) < 0.6 * made.models[instance.object_id].diameter


def test_estimates_are_off_as_asked(made):
    estimates = bop.read_estimates(made.folder / "coarse_small-test.csv")
    visible = [i for frame in made for i in frame.instances if i.visibility >= 0.1]
    assert len(estimates) == len(visible)
    for estimate, instance in zip(estimates, visible, strict=True):
        assert estimate.object_id == instance.object_id
        R = estimate.T_camera_object[:3, :3] @ instance.T_camera_object[:3, :3].T
        assert math.degrees(math.acos((np.trace(R) - 1) / 2)) == pytest.approx(12, abs=1e-3)
        centre = np.append(made.models.mesh(instance.object_id).bounds.mean(axis=0), 1)
        shift = (estimate.T_camera_object - instance.T_camera_object) @ centre
        assert np.linalg.norm(shift) == pytest.approx(0.015, abs=1e-6)


def test_equal_seeds_make_equal_files(tmp_path):
    meshes = {4: box_mesh(seed=1), 9: box_mesh((0.03, 0.05, 0.02), seed=2)}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        bop.make_dataset(tmp_path / name / "same", meshes, images=2, seed=seed, size=SIZE)
    first, second, third = (contents(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == third.keys() and first != third


def test_the_command(tmp_path, capsys):
    folder = tmp_path / "mine"
    arguments = ["bop", "make", "--images", "2", "--width", "96", "--seed", "7", "--output", str(folder)]
    assert main(arguments) == 0
    assert "2 images with" in capsys.readouterr().out
    record = json.loads((folder / "run.json").read_text())
    assert record["command"] == ["sldiff-jax", *arguments] and record["settings"]["seed"] == 7
    assert main(arguments) == 2
    assert "must be a new folder" in capsys.readouterr().err
    again = ["bop", "make", "--images", "2", "--width", "96", "--output", str(tmp_path / "own")]
    meshes = [str(folder / "models" / f"obj_00000{k}.ply") for k in (2, 3)]
    assert main([*again, "--mesh-scale", "0.001", "--meshes", *meshes]) == 0
    assert list(bop.Dataset.open(tmp_path / "own").models) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "0"], "needs images and meshes"),
        (["--width", "40"], "at least 32 pixels"),
        (["--output", "my_set"], 'no "_"'),
        (["--meshes", "none.ply"], "does not exist: none.ply"),
        (["--offset-rotation", "-1"], "--offset-rotation must be a positive number"),
    ],
)
def test_wrong_input(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["bop", "make", *arguments]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())
