"""Draws `docs/demo.png`, the first picture of the README: ``python docs/demo_picture.py``. Needs the extra `viz`.

The task of ``sldiff-jax demo --seed 1``, solved at its own size of 320x240 and drawn four times as large.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from PIL import Image

import sldiff_jax as sl
from sldiff_jax import visualize
from sldiff_jax.cli._scores import pose_distance
from sldiff_jax.cli.demo import make_task, solve

SEED, STEPS, GAMMA = 1, 50, 2
OUTPUT = Path(__file__).parent / "demo.png"


def main() -> None:
    """Solves and draws."""
    task, middle, large = (make_task(SEED, width) for width in (320, 640, 1280))
    fit = solve(task, STEPS)
    T_result = np.asarray(fit.scene.T_world_object[0])
    degrees, millimetres = pose_distance(T_result, task.T_camera_object)
    renderer = sl.MeshRenderer([large.mesh], background=large.background, supersample=2)

    def draw(T_camera_object: np.ndarray) -> tuple[sl.RenderResult, np.ndarray]:
        result = renderer(sl.Scene(T_camera_object[None], large.camera))
        return result, np.asarray(result.instance_index) > 0

    start, start_mask = draw(large.T_camera_object_start)
    result, result_mask = draw(T_result)
    observation = sl.Observation(rgb=middle.image)
    several = sl.MeshRenderer([middle.mesh], background=middle.background, supersample=4)
    start_scene = sl.Scene(middle.T_camera_object_start[None], middle.camera)
    seen, change = sl.render_jvp(start_scene, several, jnp.zeros((1, 6)).at[0, GAMMA].set(1))
    cotangent = jax.grad(lambda seen: sl.photometric_loss(seen, observation))(seen)
    gamma = np.asarray(jnp.sum(cotangent.rgb * change.rgb, axis=-1)).repeat(2, axis=0).repeat(2, axis=1)
    limit = np.percentile(np.abs(gamma[gamma != 0]), 97)
    colored = colormaps["RdBu_r"](0.5 + 0.5 * np.clip(gamma / limit, -1, 1))[..., :3]
    colored = np.where(gamma[..., None] != 0, colored, 0.975).astype(np.float32)

    rows, columns = np.nonzero(start_mask | result_mask)
    half = int(0.56 * max(np.ptp(rows), np.ptp(columns)))
    row, column = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    window = np.s_[max(0, row - half) : row + half, max(0, column - half) : column + half]
    style = {"opacity": 0.5, "line_width": 6}
    before = visualize.overlay(large.image, start_mask, start.color, color=visualize.ORANGE, **style)
    after = visualize.overlay(large.image, result_mask, result.color, color=visualize.BLUE, **style)
    figure = visualize.panels(
        [before[window], colored[window], after[window]],
        [
            "start: 10° and 4 mm off",
            "gradient by a turn about z: red +, blue \u2212",
            f"result: {degrees:.3f}° and {millimetres:.3f} mm off",
        ],
    )
    figure.savefig(OUTPUT, dpi=figure.dpi)
    picture = Image.open(OUTPUT).convert("RGB")
    picture.thumbnail((1400, 1400), Image.Resampling.LANCZOS)
    picture.save(OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
