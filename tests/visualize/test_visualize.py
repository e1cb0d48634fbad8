"""Pictures of pixels: overlays, object axes, panels; and what holds for every figure."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from pictures import pixels_of

import sldiff_jax as sl
from sldiff_jax import visualize


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


def test_jax_arrays_are_pictures_too(disc):
    image = np.full((64, 80, 3), 0.5, np.float32)
    expected = visualize.overlay(image, disc, 0 * image, opacity=0.3)
    got = visualize.overlay(jnp.asarray(image), jnp.asarray(disc), jnp.zeros((64, 80, 3)), opacity=0.3)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(visualize.as_uint8(visualize.as_float(expected)), expected)
    np.testing.assert_array_equal(visualize.as_uint8(expected), expected)


@pytest.mark.usefixtures("unchecked_types")
def test_rgba_is_refused_with_the_remedy(disc):
    with pytest.raises(ValueError, match=r"got \(64, 80, 4\). Of an RGBA image"):
        visualize.overlay(np.zeros((64, 80, 4), np.uint8), disc)


def scene_at(*places) -> sl.Scene:
    T = np.tile(np.eye(4, dtype=np.float32), (len(places), 1, 1))
    T[:, :3, 3] = places
    return sl.Scene(T, sl.Camera.from_intrinsics(100.0, 100.0, 80.0, 60.0, width=160, height=120))


def test_object_axes_lie_where_the_camera_sees_them():
    white = np.ones((240, 320, 3), np.float32)
    shown = visualize.draw_object_axes(white, scene_at((0.0, 0.0, 0.5)), length=0.2, line_width=3)
    # At twice the resolution the focal length is 200: 0.2 m at 0.5 m are 80 pixels from the centre, (160, 120).
    vermilion, green = np.array([0xD5, 0x5E, 0x00]), np.array([0x00, 0x9E, 0x73])
    assert np.abs(shown[119:121, 180:238].astype(int) - vermilion).max() <= 3
    assert np.abs(shown[140:198, 159:161].astype(int) - green).max() <= 3
    assert (shown[119:121, 243:246] == 255).all()
    assert (shown[:100] == 255).all() and (shown[:, :140] == 255).all()
    letter = shown[105:135, 244:262]
    assert (np.abs(letter.astype(int) - vermilion).max(axis=-1) < 30).any()


def test_object_axes_keep_their_default_size_and_skip_what_is_behind():
    white = np.full((120, 160, 3), 255, np.uint8)
    near, far = (visualize.draw_object_axes(white, scene_at((0, 0, depth))) for depth in (0.3, 3.0))
    np.testing.assert_allclose(near.mean(), far.mean(), rtol=1e-3)
    np.testing.assert_array_equal(visualize.draw_object_axes(white, scene_at((0, 0, -0.5))), white)
    # An axis that reaches past the camera is cut off in front of it.
    backward = scene_at((0.01, 0, 0.1))
    T = np.asarray(backward.T_world_object).copy()
    T[0, :3, :3] = np.diag([-1, 1, -1])
    cut = visualize.draw_object_axes(white, sl.Scene(T, backward.camera), length=0.5)
    # z comes towards the camera to the right of its centre: the picture shows it leave there.
    assert np.abs(cut[59:61, 100:158].astype(int) - [0x00, 0x72, 0xB2]).max() <= 3


def test_overlay_with_axes_is_the_overlay_and_the_axes(disc):
    image = np.full((64, 80, 3), 0.6, np.float32)
    scene = scene_at((0.05, 0, 0.5))
    expected = visualize.draw_object_axes(visualize.overlay(image, disc), scene)
    np.testing.assert_array_equal(visualize.overlay(image, disc, axes=scene), expected)
    assert (expected != visualize.overlay(image, disc)).any()


def test_checkerboard():
    assert visualize.checkerboard(2, 5, 2).tolist() == [[0, 0, 1, 1, 0]] * 2
    assert visualize.checkerboard(4, 2, 2)[:, 0].tolist() == [0, 0, 1, 1]


def test_panels_show_every_pixel_as_it_is():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (150, 200, 3), dtype=np.uint8) for _ in range(3)]
    pixels = pixels_of(visualize.panels(images, ["a", "b", "c"]))
    assert pixels.shape[1] == 3 * 200 + 2 * 4
    for i, image in enumerate(images):
        np.testing.assert_array_equal(pixels[-150:, 204 * i : 204 * i + 200], image)
    assert (pixels[:-150] < 128).any()  # the titles


def test_panels_keep_long_titles_within_their_picture():
    figure = visualize.panels([np.zeros((40, 60, 3))] * 8, ["start 10: 0.0123"] * 8, marked=2)
    pixels_of(figure)
    for axes in figure.axes:
        assert axes.title.get_window_extent().width < axes.bbox.width
    short = visualize.panels([np.zeros((40, 60, 3))] * 2, ["a", "b"])
    assert short.axes[0].title.get_fontsize() == 9


def test_panels_in_rows_mark_one_and_repeat_pixels_of_small_pictures():
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(5)]
    figure = visualize.panels(images, list("abcde"), columns=3, marked=3)
    assert figure.dpi > 75
    weights = [axes.title.get_fontweight() for axes in figure.axes]
    assert weights == ["normal"] * 3 + ["bold", "normal"]
    framed = [axes.spines["left"].get_visible() for axes in figure.axes]
    assert framed == [False, False, False, True, False]
    repeats = figure.axes[0].images[0].get_array().shape[1] // 30
    assert repeats > 1
    pixels = pixels_of(figure)
    last = images[4].repeat(repeats, axis=0).repeat(repeats, axis=1)
    width = 30 * repeats
    gap = round(0.02 * width)
    np.testing.assert_array_equal(pixels[-20 * repeats :, width + gap : 2 * width + gap], last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": [np.zeros((2, 2, 3)), np.zeros((3, 2, 3))]}, "one size and a title each"),
        ({"titles": ["a"]}, "1 titles"),
        ({"images": [], "titles": []}, "one size"),
        ({"columns": 0}, "columns=0"),
        ({"marked": 2}, r"one of 0\.\.1"),
    ],
)
def test_panels_refuse(arguments, message):
    given = {"images": [np.zeros((2, 2, 3))] * 2, "titles": ["a", "b"]} | arguments
    with pytest.raises(ValueError, match=message):
        visualize.panels(**given)


FIGURES = {
    "panels": lambda: visualize.panels([np.zeros((4, 4, 3))], ["a"]),
    "loss_curve": lambda: visualize.loss_curve([np.ones((3, 1))]),
    "depth_residual_map": lambda: visualize.depth_residual_map(np.ones((4, 4))),
    "gradient_maps": lambda: visualize.gradient_maps(np.ones((6, 4, 4))),
    "gradient_arrows": lambda: visualize.gradient_arrows(*np.ones((3, 4, 4, 3))),
    "gradient_wheel": lambda: visualize.gradient_wheel(*np.ones((2, 4, 4, 3))),
    "silhouettes": lambda: visualize.silhouettes(scene_at((0, 0, 1)), empty_result()),
}


def empty_result() -> sl.RenderResult:
    return sl.RenderResult(
        rgb=np.zeros((120, 160, 4), np.uint8),
        coord_depth=np.full((120, 160, 4), 3000, np.float32),
        instance_index=np.zeros((120, 160), np.int16),
    )


@pytest.mark.parametrize("name", FIGURES)
def test_without_matplotlib_the_message_names_the_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'sldiff-jax\[viz\]'"):
        FIGURES[name]()


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_registered_with_pyplot(name):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = FIGURES[name]()
    assert pyplot.get_fignums() == before
    assert pixels_of(figure).shape[1] == pytest.approx(figure.get_figwidth() * figure.dpi, abs=1)
