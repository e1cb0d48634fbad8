"""Draws `docs/concepts/frames.svg`, frames and pixels: ``python docs/frames_picture.py``. Needs the extra `viz`."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

OUTPUT = Path(__file__).parent / "concepts" / "frames.svg"
AXIS_COLORS = {"X": "#d55e00", "Y": "#009e73", "Z": "#0072b2"}
GREY = "0.45"


def main() -> None:
    """Draws."""
    # Letters become shapes, which look the same everywhere, and identifiers do not change from run to run.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "frames"}):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        draw_frames(left)
        draw_pixels(right)
        figure.savefig(OUTPUT, metadata={"Date": None})


def draw_frames(axes) -> None:
    """World, camera and object in an oblique view, and the transforms between them."""
    # Columns of a frame: its X, Y and Z axes. The view: camera to the left, looking right; Y of the camera is down.
    world = (np.array([-0.1, 0.0, -1.55]), np.eye(3))
    camera = (np.array([-1.9, 0.0, 0.5]), np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float))
    turn, tilt = np.deg2rad(35), np.deg2rad(25)
    R_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    R_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    thing = (np.array([1.5, 0.0, 0.35]), R_z @ R_x)

    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * (0.42, 0.3, 0.36)
    edges = [(i, j) for i in range(8) for j in range(i) if np.sum(corners[i] != corners[j]) == 1]
    for i, j in edges:
        line(axes, thing[0] + thing[1] @ corners[i], thing[0] + thing[1] @ corners[j], color=GREY, linewidth=0.8)
    image = [
        camera[0] + camera[1] @ np.array([0.5 * x, 0.38 * y, 1.0]) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    for i, corner in enumerate(image):
        line(axes, camera[0], corner, color=GREY, linewidth=0.6)
        line(axes, corner, image[(i + 1) % 4], color=GREY, linewidth=1)
    axes.text(*flat(image[0], (0.06, -0.1)), "image", fontsize=9, color=GREY)

    for (origin, R), name, at in (
        (world, "world", (-0.50, -0.10)),
        (camera, "camera", (-0.42, 0.28)),
        (thing, "object", (0.22, -0.66)),
    ):
        for letter, direction in zip("XYZ", R.T):
            tip = origin + 0.55 * direction
            arrow(axes, flat(tip), flat(origin), color=AXIS_COLORS[letter], width=2)
            axes.text(*flat(origin + 0.68 * direction), letter, color=AXIS_COLORS[letter], ha="center", va="center")
        axes.text(*flat(origin, at), name, fontsize=11, weight="bold")

    arrow(axes, flat(world[0], (0.3, 0.10)), flat(thing[0], (0.0, -0.55)), bend=-0.25)
    axes.text(1.2, -1.22, r"$T_{\mathrm{world\ object}}$", fontsize=12)
    arrow(axes, flat(world[0], (-0.28, 0.10)), flat(camera[0], (0.0, -0.72)), bend=0.25)
    axes.text(-2.45, -1.22, r"$T_{\mathrm{world\ camera}}$", fontsize=12)
    arrow(axes, flat(camera[0], (0.25, 0.62)), flat(thing[0], (0.0, 0.62)), bend=0.25)
    axes.text(-0.75, 1.5, r"$T_{\mathrm{camera\ object}}$", fontsize=12)
    axes.set(xlim=(-2.6, 2.4), ylim=(-2.1, 2.1), aspect="equal")
    axes.set_axis_off()


def draw_pixels(axes) -> None:
    """A small image with both of its coordinate systems."""
    columns, rows, ndc = 8, 6, (r"$-1$", "0", "1")
    for column in range(columns + 1):
        axes.plot([column, column], [0, rows], color="0.8", linewidth=0.8)
    for row in range(rows + 1):
        axes.plot([0, columns], [row, row], color="0.8", linewidth=0.8)
    axes.fill([2, 3, 3, 2], [1, 1, 2, 2], color="#56b4e9", alpha=0.5, linewidth=0)
    axes.plot(2.5, 1.5, "o", color="black", markersize=4)
    axes.annotate(
        "column 2, row 1:\nits centre is (2.5, 1.5)", (2.5, 1.5), (3.6, 2.75), fontsize=10, va="center",
        arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 0.8, "shrinkB": 4},
    )  # fmt: skip
    arrow(axes, np.array([columns + 0.55, 0]), np.array([0, 0]), color=AXIS_COLORS["X"], width=2)
    arrow(axes, np.array([0, rows + 0.55]), np.array([0, 0]), color=AXIS_COLORS["Y"], width=2)
    axes.text(columns + 0.65, 0, "x", color=AXIS_COLORS["X"], va="center", fontsize=12)
    axes.text(0, rows + 0.9, "y", color=AXIS_COLORS["Y"], ha="center", fontsize=12)
    for column in (0, 4, 8):
        axes.text(column, -0.2, f"{column}\n", ha="center", va="bottom", fontsize=9, linespacing=1.1)
        axes.text(column, -0.2, ndc[column // 4], ha="center", va="bottom", fontsize=9, color="#cc5599")
    for row in (0, 3, 6):
        axes.text(-0.75, row, f"{row}", ha="right", va="center", fontsize=9)
        axes.text(-0.2, row, ndc[row // 3], ha="right", va="center", fontsize=9, color="#cc5599")
    axes.text(1.1, 5.35, "pixels", fontsize=10)
    axes.text(3.1, 5.35, "NDC", fontsize=10, color="#cc5599")
    axes.set(xlim=(-1.5, columns + 1.1), ylim=(rows + 1.2, -1.5), aspect="equal")
    axes.set_axis_off()


def flat(point: np.ndarray, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """A point in space as a point on the page, shifted there: X to the right, Z up, Y to the back."""
    return np.array([point[0] + 0.45 * point[1] + shift[0], point[2] + 0.35 * point[1] + shift[1]])


def line(axes, a: np.ndarray, b: np.ndarray, **style) -> None:
    """A segment in space."""
    axes.plot(*zip(flat(a), flat(b)), **style)


def arrow(axes, tip, tail, *, color="black", width=1.2, bend=0.0) -> None:
    """An arrow on the page."""
    shape = {"arrowstyle": "-|>", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tip, tail, arrowprops=shape | {"connectionstyle": f"arc3,rad={bend}", "mutation_scale": 12})


if __name__ == "__main__":
    main()
