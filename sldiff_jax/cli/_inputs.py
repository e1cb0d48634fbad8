"""The inputs of ``sldiff-jax refine``, read and checked against each other."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from .._images.depth_files import read_depth
from .._images.files import read_color, read_mask
from .._scene.camera import Camera
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer
from ._errors import InputError
from ._read import parse_intrinsics, parse_pose, read_json, stated_scale
from ._units import Seen, check_units


class Inputs(NamedTuple):
    """What was read: one image, optional depth and mask of its size, a camera at the origin, mesh and start."""

    image: UInt8[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"] | None
    mask: Bool[np.ndarray, "height width"] | None
    camera: Camera
    focal_length: float
    mesh: Mesh
    T_camera_object: Float[np.ndarray, "4 4"]
    scales: dict[str, float]


def read_inputs(options: argparse.Namespace) -> Inputs:
    """Reads all files that the options name, and checks each by itself."""
    camera_json = read_json(options.camera, "camera")
    pose_json = read_json(options.pose, "pose")

    def scale(flag: float | None, *names: str) -> float | None:
        stated = [stated_scale(pose_json, names, options.pose), stated_scale(camera_json, names, options.camera)]
        return next((value for value in (flag, *stated) if value is not None), None)

    mesh_scale = scale(options.mesh_scale, "mesh") or 1.0
    depth_scale = scale(options.depth_scale, "depth", "depth_png")
    pose_scale = options.pose_scale or stated_scale(pose_json, ("pose",), options.pose) or 1.0

    T_camera_object = parse_pose(pose_json, options.pose, pose_scale)
    with _reading_files():
        image = read_color(options.image)
    height, width = image.shape[:2]
    intrinsics = parse_intrinsics(camera_json, options.camera, (width, height), options.pixel_center)
    with _reading_files():
        mask = None if options.mask is None else read_mask(options.mask)
        depth = None if options.depth is None else read_depth(options.depth, depth_scale, option="--depth-scale")
        mesh = Mesh.load(options.mesh, scale=mesh_scale)
    for name, other in (("mask", mask), ("depth", depth)):
        if other is not None and other.shape != (height, width):
            raise InputError(
                f"{name} {getattr(options, name)} has {other.shape[1]}x{other.shape[0]} pixels, image {options.image} "
                f"{width}x{height}. They must show the same view pixel by pixel."
            )

    scales = {"mesh": mesh_scale, "pose": pose_scale} | ({} if depth is None else {"depth": depth_scale or 1.0})
    # Wide enough for wherever the object may go, for any size of object.
    distance = _distance(mesh, T_camera_object)
    camera = Camera.from_intrinsics(
        intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy, width=width, height=height,
        near=distance / 50, far=50 * distance,
    )  # fmt: skip
    focal_length = math.sqrt(intrinsics.fx * intrinsics.fy)
    return Inputs(image, depth, mask, camera, focal_length, mesh, T_camera_object, scales)


@contextmanager
def _reading_files() -> Iterator[None]:
    """What is wrong with a file is the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from None


def _distance(mesh: Mesh, T_camera_object: Float[np.ndarray, "4 4"]) -> float:
    """Of the object from the camera, metres. Where a mesh is far from its origin, its centre counts."""
    center = T_camera_object[:3, :3] @ mesh.bounds.mean(axis=0) + T_camera_object[:3, 3]
    from_center, from_origin = float(np.linalg.norm(center)), float(np.linalg.norm(T_camera_object[:3, 3]))
    return max(from_center if from_center > mesh.diameter else from_origin, 1e-9)


def rendered_depth(inputs: Inputs, T_camera_object: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "height width"]:
    """(H, W) depth of the object alone in the whole image, metres, 0 where it is not seen."""
    result = MeshRenderer([inputs.mesh], buffers="core")(Scene(T_camera_object[None], inputs.camera))
    return np.where(np.asarray(result.instance_index) > 0, np.asarray(result.depth), 0)


def check_plausible(inputs: Inputs, start: Float[np.ndarray, "height width"]) -> None:
    """Checks the inputs against each other; `start` is the rendered depth of the start pose."""
    T = inputs.T_camera_object
    center = T[:3, :3] @ inputs.mesh.bounds.mean(axis=0) + T[:3, 3]
    extent = None
    expected = start > 0
    if inputs.mask is not None:
        extent = math.hypot(*(np.ptp(indices) + 1 for indices in np.nonzero(inputs.mask)))
        expected = inputs.mask
    measured = None
    if inputs.depth is not None and (inputs.depth[expected] > 0).any():
        measured = float(np.median(inputs.depth[expected & (inputs.depth > 0)]))
    elif inputs.depth is not None and inputs.mask is not None:
        raise InputError("The depth image holds no measurement inside the mask. Leave --depth out, or check both.")
    check_units(
        Seen(
            diameter=inputs.mesh.diameter,
            distance=_distance(inputs.mesh, T),
            focal_length=inputs.focal_length,
            mask_extent=extent,
            measured_depth=measured,
            mesh_scale=inputs.scales["mesh"],
            pose_scale=inputs.scales["pose"],
            depth_scale=inputs.scales.get("depth", 1.0),
        )
    )
    if center[2] <= 0:
        raise InputError(
            f"The start puts the object behind the camera: its centre is at depth {center[2]:.3g} m. Camera axes are "
            "X right, Y down, Z forward (OpenCV)."
        )
    if not (start > 0).any():
        x, y = (np.asarray(inputs.camera.projection, np.float64) @ [*center, 1])[:2] / center[2]
        height, width = start.shape
        raise InputError(
            f"The start puts the object outside of the frame: its centre projects to column {(x + 1) * width / 2:.0f}, "
            f"row {(y + 1) * height / 2:.0f} of an image of {width}x{height} pixels. Check pose and camera."
        )
