"""Scenes and render results of stillleben as those of sldiff_jax, against the recorded buffers."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import numpy as np
import torch
from fake_stillleben import RenderPassResult, ray_cast_stage, textures_of

from interop import dlpack
from interop.dlpack import shares_memory
from interop.stillleben import result_from_stillleben, scene_from_stillleben

SCENES = ["two_bunnies", "bunny_cube", "five"]
BUFFERS = {
    "rgb": ("rgb", np.uint8, 4),
    "coord_depth": ("coordDepth", np.float32, 4),
    "instance_index": ("instance_index", np.int16, 1),
    "class_index": ("class_index", np.int16, 1),
    "normals": ("normals", np.float32, 4),
    "vertex_indices": ("vertex_indices", np.int32, 3),
    "barycentric_coeffs": ("barycentric_coeffs", np.float32, 3),
    "cam_coordinates": ("cam_coordinates", np.float32, 4),
}
SLICED = {"vertex_indices", "barycentric_coeffs"}

aligned = pytest.mark.parametrize("boundary", [True], indirect=True, ids=["aligned"])


@pytest.mark.parametrize("name", SCENES)
def test_the_stand_in_hands_out_what_was_recorded(recorded, name):
    _, result, data = recorded(name)
    for key in data:
        if key.startswith("buf_"):
            tensor = getattr(result, key.removeprefix("buf_"))()
            assert tensor.shape == data[key].shape and tensor.numpy().dtype == data[key].dtype
            np.testing.assert_array_equal(tensor.numpy(), data[key])
    width = data["buf_rgb"].shape[1]
    assert result.coordinates().stride() == (4 * width, 4, 1) == result.vertex_indices().stride()
    assert result.depth().stride() == (4 * width, 4)
    assert result.rgb().data_ptr() % 64 == 16


@pytest.mark.parametrize("name", SCENES)
def test_scene(recorded, name):
    scene, _, data = recorded(name)
    converted = scene_from_stillleben(scene)
    np.testing.assert_array_equal(converted.T_world_object, data["object_poses"])
    np.testing.assert_array_equal(converted.instance_index, data["instance_indices"])
    np.testing.assert_array_equal(converted.camera.projection, data["projection_matrix"])
    np.testing.assert_array_equal(converted.camera.T_world_camera, data["camera_pose"])
    assert (converted.camera.width, converted.camera.height) == tuple(data["viewport_wh"])
    assert converted.T_world_object.dtype == np.float32


def test_scene_is_a_copy(boundary):
    boundary.stillleben.init()
    scene, _ = ray_cast_stage(boundary.stillleben)
    converted = scene_from_stillleben(scene)
    before = np.asarray(converted.T_world_object[0]).copy()
    scene.objects[0].set_pose(torch.eye(4))
    np.testing.assert_array_equal(converted.T_world_object[0], before)


def test_scene_without_objects(boundary):
    boundary.stillleben.init()
    assert scene_from_stillleben(boundary.stillleben.Scene((4, 2))).T_world_object.shape == (0, 4, 4)


@pytest.mark.parametrize("name", SCENES)
def test_result(recorded, name):
    _, result, data = recorded(name)
    converted = result_from_stillleben(result)
    for field, (key, dtype, channels) in BUFFERS.items():
        array, expected = getattr(converted, field), data[f"buf_{key}"]
        np.testing.assert_array_equal(array, expected[..., 0] if channels == 1 else expected)
        assert array.dtype == dtype
    np.testing.assert_array_equal(converted.coordinates, data["buf_coordinates"])
    np.testing.assert_array_equal(converted.depth, data["buf_depth"])


def test_core_buffers_alone(recorded):
    _, result, data = recorded("bunny_cube")
    converted = result_from_stillleben(result, buffers="core")
    np.testing.assert_array_equal(converted.coord_depth, data["buf_coordDepth"])
    assert converted.normals is None and converted.class_index is None and converted.vertex_indices is None
    with pytest.raises(ValueError, match="core"):
        result_from_stillleben(result, buffers="some")


@pytest.fixture
def images(monkeypatch):
    """The tensors that stillleben's methods return, by method."""
    seen = {}
    for name in RenderPassResult.__dict__:
        method = RenderPassResult.__dict__[name]
        if name.startswith("_") or not callable(method):
            continue

        def remembering(self, name=name, method=method):
            return seen.setdefault(name, method(self))

        monkeypatch.setattr(RenderPassResult, name, remembering)
    return seen


@aligned
def test_aligned_images_are_shared(recorded, images):
    _, result, _ = recorded("bunny_cube")
    converted = result_from_stillleben(result)
    for field, (method, _, _) in BUFFERS.items():
        array, image = getattr(converted, field), images[method]
        if field in SLICED:
            assert not shares_memory(array, image)
        else:
            assert shares_memory(array, image) and array.unsafe_buffer_pointer() == image.data_ptr()


def test_heap_images_are_copied_once_and_it_is_told(recorded, images, monkeypatch):
    copies, copied = [], dlpack._copied
    monkeypatch.setattr(dlpack, "_copied", lambda tensor: copies.append(copied(tensor)) or copies[-1])
    _, result, _ = recorded("bunny_cube")
    converted = result_from_stillleben(result)
    assert len(copies) == len(BUFFERS)
    for field, (method, _, _) in BUFFERS.items():
        array = getattr(converted, field)
        assert not shares_memory(array, images[method])
        assert array.unsafe_buffer_pointer() in [copy.data_ptr() for copy in copies]


@aligned
def test_all_buffers_are_read_before_the_next_render(recorded, golden):
    _, result, data = recorded("bunny_cube")
    converted = result_from_stillleben(result)
    result.textures = textures_of(data, "peel1_")  # the next render overwrites the textures
    assert (result.rgb().numpy() != data["buf_rgb"]).any()
    for field, (key, _, channels) in BUFFERS.items():
        expected = data[f"buf_{key}"]
        np.testing.assert_array_equal(getattr(converted, field), expected[..., 0] if channels == 1 else expected)


def test_odd_widths_are_refused(boundary):
    boundary.stillleben.init()
    scene, render_pass = ray_cast_stage(boundary.stillleben, viewport=(15, 8))
    with pytest.raises(ValueError, match=r"width is odd, got 15"):
        scene_from_stillleben(scene)
    with pytest.raises(ValueError, match=r"width is odd, got 15"):
        result_from_stillleben(render_pass.render(scene))


@pytest.mark.parametrize(("labels", "message"), [((4, 4), r"\[4, 4\]"), ((1, 32768), "32768"), ((-1, 2), "-1")])
def test_labels_that_an_image_cannot_hold_are_refused(boundary, labels, message):
    boundary.stillleben.init()
    scene, _ = ray_cast_stage(boundary.stillleben, labels=labels)
    with pytest.raises(ValueError, match=rf"instance_index.*{message}"):
        scene_from_stillleben(scene)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["rgb", "coordDepth", "instance_index"])
def test_gpu_images_are_shared(gpu, recorded, method):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    _, result, _ = recorded("bunny_cube")
    images = {}

    class OnGpu:
        def __getattr__(self, name):
            return lambda: images.setdefault(name, getattr(result, name)().cuda())

    converted = result_from_stillleben(OnGpu())
    field = {"coordDepth": "coord_depth"}.get(method, method)
    assert shares_memory(getattr(converted, field), images[method])
    assert getattr(converted, field).devices() == {gpu}
