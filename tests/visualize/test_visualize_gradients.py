"""Pictures of gradients, valid pixels and residuals: what the colours and legends say."""

import numpy as np
import pytest
from pictures import pixels_of

import sldiff_jax as sl
from sldiff_jax import visualize
from sldiff_jax._gradients.diverging import diverging_colors, symmetric_limit
from sldiff_jax.mesh_renderer import box_mesh
from sldiff_jax.visualize._colors import luminance


@pytest.fixture(scope="module")
def shown():
    """Two boxes with labels 3 and 7, the first hides part of the second, and their render result."""
    camera = sl.Camera.from_intrinsics(60.0, 60.0, 24.0, 16.0, width=48, height=32)
    T = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    T[:, 2, 3], T[:, 0, 3] = (0.4, 0.6), (-0.03, 0.05)
    scene = sl.Scene(T, camera, np.array([3, 7]))
    return scene, sl.MeshRenderer([box_mesh(), box_mesh(seed=1)], background=np.full(3, 0.9))(scene)


def test_the_diverging_scale_keeps_its_sign_in_grey():
    colors = diverging_colors()(np.linspace(0, 1, 101))[:, None, :3]
    grey = luminance(colors)[:, 0]
    assert (np.diff(grey) > -1e-6).all()
    assert grey[50] - grey[0] > 0.25 and grey[100] - grey[50] > 0.25
    assert np.ptp(colors[50]) < 0.02
    # Blue against yellow, which those keep who do not tell red from green.
    blueness = colors[:, 0, 2] - colors[:, 0, :2].mean(axis=-1)
    assert blueness[20] > 0.2 and blueness[80] < -0.2


def test_the_limit_ignores_zeros_and_what_is_not_finite():
    values = np.concatenate([np.zeros(1000), np.arange(1.0, 101.0), -np.arange(1.0, 101.0), [np.nan, np.inf]])
    assert symmetric_limit(values, 50) == pytest.approx(50.5)
    assert symmetric_limit(np.zeros(3)) == 1


def test_gradient_maps_share_scales_centred_at_zero():
    maps = np.random.default_rng(0).normal(size=(6, 20, 30)).astype(np.float32)
    maps[3:] *= 50
    figure = visualize.gradient_maps(maps, title="object 3")
    axes = [a for a in figure.axes if a.images and a.get_title()]
    assert [a.get_title() for a in axes] == [f"{kind} {x}" for kind in ("rotation about", "shift along") for x in "xyz"]
    limits = [a.images[0].get_clim() for a in axes]
    assert len(set(limits[:3])) == len(set(limits[3:])) == 1 and limits[0] != limits[3]
    assert all(low == -high < 0 for low, high in limits)
    assert [a.get_ylabel() for a in figure.axes[6:]] == ["objective per radian", "objective per metre"]
    assert figure.get_suptitle() == "object 3"
    pixels_of(figure)


def test_gradient_maps_with_a_length_share_one_scale():
    maps = np.random.default_rng(0).normal(size=(6, 20, 30)).astype(np.float32)
    maps[3:] *= 25
    figure = visualize.gradient_maps(maps, length=0.04)
    axes = [a for a in figure.axes if a.images and a.get_title()]
    assert len({a.images[0].get_clim() for a in axes}) == 1
    np.testing.assert_allclose(axes[4].images[0].get_array(), 0.04 * maps[4], rtol=1e-6)
    assert figure.axes[7].get_ylabel() == "objective per 40 mm"


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("arguments", [{"maps": np.zeros((5, 4, 4))}, {"maps": np.zeros((6, 4, 4)), "length": 0.0}])
def test_gradient_maps_refuse(arguments):
    with pytest.raises(ValueError, match=r"needs the \(6, height, width\) maps of one object and a positive length"):
        visualize.gradient_maps(**arguments)


def ramp(direction: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of one strength, (32, 64, 3), brightening along a direction in pixels (x right, y down)."""
    per_pixel = 0.1 * np.array(direction)
    grad_x = np.full((32, 64, 3), per_pixel[0] * 64 / 2, np.float32)
    return grad_x, np.full((32, 64, 3), per_pixel[1] * 32 / 2, np.float32)


@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (-0.6, 0.8)])
def test_arrows_have_direction_and_strength_in_pixels(direction):
    figure = visualize.gradient_arrows(np.zeros((32, 64, 3), np.float32), *ramp(direction), spacing=8)
    arrows = figure.axes[0].collections[0]
    assert len(arrows.U) == 4 * 8
    np.testing.assert_allclose(arrows.U, 0.1 * direction[0], atol=1e-6)
    np.testing.assert_allclose(arrows.V, 0.1 * direction[1], atol=1e-6)
    assert (arrows.angles, arrows.scale_units) == ("xy", "xy")
    assert arrows.scale == pytest.approx(0.1 / 12)  # the arrow in the legend, 0.1, is 12 pixels long
    assert figure.axes[0].yaxis_inverted()
    (key,) = [artist for artist in figure.axes[0].artists if hasattr(artist, "Q")]
    assert key.text.get_text() == "0.1\nbrightness\nper pixel"
    pixels_of(figure)


def test_the_key_of_the_arrows_survives_tight_cropping():
    figure = visualize.gradient_arrows(np.zeros((40, 60, 3)), *np.ones((2, 40, 60, 3)))
    pixels_of(figure)
    width, height = figure.get_size_inches()
    np.testing.assert_allclose(figure.get_tightbbox().extents, [0, 0, width, height], atol=0.02)


def test_every_square_shows_its_strongest_pixel():
    grad_x, grad_y = np.zeros((2, 32, 64, 3), np.float32)
    grad_x[5, 13], grad_x[6, 12], grad_y[20, 40] = 3, 1, 2
    arrows = (
        visualize.gradient_arrows(np.ones((32, 64, 3), np.float32), grad_x, grad_y, spacing=8).axes[0].collections[0]
    )
    np.testing.assert_array_equal(arrows.XY, [[13, 5], [40, 20]])


def test_the_wheel_colours_by_direction_and_its_disc_is_the_same_code():
    seen = {}
    for name, direction in {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1), "none": (0, 0)}.items():
        figure = visualize.gradient_wheel(*ramp(direction), limit=0.1)
        seen[name] = np.asarray(figure.axes[0].images[0].get_array())[16, 32].astype(int)
    blueness = {name: color[2] - color[:2].mean() for name, color in seen.items()}
    assert blueness["left"] > 60 and blueness["right"] < -60
    assert abs(blueness["up"]) < 3 and abs(blueness["down"]) < 3 and abs(blueness["none"]) < 3
    assert seen["up"].mean() > seen["none"].mean() + 60 > seen["down"].mean() + 120
    (disc,) = figure.axes[0].child_axes
    colors = np.asarray(disc.images[0].get_array())
    for name, at in {
        "right": (100, 199),
        "left": (100, 1),
        "up": (1, 100),
        "down": (199, 100),
        "none": (100, 100),
    }.items():
        np.testing.assert_allclose(colors[at][:3], seen[name], atol=8)
    words = [text.get_text() for text in disc.texts]
    assert [word.split("\n")[0] for word in words] == ["up", "down", "left", "right"]
    assert "rim: 0.1\nbrightness\nper pixel" in words[1]
    pixels_of(figure)


def test_gradients_of_a_real_rendering_are_drawn(shown):
    scene, result = shown
    grad_x, grad_y, _ = sl.compute_image_space_gradients(scene, result)
    wheel = pixels_of(visualize.gradient_wheel(grad_x, grad_y))
    arrows = pixels_of(visualize.gradient_arrows(result.color, grad_x, grad_y))
    assert wheel.std(axis=(0, 1)).min() > 3
    assert (np.ptp(arrows.astype(int), axis=-1) > 80).any()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda g: visualize.gradient_arrows(np.zeros((5, 4, 3)), g, g), "must have one size"),
        (lambda g: visualize.gradient_arrows(np.zeros((4, 4, 3)), g, g, spacing=0), "at least one pixel"),
        (lambda g: visualize.gradient_wheel(g, g, limit=0.0), "must be positive"),
        (lambda g: visualize.gradient_wheel(g, g[:2]), "must both be"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_gradient_pictures_refuse(draw, message):
    with pytest.raises(ValueError, match=message):
        draw(np.ones((4, 4, 3), np.float32))


def test_silhouettes_count_and_colour_what_the_library_computes(shown):
    scene, result = shown
    _, _, valid = map(np.asarray, sl.compute_image_space_gradients(scene, result))
    masks, _ = map(np.asarray, sl.dilate_silhouettes(scene, result))
    label = np.asarray(result.instance_index)
    assert (~valid).any()
    figure = visualize.silhouettes(scene, result)
    first, second = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    vermilion = np.array([0xD5, 0x5E, 0x00]) / 255
    np.testing.assert_array_equal(np.abs(first - vermilion).max(axis=-1) < 1e-3, ~valid)
    sky = np.array([0x56, 0xB4, 0xE9]) / 255
    joined = masks[0] & (label != 3)
    is_sky = np.abs(second - sky).max(axis=-1) < 1e-3
    assert is_sky.any() and not is_sky[~joined].any()
    words = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    gained = [np.sum(mask & (label != index)) for mask, index in zip(masks, (3, 7))]
    assert words == [
        f"next to its occluder: {np.sum(~valid)} px", f"object 3: {gained[0]} px", f"object 7: {gained[1]} px",
    ]  # fmt: skip
    pixels_of(figure)


def test_silhouettes_show_a_window(shown):
    scene, result = shown
    whole = visualize.silhouettes(scene, result).axes[0].images[0].get_array()
    part = visualize.silhouettes(scene, result, window=(10, 4, 20, 12)).axes[0].images[0].get_array()
    np.testing.assert_array_equal(part, whole[4:16, 10:30])
    for window in ((40, 0, 10, 5), (0, 0, 0, 5), (-1, 0, 5, 5)):
        with pytest.raises(ValueError, match="inside 48x32 pixels"):
            visualize.silhouettes(scene, result, window=window)


def test_depth_residual_map_has_units_and_colours_by_sign():
    residual = np.full((40, 60), np.nan, np.float32)
    residual[10:30, 10:30], residual[10:30, 30:50] = -0.002, 0.004
    figure = visualize.depth_residual_map(residual)
    axes, bar = figure.axes
    assert bar.get_ylabel().endswith("(mm)")
    assert axes.get_title() == "median |residual| 3.0 mm"
    assert axes.images[0].get_clim() == pytest.approx((-4, 4))
    colors = axes.images[0].cmap(axes.images[0].norm(np.array([-2.0, 4.0, np.nan])))
    assert colors[0, 2] > colors[0, 0]
    assert colors[1, 0] > colors[1, 2]
    assert (colors[2, :3] == 1).all()
    pixels_of(figure)
    assert visualize.depth_residual_map(np.full((4, 4), np.nan, np.float32)).axes[0].get_title() == "nothing to compare"
    assert visualize.depth_residual_map(np.zeros((4, 4), np.float32)).axes[0].images[0].get_clim() == (-1, 1)
    with pytest.raises(ValueError, match="positive limit"):
        visualize.depth_residual_map(residual, limit=-0.01)
