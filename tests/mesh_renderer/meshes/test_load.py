"""`Mesh.load`: formats, colours, textures, node transforms, errors."""

from __future__ import annotations

import json
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image
from ply_writer import ply

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer

# A square in the x-y plane whose texture, seen from +z with y up, is: red green / blue white.
TEXTURE = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
UV = CORNERS[:, :2]
FACES = np.array([[0, 1, 2], [0, 2, 3]])
PLY = """ply
format ascii 1.0
{comment}element vertex 4
property float x
property float y
property float z
{properties}element face 2
property list uchar int vertex_indices
{face_properties}end_header
{rows}"""


def write_ply(
    path: pathlib.Path, vertex_values, properties="", *, comment="", face_values=("", ""), face_properties=""
):
    vertices = [" ".join(map(str, [*p, *extra])) for p, extra in zip(CORNERS, vertex_values)]
    faces = [f"3 {a} {b} {c} {extra}".strip() for (a, b, c), extra in zip(FACES, face_values)]
    path.write_text(
        PLY.format(
            comment=comment,
            properties=properties,
            face_properties=face_properties,
            rows="\n".join([*vertices, *faces, ""]),
        )
    )


def write_obj(folder: pathlib.Path, material: str) -> pathlib.Path:
    (folder / "square.mtl").write_text(f"newmtl paint\n{material}\n")
    lines = ["mtllib square.mtl", "usemtl paint"]
    lines += [f"v {x} {y} {z}" for x, y, z in CORNERS] + [f"vt {u} {v}" for u, v in UV]
    lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in FACES + 1]
    (folder / "square.obj").write_text("\n".join(lines))
    return folder / "square.obj"


def quadrants(mesh: Mesh) -> np.ndarray:
    """(2, 2, 3) uint8: the middle colours of the square's quarters, as seen from +z with y up."""
    T_camera_object = np.diag([1.0, -1, -1, 1])
    T_camera_object[:3, 3] = [-0.5, 0.5, 1]
    view = sl.Camera.from_intrinsics(40.0, 40.0, 20.0, 20.0, width=40, height=40)
    rgb = MeshRenderer([mesh])(sl.Scene(jnp.asarray(T_camera_object)[None], view)).rgb
    return np.asarray(rgb)[[9, 30]][:, [9, 30], :3]


def assert_textured(mesh: Mesh):
    np.testing.assert_allclose(quadrants(mesh).astype(int), TEXTURE, atol=15)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    Image.fromarray(TEXTURE).save(tmp_path / "texture.png")
    return tmp_path


def test_textured_ply(folder):
    write_ply(
        folder / "square.ply", UV, "property float texture_u\nproperty float texture_v\n",
        comment="comment TextureFile texture.png\n",
    )  # fmt: skip
    mesh = Mesh.load(folder / "square.ply")
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert_textured(mesh)


def test_textured_obj(folder):
    assert_textured(Mesh.load(write_obj(folder, "Kd 0.1 0.1 0.1\nmap_Kd texture.png")))


@pytest.mark.parametrize("suffix", ["glb", "gltf"])
def test_textured_gltf(folder, suffix):
    visual = trimesh.visual.TextureVisuals(
        UV, trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(TEXTURE))
    )
    scene = trimesh.Trimesh(CORNERS, FACES, visual=visual, process=False).scene()
    if suffix == "glb":
        (folder / "square.glb").write_bytes(scene.export(file_type="glb"))
    else:
        for name, content in scene.export(file_type="gltf").items():
            (folder / (name if name.endswith((".bin", ".png")) else "square.gltf")).write_bytes(content)
    assert_textured(Mesh.load(folder / f"square.{suffix}"))


def test_base_color(folder):
    mesh = Mesh.load(write_obj(folder, "Kd 0.2 0.4 0.6"))
    np.testing.assert_allclose(mesh.materials.base_colors, [[0.2, 0.4, 0.6]], atol=2e-3)
    np.testing.assert_allclose(quadrants(mesh)[0, 0], [51, 102, 153], atol=1)


def test_vertex_colors(folder):
    colors = TEXTURE.reshape(-1, 3)
    write_ply(folder / "square.ply", colors, "property uchar red\nproperty uchar green\nproperty uchar blue\n")
    np.testing.assert_allclose(Mesh.load(folder / "square.ply").colors, colors / 255, atol=1e-6)


def test_face_colors_stay_sharp(folder):
    write_ply(
        folder / "square.ply", [()] * 4, face_values=("255 0 0", "0 0 255"),
        face_properties="property uchar red\nproperty uchar green\nproperty uchar blue\n",
    )  # fmt: skip
    mesh = Mesh.load(folder / "square.ply")
    assert mesh.vertices.shape == (6, 3)
    np.testing.assert_array_equal(mesh.colors, np.repeat([[1, 0, 0], [0, 0, 1]], 3, axis=0))
    np.testing.assert_array_equal(quadrants(mesh)[[0, 1], [0, 1]], [[0, 0, 255], [255, 0, 0]])


def test_parts_and_node_transforms(folder):
    painted = trimesh.creation.box((1, 1, 1))
    painted.visual.vertex_colors = [0, 255, 0, 255]
    mirror = np.diag([-2.0, 2, 2, 1])
    mirror[:3, 3] = [10, 0, 0]
    scene = trimesh.Scene()
    scene.add_geometry(painted, transform=trimesh.transformations.translation_matrix([0, 3, 0]))
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=mirror)
    scene.add_geometry(painted, transform=trimesh.transformations.translation_matrix([0, -3, 0]))
    scene.export(folder / "parts.glb")
    mesh = Mesh.load(folder / "parts.glb", scale=0.1)
    assert mesh.num_triangles == 36
    np.testing.assert_allclose(mesh.bounds, [[-0.05, -0.35, -0.1], [1.1, 0.35, 0.1]], atol=1e-6)
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    outwards = np.cross(b - a, c - a)
    assert ((outwards * np.asarray(mesh.normals)[faces].mean(axis=1)).sum(axis=1) > 0).all()
    assert (a * outwards).sum() / 6 == pytest.approx(0.1**3 * (1 + 8 + 1), rel=1e-5)  # the volume
    green = np.asarray(mesh.colors)[:, 0] == 0
    np.testing.assert_array_equal(green, vertices[:, 0] < 0.5)
    assert np.unique(mesh.face_material).size == 3


def test_normals_stay_perpendicular_under_uneven_scale(folder):
    triangle = trimesh.Trimesh([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2]], process=False)
    scene = trimesh.Scene()
    scene.add_geometry(triangle, transform=np.diag([1.0, 2.0, 5.0, 1.0]))
    scene.export(folder / "triangle.glb")
    mesh = Mesh.load(folder / "triangle.glb")
    a, b, c = np.asarray(mesh.vertices)
    normal = np.cross(b - a, c - a)
    np.testing.assert_allclose(mesh.normals, np.tile(normal / np.linalg.norm(normal), (3, 1)), atol=1e-6)


def test_stl(folder):
    trimesh.creation.box((2, 4, 6)).export(folder / "box.stl")
    mesh = Mesh.load(folder / "box.stl", scale=1e-3)
    assert mesh.num_triangles == 12
    assert mesh.diameter == pytest.approx(1e-3 * np.sqrt(4 + 16 + 36))
    assert mesh.colors is None


def test_scanned_can_is_textured_and_upright(shared_data):
    """The can's texture is an atlas: read upside down, the label would be in shreds and the colours elsewhere."""
    mesh = Mesh.load(shared_data / "hope_alphabet_soup" / "AlphabetSoup.ply", scale=1e-3)
    assert mesh.num_triangles == 13860
    assert mesh.diameter == pytest.approx(0.108, abs=0.002)
    T_camera_object = np.eye(4)
    T_camera_object[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    T_camera_object[2, 3] = 0.25
    view = sl.Camera.from_fov(0.6, width=120, height=120, near=0.01)
    result = MeshRenderer([mesh])(sl.Scene(jnp.asarray(T_camera_object)[None], view))
    seen = np.asarray(result.instance_index) == 1
    color = np.asarray(result.rgb)[..., :3].astype(float)
    height = np.asarray(result.coord_depth)[..., 2]
    blue = color[..., 2] - color[..., 0]
    # The label is blue above and orange below.
    assert blue[seen & (height > 0.005) & (height < 0.025)].mean() > 40
    assert blue[seen & (height < -0.01) & (height > -0.03)].mean() < -60


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.obj", None, "does not exist"),
        ("mesh.xyz", "0 0 0", r"must be one of \.glb, \.gltf, \.obj, \.ply, \.stl"),
        ("points.obj", "v 0 0 0", "holds no triangles"),
        ("broken.ply", "plyx", "cannot be read"),
        ("broken.glb", "zz", "cannot be read"),
        ("broken.gltf", "{", "cannot be read"),
        ("bare.ply", "ply\nformat ascii 1.0\ncomment TextureFile lost.png\nend_header\n", "texture from lost.png"),
        ("bare.gltf", json.dumps({"images": [{"uri": "lost%20it.png"}]}), "texture from lost it.png"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Mesh.load(tmp_path / name)


def test_missing_texture_of_an_obj(tmp_path):
    with pytest.raises(ValueError, match=r"texture from lost\.png, which does not exist"):
        Mesh.load(write_obj(tmp_path, "map_Kd lost.png"))


FAR = np.array([5e5, 4e6, 100])


def write_far(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """A square of 10 cm at UTM coordinates, in metres."""
    corners = 0.1 * CORNERS + FAR
    path = folder / f"far.{kind.partition(' ')[0]}"
    if kind == "obj":
        path.write_text("\n".join([*(f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in corners), "f 1 2 3", "f 1 3 4"]))
    elif kind == "glb":
        scene = trimesh.Scene()
        T = trimesh.transformations.translation_matrix(FAR)
        scene.add_geometry(trimesh.Trimesh(0.1 * CORNERS, FACES, process=False), transform=T)
        path.write_bytes(scene.export(file_type="glb"))
    else:
        faces = ([INDICES], [[face] for face in FACES.tolist()])
        encoding = "ascii" if "ascii" in kind else "binary_little_endian"
        properties = [f"{'double' if 'double' in kind else 'float'} {axis}" for axis in "xyz"]
        path.write_bytes(ply({"vertex": (properties, corners.tolist()), "face": faces}, encoding=encoding))
    return path


INDICES = "list uchar int vertex_indices"


@pytest.mark.parametrize("kind", ["obj", "glb", "ply ascii float", "ply binary double"])
def test_far_from_the_origin(tmp_path, kind):
    path = write_far(tmp_path, kind)
    with pytest.raises(
        ValueError, match=r"cannot be read: it lies too far from its origin: .*origin=\(500000\."
    ) as caught:
        Mesh.load(path, scale=2.0)
    origin = [float(x) for x in re.search(r"origin=\((.*?)\)", str(caught.value))[1].split(",")]
    mesh = Mesh.load(path, scale=2.0, origin=origin)
    np.testing.assert_allclose(mesh.vertices, 2 * (0.1 * CORNERS + FAR - origin), atol=1e-6)
    assert np.abs(mesh.bounds).max() < 0.2


def test_a_file_that_has_lost_its_shape_already(tmp_path):
    path = write_far(tmp_path, "ply binary float")
    for origin in (None, FAR):
        with pytest.raises(ValueError, match=r"far\.ply cannot be read: it stores coordinates as 32-bit floats"):
            Mesh.load(path, origin=origin)


def test_origin_of_a_file_that_is_near(folder):
    path = write_obj(folder, "")
    np.testing.assert_allclose(Mesh.load(path, scale=0.5, origin=(1, 0, -1)).vertices, 0.5 * (CORNERS - [1, 0, -1]))
    for origin in ((1, 2), (1, 2, float("nan"))):
        with pytest.raises(ValueError, match="Mesh origin must be three numbers"):
            Mesh.load(path, origin=origin)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_bad_scale(folder, scale):
    with pytest.raises(ValueError, match="scale must be a positive number"):
        Mesh.load(write_obj(folder, ""), scale=scale)
