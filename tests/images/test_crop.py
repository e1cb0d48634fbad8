"""Cropping around an object: rendering the window gives the window of the rendering."""

import dataclasses

import jax
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._images.crop import Window, crop_to_object, window_around
from sldiff_jax.mesh_renderer import demo_mesh

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module")
def renderer():
    return sl.MeshRenderer([demo_mesh(), demo_mesh()])


def make_scene(T_world_camera=None) -> sl.Scene:
    """One object near the image's left border, the other in front of its edge."""
    camera = sl.Camera.from_intrinsics(
        200.0, 210.0, 77.0, 63.0, width=WIDTH, height=HEIGHT, T_world_camera=T_world_camera
    )
    T = np.array(jax.vmap(sl.se3_exp)(np.float32([[0.4, -0.7, 0.3, 0, 0, 0], [0.1, 0.9, -0.2, 0, 0, 0]])))
    T[:, :3, 3] = [[-0.07, 0.01, 0.4], [-0.03, 0.03, 0.35]]
    T = T if T_world_camera is None else np.asarray(T_world_camera) @ T
    return sl.Scene(T.astype(np.float32), camera, np.array([7, 3]))


def observe(result: sl.RenderResult) -> sl.Observation:
    inside = np.asarray(result.instance_index) > 0
    return sl.Observation(result.color, np.where(inside, result.depth, 0), inside, inside + np.float32(0.5))


@pytest.mark.parametrize("window", [Window(10, 20, 60, 60), Window(0, 50, 83, 47), Window(31, 57, 80, 40)])
def test_rendering_a_window_is_cutting_the_rendering(renderer, window):
    scene = make_scene()
    whole = renderer(scene)
    part = renderer(sl.Scene(scene.T_world_object, window.camera(scene.camera), scene.instance_index))
    assert set(np.unique(part.instance_index)) == {0, 3, 7}
    np.testing.assert_array_equal(part.instance_index, window.cut(np.asarray(whole.instance_index)))
    np.testing.assert_allclose(part.coord_depth, window.cut(np.asarray(whole.coord_depth)), atol=2e-6)
    difference = np.abs(np.int32(part.rgb) - np.int32(window.cut(np.asarray(whole.rgb))))
    assert difference.max() <= 1


def test_a_window_may_reach_beyond_the_image(renderer):
    """The rendering goes on there; nothing was observed."""
    scene = make_scene()
    scene = sl.Scene(scene.T_world_object.at[0, 0, 3].set(-0.15), scene.camera)
    window = Window(-25, 40, 100, 90)
    rendered = observe(renderer(sl.Scene(scene.T_world_object, window.camera(scene.camera), scene.instance_index)))
    seen = dataclasses.replace(observe(renderer(scene)), weight=None).cropped(*window)
    np.testing.assert_array_equal(seen.weight, np.pad(np.ones((80, 75)), [(0, 10), (25, 0)]))
    np.testing.assert_array_equal(seen.mask, rendered.mask * seen.weight)
    np.testing.assert_allclose(seen.depth, rendered.depth * seen.weight, atol=2e-6)
    assert seen.mask.sum() < rendered.mask.sum()


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("form", ["result", "mask", "region", "default"])
def test_scene_and_observation_are_cropped_alike(renderer, form, moved):
    T_world_camera = np.asarray(sl.se3_exp(np.float32([0.2, 0.1, -0.3, 1, 2, 3]))) if moved else None
    scene = make_scene(T_world_camera)
    result = renderer(scene)
    observation = observe(result)
    region = {"result": result, "mask": observation.mask, "region": np.asarray(result.instance_index) > 0}.get(form)
    part, seen = crop_to_object(scene, observation, region, margin=0.1)
    rows, columns = np.nonzero(result.instance_index)
    assert (part.camera.width, part.camera.height) == seen.size[::-1]
    assert max(np.ptp(rows), np.ptp(columns)) < max(seen.size) < 1.3 * max(np.ptp(rows), np.ptp(columns))

    rendered = observe(renderer(part))
    assert seen.mask.sum() == observation.mask.sum()  # nothing of the objects was cut off
    np.testing.assert_array_equal(rendered.mask, seen.mask)
    np.testing.assert_array_equal(rendered.weight, seen.weight)
    np.testing.assert_allclose(rendered.depth, seen.depth, atol=2e-6)
    np.testing.assert_allclose(rendered.rgb, seen.rgb, atol=1.01 / 255)
    np.testing.assert_array_equal(part.T_world_object, scene.T_world_object)
    np.testing.assert_array_equal(part.camera.T_world_camera, scene.camera.T_world_camera)


def test_a_result_shows_the_objects_of_the_scene_alone(renderer):
    scene = make_scene()
    result = renderer(scene)
    one = sl.Scene(scene.T_world_object[1:], scene.camera, np.array([3]))
    expected = crop_to_object(one, observe(result), result.instance_index == 3)
    for got, want in zip(jax.tree.leaves(crop_to_object(one, observe(result), result)), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(got, want)
    assert expected[1].size < crop_to_object(scene, observe(result), result)[1].size


def test_what_it_refuses(unchecked_types, renderer):
    scene = make_scene()
    result = renderer(scene)
    observation = observe(result)
    with pytest.raises(ValueError, match="margin must be a finite number, at least 0, got -1"):
        crop_to_object(scene, observation, result, margin=-1)
    with pytest.raises(ValueError, match="the observation has no mask"):
        crop_to_object(scene, sl.Observation(observation.rgb))
    with pytest.raises(ValueError, match="empty region"):
        crop_to_object(scene, observation, np.zeros((HEIGHT, WIDTH)))
    with pytest.raises(ValueError, match=r"region must have shape \(height, width\), got \(120, 160, 4\)"):
        crop_to_object(scene, observation, result.rgb)
    with pytest.raises(ValueError, match=r"one size .*\(120, 160\), \(60, 80\) and \(120, 160\)"):
        crop_to_object(scene, observation.resized(80, 60), result)
    with pytest.raises(ValueError, match="needs concrete arrays"):
        jax.jit(lambda r: crop_to_object(scene, observation, r))(result)


def test_the_window_goes_into_a_compiled_function(renderer):
    """The brief way from a photo to a loss that sees the object alone."""
    scene = make_scene()
    part, seen = crop_to_object(scene, observe(renderer(scene)))
    hard = lambda scene: renderer(scene)  # noqa: E731 -- the observation was drawn without antialiasing
    loss = jax.jit(lambda s, o: (o.weight * (sl.render(s, hard).mask - o.mask) ** 2).sum())
    assert loss(part, seen) == 0


# --- windows


def test_a_window_holds_the_region_with_its_margin_inside_the_image():
    region = np.zeros((100, 200), bool)
    region[40:60, 100:110] = True
    assert window_around(region, 0.25) == Window(90, 35, 30, 30)
    region[0:60, 0:4] = True
    window = window_around(region, 0.25)
    assert (window.left, window.top, window.width, window.height) == (0, 0, 165, 100)
    assert window.cut(region).sum() == region.sum()
    assert window.reduced(33) == (33, 20)
    assert window.reduced(1000) == (165, 100)


def test_the_camera_of_a_window_sees_its_pixels():
    camera = sl.Camera.from_intrinsics(100.0, 110.0, 99.0, 51.0, width=200, height=100)
    np.testing.assert_allclose(Window(20, 10, 50, 60).camera(camera).intrinsics, [100, 110, 79, 41], rtol=1e-5)
