"""Which pixels have a gradient, and by which pixels silhouettes grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._gradients.image_space import compute_image_space_gradients, dilate_silhouettes
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from ._colors import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, luminance, rgb_of
from ._figure import TEXT_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OBJECT_COLORS = (SKY, ORANGE, GREEN, PURPLE, BLUE)


def silhouettes(
    scene: Scene, render_result: RenderResult, *, window: tuple[int, int, int, int] | None = None
) -> Figure:
    """The valid mask of `compute_image_space_gradients`, and the silhouettes as `dilate_silhouettes` grows them.

    Args:
        scene: the scene that was rendered, N objects.
        render_result: its buffers, (H, W).
        window: left, top, width and height of the part to show, pixels; what matters here is one pixel wide. Default:
            all.

    Returns:
        A matplotlib figure as wide as a page. Left: the grey image, what is not valid in vermilion. Right: objects
        tinted, the pixels that each silhouette gains in its full colour.

    Raises:
        ValueError: if the window is not inside the image, or the sizes of scene and render result differ.
        ImportError: if matplotlib is missing.
    """
    _, _, valid = map(np.asarray, compute_image_space_gradients(scene, render_result))
    masks, _ = map(np.asarray, dilate_silhouettes(scene, render_result))
    labels = np.asarray(scene.instance_index)
    shown = np.asarray(render_result.instance_index)
    height, width = shown.shape
    left, top, across, down = (0, 0, width, height) if window is None else window
    if min(left, top) < 0 or min(across, down) < 1 or left + across > width or top + down > height:
        raise ValueError(f"window must be (left, top, width, height) inside {width}x{height} pixels, got {window}.")
    grey = 0.35 + 0.65 * luminance(np.asarray(render_result.color))[..., None].repeat(3, axis=-1)
    first = np.where(valid[..., None], grey, rgb_of(VERMILION))
    second, gained = grey.copy(), []
    for k, label in enumerate(labels):
        color = rgb_of(OBJECT_COLORS[k % len(OBJECT_COLORS)])
        inside = shown == label
        second[inside] = 0.55 * grey[inside] + 0.45 * (0.4 * color + 0.6)
        gained.append((masks[k] & ~inside, color))
    for joined, color in gained:
        second[joined] = color

    figure = new_figure(TEXT_WIDTH, 0.5 * TEXT_WIDTH * down / across + 0.55, layout="constrained")
    names = [f"object {label}: {joined.sum()} px" for label, (joined, _) in zip(labels, gained)]
    keys = (
        [(VERMILION, f"next to its occluder: {np.sum(~valid)} px")],
        [(color, name) for (_, color), name in zip(gained, names)],
    )
    for axes, picture, title, entries in zip(
        figure.subplots(1, 2), (first, second), ("not valid", "grown by one pixel"), keys
    ):
        axes.imshow(picture[top : top + down, left : left + across], interpolation="nearest", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
        for color, name in entries:
            axes.plot([], [], "s", color=color, markersize=7, label=name)
        style = {"frameon": False, "fontsize": 7, "handletextpad": 0.2, "columnspacing": 0.8}
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=min(3, len(entries)), **style)
    return figure
