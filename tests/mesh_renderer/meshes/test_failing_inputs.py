"""Recorded files that once were read wrongly: each is right now, or refused by what it lacks."""

from __future__ import annotations

import numpy as np
import pytest
from looks import area

from sldiff_jax.mesh_renderer import Mesh

AREAS = {
    "concave_polygons/ell.obj": 3, "concave_polygons/notch.obj": 1, "gltf_color0/float.glb": 0.01,
    "gltf_color0/uint16_material.glb": 0.01, "gltf_color0/uint8.glb": 0.01, "gltf_color0/uint8_material.glb": 0.01,
    "gltf_normalized_integers/positions.glb": 0.01, "gltf_sparse_fan_skin/fan.glb": 0.01,
    "gltf_sparse_fan_skin/skin.glb": 0.01, "gltf_texture_lookup/grey16.glb": 0.01,
    "gltf_texture_lookup/transform.glb": 0.01, "obj_materials/good.obj": 0.01,
    "obj_materials/one_face_without_uv.obj": 0.01, "obj_materials/option.obj": 0.01, "obj_materials/sub.obj": 0.01,
    "obj_materials/two_lines.obj": 0.01, "obj_materials/two_names.obj": 0.01, "obj_negative_indices/two.obj": 1,
    "obj_whitespace/bom.obj": 0.01, "ply_colors_and_textures/diffuse.ply": 0.01,
    "ply_colors_and_textures/float01.ply": 0.01, "ply_colors_and_textures/float255.ply": 0.01,
    "ply_colors_and_textures/texture_s.ply": 0.01, "ply_colors_and_textures/uchar.ply": 0.01,
    "ply_colors_and_textures/ushort.ply": 0.01, "stray_vertex/stray.ply": 0.01, "zero_normals/computed.obj": 0.01,
    "zero_normals/zero.obj": 0.01,
}  # fmt: skip
REFUSED = {
    "far_from_origin/utm.obj": "too far from its origin",
    "glb_external_image/outside.glb": r"gone\.png, which does not exist",
    "glb_external_image/small.obj": r"gone\.png, which does not exist",
    "glb_external_image/text.obj": r"text\.png is no image",
    "gltf_required_extensions/draco.glb": "KHR_draco_mesh_compression",
    "gltf_required_extensions/ktx2.glb": "requires KHR_texture_basisu",
    "gltf_required_extensions/meshopt.glb": "requires EXT_meshopt_compression",
    "obj_materials/mtl_missing.obj": r"gone\.mtl, which does not exist",
    "obj_materials/undefined.obj": "material 'zzz'",
    "reader_tracebacks/cut.obj": r"cut\.png cannot be read as an image",
    "reader_tracebacks/past.ply": r"point to vertices 0\.\.9; 0\.\.2 are there",
}
ORANGE = [1, 0.5, 0.25]


@pytest.mark.parametrize("name", AREAS)
def test_right(shared_data, name):
    mesh = Mesh.load(shared_data / "failing_inputs" / name)
    assert area(mesh) == pytest.approx(AREAS[name], rel=1e-4)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)
    textured = np.asarray(mesh.materials.textures)[:, 1:].max() == 64
    assert textured == (name.startswith(("obj_materials", "gltf_texture")) or "texture_s" in name)
    if "color" in name and not textured:
        np.testing.assert_allclose(mesh.colors, [ORANGE] * 4, atol=5e-3)
    if AREAS[name] == 0.01:
        x = 0.02 if name.endswith("skin.glb") else 0
        np.testing.assert_allclose(mesh.bounds, [[x - 0.05, -0.05, 0], [x + 0.05, 0.05, 0]], atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(shared_data, name):
    path = shared_data / "failing_inputs" / name
    with pytest.raises(ValueError, match=rf"^Mesh file {path} cannot be read: .*{REFUSED[name]}"):
        Mesh.load(path)


def test_dense_ball(shared_data):
    mesh = Mesh.load(shared_data / "failing_inputs" / "dense_convex_diameter" / "ball.ply")
    assert mesh.diameter == pytest.approx(0.1, rel=1e-5)
