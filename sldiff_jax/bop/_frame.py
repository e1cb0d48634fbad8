"""One image of a data set, with its camera and what is known about it. Pixels are read when they are asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from .._images.depth_files import read_depth
from .._images.files import read_color
from .._images.masks import mask_pixels
from .._images.open_image import open_image
from .._scene.camera import Camera

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "PNG", "JPG", "JPEG", "TIF", "TIFF")

NEAR, FAR = 0.01, 100.0
"""Planes of the cameras, metres: from a gripper's camera to a hall."""


class Instance(NamedTuple):
    """One object in an image, as the ground truth has it.

    Attributes:
        place: in the image's list, which names its masks.
        object_id: which object.
        T_camera_object: (4, 4) float64, metres.
        visibility: share of its pixels that are seen, in [0, 1]; None if the data set does not say.
        visible_box: (left, top, width, height) of the visible part, pixels, as stated: one less than the number of
            columns and rows; None if the data set does not say or nothing is visible.
    """

    place: int
    object_id: int
    T_camera_object: Float[np.ndarray, "4 4"]
    visibility: float | None
    visible_box: tuple[int, int, int, int] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One image.

    Attributes:
        scene_id: number of the scene.
        image_id: number of the image in it.
        folder: of the scene.
        K: (3, 3) float64 intrinsic matrix as in the file, pixels. A point that projects to (0, 0) lies in the centre
            of the first pixel (OpenCV); `camera` counts from the image's edge.
        depth_scale: metres per unit of the depth image; None if the data set does not say.
        T_world_camera: (4, 4) float64 camera pose, metres; None if the data set does not say.
        instances: the objects, or None if the ground truth is not public.
    """

    scene_id: int
    image_id: int
    folder: Path
    K: Float[np.ndarray, "3 3"]
    depth_scale: float | None
    T_world_camera: Float[np.ndarray, "4 4"] | None
    instances: tuple[Instance, ...] | None

    @property
    def name(self) -> str:
        """Scene and image, for messages."""
        return f"scene {self.scene_id}, image {self.image_id}"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels, from the header of an image file."""
        path = self._find("rgb", "gray", "depth")
        if path is None:
            raise ValueError(f"{self.folder} has no image {self.image_id:06d} in rgb, gray or depth.")
        with _opened(path) as image:
            return image.height, image.width

    @property
    def camera(self) -> Camera:
        """The camera of the image, at the pose that the data set states, or at the origin.

        Its principal point counts from the image's edge, half a pixel more than in the file.
        """
        return self.camera_at(self.T_world_camera)

    @property
    def camera_at_origin(self) -> Camera:
        """The camera without its pose, in whose frame all poses of objects are given."""
        return self.camera_at(None)

    def camera_at(
        self, T_world_camera: Float[np.ndarray, "4 4"] | None, *, pixel_center: float = 0.5
    ) -> Camera:  # fmt: skip
        """The camera at another pose; `pixel_center` is what the principal point gets on top of the file's."""
        height, width = self.size
        return pinhole(self.K, width, height, T_world_camera, pixel_center=pixel_center)

    @property
    def rgb(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """(H, W, 3) uint8 colour; a grey image is repeated. None if there is no image."""
        path = self._find("rgb", "gray")
        return None if path is None else read_color(path)

    @property
    def depth(self) -> Float[np.ndarray, "height width"] | None:
        """(H, W) float32 depth, metres, 0 where nothing was measured. None if there is no depth image."""
        path = self._find("depth")
        if path is None:
            return None
        if self.depth_scale is None:
            raise ValueError(
                f'{self.folder / "scene_camera.json"}: image "{self.image_id}" lacks the key "depth_scale" '
                f"(millimetres per unit), and there is a depth image {path}."
            )
        return read_depth(path, self.depth_scale)

    def mask(self, place: int, *, visible: bool = True) -> Bool[np.ndarray, "height width"] | None:
        """The mask of one instance.

        Args:
            place: of the instance in the image's list.
            visible: its visible part, from ``mask_visib``, or all of it inside of the image, from ``mask``.

        Returns:
            (H, W) bool, which may be empty; None if the data set has no such file.
        """
        path = self._find("mask_visib" if visible else "mask", suffix=f"_{place:06d}")
        if path is None:
            return None
        return mask_pixels(open_image(path, "mask"), f"mask {path}")

    def _find(self, *kinds: str, suffix: str = "") -> Path | None:
        stem = f"{self.image_id:06d}{suffix}"
        candidates = (self.folder / kind / f"{stem}.{extension}" for kind in kinds for extension in EXTENSIONS)
        return next((path for path in candidates if path.is_file()), None)


def pinhole(
    K: Float[np.ndarray, "3 3"],
    width: int,
    height: int,
    T_world_camera: Float[np.ndarray, "4 4"] | None = None,
    *,
    pixel_center: float = 0.5,
) -> Camera:
    """A camera with any intrinsic matrix: skewed, and with its principal point outside of the image too."""
    P = projection(K, width, height, pixel_center)
    return Camera(
        P, None if T_world_camera is None else np.asarray(T_world_camera, np.float32), width=width, height=height
    )


def projection(
    K: Float[np.ndarray, "3 3"], width: float, height: float, pixel_center: float = 0.5
) -> Float[np.ndarray, "4 4"]:
    """(4, 4) float32: the projection of an intrinsic matrix to an image of that size."""
    (fx, skew, cx), (_, fy, cy) = K[0], K[1]
    P = np.zeros((4, 4))
    P[0, :3] = 2 * fx / width, 2 * skew / width, 2 * (cx + pixel_center) / width - 1
    P[1, 1:3] = 2 * fy / height, 2 * (cy + pixel_center) / height - 1
    P[2, 2:] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    P[3, 2] = 1
    return P.astype(np.float32)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}.") from None
