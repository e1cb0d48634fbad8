"""Pictures: right pixels, right sizes, nothing shown."""

import io
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sldiff_jax as sl
from sldiff_jax import visualize
from sldiff_jax.mesh_renderer import box_mesh


@pytest.fixture
def disc():
    """A disc of radius 20 at the centre of a 64x80 mask."""
    y, x = np.mgrid[0:64, 0:80]
    return np.hypot(y + 0.5 - 32, x + 0.5 - 40) < 20


def test_overlay_without_outline_is_the_blend(disc):
    image = np.full((64, 80, 3), 200, np.uint8)
    rendered = np.zeros((64, 80, 3), np.float32)
    shown = visualize.overlay(image, disc, rendered, opacity=0.25, color=None)
    assert shown.dtype == np.uint8
    assert (shown[disc] == 150).all()
    assert (shown[~disc] == 200).all()


def test_overlay_repeats_pixels_of_a_smaller_image(disc):
    image = np.arange(32 * 40 * 3).reshape(32, 40, 3).astype(np.uint8)
    shown = visualize.overlay(image, np.zeros((64, 80), bool), color=None)
    np.testing.assert_array_equal(shown, image.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("line_width", [2.0, 4.0])
def test_the_outline_has_its_width_and_place_and_smooth_edges(disc, line_width):
    image = np.ones((64, 80, 3), np.float32)
    shown = visualize.overlay(image, disc, color="#ff0000", line_width=line_width) / 255
    redness = shown[..., 0] - shown[..., 1]
    # A ring of radius 20: its area is its circumference times its width.
    assert redness.sum() == pytest.approx(2 * np.pi * 20 * line_width, rel=0.08)
    y, x = np.mgrid[0:64, 0:80]
    radius = np.hypot(y + 0.5 - 32, x + 0.5 - 40)
    assert np.average(radius, weights=redness) == pytest.approx(20, abs=0.25)
    assert ((redness > 0.1) & (redness < 0.9)).sum() > 50
    assert (shown[np.abs(radius - 20) > line_width / 2 + 3] == 1).all()


def test_an_object_that_is_cut_by_the_frame_has_no_outline_there():
    mask = np.zeros((40, 40), bool)
    mask[:, :20] = True
    shown = visualize.overlay(np.ones((40, 40, 3), np.float32), mask)
    assert (shown[:, :10] == 255).all()
    assert (shown[:, 19:21] != 255).any(axis=-1).all()


def test_overlay_of_nothing_is_the_image():
    image = np.full((30, 30, 3), 77, np.uint8)
    np.testing.assert_array_equal(visualize.overlay(image, np.zeros((30, 30), bool)), image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": np.ones((65, 80), bool)}, r"whole number of times larger, got mask \(65, 80\)"),
        ({"mask": np.ones((32, 40), bool)}, "as large as the image"),
        ({"rendered": np.ones((32, 40, 3))}, "as large as the mask"),
        ({"color": "red"}, "written #rrggbb, got 'red'"),
    ],
)
def test_overlay_refuses(arguments, message):
    given = {"image": np.zeros((64, 80, 3), np.uint8), "mask": np.ones((64, 80), bool)} | arguments
    with pytest.raises(ValueError, match=message):
        visualize.overlay(**given)


def test_checkerboard():
    assert visualize.checkerboard(2, 5, 2).tolist() == [[0, 0, 1, 1, 0]] * 2
    assert visualize.checkerboard(4, 2, 2)[:, 0].tolist() == [0, 0, 1, 1]


def pixels_of(figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi)
    return np.asarray(Image.open(file).convert("RGB"))


def test_panels_show_every_pixel_as_it_is():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (150, 200, 3), dtype=np.uint8) for _ in range(3)]
    pixels = pixels_of(visualize.panels(images, ["a", "b", "c"]))
    assert pixels.shape[1] == 3 * 200 + 2 * 4
    for i, image in enumerate(images):
        np.testing.assert_array_equal(pixels[-150:, 204 * i : 204 * i + 200], image)
    assert (pixels[:-150] < 128).any()  # the titles


def test_panels_refuse_pictures_of_different_sizes():
    with pytest.raises(ValueError, match="one size and a title each"):
        visualize.panels([np.zeros((2, 2, 3)), np.zeros((3, 2, 3))], ["a", "b"])


def test_loss_curve_draws_the_best_start_strongly_and_stages_in_a_row():
    losses = [np.array([[5.0, 3.0], [4.0, 0.1], [np.nan, 0.2]]), np.array([[0.1], [0.01]])]
    figure = visualize.loss_curve(losses, ["coarse", "fine"])
    (axes,) = figure.axes
    strong = [line for line in axes.lines if line.get_linewidth() > 1]
    np.testing.assert_allclose(strong[0].get_xydata(), [[0, 3], [1, 0.1], [2, 0.2]])
    np.testing.assert_allclose(strong[1].get_xydata(), [[3, 0.1], [4, 0.01]])
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")
    assert visualize.loss_curve([np.array([[3.0], [2.0]])]).axes[0].get_yscale() == "linear"
    pixels_of(figure)


def test_depth_residual_map_has_units_and_colours_by_sign():
    residual = np.full((40, 60), np.nan, np.float32)
    residual[10:30, 10:30], residual[10:30, 30:50] = -0.002, 0.004
    figure = visualize.depth_residual_map(residual)
    axes, bar = figure.axes
    assert bar.get_ylabel().endswith("(mm)")
    assert axes.get_title() == "median |residual| 3.0 mm"
    assert axes.images[0].get_clim() == pytest.approx((-4, 4))
    colors = axes.images[0].cmap(axes.images[0].norm(np.array([-2.0, 4.0])))
    assert colors[0, 2] > colors[0, 0]
    assert colors[1, 0] > colors[1, 2]
    pixels_of(figure)
    assert visualize.depth_residual_map(np.full((4, 4), np.nan, np.float32)).axes[0].get_title() == "nothing to compare"


def test_animation_is_a_small_gif_that_repeats():
    frames = [np.full((48, 64, 3), (8 * i, 100, 200), np.uint8) for i in range(20)]
    contents = visualize.animation(frames, frames_per_second=20, hold=1)
    gif = Image.open(io.BytesIO(contents))
    assert (gif.format, gif.n_frames, gif.size, gif.info["loop"]) == ("GIF", 20, (64, 48), 0)
    assert gif.info["duration"] == 50
    gif.seek(19)
    assert gif.info["duration"] == 1000
    assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - frames[19]).max() < 12
    assert len(contents) < 20_000
    with pytest.raises(ValueError, match="one size"):
        visualize.animation([])


def test_refinement_frames_draw_the_best_start_from_first_to_best():
    camera = sl.Camera.from_intrinsics(60.0, 60.0, 20.0, 15.0, width=40, height=30)
    poses = np.tile(np.eye(4, dtype=np.float32), (4, 2, 1, 1, 1))
    poses[..., 2, 3] = 0.4
    poses[:, 1, 0, 0, 3] = [0.0, 0.05, 0.1, 0.15]
    refinement = sl.Refinement(
        sl.Scene(poses[2, 1], camera), 0.1, 2, 1, np.ones((4, 2), np.float32), poses, seconds=1.0, seconds_per_step=0.1
    )
    image = np.zeros((60, 80, 3), np.uint8)
    frames = visualize.refinement_frames(refinement, sl.MeshRenderer([box_mesh()]), image, count=10)
    assert [frame.shape for frame in frames] == [(60, 80, 3)] * 3
    columns = [np.nonzero(frame.any(axis=-1))[1].mean() for frame in frames]
    assert columns == pytest.approx([40, 40 + 0.05 / 0.4 * 120, 40 + 0.1 / 0.4 * 120], abs=4)
    assert all(jnp.asarray(frame).dtype == jnp.uint8 for frame in frames)


def test_without_matplotlib_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'sldiff-jax\[viz\]'"):
        visualize.loss_curve([np.ones((3, 1))])


def test_nothing_is_registered_with_pyplot():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    visualize.loss_curve([np.ones((3, 1))])
    assert pyplot.get_fignums() == before
