"""What a camera saw: the images that a rendering is compared with."""

from __future__ import annotations

import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._scene.transforms import is_concrete, to_jax
from .._scene.typing import ColorImage, ScalarImage
from .depth_files import read_depth
from .files import read_color, read_mask
from .input import ImageLike, as_depth, as_mask, as_rgb, as_weight
from .resample import average, reduce_color, reduce_depth, reduce_mask


class Observation(eqx.Module):
    """Colour, depth and mask of what is to be explained by the poses. At least one of them must be given.

    Each may be an array of JAX or NumPy, a torch tensor on the CPU without gradient, or a Pillow image; `load` reads
    files. A batch of observations is made and used under ``jax.vmap``; the constructor itself takes one.

    Attributes:
        rgb: optional (H, W, 3) float, colour in [0, 1]. uint8 input is divided by 255. Pillow images of 8 bits per
            channel are taken, grey and palettes too; a transparent one is refused, an opaque alpha channel dropped.
        depth: optional (H, W) float, metres along the camera's Z axis, 0 where nothing was measured.
        mask: optional (H, W) float in [0, 1], 1 where the objects of the scene are seen. bool input is converted; a
            Pillow image is taken as by `load`.
        weight: optional (H, W) float >= 0, how much each pixel counts in every loss; 0 leaves it out. bool input is
            converted. Default: every pixel counts as 1.

    Raises:
        ValueError: if no image is given, shapes are wrong or differ, colour or mask leave [0, 1], depth or weight is
            negative or not finite, or mask or weight is zero everywhere. (Values under trace are trusted.)
    """

    rgb: ColorImage | None
    depth: ScalarImage | None
    mask: ScalarImage | None
    weight: ScalarImage | None

    def __init__(
        self,
        rgb: ImageLike | None = None,
        depth: ImageLike | None = None,
        mask: ImageLike | None = None,
        weight: ImageLike | None = None,
    ):
        if rgb is None and depth is None and mask is None:
            raise ValueError("Observation needs at least one of rgb, depth and mask, got none.")
        self.rgb = None if rgb is None else as_rgb(rgb)
        self.depth = None if depth is None else as_depth(depth)
        self.mask = None if mask is None else as_mask(mask)
        self.weight = None if weight is None else as_weight(weight)
        sizes = {name: image.shape[:2] for name, image in vars(self).items() if image is not None}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"The images of an Observation must have one size (height, width), got {sizes}.")
        if 0 in self.size:
            raise ValueError(f"The images of an Observation must have pixels, got height and width {self.size}.")

    @classmethod
    def load(
        cls,
        rgb: str | os.PathLike[str] | None = None,
        depth: str | os.PathLike[str] | None = None,
        mask: str | os.PathLike[str] | None = None,
        *,
        depth_scale: float | None = None,
    ) -> Observation:
        """An observation from files.

        Args:
            rgb: an image file with 8 bits per channel. Grey is repeated; an alpha channel must be opaque.
            depth: an image file of one channel, an (H, W) array in a .npy or .npz file, or an .exr file. 0, NaN and
                infinity mean that nothing was measured.
            mask: an image file, not black where the objects are seen, or transparent where they are not. Where values
                lie between, as compression leaves them, from half of the largest on.
            depth_scale: metres per unit of the depth file: 0.001 for millimetres. Default: metres, which whole numbers
                are not taken for.

        Returns:
            The observation. `dataclasses.replace` adds a weight.

        Raises:
            ValueError: if a file is missing or not readable, its metadata say that it is to be shown turned,
                whole-number depth comes without a scale, depth is negative, the mask is empty or ambiguous, or sizes
                differ.
        """
        return cls(
            rgb=None if rgb is None else read_color(rgb),
            depth=None if depth is None else read_depth(depth, depth_scale),
            mask=None if mask is None else read_mask(mask),
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        image = next(image for image in (self.rgb, self.depth, self.mask) if image is not None)
        return image.shape[0], image.shape[1]

    def resized(self, width: int, height: int) -> Observation:
        """The same view at another resolution, as `Camera.resized` sees it.

        Colour and weight are averaged over the area of each new pixel. The mask becomes binary: 1 where at least half
        of the new pixel was inside. Depth is the median of what was measured in the new pixel, so no value arises
        between an object and what is behind it; 0 where less than half was measured. Enlarging repeats pixels.

        It works on the host: call it before `jit`, `vmap` and `grad`, not within.

        Args:
            width: new width, pixels.
            height: new height, pixels.

        Returns:
            The observation with images of (height, width).

        Raises:
            ValueError: if width or height is not a positive integer, no pixel of the mask is left, or the images are
                being traced.
        """
        width, height = _whole(width, "width", 1), _whole(height, "height", 1)
        if not is_concrete(*jax.tree.leaves(self)):
            raise ValueError("Observation.resized works on the host. Call it before jit, vmap and grad, not within.")
        rgb, depth, mask, weight = (
            None if image is None else to_jax(reduced(_on_host(image), width, height).astype(image.dtype))
            for image, reduced in (
                (self.rgb, reduce_color),
                (self.depth, reduce_depth),
                (self.mask, reduce_mask),
                (self.weight, average),
            )
        )
        if mask is not None and not np.any(np.asarray(mask)):
            raise ValueError(
                f"The mask vanishes at {width}x{height} pixels: it covers half of none. Take more pixels, or crop "
                "around the object first."
            )
        return Observation(rgb, depth, mask, weight)

    def cropped(self, left: int, top: int, width: int, height: int) -> Observation:
        """A window of the images, for the camera of `Camera.cropped` with the same arguments.

        The window may reach beyond the image. Nothing was observed there: rgb, depth and mask are 0, and so is the
        weight, which is 1 elsewhere if there was none.

        Args:
            left: column at which the window begins, pixels. May be negative.
            top: row at which the window begins.
            width: width of the window, pixels.
            height: height of the window.

        Returns:
            The observation with images of (height, width).

        Raises:
            ValueError: if width or height is not a positive integer, or nothing of the image, or of its mask or
                weight, is inside of the window. (Values under trace are trusted.)
        """
        left, top = _whole(left, "left"), _whole(top, "top")
        width, height = _whole(width, "width", 1), _whole(height, "height", 1)
        spans = [_span(first, length, limit) for first, length, limit in zip((top, left), (height, width), self.size)]
        name = f"the window of {width}x{height} pixels at column {left}, row {top}"
        if any(end <= begin for begin, end, _ in spans):
            raise ValueError(f"Nothing of the image of {self.size[1]}x{self.size[0]} pixels is inside of {name}.")
        (y, y_end, y_pad), (x, x_end, x_pad) = spans

        def cut(image: Array) -> Array:
            module = np if is_concrete(image) else jnp  # NumPy needs no program of this size
            pads = [y_pad, x_pad, *[(0, 0)] * (image.ndim - 2)]
            return to_jax(module.pad(module.asarray(image)[y:y_end, x:x_end], pads))

        weight = self.weight
        if weight is None and any((*y_pad, *x_pad)):
            weight = to_jax(np.ones(self.size, jax.tree.leaves(self)[0].dtype))
        rgb, depth, mask, weight = (
            None if image is None else cut(image) for image in (self.rgb, self.depth, self.mask, weight)
        )
        for what, image in (("mask", mask), ("weight", weight)):
            if image is not None and is_concrete(image) and not np.any(np.asarray(image)):
                raise ValueError(f"Nothing of the {what} is inside of {name}.")
        return Observation(rgb, depth, mask, weight)


def _on_host(image: Array) -> np.ndarray:
    """In float32 at least, also where NumPy has no such dtype."""
    return np.asarray(image, np.promote_types(image.dtype, np.float32))


def _span(first: int, length: int, limit: int) -> tuple[int, int, tuple[int, int]]:
    """Begin and end of [first, first + length) inside of [0, limit), and how much is missing on both sides."""
    begin, end = max(first, 0), min(first + length, limit)
    return begin, end, (begin - first, first + length - end)


def _whole(value: int, name: str, least: int | None = None) -> int:
    number = None if isinstance(value, bool) or not hasattr(value, "__index__") else value.__index__()
    if number is None or (least is not None and number < least):
        kind = "an integer" if least is None else "a positive integer"
        raise ValueError(f"Observation {name} must be {kind} (pixels), got {value!r}.")
    return number
