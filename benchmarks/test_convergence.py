"""The success curves measure what they say: starts as far off as told, errors of the estimates, and the tables."""

from __future__ import annotations

import convergence
import jax
import numpy as np
import pytest
from convergence import main, measure
from recipes import METHODS, Method, window
from trials import LEVELS, Level, View, can_mesh, draw_starts, observe

import sldiff_jax as sl
from sldiff_jax import metrics


@pytest.fixture(scope="module")
def can() -> sl.Mesh:
    """The object of these tests."""
    return can_mesh()


@pytest.fixture(scope="module")
def view(can: sl.Mesh) -> View:
    """A disturbed view of it."""
    return observe(can, np.random.default_rng(3), disturbed=True)


def test_starts_are_as_far_off_as_their_level_says(view: View):
    """Angle and distance, by the metrics of the package."""
    (T_true,) = view.scene.T_world_object
    for (start,) in draw_starts(jax.random.key(0), view, Level(40, 16), 5):
        assert np.degrees(metrics.rotation_error(start, T_true)) == pytest.approx(40, abs=0.01)
        assert 1e3 * metrics.translation_error(start, T_true) == pytest.approx(16, abs=0.01)


def test_disturbed_views_hide_part_of_the_object_and_light_it_otherwise(can: sl.Mesh, view: View):
    """The pose is that of the clear view."""
    clear = observe(can, np.random.default_rng(3), disturbed=False)
    np.testing.assert_array_equal(view.scene.T_world_object, clear.scene.T_world_object)
    assert 0.4 < view.visible < 0.97
    assert clear.visible == 1
    hidden = (np.asarray(clear.observation.mask) > 0.5) & (np.asarray(view.observation.mask) == 0)
    depths = np.asarray(view.observation.depth)[hidden], np.asarray(clear.observation.depth)[hidden]
    assert np.mean(depths[0] < depths[1] - 0.005) > 0.95  # by something nearer
    both = np.asarray(view.observation.mask) > 0
    assert np.abs(np.asarray(view.observation.rgb - clear.observation.rgb))[both].mean() > 0.05


def test_the_truth_explains_a_clear_view(can: sl.Mesh):
    """What is left is the texture, sampled once per pixel or four times."""
    scene, observation = window(observe(can, np.random.default_rng(3), disturbed=False))
    renderer = sl.MeshRenderer([can], buffers="core")
    assert sl.default_loss(sl.render(scene, renderer), observation) < 0.02


@pytest.mark.slow
def test_methods_that_do_nothing_bring_nothing_home(can: sl.Mesh, view: View, monkeypatch: pytest.MonkeyPatch):
    """The errors are those of the starts, for one hypothesis and for the best of several."""
    excesses = []
    for hypotheses in (1, 3):
        monkeypatch.setitem(METHODS, "nothing", Method(lambda _: (sl.Stage(1),), hypotheses))
        outcome = measure("can", can, [view], "40+16", "nothing", 2, disturbed=True)
        assert outcome.steps == 1
        assert (outcome.add > 0.1).all()
        assert (outcome.excess > 1.05).all()
        assert (outcome.add_s < outcome.add).all()
        if hypotheses == 1:
            np.testing.assert_allclose(outcome.degrees, 40, atol=0.01)
            np.testing.assert_allclose(outcome.millimetres, 16, atol=0.01)
        assert len(convergence.failures([outcome])) == 3
        excesses.append(outcome.excess)
    assert (excesses[1] <= 1.0001 * excesses[0]).all()  # the start itself is one of the three


@pytest.mark.slow
def test_near_starts_come_home_and_are_tabulated(tmp_path, capsys):
    """The command, from end to end."""
    file = tmp_path / "table.md"
    options = ["--objects", "can", "--levels", "1+1", "--starts", "2", "--output", str(file)]
    main([*options, "--methods", "Levenberg-Marquardt, 15 steps"])
    text = file.read_text()
    assert text in capsys.readouterr().out
    assert f"| can | {LEVELS['1+1']} | Levenberg-Marquardt, 15 steps | 100 % | 100 % | 100 % |" in text
    assert f"| {LEVELS['1+1']} | 100 %" in text


def test_many_hypotheses_are_for_far_starts(capsys):
    """Near starts alone leave them nothing to do; a table leaves their cell empty."""
    with pytest.raises(SystemExit):
        main(["--levels", "10+4", "--methods", "coarse to fine, 16 hypotheses"])
    assert "from 20 degrees on" in capsys.readouterr().err
    one = np.ones(2)
    outcomes = [
        convergence.Outcome(True, "can", level, method, *[factor * one] * 6, steps=1.0, seconds=1.0)
        for level, method, factor in (("10+4", "a", 0.01), ("20+30", "a", 0.2), ("20+30", "b", 0.05))
    ]
    assert convergence.summary(outcomes)[2:] == [
        f"| {LEVELS['10+4']} | 100 %, 0.01° |  |",
        f"| {LEVELS['20+30']} | 0 %, 0.2° | 100 %, 0.05° |",
    ]
