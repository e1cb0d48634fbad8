"""Photos through a lens that bends straight lines, made what a pinhole camera sees.

The model is OpenCV's (documentation of its module calib3d). A ray (x, y, 1) of the pinhole camera is seen at

    x' = x (1 + k1 r2 + k2 r2^2 + k3 r2^3) / (1 + k4 r2 + k5 r2^2 + k6 r2^3) + 2 p1 x y + p2 (r2 + 2 x^2)
    y' = y (the same)                                                        + p1 (r2 + 2 y^2) + 2 p2 x y

with r2 = x^2 + y^2, and coefficients in the order k1, k2, p1, p2, k3, k4, k5, k6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

from .._scene.camera import Camera
from .._scene.transforms import is_concrete
from .observation import Observation

COEFFICIENTS = "k1, k2, p1, p2, k3, k4, k5, k6"


class Undistortion(NamedTuple):
    """Where each pixel of the pinhole image lies in the photo.

    Attributes:
        rows: (H, W) float, rows of the photo, the centre of the first pixel at 0.
        columns: (H, W) float, columns.
        seen: (H, W) bool, whether that is inside of the photo.
    """

    rows: Float[np.ndarray, "height width"]
    columns: Float[np.ndarray, "height width"]
    seen: Bool[np.ndarray, "height width"]

    def smooth(
        self, image: Shaped[np.ndarray, "height width *channels"]
    ) -> Float[np.ndarray, "height width *channels"]:
        """Values between four pixels, 0 where nothing was seen: for colours and weights."""
        planes = np.moveaxis(image.reshape(*self.seen.shape, -1).astype(np.float32), 2, 0)
        from scipy import ndimage  # slow to import

        sampled = [ndimage.map_coordinates(p, (self.rows, self.columns), order=1, mode="nearest") for p in planes]
        return np.where(self.seen[..., None], np.stack(sampled, axis=-1), 0).reshape(image.shape)

    def nearest(self, image: Shaped[np.ndarray, "height width"]) -> Shaped[np.ndarray, "height width"]:
        """The nearest pixel, 0 where nothing was seen: for depth, where no value may arise between two surfaces."""
        rows, columns = (
            np.clip(np.round(places), 0, side - 1).astype(int)
            for places, side in zip((self.rows, self.columns), image.shape)
        )
        return np.where(self.seen, image[rows, columns], 0).astype(image.dtype)

    def inside(self, mask: Shaped[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
        """Whether at least half of a pixel is inside of the mask."""
        return self.smooth(mask) >= 0.5


def undistort(observation: Observation, camera: Camera, distortion: ArrayLike | Sequence[float]) -> Observation:
    """What a pinhole camera without distortion would have seen, from what a lens showed.

    Colours and weights are interpolated; depth is that of the nearest pixel; the mask becomes binary. Where the photo
    does not reach, colour, depth, mask and weight are 0. It works on the host: call it before `jit` and `vmap`.

    Args:
        observation: as it was taken: all its images through the same lens.
        camera: the pinhole camera, of the size of the observation: the calibration's focal lengths and principal point.
        distortion: (4,), (5,) or (8,) float, OpenCV's coefficients k1, k2, p1, p2, k3, k4, k5, k6. Those of fisheye
            lenses are of another model.

    Returns:
        The observation of the pinhole camera, of the same size.

    Raises:
        ValueError: if sizes differ, there are other coefficients or some are not finite, or something is being traced.
    """
    if not is_concrete(*jax.tree.leaves((observation, camera, distortion))):
        raise ValueError("undistort works on the host. Call it before jit, vmap and grad, not within.")
    if observation.size != (camera.height, camera.width):
        raise ValueError(
            "undistort needs one size (height, width) of observation and camera, got "
            f"{observation.size} and {(camera.height, camera.width)}."
        )
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64)
    lens = undistortion(fx, fy, cx, cy, camera.width, camera.height, np.asarray(distortion))

    weight = observation.weight
    if weight is None and not lens.seen.all():
        weight = jnp.ones(lens.seen.shape, jax.tree.leaves(observation)[0].dtype)
    rgb, depth, mask, weight = (
        None if image is None else jnp.asarray(sampled(np.asarray(image)), image.dtype)
        for image, sampled in (
            (observation.rgb, lens.smooth),
            (observation.depth, lens.nearest),
            (observation.mask, lens.inside),
            (weight, lens.smooth),
        )
    )
    return Observation(rgb, depth, mask, weight)


def undistortion(
    fx: float, fy: float, cx: float, cy: float, width: int, height: int, distortion: Shaped[np.ndarray, "..."]
) -> Undistortion:
    """Where the pixels of a pinhole camera lie in the photo of a lens.

    Args:
        fx: focal length along x, pixels.
        fy: focal length along y.
        cx: principal point, pixels from the left edge of the image.
        cy: the same from the top edge.
        width: of both images, pixels.
        height: of both images.
        distortion: (4,), (5,) or (8,) OpenCV's coefficients, as in `undistort`.

    Raises:
        ValueError: if there are other coefficients, or some are not finite.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = _eight(distortion)
    x, y = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
    r2 = x**2 + y**2
    over, under = np.polynomial.Polynomial([1, k1, k2, k3]), np.polynomial.Polynomial([1, k4, k5, k6])
    known = r2 < _fold(over, under)
    factor = np.where(known, over(r2) / np.where(known, under(r2), 1), 1)
    rows, columns, inside = _in_photo(x, y, factor, p1, p2, (fx, fy, cx, cy), width, height)
    return Undistortion(rows, columns, known & inside)


def through_lens(observation: Observation, camera: Camera, distortion: Float[Array, "5"]) -> Observation:
    """`undistort` for small steps: differentiable by the camera's intrinsics and the coefficients, and traceable.

    The mask stays soft, as it must to have a derivative; depth has none.

    Args:
        observation: with a weight, (H, W).
        camera: of that size.
        distortion: (5,) k1, k2, p1, p2, k3.
    """
    assert observation.weight is not None
    k1, k2, p1, p2, k3 = distortion
    fx, fy, cx, cy = camera.intrinsics
    x, y = jnp.meshgrid((jnp.arange(camera.width) + 0.5 - cx) / fx, (jnp.arange(camera.height) + 0.5 - cy) / fy)
    r2 = x**2 + y**2
    outwards = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3)) > 0
    factor = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    rows, columns, inside = _in_photo(x, y, factor, p1, p2, (fx, fy, cx, cy), camera.width, camera.height)
    seen = jax.lax.stop_gradient((inside & outwards).astype(observation.weight.dtype))

    def smooth(image: Float[Array, "height width"]) -> Float[Array, "height width"]:
        return seen * jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1, mode="nearest")

    def nearest(image: Float[Array, "height width"]) -> Float[Array, "height width"]:
        places = (
            jnp.clip(jnp.round(place), 0, side - 1).astype(int) for place, side in zip((rows, columns), image.shape)
        )
        return seen * image[tuple(places)]

    images = {"mask": smooth, "weight": smooth, "depth": nearest, "rgb": jax.vmap(smooth, -1, -1)}
    sampled = {n: of(getattr(observation, n)) for n, of in images.items() if getattr(observation, n) is not None}
    # Not through the constructor, which would check the values again.
    return eqx.tree_at(lambda o: [getattr(o, name) for name in sampled], observation, list(sampled.values()))


def _in_photo(
    x: Any, y: Any, factor: Any, p1: Any, p2: Any, intrinsics: Sequence[Any], width: int, height: int
) -> tuple[Any, Any, Any]:
    """Rows and columns at which the lens shows rays, by its radial factor and tangential coefficients; of NumPy or JAX.

    The centre of the first pixel is at 0. And whether that is inside of the photo.
    """
    fx, fy, cx, cy = intrinsics
    r2 = x**2 + y**2
    columns = fx * (x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)) + cx
    rows = fy * (y * factor + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y) + cy
    return rows - 0.5, columns - 0.5, (columns >= 0) & (columns <= width) & (rows >= 0) & (rows <= height)


def _fold(over: np.polynomial.Polynomial, under: np.polynomial.Polynomial) -> float:
    """The square of the radius from which on the image no longer moves outwards: nothing there was ever seen."""
    s = np.polynomial.Polynomial([0, 1])
    slope = over * under + 2 * s * (over.deriv() * under - over * under.deriv())
    roots = np.concatenate([slope.trim().roots(), under.trim().roots()])
    real = roots[np.abs(roots.imag) < 1e-9 * np.abs(roots)].real
    return float(min(real[real > 0], default=np.inf))


def _eight(distortion: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "8"]:
    """All eight coefficients, or a ValueError."""
    if distortion.shape not in ((4,), (5,), (8,)) or distortion.dtype.kind not in "fiu":
        raise ValueError(
            f"Lens distortion must be the first 4, 5 or 8 of OpenCV's coefficients {COEFFICIENTS}, got "
            f"{distortion.dtype} of shape {distortion.shape}."
        )
    if not np.isfinite(distortion).all():
        raise ValueError(f"Lens distortion must be finite, got {distortion.tolist()}.")
    return np.pad(distortion.astype(np.float64), (0, 8 - len(distortion)))
