"""Random meshes, written by another library, come back as they were, in every format."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from sldiff_jax.mesh_renderer.meshes.load import load_mesh

KINDS = {"glb": "glb", "obj": "obj", "ply": "ply", "ply_ascii": "ply"}


@st.composite
def meshes(draw):
    """Vertices, faces, colours and coordinates, that float32 and six decimals hold."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vertex_count, face_count = draw(st.integers(3, 40)), draw(st.integers(1, 60))
    vertices = rng.integers(-(2**20), 2**20, (vertex_count, 3)) / 2**20
    faces = np.stack([rng.permutation(vertex_count)[:3] for _ in range(face_count)])
    colors = rng.integers(0, 256, (vertex_count, 4), np.uint8)
    uv = rng.integers(0, 2**10, (vertex_count, 2)) / 2**10
    return vertices, faces, colors, uv


def write(folder, kind: str, shape: trimesh.Trimesh):
    path = folder / f"mesh.{KINDS[kind]}"
    if kind == "obj":
        text, files = trimesh.exchange.obj.export_obj(shape, return_texture=True, digits=10)
        path.write_text(text)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    else:
        options = {"encoding": "ascii"} if kind == "ply_ascii" else {}
        path.write_bytes(shape.export(file_type=KINDS[kind], **options))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("round_trips")


@pytest.mark.parametrize("kind", KINDS)
@given(mesh=meshes())
def test_shape_and_colors(folder, kind, mesh):
    vertices, faces, colors, _ = mesh
    shape = trimesh.Trimesh(vertices, faces, vertex_colors=colors, process=False)
    read = load_mesh(write(folder, kind, shape), 1.0).arguments
    np.testing.assert_array_equal(read["faces"], faces)
    np.testing.assert_allclose(read["vertices"], vertices, atol=1e-8)  # ascii PLY has eight digits
    np.testing.assert_allclose(read["colors"], colors[:, :3] / 255, atol=1e-6)


@pytest.mark.parametrize("kind", ["glb", "obj"])
@given(mesh=meshes(), seed=st.integers(0, 10**6))
def test_textures(folder, kind, mesh, seed):
    vertices, faces, _, uv = mesh
    image = np.random.default_rng(seed).integers(0, 256, (1 + seed % 7, 2 + seed % 5, 3), np.uint8)
    picture = Image.fromarray(image)
    material = PBRMaterial(baseColorTexture=picture) if kind == "glb" else SimpleMaterial(image=picture)
    visual = trimesh.visual.TextureVisuals(uv, material)
    read = load_mesh(write(folder, kind, trimesh.Trimesh(vertices, faces, visual=visual, process=False)), 1.0).arguments
    # A corner's own values: vertices may be renumbered where coordinates differ.
    np.testing.assert_allclose(read["vertices"][read["faces"]], vertices[faces], atol=1e-9)
    np.testing.assert_allclose(read["uv"][read["faces"]], uv[faces], atol=1e-6)
    [texture] = read["texture"]
    np.testing.assert_array_equal(texture, image)


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
@given(mesh=meshes())
def test_stl(folder, kind, mesh):
    vertices, faces, _, _ = mesh
    data = trimesh.Trimesh(vertices, faces, process=False).export(file_type=kind)
    (folder / "mesh.stl").write_bytes(data if isinstance(data, bytes) else data.encode())
    read = load_mesh(folder / "mesh.stl", 1.0).arguments
    np.testing.assert_allclose(read["vertices"][read["faces"]], vertices[faces], atol=1e-6)


@given(mesh=meshes(), turn=st.integers(0, 10**6))
def test_nodes(folder, mesh, turn):
    vertices, faces, _, _ = mesh
    T = trimesh.transformations.random_rotation_matrix(np.random.default_rng(turn).uniform(size=3))
    T[:3, :3] *= np.array([1, -2, 0.5])
    T[:3, 3] = [0.1, 0.2, 0.3]
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.Trimesh(vertices, faces, process=False), transform=T)
    (folder / "scene.glb").write_bytes(scene.export(file_type="glb"))
    read = load_mesh(folder / "scene.glb", 2.0).arguments
    np.testing.assert_allclose(read["vertices"], 2 * (vertices @ T[:3, :3].T + T[:3, 3]), atol=1e-6)
    np.testing.assert_array_equal(read["faces"], faces[:, ::-1])  # mirrored
