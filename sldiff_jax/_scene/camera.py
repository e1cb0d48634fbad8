"""The pinhole camera: projection, pose and image size."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .transforms import as_floating, inverse_transform, is_concrete
from .typing import Transform


class Camera(eqx.Module):
    """A pinhole camera: where it stands, how it projects, and the size of its image.

    Conventions:
        - Camera axes are OpenCV's: X right, Y down, Z forward. Metres.
        - ``clip = projection @ p_camera``; clip w is the camera depth, so row 3 of the projection is ``(0, 0, 1, 0)``.
        - NDC x runs from -1 (left) to 1 (right), NDC y from -1 (top) to 1 (bottom).
        - Pixel (column i, row j) has its centre at ``(i + 0.5, j + 0.5)``.

    A batch of cameras is made and used under ``jax.vmap``; the constructor itself takes one camera.

    Attributes:
        projection: (4, 4) float, camera frame to clip frame.
        T_world_camera: (4, 4) float, rigid, camera frame to world frame, metres. Default: the identity.
        width: image width in pixels (static).
        height: image height in pixels (static).

    Raises:
        ValueError: if a shape is wrong or an image side is not a positive integer.
    """

    projection: Transform
    T_world_camera: Transform
    width: int = eqx.field(static=True)
    height: int = eqx.field(static=True)

    def __init__(self, projection: ArrayLike, T_world_camera: ArrayLike | None = None, *, width: int, height: int):
        self.projection = as_floating(projection, "Camera projection", (4, 4))
        T_world_camera = np.eye(4, dtype=self.projection.dtype) if T_world_camera is None else T_world_camera
        self.T_world_camera = as_floating(T_world_camera, "Camera T_world_camera", (4, 4))
        self.width = _image_side(width, "width")
        self.height = _image_side(height, "height")

    @classmethod
    def from_intrinsics(
        cls,
        fx: ArrayLike,
        fy: ArrayLike,
        cx: ArrayLike,
        cy: ArrayLike,
        *,
        width: int,
        height: int,
        near: float = 0.1,
        far: float = 10.0,
        T_world_camera: ArrayLike | None = None,
    ) -> Camera:
        """Camera from focal lengths and principal point.

        Args:
            fx: focal length along x, scalar float, pixels.
            fy: focal length along y, scalar float, pixels.
            cx: principal point, scalar float, pixels from the *left edge* of the image. A calibration that puts pixel
                centres at whole numbers (OpenCV) gives ``cx`` half a pixel less: add 0.5 to it.
            cy: the same from the top edge. In a whole photo, the principal point lies near the middle; intrinsics of a
                smaller resolution, which put it elsewhere, look like those of a window and are taken as such. Bring
                them to this size with `resized`.
            width: image width, pixels.
            height: image height, pixels.
            near: depth of the near plane, metres. Nothing nearer is drawn.
            far: depth of the far plane, metres. Nothing farther is drawn.
            T_world_camera: (4, 4) camera pose, metres. Default: the identity.

        Returns:
            The camera. Differentiable with respect to the four intrinsics.

        Raises:
            ValueError: if ``0 < near < far`` does not hold, a focal length is not positive, the principal point is not
                inside of the image (that of a window may be: see `cropped`), or as the constructor. (Intrinsics under
                trace are trusted.)
        """
        if not 0.0 < near < far:
            raise ValueError(f"near and far must satisfy 0 < near < far (metres), got near={near}, far={far}.")
        width, height = _image_side(width, "width"), _image_side(height, "height")
        fx, fy, cx, cy = (
            as_floating(value, f"Camera {name}", ()) for value, name in zip((fx, fy, cx, cy), ("fx", "fy", "cx", "cy"))
        )
        if is_concrete(fx, fy, cx, cy):
            _check_intrinsics(float(fx), float(fy), float(cx), float(cy), width, height)
        a, b = (far + near) / (far - near), -2.0 * far * near / (far - near)
        projection = _projection(fx, fy, cx, cy, width, height, a, b)
        return cls(projection, T_world_camera, width=width, height=height)

    @classmethod
    def from_fov(
        cls,
        fov_x: ArrayLike,
        *,
        width: int,
        height: int,
        near: float = 0.1,
        far: float = 10.0,
        T_world_camera: ArrayLike | None = None,
    ) -> Camera:
        """Camera with square pixels, centred principal point and a given horizontal field of view.

        Args:
            fov_x: horizontal field of view, scalar float, radians, in (0, pi).
            width: this and the others as for `from_intrinsics`.
            height: likewise.
            near: likewise.
            far: likewise.
            T_world_camera: likewise.

        Returns:
            The camera.

        Raises:
            ValueError: if a Python-number ``fov_x`` lies outside (0, pi), or as `Camera.from_intrinsics`.
        """
        if isinstance(fov_x, int | float) and not 0.0 < fov_x < math.pi:
            raise ValueError(f"fov_x must lie in (0, pi) radians, got {fov_x}. Degrees? Use math.radians.")
        focal = 0.5 * width / jnp.tan(0.5 * as_floating(fov_x, "Camera fov_x", ()))
        return cls.from_intrinsics(
            focal, focal, width / 2, height / 2, width=width, height=height, near=near, far=far,
            T_world_camera=T_world_camera,
        )  # fmt: skip

    @property
    def T_camera_world(self) -> Transform:
        """(4, 4) float: world frame to camera frame."""
        return inverse_transform(self.T_world_camera)

    @property
    def intrinsics(self) -> Float[Array, "4"]:
        """(4,) float: fx, fy, cx, cy in pixels, as `Camera.from_intrinsics` takes them."""
        return _intrinsics(self.projection, self.width, self.height)

    def resized(self, width: int, height: int) -> Camera:
        """The same view sampled at another resolution: NDC, and so the projection, stay as they are."""
        return dataclasses.replace(self, width=_image_side(width, "width"), height=_image_side(height, "height"))

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera whose image is a window of this camera's image: rendering with it equals cropping the render.

        Args:
            left: column of this image at which the window begins, pixels. May lie outside the image.
            top: row of this image at which the window begins.
            width: width of the window, pixels.
            height: height of the window.

        Returns:
            The camera, with the same pose.

        Raises:
            ValueError: if width or height is not a positive integer.
        """
        width, height = _image_side(width, "width"), _image_side(height, "height")
        # With u = W (x + 1) / 2 pixels, the new NDC is 2 (u - left) / width - 1, affine in x = c_x / w.
        scale = self.width / width, self.height / height
        shift = (self.width - 2 * left) / width - 1, (self.height - 2 * top) / height - 1
        return dataclasses.replace(self, projection=_cropped(self.projection, scale, shift), width=width, height=height)


@jax.jit
def _intrinsics(P: Transform, width: ArrayLike, height: ArrayLike) -> Float[Array, "4"]:
    return 0.5 * jnp.stack([width * P[0, 0], height * P[1, 1], width * (P[0, 2] + 1), height * (P[1, 2] + 1)])


@jax.jit
def _cropped(P: Transform, scale: tuple[ArrayLike, ...], shift: tuple[ArrayLike, ...]) -> Transform:
    """With other rows for x and y. One program, for every window."""
    x, y = (P[row] * scale[row] + P[3] * shift[row] for row in (0, 1))
    return jnp.stack([x, y, P[2], P[3]])


@jax.jit
def _projection(
    fx: Array, fy: Array, cx: Array, cy: Array, width: ArrayLike, height: ArrayLike, a: ArrayLike, b: ArrayLike
) -> Transform:  # fmt: skip
    """The projection of intrinsics; clip z is ``a z + b``. One program, for every size."""
    zero, one = jnp.zeros_like(fx), jnp.ones_like(fx)
    return jnp.stack(
        [
            jnp.stack([2 * fx / width, zero, 2 * cx / width - 1, zero]),
            jnp.stack([zero, 2 * fy / height, 2 * cy / height - 1, zero]),
            jnp.stack([zero, zero, a * one, b * one]),
            jnp.stack([zero, zero, one, zero]),
        ]
    )


def _check_intrinsics(fx: float, fy: float, cx: float, cy: float, width: int, height: int) -> None:
    if not (0 < fx < math.inf and 0 < fy < math.inf):
        raise ValueError(f"Camera focal lengths must be positive (pixels), got fx={fx:g}, fy={fy:g}.")
    if not (0 < cx < width and 0 < cy < height):
        raise ValueError(
            f"The principal point must be inside of the image of {width}x{height} pixels, got cx={cx:g}, cy={cy:g}. Do "
            "the intrinsics belong to another resolution, or to the image that this one was cut from? Use "
            "Camera.from_intrinsics with that image's size, then .resized(...) or .cropped(...)."
        )


def _image_side(value: int, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(f"Camera {name} must be a positive integer (pixels), got {value!r}.")
    return value.__index__()
