"""Pictures of poses and their refinement. Every function returns its picture; none shows or saves it.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart. Figures are laid out at the width of a
printed column, so that their letters have the size of the caption.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Num, Real, Shaped, UInt8
from PIL import Image

from ._refine import Refinement
from ._render import Renderer
from ._scene import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORANGE, BLUE, GREEN, GREY = "#e69f00", "#0072b2", "#009e73", "#8c8c8c"

COLUMN_WIDTH, TEXT_WIDTH = 3.4, 7.0
"""Inches, of a column and of a page in a two-column paper."""

ColorPicture = UInt8[np.ndarray, "height width 3"]
AnyPicture = Num[np.ndarray, "_height _width 3"]


def overlay(
    image: AnyPicture,
    mask: Shaped[np.ndarray, "height width"],
    rendered: AnyPicture | None = None,
    *,
    opacity: float | Float[np.ndarray, "height width"] = 1.0,
    color: str | None = BLUE,
    line_width: float = 3.0,
) -> ColorPicture:
    """Lays a rendering over an image and traces the outline of what was rendered.

    Args:
        image: (h, w, 3) uint8, or float in [0, 1].
        mask: (H, W) bool or float in [0, 1], where the object is. H and W are h and w times one whole number: each
            pixel of the image is then repeated, not blurred, and outline and rendering are finer than the image.
        rendered: optional (H, W, 3) uint8 or float, shown inside the mask. Default: the outline alone.
        opacity: of the rendering, in [0, 1]; a number or an (H, W) float array, such as `checkerboard` makes.
        color: of the outline, "#rrggbb". It gets a thin dark rim, to stand out from any
            background. None: no outline.
        line_width: width of the outline, pixels of the result.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if the sizes do not fit.
    """
    height, width = mask.shape
    factor = height // image.shape[0]
    if factor < 1 or (height, width) != (factor * image.shape[0], factor * image.shape[1]):
        raise ValueError(
            f"The mask must be as large as the image or a whole number of times larger, got mask {mask.shape} and "
            f"image {image.shape[:2]}."
        )
    picture = as_float(image).repeat(factor, axis=0).repeat(factor, axis=1)
    coverage = mask.astype(np.float32)
    if rendered is not None:
        if rendered.shape[:2] != mask.shape:
            raise ValueError(f"rendered must be as large as the mask, {mask.shape}, got {rendered.shape[:2]}.")
        weight = (coverage * opacity)[..., None]
        picture = picture + weight * (as_float(rendered) - picture)
    if color is not None:
        distance = np.abs(_distance_to_outline(coverage))
        for half_width, shade in ((line_width / 2 + 1, (0.1, 0.1, 0.1)), (line_width / 2, _rgb(color))):
            weight = np.clip(half_width + 0.5 - distance, 0, 1)[..., None]
            picture = picture + weight * (np.asarray(shade) - picture)
    return as_uint8(picture)


def checkerboard(height: int, width: int, side: int) -> Float[np.ndarray, "height width"]:
    """Squares of ones and zeros, an opacity for `overlay` that shows whether print runs on across the seams.

    Args:
        height: H, pixels.
        width: W, pixels.
        side: of a square, pixels.

    Returns:
        (H, W) float32.
    """
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return ((rows[:, None] + columns) % 2).astype(np.float32)


def panels(images: Sequence[AnyPicture], titles: Sequence[str]) -> Figure:
    """Pictures side by side, each under its title, drawn pixel by pixel.

    Args:
        images: any number of (H, W, 3) uint8 or float pictures, all of one size.
        titles: one per picture.

    Returns:
        A matplotlib figure as wide as a page. Save it with its own ``dpi``, so that no pixel is resampled.

    Raises:
        ValueError: if sizes or numbers differ.
        ImportError: if matplotlib is missing.
    """
    if len({image.shape for image in images}) != 1 or len(images) != len(titles):
        raise ValueError(
            f"panels needs pictures of one size and a title each, got sizes {[image.shape for image in images]} and "
            f"{len(titles)} titles."
        )
    height, width = images[0].shape[:2]
    gap = max(2, round(0.02 * width))
    total = len(images) * width + (len(images) - 1) * gap
    dpi = total / TEXT_WIDTH
    head = round(0.24 * dpi)
    figure = _figure(TEXT_WIDTH, (height + head) / dpi, dpi)
    for i, (image, title) in enumerate(zip(images, titles)):
        axes = figure.add_axes((i * (width + gap) / total, 0, width / total, height / (height + head)))
        axes.imshow(as_uint8(as_float(image)), interpolation="none", aspect="auto")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, pad=3)
    return figure


def loss_curve(losses: Sequence[Real[np.ndarray, "_steps _starts"]], labels: Sequence[str] | None = None) -> Figure:
    """The loss over the steps, one stage of a refinement after the other.

    Args:
        losses: per stage an (S, K) float array, as in `Refinement.loss_history`: S steps, K starts. The start that
            reached the least is drawn strongly.
        labels: one per stage.

    Returns:
        A matplotlib figure, one column wide.

    Raises:
        ImportError: if matplotlib is missing.
    """
    figure = _figure(COLUMN_WIDTH, 2.3, 220, layout="constrained")
    axes = figure.subplots()
    first = 0
    for i, (stage, color) in enumerate(zip(losses, _cycle(len(losses)))):
        steps = first + np.arange(len(stage))
        best = int(np.argmin(np.nanmin(np.nan_to_num(stage, nan=np.inf), axis=0)))
        for start in range(stage.shape[1]):
            if start != best:
                axes.plot(steps, stage[:, start], color=GREY, linewidth=0.5, alpha=0.6)
        axes.plot(steps, stage[:, best], color=color, linewidth=1.4, label=labels[i] if labels else None)
        first += len(stage)
    every = np.concatenate([stage.ravel() for stage in losses])
    if np.nanmin(every) > 0 and np.nanmax(every) > 10 * np.nanmin(every):
        axes.set_yscale("log")  # over less than a decade its ticks are hard to read
    else:
        axes.set_ylim(bottom=min(0.0, float(np.nanmin(every))))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    _plain(axes)
    if labels:
        axes.legend(frameon=False, fontsize=8)
    return figure


def depth_residual_map(
    residual: Float[np.ndarray, "height width"], *, limit: float | None = None, title: str | None = None
) -> Figure:
    """Rendered minus measured depth.

    Args:
        residual: (H, W) float, metres; NaN where there is nothing to compare, which is drawn grey.
        limit: metres at both ends of the colour bar. Default: the 95th percentile of the absolute residual, rounded
            up to whole millimetres.
        title: default: the median absolute residual.

    Returns:
        A matplotlib figure, one column wide: blue where the rendering is nearer than the measurement, red where it is
        farther.

    Raises:
        ImportError: if matplotlib is missing.
    """
    millimetres = 1e3 * residual
    compared = np.abs(millimetres[np.isfinite(millimetres)])
    if limit is None:
        limit = 1e-3 * float(np.ceil(np.percentile(compared, 95))) if compared.size else 1e-3
    if title is None:
        title = f"median |residual| {np.median(compared):.1f} mm" if compared.size else "nothing to compare"
    height, width = residual.shape
    figure = _figure(COLUMN_WIDTH, 0.35 + 0.78 * COLUMN_WIDTH * height / width, 220, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    ends = 1e3 * max(limit, 1e-6)
    drawn = axes.imshow(millimetres, cmap="RdBu_r", vmin=-ends, vmax=ends, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, extend="both", fraction=0.05, pad=0.02)
    bar.set_label("rendered − measured depth (mm)", fontsize=8)  # noqa: RUF001 (a minus sign, as in the ticks)
    bar.ax.tick_params(labelsize=8)
    return figure


def refinement_frames(
    refinement: Refinement, renderer: Renderer, image: AnyPicture, *, count: int = 30, color: str = BLUE
) -> list[ColorPicture]:
    """The iterates of the best start, each laid over the image.

    Args:
        refinement: the outcome of `refine_poses`.
        renderer: draws the iterates, once each, at the size of the image.
        image: (H, W, 3) uint8 or float: what the refinement's camera saw, in any resolution.
        count: how many iterates to draw. They lie closer to each other in the beginning, where most happens.
        color: of the outline.

    Returns:
        At most `count` pictures (H, W, 3) uint8.
    """
    camera = refinement.scene.camera.resized(image.shape[1], image.shape[0])
    iterates = refinement.T_world_object_history[: refinement.best_step + 1, refinement.best_start]
    chosen = np.unique(np.round(np.linspace(0, 1, count) ** 1.5 * (len(iterates) - 1)).astype(int))
    frames = []
    for T_world_object in iterates[chosen]:
        result = renderer(Scene(T_world_object, camera, refinement.scene.instance_index))
        mask = np.asarray(result.instance_index) > 0
        frames.append(overlay(image, mask, np.asarray(result.color), color=color, line_width=2))
    return frames


def animation(frames: Sequence[ColorPicture], *, frames_per_second: float = 15.0, hold: float = 1.5) -> bytes:
    """A GIF that runs for ever.

    Args:
        frames: (H, W, 3) uint8 pictures of one size.
        frames_per_second: speed.
        hold: how long the last frame stays, seconds.

    Returns:
        The contents of a GIF file. All frames share one palette, and what does not change is stored once.

    Raises:
        ValueError: if there are no frames or their sizes differ.
    """
    if len({frame.shape for frame in frames}) != 1:
        raise ValueError(f"animation needs frames of one size, got {[frame.shape for frame in frames]}.")
    sample = np.concatenate([frame[::2, ::2] for frame in frames])
    palette = Image.fromarray(sample).quantize(255, dither=Image.Dither.NONE)
    indexed = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    duration = [round(1000 / frames_per_second)] * (len(frames) - 1) + [round(1000 * hold)]
    file = io.BytesIO()
    indexed[0].save(file, "GIF", save_all=True, append_images=indexed[1:], duration=duration, loop=0)
    return file.getvalue()


def as_float(image: AnyPicture) -> Float[np.ndarray, "_height _width 3"]:
    """(H, W, 3) uint8, or float in [0, 1], as float32 in [0, 1]."""
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)


def as_uint8(image: AnyPicture) -> UInt8[np.ndarray, "_height _width 3"]:
    """(H, W, 3) float, clipped to [0, 1], as uint8."""
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _distance_to_outline(coverage: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Signed distance to the outline in pixels, right up to about five pixels.

    A straight edge blurred by a Gaussian is the Gaussian's integral of the distance: its inverse gives the distance at
    fractions of a pixel, where a distance transform of a mask would give stairs.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.special import ndtri

    sigma = 1.2
    blurred = gaussian_filter(coverage, sigma, mode="nearest", truncate=5)
    return sigma * ndtri(np.clip(blurred, 1e-6, 1 - 1e-6)).astype(np.float32)


def _figure(width: float, height: float, dpi: float, **options) -> Figure:
    """A figure outside of pyplot: nothing global, no window, no back end to choose."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Figures are drawn with matplotlib: pip install 'sldiff-jax[viz]'.") from error
    return Figure(figsize=(width, height), dpi=dpi, **options)


def _plain(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)


def _cycle(count: int) -> list[str]:
    return ([ORANGE, BLUE, GREEN] * count)[:count] if count > 1 else [BLUE]


def _rgb(color: str) -> tuple[float, float, float]:
    if len(color) != 7 or color[0] != "#":
        raise ValueError(f"A colour must be written #rrggbb, got {color!r}.")
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))  # pyright: ignore[reportReturnType]
