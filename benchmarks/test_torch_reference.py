"""The torch side of the speed comparison reproduces the recorded output of the original."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import shared_data
from torch_reference import Inputs, dilated_silhouette, image_space_gradients, pose_gradients, window_is_valid

SCENES = ("two_bunnies", "two_bunnies_flat", "bunny_cube", "five", "five_flat")


def recorded(name: str) -> tuple[Inputs, dict[str, np.ndarray]]:
    """A recorded scene as tensors, and everything else that was recorded."""
    folder = shared_data()
    if folder is None:
        pytest.skip("no recorded data beside the repository (set SLDIFF_SHARED to the shared folder)")
    with np.load(folder / "stillleben_golden" / f"{name}.npz") as file:
        data = {key: file[key] for key in file.files}
    inputs = Inputs(
        rgb=torch.from_numpy(data["buf_rgb"]),
        coord_depth=torch.from_numpy(data["buf_coordDepth"]),
        instance_index=torch.from_numpy(data["buf_instance_index"][..., 0]),
        projection=torch.from_numpy(data["projection_matrix"]),
        T_world_camera=torch.eye(4),  # the original knows no camera pose
        T_world_object=torch.from_numpy(data["object_poses"]),
        labels=tuple(data["instance_indices"].tolist()),
    )
    return inputs, data


@pytest.mark.parametrize("name", SCENES)
def test_image_space_gradients(name):
    """Gradients and valid mask equal the recorded ones off the border."""
    inputs, data = recorded(name)
    grad_x, grad_y, valid = image_space_gradients(inputs)
    interior = np.s_[..., 1:-1, 1:-1]  # the original pads with zeros
    for got, want in ((grad_x, data["isg_grad_x"]), (grad_y, data["isg_grad_y"])):
        np.testing.assert_allclose(got.numpy()[interior], want[interior], rtol=1e-5, atol=1e-4)
    assert not valid.all()
    np.testing.assert_array_equal(valid.numpy()[interior], data["isg_valid"][interior])


@pytest.mark.parametrize("name", SCENES)
def test_dilated_silhouettes(name):
    """Grown masks and borrowed coordinates equal the recorded ones off the border."""
    inputs, data = recorded(name)
    window_valid = window_is_valid(image_space_gradients(inputs)[2])
    interior = np.s_[2:-2, 2:-2]  # the original never dilates the border
    for row, label in enumerate(inputs.labels):
        inside = inputs.instance_index == label
        pixels, points = dilated_silhouette(inside, window_valid, inputs.coord_depth[..., :3])
        assert len(pixels) > inside.sum()
        mask = np.zeros(inside.shape, bool)
        mask.flat[pixels] = True
        coordinates = np.zeros((*inside.shape, 3), np.float32)
        coordinates.reshape(-1, 3)[pixels] = points
        want = data[f"dilated_mask_{row}"][interior]
        np.testing.assert_array_equal(mask[interior], want)
        np.testing.assert_array_equal(coordinates[interior][want], data[f"dilated_coordinates_{row}"][interior][want])


@pytest.mark.parametrize("name", ["two_bunnies", "two_bunnies_flat", "bunny_cube"])  # "five" touches the border
def test_pose_gradients(name):
    """The recorded pose gradient comes out with the doctored projection, and only with it."""
    inputs, data = recorded(name)
    doctored = inputs.projection.clone()
    doctored[3] = doctored[2]  # the original divides by row 2
    got = pose_gradients(inputs._replace(projection=doctored), torch.from_numpy(data["grad_image"]))
    want = data["pose_grad"]
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-4 * np.abs(want).max())
    true = pose_gradients(inputs, torch.from_numpy(data["grad_image"]))
    assert np.abs(true.numpy() - want).max() > 1e-2 * np.abs(want).max()
