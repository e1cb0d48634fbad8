"""What ``sldiff-jax refine`` reads, as files of cameras, data sets and calibrations hold it."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from sldiff_jax.cli._errors import InputError
from sldiff_jax.cli._inputs import read_inputs
from sldiff_jax.cli._main import _parser
from sldiff_jax.mesh_renderer import box_mesh

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0
K = [[FOCAL, 0, 31.5], [0, FOCAL, 23.5], [0, 0, 1]]
FLAT = [number for row in K for number in row]
R = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
T = np.array([[0, -1, 0, 0.01], [1, 0, 0, -0.02], [0, 0, 1, 0.5], [0, 0, 0, 1]])
ENTRY = {"cam_R_m2c": np.ravel(R).tolist(), "cam_t_m2c": [10, -20, 500], "obj_id": 5}
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
MASK = np.hypot(ROWS - 14, COLUMNS - 46) < 9


def write(path: pathlib.Path, document) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A cube of 500 units with a photo, a mask, depth in 0.1 mm, a camera and a pose."""
    (tmp_path / "rgb").mkdir()
    mesh = box_mesh((500.0, 500.0, 500.0))
    corners = "".join(f"v {x} {y} {z}\n" for x, y, z in np.asarray(mesh.vertices))
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in np.asarray(mesh.faces) + 1)
    write(tmp_path / "obj_000005.obj", corners + faces)
    photo = np.stack([4 * COLUMNS, 5 * ROWS, 60 + 0 * ROWS], axis=-1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "rgb" / "000012.png")
    Image.fromarray((255 * MASK).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.where(MASK, 5000, 9000).astype(np.uint16)).save(tmp_path / "depth.png")
    write(tmp_path / "camera.json", {"K": K})
    write(tmp_path / "pose.json", T.tolist())
    return tmp_path


def read(folder: pathlib.Path, **changed):
    """An option set to None is left out."""
    options = {"mesh": "obj_000005.obj", "image": "rgb/000012.png", "mask": "mask.png", "depth": "depth.png"}
    options |= {"camera": "camera.json", "pose": "pose.json", "mesh_scale": 1e-4, "depth_scale": 1e-4} | changed
    words = []
    for name, value in options.items():
        if value is not None:
            value = folder / value if name not in ("mesh_scale", "depth_scale", "image_id", "object_id") else value
            words += [f"--{name.replace('_', '-')}", str(value)]
    return read_inputs(_parser().parse_args(["refine", *words]))


CAMERAS = {
    "matrix.txt": "60 0 31.5\n0 60 23.5\n0 0 1\n",
    "ros.yaml": f"""
image_width: {WIDTH}
image_height: {HEIGHT}
camera_name: narrow_stereo
camera_matrix: {{rows: 3, cols: 3, data: {FLAT}}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}}
""",
    "opencv.yml": f"""%YAML:1.0
---
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: {FLAT}
""",
    "info.json": {"K": FLAT, "D": [], "width": WIDTH, "height": HEIGHT},
    "scene_camera.json": {"11": {"cam_K": [1] * 9}, "12": {"cam_K": FLAT, "depth_scale": 0.1}},
}


@pytest.mark.parametrize("name", CAMERAS)
def test_cameras(name, folder):
    write(folder / name, CAMERAS[name])
    inputs = read(folder, camera=name)
    np.testing.assert_allclose(inputs.camera.intrinsics, [FOCAL, FOCAL, 32, 24], rtol=1e-6)
    assert inputs.notes == () and inputs.seen is None
    np.testing.assert_allclose(inputs.depth[MASK], 0.5)


def test_a_data_set_as_it_is(folder):
    write(folder / "scene_camera.json", CAMERAS["scene_camera.json"])
    write(folder / "scene_gt.json", {"11": [], "12": [ENTRY | {"obj_id": 3}, ENTRY]})
    inputs = read(folder, camera="scene_camera.json", pose="scene_gt.json", depth_scale=None)
    np.testing.assert_allclose(inputs.T_camera_object, T)
    np.testing.assert_allclose(inputs.depth[MASK], 0.5)
    assert inputs.scales == pytest.approx({"mesh": 1e-4, "pose": 1e-3, "depth": 1e-4})
    (folder / "rgb" / "000012.png").rename(folder / "photo.png")
    with pytest.raises(InputError, match=r"scene_camera\.json is for the images 11, 12, .*--image-id"):
        read(folder, camera="scene_camera.json", image="photo.png")
    inputs = read(folder, camera="scene_camera.json", pose="scene_gt.json", image="photo.png", image_id=12, object_id=3)
    np.testing.assert_allclose(inputs.T_camera_object, T)


def test_a_camera_of_a_data_set(folder):
    fields = {"fx": FOCAL, "fy": FOCAL, "cx": 31.5, "cy": 23.5, "depth_scale": 0.1}
    write(folder / "camera.json", fields)
    np.testing.assert_allclose(read(folder, depth_scale=None).depth[MASK], 0.5)
    write(folder / "camera.json", fields | {"units": {"depth": 2e-4}})
    np.testing.assert_allclose(read(folder, depth_scale=None).depth[MASK], 1.0)
    np.testing.assert_allclose(read(folder).depth[MASK], 0.5)


def test_units_as_numbers(folder):
    write(folder / "pose.json", {"T_camera_object": T.tolist(), "units": {"pose": 2, "mesh": 2e-4, "depth": 3e-4}})
    inputs = read(folder, mesh_scale=None, depth_scale=None)
    assert inputs.scales == {"mesh": 2e-4, "pose": 2, "depth": 3e-4}
    assert inputs.mesh.diameter == pytest.approx(0.1 * 3**0.5, rel=1e-5)
    np.testing.assert_allclose(inputs.T_camera_object[:3, 3], [0.02, -0.04, 1])


def test_poses_as_text(folder):
    np.savetxt(folder / "pose.txt", T)
    np.testing.assert_allclose(read(folder, pose="pose.txt").T_camera_object, T)


def test_unknown_keys_are_named(folder):
    write(folder / "camera.json", {"camera": {"K": K, "serial": 7}, "files": {}})
    assert [note.rpartition("left out: ")[2] for note in read(folder).notes] == ['"files", "serial".']


# --- lenses

K1 = 0.3


def bent(x, y):
    """Where a ray is seen behind a lens with k1 alone."""
    factor = 1 + K1 * (x * x + y * y)
    return x * factor, y * factor


def test_distortion_is_undone(folder):
    write(folder / "camera.json", {"K": FLAT, "D": [K1, 0, 0, 0]})
    inputs = read(folder)
    x, y = bent((COLUMNS - 31.5) / FOCAL, (ROWS - 23.5) / FOCAL)
    columns, rows = FOCAL * x + 31.5, FOCAL * y + 23.5
    inside = (np.abs(columns - 31.5) < WIDTH / 2) & (np.abs(rows - 23.5) < HEIGHT / 2)
    assert 0.8 < inside.mean() < 1
    np.testing.assert_array_equal(inputs.seen, inside)
    # The photo is a ramp, so that its values say where they come from.
    inner = inside & (np.abs(columns - 31.5) < 31) & (np.abs(rows - 23.5) < 23)
    np.testing.assert_allclose(inputs.image[inner, 0], 4 * columns[inner], atol=0.51)
    np.testing.assert_allclose(inputs.image[inner, 1], 5 * rows[inner], atol=0.51)
    np.testing.assert_allclose(inputs.camera.intrinsics, [FOCAL, FOCAL, 32, 24], rtol=1e-6)
    expected = np.hypot(rows - 14, columns - 46) < 9
    assert np.count_nonzero(inputs.mask != expected) <= 10 and np.count_nonzero(expected != MASK) > 20
    assert ((inputs.depth == np.float32(0.5)) != inputs.mask).sum() <= 6
    assert not inputs.image[~inside].any() and not inputs.depth[~inside].any()
    assert len(inputs.notes) == 1 and "undistorted with 0.3, 0, 0, 0 of" in inputs.notes[0]


def test_a_mask_that_the_pinhole_camera_does_not_see(folder):
    Image.fromarray(np.where((ROWS < 2) & (COLUMNS < 2), 255, 0).astype(np.uint8)).save(folder / "mask.png")
    write(folder / "camera.json", {"K": FLAT, "D": [-0.9, 0, 0, 0]})
    with pytest.raises(InputError, match=r"Nothing of the mask .*mask\.png is left"):
        read(folder)


# --- a depth camera


def test_depth_of_another_camera(folder):
    write(folder / "ir.json", {"fx": 30, "fy": 30, "cx": 15.5, "cy": 11.5, "T_camera_depth": np.eye(4).tolist()})
    depth = np.where(MASK, 5000, 9000)[::2, ::2].astype(np.uint16)
    Image.fromarray(depth).save(folder / "depth.png")
    inputs = read(folder, depth_camera="ir.json")
    np.testing.assert_allclose(inputs.depth, np.kron(depth, np.ones((2, 2))) * 1e-4, rtol=1e-5)
    # 10 cm to the left: what is 0.5 m away moves to the left by 60 * 0.1 / 0.5 = 12 pixels, what is 0.9 m away by 6.67.
    shifted = np.eye(4)
    shifted[0, 3] = -100
    document = {"fx": 30, "fy": 30, "cx": 15.5, "cy": 11.5, "T_camera_depth": shifted.tolist(), "depth_scale": 0.1}
    write(folder / "ir.json", document | {"units": {"T_camera_depth": "mm"}})
    inputs = read(folder, depth_camera="ir.json", depth_scale=None)
    near = inputs.depth == np.float32(0.5)
    assert np.argwhere(near).mean(0) == pytest.approx(
        np.argwhere(np.kron(depth == 5000, np.ones((2, 2)))).mean(0) - [0, 12]
    )
    assert not inputs.depth[:, -6:].any() and inputs.depth[:, :10].all()
    assert inputs.scales["depth"] == pytest.approx(1e-4)


def test_what_a_depth_camera_needs(folder, capsys):
    from sldiff_jax.cli import main

    write(folder / "ir.json", {"fx": 60, "fy": 60, "cx": 31.5, "cy": 23.5})
    with pytest.raises(InputError, match=r'ir\.json lacks "T_camera_depth"'):
        read(folder, depth_camera="ir.json")
    away = np.eye(4)
    away[2, 3] = -5
    write(folder / "ir.json", {"K": K, "T_camera_depth": away.tolist()})
    with pytest.raises(InputError, match=r"No measurement of the depth image .* falls into the photo"):
        read(folder, depth_camera="ir.json")
    Image.fromarray(np.full((5, 5), 5000, np.uint16)).save(folder / "depth.png")
    with pytest.raises(InputError, match="outside of the image of 5x5 pixels"):
        read(folder, depth_camera="ir.json")
    with pytest.raises(InputError, match=r"5x5 pixels, .* 64x48.*Depth of a camera of its own needs --depth-camera"):
        read(folder)
    words = ["--mesh", "a", "--image", "b", "--camera", "c", "--pose", "d", "--depth-camera", "e"]
    assert main(["refine", *words]) == 2
    assert "--depth-camera is the camera of --depth, which is missing" in capsys.readouterr().err


# --- as recorded


@pytest.mark.parametrize("name", ["camera", "bop_camera", "scene_camera", "ros_info"])
def test_recorded_files_of_data_sets(name, shared_data):
    recorded = shared_data / "failing_inputs" / "bop_files"
    if not recorded.is_dir():
        pytest.skip(f"no recorded files: {recorded} does not exist")
    scale = None if name in ("bop_camera", "scene_camera") else 1e-4
    inputs = read(
        recorded, mesh="toy.obj", image="rgb.png", mesh_scale=1.0, depth_scale=scale, camera=f"{name}.json",
        pose="scene_gt.json",
    )  # fmt: skip
    plain = read(recorded, mesh="toy.obj", image="rgb.png", mesh_scale=1.0, pose="start.json")
    np.testing.assert_allclose(inputs.T_camera_object, plain.T_camera_object, atol=1e-12)
    assert ("undistorted" in " ".join(inputs.notes)) == (name == "ros_info")
    if name != "ros_info":
        np.testing.assert_array_equal(inputs.depth, plain.depth)
        np.testing.assert_array_equal(inputs.camera.intrinsics, plain.camera.intrinsics)
