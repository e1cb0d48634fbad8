"""Images as users hand them over, made checked JAX arrays."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike
from PIL import Image

from .._scene.transforms import is_concrete, to_jax
from .._scene.typing import ColorImage, ScalarImage
from .depth_files import depth_pixels
from .files import color_pixels
from .masks import mask_pixels
from .open_image import check_upright


@runtime_checkable
class HasArray(Protocol):
    """Whatever NumPy can read, such as a torch tensor on the CPU."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray: ...


ImageLike = ArrayLike | Image.Image | HasArray


def as_rgb(value: ImageLike) -> ColorImage:
    """(H, W, 3) floating in [0, 1], or a ValueError."""
    if isinstance(value, Image.Image):
        value = color_pixels(value, "Observation rgb")
    rgb = _array(value, "rgb")
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(
            f"Observation rgb must have shape (height, width, 3), got {rgb.shape}.{_color_remedy(rgb.shape)}"
        )
    if rgb.dtype == jnp.uint8:
        return rgb.astype(jnp.result_type(float)) / 255
    if not jnp.issubdtype(rgb.dtype, jnp.floating):
        raise ValueError(f"Observation rgb must be uint8, or floating in [0, 1], got dtype {rgb.dtype}.")
    return _within_unit(rgb, "rgb", "Divide by 255, or pass uint8.")


def _color_remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return " For a batch, use jax.vmap."
    if len(shape) == 3 and shape[2] == 4:
        return " Drop the alpha channel: rgb[..., :3]."
    if len(shape) == 3 and shape[0] in (3, 4):
        return " Channels come last: move the axis with numpy.moveaxis(rgb, 0, -1), in torch rgb.permute(1, 2, 0)."
    return ""


def as_depth(value: ImageLike) -> ScalarImage:
    """(H, W) floating, finite and not negative, or a ValueError."""
    if isinstance(value, Image.Image):
        value = depth_pixels(value, "Observation depth")
    depth = _array(value, "depth")
    if depth.ndim != 2 or not jnp.issubdtype(depth.dtype, jnp.floating):
        raise ValueError(
            f"Observation depth must be a floating image of shape (height, width) in metres, got {depth.dtype} "
            f"{depth.shape}. A depth image in integer millimetres: multiply by 1e-3."
        )
    if is_concrete(depth) and not _finite_and_not_negative(depth):
        raise ValueError(
            "Observation depth must be finite and not negative; 0 marks pixels without a measurement. Where NaN or "
            "infinity marks them: numpy.nan_to_num(depth, nan=0, posinf=0)."
        )
    return depth


def as_mask(value: ImageLike) -> ScalarImage:
    """(H, W) floating in [0, 1], not zero everywhere, or a ValueError."""
    if isinstance(value, Image.Image):
        value = mask_pixels(value, "Observation mask")
    mask = _array(value, "mask")
    if mask.ndim != 2:
        raise ValueError(f"Observation mask must have shape (height, width), got {mask.shape}.")
    if mask.dtype == bool:
        mask = mask.astype(jnp.result_type(float))
    if not jnp.issubdtype(mask.dtype, jnp.floating):
        raise ValueError(f"Observation mask must be bool, or floating in [0, 1], got dtype {mask.dtype}. Use mask > 0.")
    mask = _within_unit(mask, "mask", "Use mask > 0.")
    if is_concrete(mask) and not np.any(np.asarray(mask)):
        raise ValueError("Observation mask is empty: no pixel belongs to an object. Leave it out if there is none.")
    return mask


def as_weight(value: ImageLike) -> ScalarImage:
    """(H, W) floating, finite, not negative, and not zero everywhere, or a ValueError."""
    if isinstance(value, Image.Image):
        check_upright(value, "Observation weight")
    weight = _array(value, "weight")
    if weight.ndim != 2:
        raise ValueError(f"Observation weight must have shape (height, width), got {weight.shape}.")
    if weight.dtype == bool:
        weight = weight.astype(jnp.result_type(float))
    if not jnp.issubdtype(weight.dtype, jnp.floating):
        raise ValueError(
            f"Observation weight must be bool, or floating and not negative, got dtype {weight.dtype}. Use "
            "weight.astype(float), divided by 255 if that is its 1."
        )
    if is_concrete(weight) and weight.size:
        if not _finite_and_not_negative(weight):
            raise ValueError("Observation weight must be finite and not negative; 0 leaves a pixel out.")
        if not np.any(np.asarray(weight)):
            raise ValueError("Observation weight is zero everywhere: no pixel counts. Leave it out to count them all.")
    return weight


def _array(value: ImageLike, name: str) -> Array:
    """A JAX array of numbers; NumPy reads what is not JAX's."""
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:  # torch refuses in one of these
            raise ValueError(
                f"Observation {name} cannot be read as an array: {error}\nA torch tensor that requires a gradient "
                "needs detach(); from a GPU, interop.dlpack.from_torch brings it over."
            ) from None
        if value.dtype != bool and not jnp.issubdtype(value.dtype, jnp.number):
            raise ValueError(
                f"Observation {name} must hold numbers, got dtype {value.dtype}. Files are for Observation.load."
            )
    return to_jax(value)


def _finite_and_not_negative(image: Array) -> bool:
    on_host = np.asarray(image)
    return bool(np.all(np.isfinite(on_host) & (on_host >= 0)))


def _within_unit(image: Array, name: str, remedy: str) -> Array:
    if is_concrete(image) and image.size:
        on_host = np.asarray(image)  # where nothing needs to be compiled for its size
        low, high = float(np.min(on_host)), float(np.max(on_host))
        if not (low >= 0 and high <= 1):
            raise ValueError(f"Observation {name} must lie in [0, 1], got values from {low:g} to {high:g}. {remedy}")
    return image
