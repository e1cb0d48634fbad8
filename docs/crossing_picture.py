"""Draws `docs/concepts/crossing.svg`, how outlines cover pixels: ``python docs/crossing_picture.py``. Needs `viz`."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

OUTPUT = Path(__file__).parent / "concepts" / "crossing.svg"
OBJECT, ROWS, COLUMNS, GREY = "#56b4e9", "#d55e00", "#009e73", "0.45"
# The outline of an object in pixels, x to the right and y down; the object lies to the left of it.
OUTLINE = np.array([(5.9, 0.0), (6.15, 1.9), (5.55, 3.7), (4.2, 5.15), (2.3, 5.95), (0.0, 6.2)])


def main() -> None:
    """Draws."""
    # Letters become shapes, which look the same everywhere, and identifiers do not change from run to run.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "crossing", "mathtext.fontset": "cm"}):
        figure = Figure(figsize=(10.4, 4.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
        draw_outline(left)
        draw_pairs(right)
        figure.savefig(OUTPUT, metadata={"Date": None})


def draw_outline(axes) -> None:
    """An outline on the grid of samples, and where it crosses the lines between them."""
    columns, rows = 8, 7
    axes.add_patch(Polygon([*OUTLINE, (0, 0)], color=OBJECT, alpha=0.45, linewidth=0))
    for column in range(columns + 1):
        axes.plot([column, column], [0, rows], color="0.82", linewidth=0.8, zorder=1)
    for row in range(rows + 1):
        axes.plot([0, columns], [row, row], color="0.82", linewidth=0.8, zorder=1)
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    axes.plot(x.ravel(), y.ravel(), ".", color=GREY, markersize=3, zorder=2)
    axes.plot(*OUTLINE.T, color="black", linewidth=1.4, zorder=3)
    axes.plot(*OUTLINE[1:-1].T, "o", color="black", markersize=3.2, zorder=3)
    for axis, color in ((0, ROWS), (1, COLUMNS)):
        for point, weight in crossings(axis):
            first = point.copy()
            first[axis] = np.floor(point[axis] - 0.5) + 0.5
            last = first.copy()
            last[axis] += 1
            axes.plot(*np.transpose([first, last]), color=color, linewidth=1.2, alpha=0.15 + 0.85 * weight, zorder=4)
            axes.plot(*point, "o", color=color, markersize=2 + 5 * np.sqrt(weight), zorder=5)
    paper = {"color": "white", "linewidth": 0, "pad": 1}
    axes.text(2.0, 2.0, "object", fontsize=11, ha="center", va="center", bbox=paper | {"color": "#b3ddf5"})
    axes.text(6.0, 6.0, "behind it", fontsize=11, ha="center", va="center", bbox=paper)
    axes.text(8.2, 0.5, "along rows", fontsize=10, color=ROWS, va="center")
    axes.text(8.2, 1.2, "along columns", fontsize=10, color=COLUMNS, va="center")
    axes.set(xlim=(-0.1, 10.4), ylim=(rows + 0.1, -0.1), aspect="equal")
    axes.set_axis_off()


def crossings(axis: int) -> list[tuple[np.ndarray, float]]:
    """Where the outline crosses the centre lines of rows (axis 0) or columns (1), and the weight of each crossing."""
    found = []
    for p, q in pairwise(OUTLINE):
        across = 1 - axis
        squared_cosine = (q[across] - p[across]) ** 2 / np.sum((q - p) ** 2)
        t = np.clip((squared_cosine - 0.1) / 0.8, 0, 1)
        weight = t * t * (3 - 2 * t)
        low, high = sorted((p[across], q[across]))
        if weight > 0:
            for line in np.arange(np.ceil(low - 0.5), np.ceil(high - 0.5)) + 0.5:
                found.append((p + (line - p[across]) / (q[across] - p[across]) * (q - p), weight))
    return found


def draw_pairs(axes) -> None:
    """What one crossing means for its two pixels, if it lies beyond the middle, and before it."""
    for top, reach, text in (
        (0.0, 0.8, r"$r > 1/2$: it covers $r - 1/2$ of the far pixel"),
        (1.75, 0.25, r"$r < 1/2$: it leaves $1/2 - r$ of the near pixel free"),
    ):
        edge = 0.5 + reach
        axes.add_patch(Rectangle((-0.25, top), edge + 0.25, 1, color=OBJECT, alpha=0.45, linewidth=0))
        for column in (0, 1):
            axes.add_patch(Rectangle((column, top), 1, 1, fill=False, edgecolor=GREY, linewidth=1))
        # The share that is covered, or left free.
        start, end, hatch = (1, edge, "///") if reach > 0.5 else (edge, 1, "xxx")
        axes.add_patch(Rectangle((start, top), end - start, 1, fill=False, edgecolor=GREY, hatch=hatch, linewidth=0))
        axes.plot([0.5, 1.5], [top + 0.5] * 2, color=ROWS, linewidth=1.4)
        axes.plot([0.5, 1.5], [top + 0.5] * 2, "o", color="black", markersize=4)
        axes.plot([edge] * 2, [top - 0.06, top + 1.06], color="black", linewidth=1.6)
        axes.plot(edge, top + 0.5, "o", color=ROWS, markersize=7)
        ends = {"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (edge, top + 0.3), (0.5, top + 0.3), arrowprops=ends)
        axes.text(0.5 + 0.5 * reach, top + 0.24, "$r$", fontsize=13, ha="center", va="bottom")
        axes.text(0.45, top + 0.56, "near", fontsize=9, ha="right", va="top")
        axes.text(1.55, top + 0.56, "far", fontsize=9, ha="left", va="top")
        axes.text(-0.25, top + 1.13, text, fontsize=10, va="top")
    graph = axes.inset_axes([2.85, 0.25, 1.5, 2.1], transform=axes.transData)
    reach = np.array([0, 0.5, 1])
    graph.plot(reach, np.minimum(0.5 + reach, 1), color="black", linewidth=1.8)
    graph.plot(reach, np.maximum(reach - 0.5, 0), color="black", linewidth=1.8, linestyle="--")
    graph.text(0.28, 0.83, "near", fontsize=9, rotation=45, rotation_mode="anchor", ha="center", va="bottom")
    graph.text(0.78, 0.33, "far", fontsize=9, rotation=45, rotation_mode="anchor", ha="center", va="bottom")
    graph.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], xlim=(0, 1), ylim=(-0.03, 1.08), xlabel="reach $r$")
    graph.set_title("coverage", fontsize=10)
    graph.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(-0.35, 4.4), ylim=(3.1, -0.15), aspect="equal")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
