"""Where each of several starts of a refinement ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._gradients.rendering import Renderer
from .._refine.refinement import Refinement, Status
from .._scene.scene import Scene
from ._colors import BLUE, ORANGE, AnyPicture
from ._frames import draw_scene
from ._panels import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hypothesis_grid(
    refinement: Refinement,
    renderer: Renderer,
    image: AnyPicture,
    *,
    count: int = 12,
    columns: int = 4,
    opacity: float = 0.6,
) -> Figure:
    """The best iterate of every start over the image, from the least loss to the greatest.

    A start that was pruned shows where it was when that happened, after those that went on.

    Args:
        refinement: the outcome of `refine_poses` with K starts.
        renderer: draws the iterates, once each, at the size of the image.
        image: (H, W, 3) uint8 or float: what the refinement's camera saw, in any resolution.
        count: how many starts at most.
        columns: pictures in a row.
        opacity: of the renderings, in [0, 1].

    Returns:
        A matplotlib figure as wide as a page, a title with number and loss over each picture; the best one framed,
        bold and outlined in blue, the others in orange. See `panels`.

    Raises:
        ValueError: if `count` or `columns` is not positive, or the image is not (H, W, 3).
        ImportError: if matplotlib is missing.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    steps_made = np.sum(np.isfinite(refinement.T_world_object_history[:, :, 0, 0, 0]), axis=0)
    pruned_after = np.where(np.equal(refinement.statuses, Status.PRUNED), steps_made, np.inf)
    pictures, titles = [], []
    for start in np.lexsort((refinement.losses, -pruned_after))[:count]:
        scene = Scene(refinement.T_world_object[start], refinement.scene.camera, refinement.scene.instance_index)
        color = ORANGE if pictures else BLUE
        pictures.append(draw_scene(image, scene, renderer, color=color, opacity=opacity))
        titles.append(f"start {start}: {refinement.losses[start]:.4f}")
    return panels(pictures, titles, columns=columns, marked=0)
