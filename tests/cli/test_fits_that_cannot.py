"""Fits that cannot help say so: one line, and exit code 3; wrong units are refused on either side."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sldiff_jax as sl
from sldiff_jax.cli import main
from sldiff_jax.mesh_renderer import box_mesh

CAMERA = sl.Camera.from_intrinsics(150, 150, 48, 36, width=96, height=72)


@pytest.fixture
def files(tmp_path: pathlib.Path):
    """A box before a grey wall: its files, and a function that makes the arguments of the command."""
    mesh = box_mesh((0.08, 0.06, 0.05), seed=2)
    corners, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    lines = [*(f"v {x} {y} {z}" for x, y, z in corners), *(f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces)]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    T = np.asarray(sl.se3_exp(jnp.array([0.5, 0.4, 0.1, 0, 0, 0]))) @ np.eye(4)
    T[:3, 3] = [-0.05, 0, 0.4]
    seen = sl.render(sl.Scene(T[None].astype(np.float32), CAMERA), sl.MeshRenderer([mesh]))
    mask = np.asarray(seen.mask) > 0.5
    rgb = np.where(mask[..., None], np.asarray(seen.rgb), 0.5)
    depth = np.where(mask, np.asarray(seen.depth), 0.7)
    Image.fromarray((255 * rgb).astype(np.uint8)).save(tmp_path / "rgb.png")
    Image.fromarray((255 * mask).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray((1e4 * depth).astype(np.uint16)).save(tmp_path / "depth.png")
    camera = {"fx": 150, "fy": 150, "cx": 48, "cy": 36, "width": 96, "height": 72, "pixel_center": 0.5}
    (tmp_path / "camera.json").write_text(json.dumps({"camera": camera}))

    def arguments(*more: str, shift: float = 0.005) -> list[str]:
        start = T.copy()
        start[0, 3] += shift
        (tmp_path / "start.json").write_text(json.dumps(start.tolist()))
        words = ["refine", "--mesh", "box.obj", "--image", "rgb.png", "--mask", "mask.png", "--camera", "camera.json"]
        words += ["--pose", "start.json", "--output", "out", "--resolution", "64", "--steps", "12", *more]
        return [str(tmp_path / word) if (tmp_path / word).exists() or word == "out" else word for word in words]

    return tmp_path, arguments


@pytest.mark.slow
def test_a_start_beside_the_object_is_told_apart_from_a_fit_that_came_home(files, capsys):
    folder, arguments = files
    assert main(arguments("--depth", "depth.png", "--depth-scale", "1e-4")) == 0
    assert json.loads((folder / "out" / "pose.json").read_text())["status"] in ("converged", "step_limit")
    assert "so that its colours are not compared" in capsys.readouterr().err  # the file has none
    assert main(arguments("--depth", "depth.png", "--depth-scale", "1e-4", shift=0.13)) == 3
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("sldiff-jax: nothing pulls at the start: it does not meet the object in the photo.")
    report = json.loads((folder / "out" / "pose.json").read_text())
    assert report["status"] == "no_pull" and report["moved"]["translation_mm"] < 1e-2


@pytest.mark.parametrize("scale", ["10", "0.1"])
def test_a_mesh_in_a_wrong_unit_is_refused_on_either_side(files, capsys, scale):
    _, arguments = files
    assert main(arguments("--depth", "depth.png", "--depth-scale", "1e-4", "--mesh-scale", scale)) == 2
    assert "Probably wrong units: try --mesh-scale 1." in capsys.readouterr().err


def recorded(shared_data: pathlib.Path, name: str) -> pathlib.Path:
    folder = shared_data / "failing_inputs" / name
    if not folder.is_dir():
        pytest.skip(f"no recorded input {folder}")
    return folder


def command(folder: pathlib.Path, mesh: str, *more: str) -> list[str]:
    files = ("rgb.png", "mask.png", "depth.png", "camera.json", "start.json")
    names = ("--image", "--mask", "--depth", "--camera", "--pose")
    words = [word for name, file in zip(names, files) for word in (name, str(folder / file))]
    return ["refine", "--mesh", str(folder / mesh), *words, "--depth-scale", "0.001", *more]


def test_the_recorded_mesh_that_is_ten_times_too_large_is_refused(shared_data, tmp_path, capsys):
    folder = recorded(shared_data, "ten_times_too_large")
    assert main(command(folder, "toy.obj", "--mesh-scale", "10", "--output", str(tmp_path / "out"))) == 2
    assert "try --mesh-scale 1." in capsys.readouterr().err


@pytest.mark.slow
def test_the_recorded_mesh_of_one_colour_comes_home(shared_data, tmp_path):
    folder = recorded(shared_data, "mesh_of_one_colour")
    assert main(command(folder, "toy.stl", "--output", str(tmp_path / "out"))) in (0, 3)
    scores = json.loads((tmp_path / "out" / "pose.json").read_text())["scores"]["result"]
    assert scores["iou"] > 0.95 and scores["median_abs_depth_residual_m"] < 0.002
