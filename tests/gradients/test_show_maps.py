"""``visualize_grad=True``: what is drawn, in matplotlib and in visdom, eagerly and under jit."""

import sys
import types

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax._gradients import show_maps as _show_maps
from sldiff_jax.mesh_renderer import box_mesh

matplotlib.use("Agg")


@pytest.fixture
def shown():
    """A scene of two boxes with labels 3 and 7, its render result and a cotangent."""
    camera = sl.Camera.from_intrinsics(60.0, 60.0, 24.0, 16.0, width=48, height=32)
    T = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    T[:, 2, 3], T[:, 0, 3] = 0.4, (-0.05, 0.05)
    scene = sl.Scene(T, camera, np.array([3, 7]))
    result = sl.MeshRenderer([box_mesh(), box_mesh(seed=1)])(scene)
    return scene, result, jax.random.normal(jax.random.key(0), (3, 32, 48))


@pytest.fixture
def pyplot():
    from matplotlib import pyplot

    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def no_visdom(monkeypatch):
    monkeypatch.setattr(_show_maps, "_connect_to_visdom", lambda: None)


@pytest.fixture
def visdom(monkeypatch):
    """A package of that name, whose server notes what it is asked to draw."""

    class Visdom:
        answers = True
        drawn: list = []  # noqa: RUF012

        def __init__(self, raise_exceptions):
            assert raise_exceptions
            if not self.answers:
                raise ConnectionError("nobody there")

        def heatmap(self, values, win, opts):
            self.drawn.append((np.array(values), win, opts["title"]))

    Visdom.drawn = []
    module = types.ModuleType("visdom")
    module.Visdom = Visdom
    module.__spec__ = types.SimpleNamespace(name="visdom")
    monkeypatch.setitem(sys.modules, "visdom", module)
    return Visdom


def backpropagate(scene, result, cotangent):
    return sl.backpropagate_gradient_to_poses(scene, result, cotangent, visualize_grad=True)


@pytest.mark.usefixtures("no_visdom")
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_six_maps_per_object_in_matplotlib(shown, pyplot, transform):
    g = transform(backpropagate)(*shown)
    jax.effects_barrier()
    assert sorted(pyplot.get_figlabels()) == ["pose gradient of object 3", "pose gradient of object 7"]
    maps = np.asarray(sl.pose_gradient_maps(*shown))
    for row, label in enumerate((3, 7)):
        figure = pyplot.figure(f"pose gradient of object {label}")
        axes = [a for a in figure.axes if a.get_title()]
        assert [a.get_title() for a in axes] == list(_show_maps.TITLES)
        for k, a in enumerate(axes):
            np.testing.assert_allclose(a.images[0].get_array(), maps[row, k], rtol=1e-5, atol=1e-7)
            low, high = a.images[0].get_clim()
            assert low == -high < 0
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        assert (np.ptp(pixels, axis=-1) > 100).any()  # some colour is seen
    np.testing.assert_allclose(maps.sum(axis=(2, 3)), g, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("no_visdom")
def test_a_loop_redraws_one_figure_per_object(shown, pyplot):
    for _ in range(3):
        backpropagate(*shown)
    jax.effects_barrier()
    assert len(pyplot.get_fignums()) == 2


@pytest.mark.usefixtures("no_visdom")
def test_the_gradient_is_the_same_without_a_picture(shown, pyplot):
    g = sl.backpropagate_gradient_to_poses(*shown)
    jax.effects_barrier()
    assert pyplot.get_fignums() == []
    np.testing.assert_array_equal(backpropagate(*shown), g)


@pytest.mark.usefixtures("no_visdom")
def test_jax_arrays_are_shown(shown, pyplot):
    _show_maps.show_pose_gradient_maps(shown[0].instance_index, sl.pose_gradient_maps(*shown))
    assert len(pyplot.get_fignums()) == 2


@pytest.mark.usefixtures("no_visdom")
def test_an_invisible_object_has_empty_maps(shown, pyplot):
    scene, result, cotangent = shown
    backpropagate(scene, result, jnp.zeros_like(cotangent))
    jax.effects_barrier()
    figure = pyplot.figure("pose gradient of object 3")
    assert figure.axes[0].images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_six_maps_per_object_in_visdom(shown, visdom, pyplot, transform):
    transform(backpropagate)(*shown)
    jax.effects_barrier()
    assert pyplot.get_fignums() == []
    titles = [title for _, _, title in visdom.drawn]
    assert titles == [f"pose gradient of object {label}: {name}" for label in (3, 7) for name in _show_maps.TITLES]
    assert len({window for _, window, _ in visdom.drawn}) == 12
    maps = np.asarray(sl.pose_gradient_maps(*shown))
    # visdom draws row 0 at the bottom.
    np.testing.assert_allclose(visdom.drawn[0][0][::-1], maps[0, 0], rtol=1e-5, atol=1e-7)


def test_without_an_answer_from_visdom_matplotlib_draws(shown, visdom, pyplot):
    visdom.answers = False
    backpropagate(*shown)
    jax.effects_barrier()
    assert visdom.drawn == []
    assert len(pyplot.get_fignums()) == 2


@pytest.mark.usefixtures("no_visdom")
def test_without_both_packages_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'sldiff-jax\[viz\]'"):
        _show_maps.show_pose_gradient_maps(np.array([1]), np.zeros((1, 6, 4, 4)))
