"""VSD: how well the visible surface of the estimate explains that of the truth, from depth images alone."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._scene.camera import Camera
from .._scene.render_result import BACKGROUND_DEPTH
from .._scene.transforms import as_floating, is_concrete
from .._scene.typing import Mask, ScalarImage
from ._checks import BOP_FRACTIONS, check_positive
from ._geometry import length


def vsd(
    depth_estimate: ScalarImage | ArrayLike,
    depth_true: ScalarImage | ArrayLike,
    depth_measured: ScalarImage | ArrayLike,
    camera: Camera,
    diameter: ArrayLike,
    *,
    taus: ArrayLike | Sequence[float] = BOP_FRACTIONS,
    delta: ArrayLike = 0.015,
) -> Float[Array, "taus"]:
    """VSD: the share of the visible surface, of estimate and truth together, on which the two do not agree.

    A pixel shows the object in the true pose if its distance there is at most `delta` behind the measured one, or
    nothing was measured. It shows the object in the estimated pose for the same reasons, or if the estimate covers
    the pixel and it shows the true pose. A pixel that shows only one of them costs 1; one that shows both costs 1 if
    their distances differ by ``tau * diameter`` or more. Symmetries need no naming: poses that look the same agree.

    Convention: distances are measured from the camera's centre to the surface, not along its Z axis.

    Args:
        depth_estimate: (H, W) float, the object alone, rendered in the estimated pose, metres along the camera's Z
            axis. 0, or 3000 and above, where it is not seen: the depths of `render` and of a `RenderResult` both do.
        depth_true: (H, W) float, the same in the true pose.
        depth_measured: (H, W) float, the depth image of the scene, metres, 0 where nothing was measured.
        camera: the camera of the three images, H and W its height and width.
        diameter: scalar float, of the object, metres, see `diameter`.
        taus: (T,) float, misalignment tolerances as fractions of the diameter. Default: those of the BOP challenge,
            0.05 to 0.5 in steps of 0.05.
        delta: scalar float, tolerance of the visibility test, metres. Default: that of the BOP challenge, 15 mm.

    Returns:
        (T,) float in [0, 1], one error per tolerance; 1 where neither pose is visible. Thresholds of the BOP
        challenge: 0.05 to 0.5, see `vsd_recall`. Piecewise constant: its gradient is zero.
        Source: Hodan et al. 2020, "BOP Challenge 2020 on 6D Object Localization", section 2.2; visibility after Hodan
        et al. 2016, "On Evaluation of 6D Object Pose Estimation", eq. 14.

    Raises:
        ValueError: if a shape is wrong, a depth image is not floating, negative or not finite, or `diameter`, `taus`
            or `delta` are not positive. (Values under trace are trusted.)
    """
    images = (
        _depth_image(image, name, camera)
        for image, name in zip(
            (depth_estimate, depth_true, depth_measured), ("depth_estimate", "depth_true", "depth_measured")
        )
    )
    size = check_positive(as_floating(diameter, "vsd diameter", ()), "vsd diameter")
    tolerances = check_positive(as_floating(jnp.asarray(taus), "vsd taus", (None,)), "vsd taus")
    margin = check_positive(as_floating(delta, "vsd delta", ()), "vsd delta")
    return _vsd(*images, camera, size * tolerances, margin)


def _depth_image(value: ArrayLike, name: str, camera: Camera) -> ScalarImage:
    image = jnp.asarray(value)
    if image.shape != (camera.height, camera.width):
        raise ValueError(
            f"vsd {name} must have the camera's (height, width) = {(camera.height, camera.width)}, got {image.shape}. "
            "For another resolution, use camera.resized(width, height); for a batch, jax.vmap."
        )
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"vsd {name} must be floating, in metres, got dtype {image.dtype}. A depth image in integer millimetres: "
            "multiply by 1e-3."
        )
    if is_concrete(image) and not bool(jnp.all(jnp.isfinite(image) & (image >= 0))):
        raise ValueError(f"vsd {name} must be finite and not negative; 0 marks pixels without depth.")
    return image


@jax.jit
def _vsd(
    depth_estimate: ScalarImage,
    depth_true: ScalarImage,
    depth_measured: ScalarImage,
    camera: Camera,
    tolerances: Float[Array, "taus"],
    delta: Float[Array, ""],
) -> Float[Array, "taus"]:
    per_depth = _distance_per_depth(camera)

    def rendered_distance(depth: ScalarImage) -> ScalarImage:
        return jnp.where(depth < BACKGROUND_DEPTH, depth, 0) * per_depth

    estimate, true, measured = (
        rendered_distance(depth_estimate),
        rendered_distance(depth_true),
        depth_measured * per_depth,
    )

    def shows(distance: ScalarImage) -> Mask:
        return (distance > 0) & ((measured == 0) | (distance - measured <= delta))

    shows_true = shows(true)
    shows_estimate = shows(estimate) | (shows_true & (estimate > 0))
    both, either = shows_true & shows_estimate, shows_true | shows_estimate
    apart = jnp.abs(true - estimate) >= tolerances[:, None, None]
    wrong = jnp.sum(jnp.where(both, apart, either), axis=(1, 2))
    count = jnp.sum(either)
    return jnp.where(count > 0, wrong / jnp.maximum(count, 1), 1).astype(true.dtype)


@jax.default_matmul_precision("highest")
def _distance_per_depth(camera: Camera) -> ScalarImage:
    """(H, W): distance from the camera's centre of a point at depth 1 that is seen at the centre of the pixel."""
    P = camera.projection
    x = (2 * jnp.arange(camera.width, dtype=P.dtype) + 1) / camera.width - 1
    y = (2 * jnp.arange(camera.height, dtype=P.dtype) + 1) / camera.height - 1
    ndc = jnp.stack([*jnp.meshgrid(x, y), jnp.ones((camera.height, camera.width), P.dtype)], axis=-1)
    return length(ndc @ jnp.linalg.inv(P[jnp.array([0, 1, 3]), :3]).T)
