"""Reading data sets: what is there, what is missing, and what deviates from the format."""

import json
import logging
import shutil

import handmade
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from sldiff_jax import bop


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_images_are_indexed_and_iterated(rare):
    dataset = bop.Dataset.open(rare)
    assert dataset.image_ids == ((4, 0), (4, 7), (12, 1), (12, 2))
    assert len(dataset) == 4 and (12, 1) in dataset and (12, 7) not in dataset and dataset.name == "rare"
    assert [(frame.scene_id, frame.image_id) for frame in dataset] == list(dataset.image_ids)
    assert [frame.image_id for frame in dataset[1:3]] == [7, 1] and dataset[-1].image_id == 2
    with pytest.raises(KeyError, match="no scene 12, image 7"):
        dataset.frame(12, 7)
    with pytest.raises(IndexError):
        dataset[4]


def test_cameras_are_in_metres_with_the_principal_point_from_the_edge(rare):
    frame = bop.Dataset.open(rare).frame(4, 7)
    assert frame.size == (90, 120)
    np.testing.assert_allclose(frame.camera.intrinsics, [150, 148, 61.8, 44.7], rtol=1e-6)
    R = Rotation.from_rotvec([0.2, 7, 0.1]).as_matrix()
    np.testing.assert_allclose(frame.camera.T_camera_world[:3, :3], R, atol=1e-6)
    np.testing.assert_allclose(frame.camera.T_camera_world[:3, 3], [0.01, 0.02, 0.037], atol=1e-7)
    np.testing.assert_array_equal(frame.camera_at_origin.T_world_camera, np.eye(4))
    assert bop.Dataset.open(rare).frame(12, 1).T_world_camera is None


def test_images_of_every_kind_and_size(rare):
    dataset = bop.Dataset.open(rare)
    color, tiff, jpeg = dataset.frame(4, 0), dataset.frame(12, 1), dataset.frame(12, 2)
    with Image.open(rare / "test/000004/rgb/000000.png") as image:
        np.testing.assert_array_equal(color.rgb, np.asarray(image))
    assert tiff.rgb.shape == (90, 120, 3) and (tiff.rgb[..., 0] == tiff.rgb[..., 2]).all()
    assert jpeg.rgb.shape == (64, 80, 3) and jpeg.size == (64, 80)
    # Half a metre in steps of a tenth of a millimetre, and in whole millimetres.
    assert all(np.allclose(frame.depth, 0.5) for frame in dataset)
    assert color.mask(1).sum() == 25 and color.mask(0).sum() == 0
    assert color.mask(1, visible=False) is None and tiff.mask(1) is None
    shutil.rmtree(rare / "test/000012/depth")
    assert tiff.depth is None


def test_ground_truth_and_its_visibility(rare):
    frame = bop.Dataset.open(rare).frame(4, 0)
    raw = json.loads((rare / "test/000004/scene_gt.json").read_text())["0"]
    for place, (instance, entry) in enumerate(zip(frame.instances, raw, strict=True)):
        assert instance.place == place and instance.object_id == entry["obj_id"]
        np.testing.assert_allclose(instance.T_camera_object[:3, :3].reshape(-1), entry["cam_R_m2c"])
        np.testing.assert_allclose(1e3 * instance.T_camera_object[:3, 3], entry["cam_t_m2c"])
    assert [instance.visibility for instance in frame.instances] == [0.05, 0.9, 0.7]
    assert frame.instances[0].visible_box is None and frame.instances[1].visible_box == (1, 2, 3, 4)


def test_objects_with_their_symmetries(rare):
    models = bop.Dataset.open(rare).models_eval
    assert list(models) == [3, 17] and len(models) == 2
    assert not models[3].symmetric and models[17].symmetric
    assert models[3].diameter == pytest.approx(1e-3 * handmade.diameter(3))
    expected = handmade.symmetries(17)
    assert len(models[17].symmetries) == len(expected)
    for T in expected[::37]:
        T = T.copy()
        T[:3, 3] *= 1e-3
        assert np.abs(models[17].symmetries - T).max(axis=(1, 2)).min() < 1e-6
    np.testing.assert_allclose(1e3 * np.asarray(models.mesh(17).vertices), handmade.points(17), atol=1e-4)
    assert models.mesh(17) is models.mesh(17)
    with pytest.raises(KeyError, match=r"no object 1, only \[3, 17\]"):
        models[1]


def test_targets(rare):
    dataset = bop.Dataset.open(rare)
    assert dataset.targets_bop19[:2] == (bop.Target(4, 0, 3, 1), bop.Target(4, 0, 17, 1))
    assert dataset.targets_bop24[-1] == bop.Target(12, 2, None, None)


def test_what_is_missing_is_told_once(rare, caplog):
    for name in ("test_targets_bop19.json", "test_targets_bop24.json"):
        (rare / name).unlink()
    for scene in ("000004", "000012"):
        (rare / "test" / scene / "scene_gt_info.json").unlink()
    shutil.rmtree(rare / "models_eval")
    (rare / "models/models_info.json").unlink()
    with caplog.at_level(logging.WARNING):
        dataset = bop.Dataset.open(rare)
        assert [frame.instances[0].visibility for frame in dataset] == [None] * 4
        assert dataset.targets_bop19[1] == bop.Target(4, 0, 3, 1) and len(dataset.targets_bop24) == 4
        assert dataset.models_eval[17].diameter == pytest.approx(1e-3 * handmade.diameter(17), rel=1e-5)
    messages = [record.getMessage() for record in caplog.records]
    for name in ("scene_gt_info", "bop19.json", "bop24.json", "models_eval does not", "models_info"):
        assert sum(name in message for message in messages) == 1, (name, messages)


def test_targets_are_made_of_what_is_visible(rare):
    (rare / "test_targets_bop19.json").unlink()
    targets = bop.Dataset.open(rare).targets_bop19
    assert {target[2:] for target in targets} == {(3, 1), (17, 1)} and len(targets) == 8


def test_hidden_ground_truth(rare):
    (rare / "test/000004/scene_gt.json").unlink()
    assert bop.Dataset.open(rare).frame(4, 0).instances is None


def test_splits_with_a_type(rare):
    (rare / "test").rename(rare / "test_primesense")
    assert len(bop.Dataset.open(rare, "test-primesense")) == 4
    dataset = bop.Dataset.open(rare, "test_primesense")
    assert len(dataset.targets_bop19) == 8
    with pytest.raises(ValueError, match=r"no split 'test'; it has \['test_primesense'\]"):
        bop.Dataset.open(rare)


def test_memory_holds_few_scenes(rare):
    for scene in range(20, 30):
        shutil.copytree(rare / "test/000012", rare / f"test/{scene:06d}")
    dataset = bop.Dataset.open(rare)
    assert sum(len(frame.instances) for frame in dataset) == 3 * 24
    assert len(dataset._scenes) <= 4


WRONG = {
    "no number": ("scene_camera", lambda d: d.update(zero=d.pop("0")), r'scene_camera.json: keys must be.*got "zero"'),
    "a list": ("scene_camera", lambda d: d.update({"0": [1]}), 'image "0" must be an object, got a list'),
    "no cam_K": ("scene_camera", lambda d: d["0"].pop("cam_K"), 'image "0": the key "cam_K" is missing'),
    "eight": ("scene_camera", lambda d: d["0"]["cam_K"].pop(), r'image "0", key "cam_K": expected 9 finite numbers'),
    "columns": (
        "scene_camera",
        lambda d: d["0"].update(cam_K=handmade.K.T.reshape(-1).tolist()),
        r'key "cam_K": expected \[fx, s, cx, 0, fy, cy, 0, 0, 1\], row by row',
    ),
    "scale": ("scene_camera", lambda d: d["0"].update(depth_scale=0), 'key "depth_scale": expected a positive number'),
    "half a pose": ("scene_camera", lambda d: d["0"].pop("cam_t_w2c"), 'the key "cam_t_w2c" is missing'),
    "no rotation": ("scene_gt", lambda d: d["0"][1].update(cam_R_m2c=[2, 0, 0, 0, 1, 0, 0, 0, 1]),
                    r'scene_gt.json: image "0", object 1, key "cam_R_m2c": expected a rotation'),
    "text": ("scene_gt", lambda d: d["0"][1].update(cam_t_m2c="near"), 'key "cam_t_m2c": expected 3 finite numbers'),
    "no object": ("scene_gt", lambda d: d["0"][1].pop("obj_id"), 'the key "obj_id" is missing'),
    "half an object": ("scene_gt", lambda d: d["0"][1].update(obj_id=1.5), 'key "obj_id": expected a whole number'),
    "one too few": ("scene_gt_info", lambda d: d["0"].pop(), r'scene_gt_info.json: image "0" must have one entry'),
    "fisheye": ("scene_camera", lambda d: d.update({"0": {"cam_model": {}}}), "are not supported, only pinhole"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_deviations_name_file_and_key(rare, case):
    name, change, message = WRONG[case]
    edit(rare / "test/000004" / f"{name}.json", change)
    with pytest.raises(ValueError, match=message):
        bop.Dataset.open(rare).frame(4, 0)


def test_broken_json_names_the_line(rare):
    (rare / "test/000004/scene_gt.json").write_text('{\n"0": [,]}')
    with pytest.raises(ValueError, match=r"scene_gt.json is not valid JSON: .* in line 2"):
        bop.Dataset.open(rare)[0]


def test_depth_without_a_scale_is_not_guessed(rare):
    edit(rare / "test/000004/scene_camera.json", lambda d: d["0"].pop("depth_scale"))
    with pytest.raises(ValueError, match='image "0" lacks the key "depth_scale"'):
        _ = bop.Dataset.open(rare)[0].depth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["3"].pop("diameter"), 'object "3": the key "diameter" is missing'),
        (lambda d: d["3"].update(diameter=-1), 'key "diameter": expected a positive number of millimetres'),
        (lambda d: d["17"].update(symmetries_discrete=[[1, 2]]), r'object "17": the symmetries are not in BOP\'s form'),
        (lambda d: d["17"].update(symmetries_continuous=[{"axis": [0, 0, 1]}]), "axis and offset"),
    ],
)
def test_deviations_of_models(rare, change, message):
    edit(rare / "models_eval/models_info.json", change)
    with pytest.raises(ValueError, match=message):
        _ = bop.Dataset.open(rare).models_eval


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[0].pop("inst_count"), 'bop19.json: target 0: the key "inst_count" is missing'),
        (lambda d: d.append(dict(d[0])), "listed more than once"),
        (lambda d: d[0].update(im_id=99), "a target in scene 4, image 99, and there is no such image"),
    ],
)
def test_deviations_of_targets(rare, change, message):
    edit(rare / "test_targets_bop19.json", change)
    with pytest.raises(ValueError, match=message):
        _ = bop.Dataset.open(rare).targets_bop19


def test_no_data_set(rare, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        bop.Dataset.open(tmp_path / "nothing")
    (tmp_path / "empty" / "test").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no scenes"):
        bop.Dataset.open(tmp_path / "empty")
    shutil.rmtree(rare / "models")
    shutil.rmtree(rare / "models_eval")
    with pytest.raises(ValueError, match="has no models"):
        _ = bop.Dataset.open(rare).models


def test_skew_and_a_principal_point_outside_of_the_image(rare):
    skewed = [150.0, 3.0, -20.0, 0, 148.0, 200.0, 0, 0, 1]
    edit(rare / "test/000004/scene_camera.json", lambda d: d["0"].update(cam_K=skewed))
    camera = bop.Dataset.open(rare)[0].camera_at_origin
    p = np.array([0.1, -0.2, 0.8])
    u, v, w = np.reshape(skewed, (3, 3)) @ p
    x, y, _, clip_w = np.asarray(camera.projection, np.float64) @ [*p, 1]
    assert 60 * (x / clip_w + 1) - 0.5 == pytest.approx(u / w, abs=1e-4)
    assert 45 * (y / clip_w + 1) - 0.5 == pytest.approx(v / w, abs=1e-4)
