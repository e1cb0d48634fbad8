"""Distances in the image between the projected vertices of an object in two poses: MSPD and projection error."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._scene.camera import Camera
from .._scene.transforms import compose
from .._scene.typing import Transform
from ._checks import Points, Poses, Symmetries, check_points, check_poses
from ._geometry import apply_affine, length
from ._symmetries import least_error


def mspd(
    T_estimate: Transform | ArrayLike,
    T_true: Transform | ArrayLike,
    points: Points | ArrayLike,
    camera: Camera,
    *,
    symmetries: Symmetries | ArrayLike | None = None,
) -> Float[Array, ""]:
    """MSPD: the largest distance in the image between the vertices in the estimated and the nearest true pose.

    Thresholds of the BOP challenge: 5 to 50 pixels for an image 640 pixels wide, see `mspd_recall`.

    Args:
        T_estimate: (4, 4) float, object frame to world frame, metres.
        T_true: (4, 4) float, object frame to world frame, metres.
        points: (V, 3) float, vertices in the object frame, metres.
        camera: the camera. One without a pose (T_world_camera the identity) takes poses in the camera frame.
        symmetries: optional (S, 4, 4) float, as `symmetry_transforms` makes them. The identity always counts too.

    Returns:
        Scalar float, pixels; infinite if a vertex lies behind the camera, in either pose. Vertices outside of the image
        count like all others. Source: Hodan et al. 2020, "BOP Challenge 2020 on 6D Object Localization", section 2.2.

    Raises:
        ValueError: if a shape is wrong or there are no points.
    """
    return _mspd(check_poses("mspd", T_estimate, T_true, symmetries), check_points("mspd", points), camera)


@jax.jit
def _mspd(poses: Poses, points: Points, camera: Camera) -> Float[Array, ""]:
    def largest_distance(T_true: Transform) -> Float[Array, ""]:
        return jnp.max(_pixel_distances(poses.T_estimate, T_true, points, camera))

    return least_error(largest_distance, poses.T_true, poses.symmetries)


def projection_error(
    T_estimate: Transform | ArrayLike,
    T_true: Transform | ArrayLike,
    points: Points | ArrayLike,
    camera: Camera,
    *,
    symmetries: Symmetries | ArrayLike | None = None,
) -> Float[Array, ""]:
    """The mean distance in the image between the vertices in the estimated and in the true pose.

    Usual threshold: 5 pixels.

    Args:
        T_estimate: (4, 4) float, object frame to world frame, metres.
        T_true: (4, 4) float, object frame to world frame, metres.
        points: (V, 3) float, vertices in the object frame, metres.
        camera: the camera. One without a pose (T_world_camera the identity) takes poses in the camera frame.
        symmetries: optional (S, 4, 4) float, as `symmetry_transforms` makes them: the result is the least over them.
            The definition knows none.

    Returns:
        Scalar float, pixels; infinite if a vertex lies behind the camera, in either pose. Source: Brachmann et al.
        2016, "Uncertainty-Driven 6D Pose Estimation of Objects and Scenes from a Single RGB Image".

    Raises:
        ValueError: if a shape is wrong or there are no points.
    """
    poses = check_poses("projection_error", T_estimate, T_true, symmetries)
    return _projection_error(poses, check_points("projection_error", points), camera)


@jax.jit
def _projection_error(poses: Poses, points: Points, camera: Camera) -> Float[Array, ""]:
    def mean_distance(T_true: Transform) -> Float[Array, ""]:
        return jnp.mean(_pixel_distances(poses.T_estimate, T_true, points, camera))

    return least_error(mean_distance, poses.T_true, poses.symmetries)


def _pixel_distances(
    T_estimate: Transform, T_true: Transform, points: Points, camera: Camera
) -> Float[Array, "vertices"]:
    T_clip_world = compose(camera.projection, camera.T_camera_world)

    def project(T_world_object: Transform) -> tuple[Float[Array, "vertices 2"], Float[Array, "vertices"]]:
        clip = apply_affine(compose(T_clip_world, T_world_object), points)
        w = clip[:, 3]
        return clip[:, :2] / jnp.where(w > 0, w, 1)[:, None], w

    ndc_estimate, w_estimate = project(T_estimate)
    ndc_true, w_true = project(T_true)
    pixels_per_ndc = 0.5 * jnp.array([camera.width, camera.height], dtype=ndc_true.dtype)
    distances = length((ndc_estimate - ndc_true) * pixels_per_ndc)
    return jnp.where((w_estimate > 0) & (w_true > 0), distances, jnp.inf)
