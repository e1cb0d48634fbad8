"""Writing data sets: what was recorded is written again as it was, and what is made up comes back."""

import json

import numpy as np
import pytest
from PIL import Image

import sldiff_jax as sl
from sldiff_jax import bop
from sldiff_jax.bop._ply import write_ply
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

SYMMETRIES = {
    5: {"symmetries_discrete": [np.diag([1.0, -1, -1, 1]).reshape(-1).tolist()]},
    40: {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]},
}


def make_view(scene_id=2, image_id=3, **changed) -> bop.View:
    T_world_camera = sl.se3_exp(np.array([0.1, -0.2, 0.3, 0.5, 0.1, -0.2], np.float32))
    camera = sl.Camera.from_intrinsics(200, 190, 82.5, 57.25, width=160, height=120, T_world_camera=T_world_camera)
    T = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
    T[:, 2, 3] = 0.4, 0.5
    T[1, 0, 3] = 0.03
    scene = sl.Scene(np.asarray(T_world_camera) @ T, camera)
    result = sl.MeshRenderer([box_mesh(), sphere_mesh()], buffers="core")(scene)
    images = {"rgb": np.asarray(result.rgb)[..., :3], "depth": np.asarray(result.depth)}
    return bop.View(scene_id, image_id, scene, (40, 5), **images)._replace(**changed)


def test_the_recorded_data_set_is_written_as_it_was(tinya, tmp_path):
    source = bop.Dataset.open(tinya)
    views = (
        bop.View(
            frame.scene_id,
            frame.image_id,
            sl.Scene(np.stack([i.T_camera_object for i in frame.instances]).astype(np.float32), frame.camera),
            [instance.object_id for instance in frame.instances],
            frame.rgb,
            frame.depth,
        )
        for frame in source
    )
    written = bop.write_dataset(tmp_path / "again", {k: source.models.mesh(k) for k in source.models}, views)
    for scene in ("000001", "000002"):
        for name in ("scene_gt_info.json", "scene_gt.json", "scene_camera.json"):
            ours, theirs = (
                json.loads((folder / "test" / scene / name).read_text()) for folder in (written.folder, tinya)
            )
            assert list(ours) == list(theirs)
            for key in theirs:
                for mine, recorded in zip(np.atleast_1d(ours[key]), np.atleast_1d(theirs[key]), strict=True):
                    for entry, value in recorded.items():
                        np.testing.assert_allclose(mine[entry], value, rtol=1e-6, atol=1e-4, err_msg=f"{name} {entry}")
        for kind in ("rgb", "depth", "mask", "mask_visib"):
            paths = sorted((tinya / "test" / scene / kind).iterdir())
            assert [path.name for path in paths] == sorted(
                p.name for p in (written.folder / "test" / scene / kind).iterdir()
            )
            for path in paths:
                with Image.open(path) as a, Image.open(written.folder / "test" / scene / kind / path.name) as b:
                    np.testing.assert_array_equal(a, b, err_msg=str(path))
    for name in ("test_targets_bop19.json", "test_targets_bop24.json"):
        assert json.loads((written.folder / name).read_text()) == json.loads((tinya / name).read_text())
    for object_id in source.models:
        before, after = source.models.mesh(object_id), written.models.mesh(object_id)
        np.testing.assert_allclose(after.vertices, before.vertices, atol=1e-8)
        np.testing.assert_array_equal(after.colors, before.colors)


def test_scenes_with_a_camera_in_the_world_come_back(tmp_path):
    view = make_view()
    dataset = bop.write_dataset(
        tmp_path / "set", {40: box_mesh(), 5: sphere_mesh()}, [view], split="train_pbr", symmetries=SYMMETRIES
    )
    (frame,) = dataset
    assert (frame.scene_id, frame.image_id) == (2, 3) and [i.object_id for i in frame.instances] == [40, 5]
    camera = view.scene.camera
    np.testing.assert_allclose(frame.camera.intrinsics, camera.intrinsics, rtol=1e-6)
    np.testing.assert_allclose(frame.camera.T_world_camera, camera.T_world_camera, atol=1e-6)
    for instance, T in zip(frame.instances, view.scene.T_camera_object):
        np.testing.assert_allclose(instance.T_camera_object, T, atol=1e-6)
    np.testing.assert_array_equal(frame.rgb, view.rgb)
    expected = np.where(view.depth < 3000, view.depth, 0)
    np.testing.assert_allclose(frame.depth, expected, atol=5.1e-5)
    labels = np.asarray(sl.MeshRenderer([box_mesh(), sphere_mesh()])(view.scene).instance_index)
    np.testing.assert_array_equal(frame.mask(0), labels == 1)
    assert 0 < frame.instances[1].visibility < 1  # the box hides a part of it
    assert frame.mask(1, visible=False).sum() > frame.mask(1).sum() >= (labels == 2).sum()
    assert dataset.models[5].symmetric and dataset.models[40].symmetric
    assert dataset.models_eval[40].diameter == pytest.approx(box_mesh().diameter)
    assert {target[2:] for target in dataset.targets_bop19} == {(5, 1), (40, 1)}


def test_without_depth_visibility_is_that_of_the_meshes(tmp_path):
    meshes = {40: box_mesh(), 5: sphere_mesh()}
    with_depth = bop.write_dataset(tmp_path / "a", meshes, [make_view()])[0]
    frame = bop.write_dataset(tmp_path / "b", meshes, [make_view(depth=None)])[0]
    assert frame.depth is None
    for place in (0, 1):
        np.testing.assert_array_equal(frame.mask(place), with_depth.mask(place))


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], "no views to write"),
        ([make_view], "given twice"),
        ([lambda: make_view(3, 0), make_view], "must follow each other"),
        ([lambda: make_view(9, 9, object_ids=(40,))], "has 2 poses and 1 numbers of objects"),
        ([lambda: make_view(9, 9, object_ids=(40, 6))], r"shows objects \[6\], for which there is no mesh"),
        ([lambda: make_view(9, 9, rgb=np.zeros((5, 5, 3), np.uint8))], r"rgb of \(height, width\) \(5, 5\)"),
        ([lambda: make_view(9, 9, depth_scale=1e-6)], "beyond 16 bits"),
    ],
)
def test_what_cannot_be_written(tmp_path, views, message):
    views = [make_view(), *(view() for view in views)] if views else []
    with pytest.raises(ValueError, match=message):
        bop.write_dataset(tmp_path / "set", {40: box_mesh(), 5: sphere_mesh()}, views)


def test_what_exists_is_not_overwritten(tmp_path):
    meshes = {40: box_mesh(), 5: sphere_mesh()}
    bop.write_dataset(tmp_path / "set", meshes, [make_view()])
    with pytest.raises(ValueError, match="exists already"):
        bop.write_dataset(tmp_path / "set", meshes, [make_view()])
    assert len(bop.write_dataset(tmp_path / "set", meshes, [make_view()], split="val")) == 1


@pytest.mark.parametrize("build", [box_mesh, demo_mesh, sphere_mesh])
def test_textures_come_back(tmp_path, build):
    mesh = build()
    write_ply(tmp_path / "obj_000001.ply", mesh)
    camera = sl.Camera.from_fov(0.5, width=160, height=120)
    T = np.array(sl.se3_exp(np.array([0.4, 0.5, 0.6, 0, 0, 0], np.float32)))
    T[2, 3] = 0.4
    before, after = (
        np.asarray(sl.MeshRenderer([m], buffers="core")(sl.Scene(T[None], camera)).rgb, int)
        for m in (mesh, sl.Mesh.load(tmp_path / "obj_000001.ply", scale=1e-3))
    )
    assert before[..., :3].std() > 30
    assert np.abs(before - after).max() <= 1


def test_plain_materials_become_vertex_colours(tmp_path):
    box = box_mesh()
    mesh = sl.Mesh(
        box.vertices, box.faces, base_color=np.array([[1.0, 0, 0], [0, 0.5, 1]]), texture=[None, None],
        uv=box.uv, face_material=np.arange(12) % 2,
    )  # fmt: skip
    write_ply(tmp_path / "obj_000001.ply", mesh)
    back = sl.Mesh.load(tmp_path / "obj_000001.ply", scale=1e-3)
    assert back.num_triangles == 12
    of_faces = np.asarray(back.colors)[np.asarray(back.faces)]
    np.testing.assert_allclose(of_faces[0], [[1, 0, 0]] * 3)
    np.testing.assert_allclose(of_faces[1], [[0, 128 / 255, 1]] * 3)


def test_repeating_textures_cannot_be_joined(tmp_path):
    box = box_mesh()
    mesh = sl.Mesh(
        box.vertices, box.faces, texture=[np.zeros((4, 4, 3)), np.ones((4, 4, 3))], uv=3 * np.asarray(box.uv),
        face_material=np.arange(12) % 2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="several textures that repeat"):
        write_ply(tmp_path / "obj_000001.ply", mesh)
