"""The mathematics of stillleben.diff in plain torch: the other side of the speed comparison.

Written from the description of the reference alone and sharing no code with `sldiff_jax`. It has the reference's
structure, a loop over the objects with tensor operations on the whole image in each turn, and the mended rules of
this library (division by clip w, camera pose, replicated border). Where torch offers a faster way it is taken: only
the points of an object's grown silhouette are transformed, what does not depend on the object stays out of the loop,
and every operation may use all cores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
"""Row and column offsets of the 8 neighbours, in row-major scan order."""


class Inputs(NamedTuple):
    """A scene and its render result as tensors.

    Attributes:
        rgb: (H, W, 4) uint8.
        coord_depth: (H, W, 4) float, object coordinates and depth, metres.
        instance_index: (H, W) int16, 0 for background.
        projection: (4, 4) float, camera frame to clip frame.
        T_world_camera: (4, 4) float.
        T_world_object: (N, 4, 4) float.
        labels: the N labels in `instance_index`.
    """

    rgb: Tensor
    coord_depth: Tensor
    instance_index: Tensor
    projection: Tensor
    T_world_camera: Tensor
    T_world_object: Tensor
    labels: tuple[int, ...]


def shifted(padded: Tensor, dy: int, dx: int) -> Tensor:
    """For an image padded by one pixel, the (H, W) view that shows at each pixel its neighbour at (dy, dx)."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def not_beside_occluder(instance_index: Tensor, depth: Tensor) -> Tensor:
    """(H, W) bool: false at object pixels with an 8-neighbour that belongs to another object and is nearer."""
    label = F.pad(instance_index, (1, 1, 1, 1), value=0)
    distance = F.pad(depth, (1, 1, 1, 1), value=float("inf"))
    occluded = torch.zeros_like(instance_index, dtype=torch.bool)
    for offset in NEIGHBOURS:
        other = shifted(label, *offset)
        occluded |= (other != 0) & (other != instance_index) & (shifted(distance, *offset) < depth)
    return ~(occluded & (instance_index != 0))


def image_space_gradients(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Negated central differences of the image per unit of NDC, zero where a pixel lies beside its occluder.

    Returns:
        grad_x and grad_y (3, H, W) float, and valid (H, W) bool.
    """
    image = inputs.rgb[..., :3].permute(2, 0, 1).to(inputs.coord_depth.dtype) / 255
    height, width = image.shape[1:]
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    valid = not_beside_occluder(inputs.instance_index, inputs.coord_depth[..., 3])
    grad_x = (shifted(padded, 0, -1) - shifted(padded, 0, 1)) * (width / 4) * valid
    grad_y = (shifted(padded, -1, 0) - shifted(padded, 1, 0)) * (height / 4) * valid
    return grad_x, grad_y, valid


def window_is_valid(valid: Tensor) -> Tensor:
    """(H, W) bool: all pixels of the 3x3 window that lie within the image are valid."""
    padded = F.pad(valid, (1, 1, 1, 1), value=True)
    result = valid.clone()
    for offset in NEIGHBOURS:
        result &= shifted(padded, *offset)
    return result


def dilated_silhouette(inside: Tensor, window_valid: Tensor, coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Grows an object's mask by one pixel where the whole 3x3 window is valid; new pixels borrow coordinates.

    Args:
        inside: (H, W) bool, the object's pixels.
        window_valid: (H, W) bool, from `window_is_valid`.
        coordinates: (H, W, 3) float, object coordinates.

    Returns:
        The pixels of the grown mask, (n,) int64 numbers in row-major order of the image, and their object coordinates
        (n, 3): at new pixels those of the last neighbour inside, in row-major scan order.
    """
    width = inside.shape[1]
    padded = F.pad(inside, (1, 1, 1, 1), value=False)
    touched = torch.zeros_like(inside)
    for offset in NEIGHBOURS:
        touched |= shifted(padded, *offset)
    own = inside.flatten().nonzero()[:, 0]
    new = (touched & ~inside & window_valid).flatten().nonzero()[:, 0]
    row, column = new // width, new % width
    lender = new
    for dy, dx in NEIGHBOURS:
        lends = padded[row + 1 + dy, column + 1 + dx]
        lender = torch.where(lends, new + (dy * width + dx), lender)
    return torch.cat([own, new]), coordinates.reshape(-1, 3)[torch.cat([own, lender])]


def pose_gradients(inputs: Inputs, grad_image: Tensor) -> Tensor:
    """Gradient with respect to the pose delta (alpha, beta, gamma, a, b, c) of every object.

    Args:
        inputs: scene and render result.
        grad_image: (3, H, W) float, the objective's gradient with respect to the image in [0, 1].

    Returns:
        (N, 6) float.
    """
    grad_x, grad_y, valid = image_space_gradients(inputs)
    grad_ndc = torch.stack([(grad_image * grad_x).sum(0), (grad_image * grad_y).sum(0)], dim=-1).reshape(-1, 2)
    window_valid = window_is_valid(valid)
    T_camera_world = torch.linalg.inv(inputs.T_world_camera)
    coordinates = inputs.coord_depth[..., :3].contiguous()
    rows = []
    for label, T_world_object in zip(inputs.labels, inputs.T_world_object):
        T_clip_object = inputs.projection @ T_camera_world @ T_world_object
        pixels, points = dilated_silhouette(inputs.instance_index == label, window_valid, coordinates)
        s = grad_ndc[pixels]
        clip = points @ T_clip_object[:, :3].T + T_clip_object[:, 3]
        w = clip[:, 3:]
        grad_w = -(s * clip[:, :2]).sum(1, keepdim=True) / w**2
        grad_clip = torch.cat([s / w, torch.zeros_like(w), grad_w], dim=1)
        grad_point = grad_clip @ T_clip_object[:, :3]
        # The delta moves a point x of the object by (angles cross x) + translation.
        rows.append(torch.cat([torch.linalg.cross(points, grad_point).sum(0), grad_point.sum(0)]))
    return torch.stack(rows) if rows else grad_image.new_zeros(0, 6)
