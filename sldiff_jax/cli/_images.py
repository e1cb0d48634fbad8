"""Photo, mask and depth of ``sldiff-jax refine``: read, and brought to the pixels of one pinhole camera."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from .._images.depth_files import read_depth
from .._images.files import read_color, read_mask
from .._images.register_depth import register_depth
from .._images.undistort import Undistortion, undistortion
from .._scene.camera import Camera
from ._camera_files import Intrinsics, parse_intrinsics
from ._errors import InputError
from ._pose_files import parse_depth_camera_pose
from ._scales import stated_scale


class Images(NamedTuple):
    """One view, pixel by pixel.

    Attributes:
        photo: (H, W, 3) uint8.
        mask: optional (H, W) bool.
        depth: optional (H, W) float32, metres, 0 where nothing was measured.
        seen: optional (H, W) bool: where the photo shows something, if that is not everywhere.
    """

    photo: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"] | None
    depth: Float[np.ndarray, "height width"] | None
    seen: Bool[np.ndarray, "height width"] | None = None


@contextmanager
def reading_files() -> Iterator[None]:
    """What is wrong with a file is the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from None


def read_photo(options: argparse.Namespace) -> UInt8[np.ndarray, "height width 3"]:
    """The photo as it is in its file."""
    with reading_files():
        return read_color(options.image)


def read_images(
    options: argparse.Namespace, photo: UInt8[np.ndarray, "height width 3"], depth_scale: float | None
) -> Images:
    """Mask and depth as they are in their files, of the photo's size unless the depth has a camera of its own."""
    with reading_files():
        mask = None if options.mask is None else read_mask(options.mask)
        depth = None if options.depth is None else read_depth(options.depth, depth_scale, option="--depth-scale")
    height, width = photo.shape[:2]
    for name, other in (("mask", mask), ("depth", None if options.depth_camera else depth)):
        if other is not None and other.shape != (height, width):
            remedy = " Depth of a camera of its own needs --depth-camera." if name == "depth" else ""
            raise InputError(
                f"{name} {getattr(options, name)} has {other.shape[1]}x{other.shape[0]} pixels, image {options.image} "
                f"{width}x{height}. They must show the same view pixel by pixel.{remedy}"
            )
    return Images(photo, mask, depth)


def straightened(images: Images, intrinsics: Intrinsics, options: argparse.Namespace) -> Images:
    """What a pinhole camera would have seen. Depth of a camera of its own stays as it is."""
    lens = _lens(intrinsics)
    if lens is None:
        return images
    mask = None if images.mask is None else lens.inside(images.mask)
    if mask is not None and not mask.any():
        raise InputError(
            f"Nothing of the mask {options.mask} is left when its distortion is undone. Is it of this photo, and the "
            f"camera in {options.camera} too?"
        )
    depth = images.depth if images.depth is None or options.depth_camera else lens.nearest(images.depth)
    photo = np.round(lens.smooth(images.photo)).astype(np.uint8)
    return Images(photo, mask, depth, None if lens.seen.all() else lens.seen)


def registered(images: Images, camera: Camera, document: Any, options: argparse.Namespace) -> Images:
    """Depth of a camera of its own, which the document describes, brought to the photo's pixels."""
    if images.depth is None:
        return images
    path = options.depth_camera
    height, width = images.depth.shape
    intrinsics = parse_intrinsics(document, path, (width, height), options.pixel_center)
    T_camera_depth = parse_depth_camera_pose(document, path, stated_scale(document, ("T_camera_depth",), path) or 1.0)
    lens = _lens(intrinsics)
    depth = images.depth if lens is None else lens.nearest(images.depth)
    fx, fy, cx, cy = intrinsics[:4]
    depth_camera = Camera.from_intrinsics(fx, fy, cx, cy, width=width, height=height, T_world_camera=T_camera_depth)
    depth = register_depth(depth, depth_camera, camera)
    if not depth.any():
        raise InputError(
            f"No measurement of the depth image {options.depth} falls into the photo. Check T_camera_depth in {path}: "
            "it takes points of the depth camera to points of the colour camera, in metres."
        )
    return images._replace(depth=depth)


def _lens(intrinsics: Intrinsics) -> Undistortion | None:
    if not intrinsics.distortion:
        return None
    fx, fy, cx, cy, width, height = intrinsics[:6]
    return undistortion(fx, fy, cx, cy, width, height, np.array(intrinsics.distortion))
