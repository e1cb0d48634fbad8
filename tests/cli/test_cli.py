"""The command: its two jobs end to end, and every wrong input with its message."""

import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trimesh
from PIL import Image

import sldiff_jax as sl
from sldiff_jax.cli import main
from sldiff_jax.cli._arguments.choices import DESCENTS
from sldiff_jax.cli._fit import descent
from sldiff_jax.mesh_renderer import demo_mesh

WIDTH, HEIGHT, FOCAL = 160, 120, 220.0
PICTURES = ("observation.png", "start.png", "result.png", "overlay.png", "loss.png", "animation.gif")


def assert_pictures(folder: pathlib.Path, names=PICTURES) -> None:
    for name in names:
        with Image.open(folder / name) as image:
            image.load()
            assert min(image.size) > 50, name
            assert np.ptp(np.asarray(image.convert("L"))) > 30, f"{name} is blank"


@pytest.fixture(scope="session")
def photo(tmp_path_factory) -> pathlib.Path:
    """A small picture with depth and mask of a mesh in millimetres, the true pose, and a start 8 degrees and 5 mm off.

    The camera file counts from pixel centres, as OpenCV does.
    """
    folder = tmp_path_factory.mktemp("photo")
    mesh = demo_mesh()
    shape = trimesh.Trimesh(1e3 * np.asarray(mesh.vertices), np.asarray(mesh.faces), process=False)
    colors = 127.5 + 127.5 * np.sin(90 * np.asarray(mesh.vertices) + [0, 1, 2])
    shape.visual.vertex_colors = colors.astype(np.uint8)
    shape.export(folder / "mesh.ply")

    twist = jnp.array([0.4, -0.7, 0.3, 0, 0, 0])
    T_true = sl.se3_exp(twist).at[:3, 3].set(jnp.array([0.01, -0.008, 0.4]))
    T_start = T_true @ sl.se3_exp(jnp.array([0.08, -0.08, 0.08, 0.003, -0.003, 0.003]))
    camera = sl.Camera.from_intrinsics(FOCAL, FOCAL, 83.5, 58.5, width=WIDTH, height=HEIGHT)
    renderer = sl.MeshRenderer([sl.Mesh.load(folder / "mesh.ply", scale=1e-3)], background=np.full(3, 0.4))
    seen = renderer(sl.Scene(T_true[None], camera))
    inside = np.asarray(seen.instance_index) > 0
    Image.fromarray(np.asarray(seen.rgb)[..., :3]).save(folder / "image.png")
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(folder / "mask.png")
    depth = np.where(inside, np.asarray(seen.depth), 0.7)
    Image.fromarray(np.round(1e3 * depth).astype(np.uint16)).save(folder / "depth.png")

    intrinsics = {"fx": FOCAL, "fy": FOCAL, "cx": 83.0, "cy": 58.0, "width": WIDTH, "height": HEIGHT}
    write(folder / "camera.json", {"camera": intrinsics, "units": {"mesh": "mm", "depth": "mm (uint16)"}})
    write(folder / "pose.json", T_start.tolist())
    write(folder / "true.json", T_true.tolist())
    return folder


@pytest.fixture
def files(photo, tmp_path) -> pathlib.Path:
    """A copy of the photo's files to spoil."""
    return pathlib.Path(shutil.copytree(photo, tmp_path / "files"))


def write(path: pathlib.Path, document) -> None:
    path.write_text(json.dumps(document))


def refine_arguments(files: pathlib.Path, output: pathlib.Path, **changed) -> list[str]:
    """Arguments of refine; an option set to None is left out."""
    options = {name: files / f"{name}.png" for name in ("image", "mask", "depth")}
    options |= {"mesh": files / "mesh.ply", "camera": files / "camera.json", "pose": files / "pose.json"}
    options |= {"output": output} | changed
    given = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    return ["refine", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def pose_error(path: pathlib.Path, T_true) -> tuple[float, float]:
    """Degrees and millimetres."""
    T = np.array(json.loads(path.read_text())["T_camera_object"])
    T_true = np.asarray(T_true, np.float64)
    cosine = (np.trace(T[:3, :3].T @ T_true[:3, :3]) - 1) / 2
    return math.degrees(math.acos(np.clip(cosine, -1, 1))), 1e3 * float(np.linalg.norm(T[:3, 3] - T_true[:3, 3]))


# --- demo


def test_demo_finds_the_pose_and_draws(tmp_path, capsys):
    output = tmp_path / "a" / "demo"
    assert main(["demo", "--output", str(output), "--steps", "40", "--resolution", "128"]) == 0
    said = capsys.readouterr().out
    assert "photometric_loss" in said and "iterations per second" in said
    rotation = next(line for line in said.splitlines() if line.startswith("rotation error")).split()
    translation = next(line for line in said.splitlines() if line.startswith("translation error")).split()
    assert float(rotation[2]) == pytest.approx(10, abs=0.01)
    assert float(translation[2]) == pytest.approx(4, abs=0.01)
    assert float(rotation[4]) < 0.1
    assert float(translation[4]) < 0.1
    assert_pictures(output)
    assert (output / "animation.gif").stat().st_size < 2e6
    with Image.open(output / "animation.gif") as animation:
        assert animation.n_frames > 5
    document = json.loads((output / "history.json").read_text())
    assert document["status"] == "converged"
    history = document["stages"]
    assert [stage["name"] for stage in history] == ["blurred", "fine"]
    assert all(0 < len(stage["loss"]) == len(stage["error_deg_mm"]) <= most for stage, most in zip(history, (16, 24)))
    assert history[0]["error_deg_mm"][0] == pytest.approx([10, 4], abs=0.01)
    assert sorted(path.name for path in output.iterdir()) == sorted((*PICTURES, "history.json"))
    assert [path.name for path in output.parent.iterdir()] == ["demo"]


@pytest.mark.parametrize("optimizer", sorted(DESCENTS))
def test_every_optimizer_descends_without_being_shown_the_parameters(optimizer):
    steps = descent(optimizer, optax.cosine_decay_schedule(DESCENTS[optimizer], 60, alpha=0.05))
    x = jnp.array([[0.17, -0.1, 0.05, 0.1, 0.05, -0.1]])
    start, state = jnp.linalg.norm(x), steps.init(x)
    for _ in range(60):
        update, state = steps.update(4 * x, state)
        x = x + update
    assert jnp.linalg.norm(x) < 0.2 * start


# --- refine


@pytest.mark.slow
def test_refine_finds_a_pose_in_a_rendered_photo(photo, tmp_path, capsys):
    output = tmp_path / "fit"
    output.mkdir()
    (output / "mine.txt").write_text("stays")
    (output / "depth_residual.png").write_text("is replaced")
    assert main(refine_arguments(photo, output, steps=30, resolution=96)) == 0
    T_true = json.loads((photo / "true.json").read_text())
    angle, distance = pose_error(output / "pose.json", T_true)
    assert angle < 0.5
    assert distance < 1.0

    report = json.loads((output / "pose.json").read_text())
    assert report["scores"]["result"]["iou"] > 0.97 > report["scores"]["start"]["iou"]
    assert report["scores"]["result"]["median_abs_depth_residual_m"] < 1e-3
    assert report["settings"]["metres_per_unit"] == {"mesh": 1e-3, "pose": 1.0, "depth": 1e-3}
    assert report["settings"]["intrinsics_from_edge"] == pytest.approx([FOCAL, FOCAL, 83.5, 58.5], rel=1e-5)
    assert (output / "mine.txt").read_text() == "stays"
    assert_pictures(output, (*PICTURES, "depth_residual.png"))
    # There may be one start more: where patches of the print were found again.
    assert report["statuses"][report["best_start"]] == report["status"] and len(report["statuses"]) <= 2
    assert report["status"] in ("converged", "step_limit")
    stages = json.loads((output / "history.json").read_text())["stages"]
    assert [(stage["name"], stage["width"]) for stage in stages] == [("outline", 32), ("blurred", 32), ("fine", 64)]
    assert [len(stage["loss"]) for stage in stages] == report["steps"] and sum(report["steps"]) <= 30
    for stage in stages:
        assert np.shape(stage["T_camera_object"]) == (len(stage["loss"]), 4, 4)
        assert 0 <= stage["best_step"] < len(stage["loss"])
    said = capsys.readouterr().out
    assert "silhouette IoU" in said and "depth residual" in said

    # Its pose is a start for another run, here with no more than a photo; the old residual map goes.
    again = refine_arguments(
        photo, output, pose=output / "pose.json", mask=None, depth=None, steps=2, hypotheses=3, optimizer="adam",
        learning_rate=0.01, loss="edge",
    )  # fmt: skip
    assert main(again) == 0
    report = json.loads((output / "pose.json").read_text())
    assert report["scores"]["result"]["iou"] is None
    assert report["moved"]["rotation_deg"] < 40
    assert sorted(report["statuses"])[:2] == ["pruned", "pruned"] and report["best_start"] in range(3)
    stages = json.loads((output / "history.json").read_text())["stages"]
    assert [np.shape(stage["loss"]) for stage in stages] == [(1, 3), (1, 3)]
    assert all(None not in row for row in stages[0]["loss"])
    assert [value is None for value in stages[1]["loss"][0]] == [status == "pruned" for status in report["statuses"]]
    assert not (output / "depth_residual.png").exists()
    assert (output / "mine.txt").exists()


@pytest.mark.slow
def test_refine_fits_the_can_in_the_real_photo(shared_data, tmp_path):
    folder = shared_data / "hope_alphabet_soup"
    if not folder.is_dir():
        pytest.skip(f"no photo: {folder} does not exist")
    arguments = refine_arguments(
        folder, tmp_path / "fit", mesh=folder / "AlphabetSoup.ply", image=folder / "rgb.png", mask=folder / "seg.png",
        camera=folder / "scene.json", pose=folder / "scene.json", steps=40, resolution=128,
    )  # fmt: skip
    assert main(arguments) == 0
    report = json.loads((tmp_path / "fit" / "pose.json").read_text())
    assert report["settings"]["metres_per_unit"] == {"mesh": 1e-3, "pose": 1e-3, "depth": 1e-3}
    assert report["scores"]["start"]["iou"] < 0.85
    assert report["scores"]["start"]["median_abs_depth_residual_m"] > 0.01
    assert report["scores"]["result"]["iou"] >= 0.97
    assert report["scores"]["result"]["median_abs_depth_residual_m"] <= 2e-3
    assert_pictures(tmp_path / "fit", (*PICTURES, "depth_residual.png"))


# --- wrong input

# What to change (a function of the folder, or options), and what the message must say.
WRONG = {
    "no mesh": ({"mesh": "no.ply"}, r"Mesh file does not exist: no\.ply"),
    "mesh of an unknown kind": ({"mesh": "a.xyz"}, "must be one of .glb"),
    "no image": ({"image": "no.png"}, "image no.png does not exist"),
    "image is a folder": ({"image": "."}, "image . is no file"),
    "no depth": ({"depth": "no.png"}, "depth no.png does not exist"),
    "no mask": ({"mask": "no.png"}, "mask no.png does not exist"),
    "no camera": ({"camera": "no.json"}, "camera no.json does not exist"),
    "no pose": ({"pose": "no.json"}, "pose no.json does not exist"),
    "unreadable image": (lambda f: (f / "image.png").write_bytes(b"nothing"), "image.png cannot be read as an image"),
    "photo that was cut off": (lambda f: cut(f / "image.png"), "image .*image.png cannot be read as an image: "),
    "mask that was cut off": (lambda f: cut(f / "mask.png"), "mask .*mask.png cannot be read as an image: "),
    "depth that was cut off": (lambda f: cut(f / "depth.png"), "depth .*depth.png cannot be read as an image: "),
    "photo that is to be turned": (lambda f: turn(f / "image.png"), "image .*image.png has an EXIF orientation"),
    "mask of two objects": (
        lambda f: Image.fromarray(np.repeat(np.uint8([0, 90, 180]), 6400).reshape(HEIGHT, WIDTH)).save(f / "mask.png"),
        "mask .*mask.png holds several labels",
    ),
    "camera with a fisheye lens": (
        lambda f: write(f / "camera.json", {"K": [[220, 0, 80], [0, 220, 60], [0, 0, 1]], "D": [0.1, 0, 0, 0],
                                            "distortion_model": "equidistant"}),
        'camera.json is of the model "equidistant", which is not understood',
    ),
    "broken YAML": (lambda f: (f / "camera.json").write_text("K: [1"), "camera.json cannot be understood"),
    "unreadable mesh": (lambda f: (f / "mesh.ply").write_bytes(b"nothing"), "mesh.ply cannot be read"),
    "other size of depth": (
        lambda f: Image.fromarray(np.ones((60, 80), np.uint16)).save(f / "depth.png"),
        r"depth .*depth\.png has 80x60 pixels, image .* 160x120",
    ),
    "other size of mask": (
        lambda f: Image.fromarray(np.ones((60, 80), np.uint8)).save(f / "mask.png"),
        r"mask .*mask\.png has 80x60 pixels, image .* 160x120",
    ),
    "other size of camera": (
        lambda f: write(f / "camera.json", {"fx": 220, "fy": 220, "cx": 80, "cy": 60, "width": 640, "height": 480}),
        "is for images of 640x480 pixels, and the image has 160x120",
    ),
    "depth in colour": (lambda f: shutil.copy(f / "image.png", f / "depth.png"), "must have one channel"),
    "empty mask": (
        lambda f: Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(f / "mask.png"),
        "mask .* is empty",
    ),
    "no depth in the mask": (
        lambda f: Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(f / "depth.png"),
        "no measurement inside the mask",
    ),
    "mesh in millimetres": ({"mesh_scale": 1}, r"mesh is \d+ m across .* pixels large.*try --mesh-scale 0\.001"),
    "mesh in millimetres, photo only": (
        {"mesh_scale": 1, "depth": None, "mask": None},
        r"mesh is \d+ m across .*try --mesh-scale 0\.001",
    ),
    "mesh too small": ({"mesh_scale": 1e-6}, r"0\.0\d+ pixels large.*try --mesh-scale 0\.001"),
    "depth in millimetres": ({"depth_scale": 1}, r"the depth image shows \d+ m there.*try --depth-scale 0\.001"),
    "depth too small": ({"depth_scale": 1e-6}, r"the depth image shows .*try --depth-scale 0\.001"),
    "pose in millimetres": (
        lambda f: write(f / "pose.json", scaled_pose(f, 1e3)),
        r"the pose puts it 40\d m from the camera.*try --pose-scale 0\.001",
    ),
    "pose too near": ({"pose_scale": 1e-3}, r"try --pose-scale 1\."),
    "depth of an unknown unit": (
        lambda f: write(f / "camera.json", {"fx": 220, "fy": 220, "cx": 80, "cy": 60, "units": {"mesh": "mm"}}),
        "whole numbers .* Pass --depth-scale",
    ),
    "unknown unit": (
        lambda f: write(f / "camera.json", {"fx": 220, "fy": 220, "cx": 80, "cy": 60, "units": {"mesh": "inch"}}),
        'unit of "mesh" .* must begin with one of m, cm, mm, got "inch"',
    ),
    "outside of the frame": (
        lambda f: write(f / "pose.json", moved_pose(f, 0.5)),
        r"outside of the frame: its centre projects to column 36\d",
    ),
    "behind the camera": (lambda f: write(f / "pose.json", turned_pose(f)), "behind the camera.*depth -0.4"),
    "broken JSON": (lambda f: (f / "camera.json").write_text("{fx: 1}"), r"camera.json is not valid JSON.*line 1"),
    "binary JSON": (lambda f: (f / "pose.json").write_bytes(b"\xff\xfe\x00"), "pose.json is not a text file"),
    "camera lacks a field": (
        lambda f: write(f / "camera.json", {"camera": {"fx": 220, "fy": 220, "cx": 80}}),
        'camera.json lacks "cy"',
    ),
    "camera with text": (
        lambda f: write(f / "camera.json", {"fx": "220", "fy": 220, "cx": 80, "cy": 60}),
        '"fx" in .* must be a number',
    ),
    "camera with a negative focal length": (
        lambda f: write(f / "camera.json", {"fx": -220, "fy": 220, "cx": 80, "cy": 60}),
        "fx and fy .* must be positive",
    ),
    "matrix with skew": (
        lambda f: write(f / "camera.json", [[220, 5, 80], [0, 220, 60], [0, 0, 1]]),
        "intrinsic matrix .* must be",
    ),
    "pose lacks a field": (
        lambda f: write(f / "pose.json", {"initial_pose": {"rotation_row_major": [1] * 9}}),
        'pose.json lacks "translation"',
    ),
    "pose with 8 numbers": (
        lambda f: write(f / "pose.json", {"rotation_row_major": [1] * 8, "translation": [0, 0, 1]}),
        "9 numbers .* got 8 and 3",
    ),
    "pose of 3x4": (lambda f: write(f / "pose.json", np.eye(4)[:3].tolist()), r"4x4 matrix .*got shape \(3, 4\)"),
    "ragged pose": (lambda f: write(f / "pose.json", [[1, 0], [0]]), "numbers in lists of equal length"),
    "pose that is not rigid": (lambda f: write(f / "pose.json", np.diag([2, 2, 2, 1]).tolist()), "not rigid.*length 2"),
    "mirroring pose": (lambda f: write(f / "pose.json", np.diag([1, 1, -1, 1]).tolist()), "not rigid.*det R is -1"),
    "projective pose": (
        lambda f: write(f / "pose.json", (np.eye(4) + np.eye(4)[::-1]).tolist()),
        "last row of the pose",
    ),
    "inverse pose": (
        lambda f: write(f / "pose.json", {"pose_convention": "object_from_camera", "T_camera_object": []}),
        'must be "camera_from_object"',
    ),
    "unknown optimizer": ({"optimizer": "adamant"}, "--optimizer must be one of lm, gn, adam, .* got adamant"),
    "unknown loss": ({"loss": "zncc+depht"}, r'--loss zncc\+depht: each term must be one of l1, .*, got "depht"'),
    "negative factor": ({"loss": "zncc+-1*depth"}, r'factors must be positive numbers, got "-1"'),
    "factor in words": ({"loss": "half*zncc"}, r'factors must be positive numbers, got "half"'),
    "loss of what is not there": (
        {"loss": "zncc+silhouette", "mask": None, "steps": 1},
        "compares mask, and the observation has none",
    ),
    "pyramid of a small image": ({"loss": "pyramid:zncc", "resolution": 16, "steps": 1}, "At least 8 are needed"),
    "no steps": ({"steps": 0}, "--steps must be at least 1, got 0"),
    "steps in words": ({"steps": "many"}, "argument --steps: invalid int value: 'many'"),
    "resolution": ({"resolution": 4}, "--resolution must be at least 16"),
    "hypotheses": ({"hypotheses": 0}, "--hypotheses must be at least 1"),
    "negative scale": ({"mesh_scale": -1}, "--mesh-scale must be a positive number, got -1"),
    "rate for least squares": ({"learning_rate": 0.1}, "--learning-rate is not for --optimizer lm"),
    "rate that is no number": (
        {"learning_rate": "nan", "optimizer": "adam"},
        "--learning-rate must be a positive number, got nan",
    ),
}  # fmt: skip


def cut(path: pathlib.Path) -> None:
    """Keeps the first two thirds of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * len(whole) // 3])


def turn(path: pathlib.Path) -> None:
    """Notes that an image is to be shown turned."""
    with Image.open(path) as image:
        image.load()
    exif = Image.Exif()
    exif[274] = 3
    image.save(path, exif=exif)


def start_pose(files: pathlib.Path) -> np.ndarray:
    return np.array(json.loads((files / "pose.json").read_text()))


def scaled_pose(files: pathlib.Path, factor: float) -> list:
    T = start_pose(files)
    T[:3, 3] *= factor
    return T.tolist()


def moved_pose(files: pathlib.Path, x: float) -> list:
    T = start_pose(files)
    T[0, 3] += x
    return T.tolist()


def turned_pose(files: pathlib.Path) -> list:
    return (np.diag([-1.0, 1, -1, 1]) @ start_pose(files)).tolist()


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_line(case, files, tmp_path, capsys):
    change, message = WRONG[case]
    output = tmp_path / "new" / "fit"
    if callable(change):
        change(files)
        change = {}
    before = sorted(tmp_path.rglob("*"))
    assert main(refine_arguments(files, output, **change)) == 2
    assert_one_line(capsys.readouterr(), message)
    assert sorted(tmp_path.rglob("*")) == before


def assert_one_line(captured, message: str) -> None:
    assert captured.out == ""
    # A bar of progress that never moved is wiped from a terminal.
    lines = [line for line in captured.err.splitlines() if line.strip() and not line.startswith(("Warp", "refine:"))]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("sldiff-jax: error: ")
    assert re.search(message, lines[0]), lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["demo", "--colour"], "unrecognized arguments: --colour"),
        (["dream"], "invalid choice: 'dream'"),
        (["refine"], "required: --mesh, --image, --camera"),
        (["demo", "--steps", "0"], "--steps must be at least 1"),
        (["demo", "--optimizer", "none"], "--optimizer must be one of lm"),
        (["demo", "--resolution", "8"], "--resolution must be at least 32"),
    ],
)
def test_wrong_commands_are_one_clear_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert_one_line(capsys.readouterr(), message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["file", "file/folder"])
def test_an_output_that_cannot_be_made(output, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output", str(tmp_path / output)]) == 2
    assert_one_line(capsys.readouterr(), "--output .*file")
    assert (tmp_path / "file").read_text() == ""


def test_nothing_is_written_if_drawing_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("drawing failed")

    monkeypatch.setattr("sldiff_jax.cli._pictures._animation", fail)
    with pytest.raises(RuntimeError, match="drawing failed"):
        main(["demo", "--output", str(tmp_path / "new" / "demo"), "--steps", "1", "--resolution", "32"])
    assert list(tmp_path.iterdir()) == []


def test_interruption(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sldiff_jax.cli.demo.solve", interrupt)
    assert main(["demo", "--output", str(tmp_path / "demo")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- the rest


def test_help_and_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    for command in ("demo", "refine", "inspect", "doctor"):
        assert any(line.split()[:1] == [command] for line in said.splitlines())
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
    assert "examples:" in said
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("sldiff-jax ")


def test_doctor_hands_over_and_returns_the_exit_code(monkeypatch):
    monkeypatch.setitem(sys.modules, "interop.doctor", types.SimpleNamespace(main=lambda: 7))
    assert main(["doctor"]) == 7


def test_doctor_without_torch_still_reports(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "interop.doctor", None)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "JAX devices: " in said and "pip install 'sldiff-jax[torch]'" in said


def test_the_command_runs_as_a_module_and_imports_nothing_heavy():
    code = (
        "import sys; from sldiff_jax.cli import main; "
        "assert not {'torch', 'matplotlib', 'trimesh', 'warp', 'interop'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "sldiff_jax", "refine", "--steps"], env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("sldiff-jax: error: ") and "Traceback" not in done.stderr
