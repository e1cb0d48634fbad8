"""The inputs of ``sldiff-jax refine``, read and checked against each other."""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from .._losses.silhouette import OCCLUDER_MARGIN
from .._refine.refinement import Refinement
from .._scene.camera import Camera
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer
from ._bop_entries import image_entry, object_entry
from ._camera_files import parse_intrinsics
from ._documents import read_document
from ._errors import InputError
from ._images import read_images, read_photo, reading_files, registered, straightened
from ._pose_files import parse_pose
from ._scales import stated_depth_scale, stated_pose_scale, stated_scale
from ._search import best_pose, expected_distance, find_start, seen_in
from ._units import Seen, check_units


class Inputs(NamedTuple):
    """What was read: one image, optional depth and mask of its size, a camera at the origin, mesh and start.

    `seen` is where the image shows something, if it was undistorted and does not do so everywhere. `notes` are what the
    user should know of the files. `found` is the search for the start, if none was given.
    """

    image: UInt8[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"] | None
    mask: Bool[np.ndarray, "height width"] | None
    seen: Bool[np.ndarray, "height width"] | None
    camera: Camera
    focal_length: float
    mesh: Mesh
    T_camera_object: Float[np.ndarray, "4 4"]
    scales: dict[str, float]
    notes: tuple[str, ...]
    found: Refinement | None = None


def read_inputs(options: argparse.Namespace) -> Inputs:
    """Reads all files that the options name, and checks each by itself."""
    camera_file = image_entry(read_document(options.camera, "camera"), options.camera, options.image, options.image_id)
    pose_file = T_camera_object = None
    pose_scale = options.pose_scale or 1.0
    if options.pose is not None:
        pose_file = image_entry(read_document(options.pose, "pose"), options.pose, options.image, options.image_id)
        pose_file = object_entry(pose_file, options.pose, options.mesh, options.object_id, options.instance)
        pose_scale = options.pose_scale or stated_pose_scale(pose_file, options.pose) or 1.0
        T_camera_object = parse_pose(pose_file, options.pose, pose_scale)
    depth_file, depth_path = camera_file, options.camera
    if options.depth_camera is not None:
        depth_file, depth_path = read_document(options.depth_camera, "depth camera"), options.depth_camera

    def stated(*names: str) -> float | None:
        own = [] if options.depth_camera is None else [(depth_file, depth_path)]
        start = [] if pose_file is None else [(pose_file, options.pose)]
        files = (*own, *start, (camera_file, options.camera))
        return next((scale for file, path in files if (scale := stated_scale(file, names, path))), None)

    mesh_scale = options.mesh_scale or stated("mesh") or 1.0
    depth_scale = options.depth_scale or stated("depth", "depth_png") or stated_depth_scale(depth_file, depth_path)

    photo = read_photo(options)
    height, width = photo.shape[:2]
    intrinsics = parse_intrinsics(camera_file, options.camera, (width, height), options.pixel_center)
    images = read_images(options, photo, depth_scale)
    with reading_files():
        mesh = Mesh.load(options.mesh, scale=mesh_scale)
    # Wide enough for wherever the object may go, for any size of object.
    focal_length = math.sqrt(intrinsics.fx * intrinsics.fy)
    if T_camera_object is None:
        distance = expected_distance(mesh, focal_length, seen_in(images, options))
    else:
        distance = _distance(mesh, T_camera_object)
    camera = Camera.from_intrinsics(
        intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy, width=width, height=height,
        near=distance / 50, far=50 * distance,
    )  # fmt: skip
    images = straightened(images, intrinsics, options)
    if options.depth_camera is not None:
        images = registered(images, camera, depth_file, options)

    notes = []
    if intrinsics.unknown:
        names = ", ".join(f'"{key}"' for key in intrinsics.unknown)
        notes.append(f"{options.camera} holds what is not understood and was left out: {names}.")
    if intrinsics.distortion:
        coefficients = ", ".join(f"{value:g}" for value in intrinsics.distortion)
        notes.append(
            f"The photo was undistorted with {coefficients} of {options.camera}. If it had been already, take them out."
        )
    scales = {"mesh": mesh_scale, "pose": pose_scale}
    if images.depth is not None:
        scales["depth"] = 1.0 if depth_scale is None else depth_scale
    found = None
    if T_camera_object is None:
        found = find_start(images, camera, mesh, options)
        T_camera_object = best_pose(found)
    return Inputs(
        images.photo, images.depth, images.mask, images.seen, camera, focal_length, mesh, T_camera_object, scales,
        tuple(notes), found,
    )  # fmt: skip


def _distance(mesh: Mesh, T_camera_object: Float[np.ndarray, "4 4"]) -> float:
    """Of the object from the camera, metres. Where a mesh is far from its origin, its centre counts."""
    center = T_camera_object[:3, :3] @ mesh.bounds.mean(axis=0) + T_camera_object[:3, 3]
    from_center, from_origin = float(np.linalg.norm(center)), float(np.linalg.norm(T_camera_object[:3, 3]))
    return max(from_center if from_center > mesh.diameter else from_origin, 1e-9)


def rendered_depth(inputs: Inputs, T_camera_object: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "height width"]:
    """(H, W) depth of the object alone in the whole image, metres, 0 where it is not seen."""
    result = MeshRenderer([inputs.mesh], buffers="core")(Scene(T_camera_object[None], inputs.camera))
    return np.where(np.asarray(result.instance_index) > 0, np.asarray(result.coord_depth)[..., 3], 0)


def _hidden(inputs: Inputs, start: Float[np.ndarray, "height width"]) -> float | None:
    """Of the rendered object outside of the mask, the share at which depth shows something nearer."""
    if inputs.mask is None or inputs.depth is None:
        return None
    outside = (start > 0) & ~inputs.mask & (inputs.depth > 0)
    nearer = inputs.depth[outside] < start[outside] - OCCLUDER_MARGIN
    return float(nearer.mean()) if nearer.size else None


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
            hidden=_hidden(inputs, start),
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
