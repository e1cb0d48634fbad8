"""Losses go through pickle, as worker processes and saved refinements need it."""

import copy
import os
import pickle
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from loss_images import HEIGHT, WIDTH, make_rendering, observed

import sldiff_jax as sl


@sl.residual_loss
def gain(rendering: sl.Rendering, observation: sl.Observation, *, target: float = 0.25) -> sl.Residuals:
    """How far the colours' sum is from a target."""
    return sl.Residuals(jnp.sum(rendering.rgb) - target, 3.0)


def plain(rendering: sl.Rendering, observation: sl.Observation, *, target: float = 0.5) -> sl.Residuals:
    return sl.Residuals(jnp.mean(rendering.rgb) - target)


DECORATED = {name: value for name in dir(sl) if isinstance(value := getattr(sl, name), sl.ResidualLoss)} | {
    "gain": gain
}
COMPOSED = {
    "options": sl.depth_loss.using(scale=0.02),
    "options that are arrays": gain.using(target=jnp.float32(2.0)),
    "a sum": sl.zncc_loss + 0.5 * sl.depth_loss.using(scale=0.02) + gain,
    "a pyramid": sl.pyramid(sl.l1_loss, 1),
    "blurred": sl.blurred(sl.zncc_loss + sl.silhouette_loss, 2.0),
    "weighted": sl.weighted(sl.l2_loss, np.ones((HEIGHT, WIDTH))),
    "made of a plain function": sl.residual_loss(plain),
    "that with options": sl.residual_loss(plain).using(target=0.1),
}


@pytest.mark.parametrize("name", DECORATED)
def test_a_decorated_function_is_found_by_its_name(name):
    loss = DECORATED[name]
    assert pickle.loads(pickle.dumps(loss)) is loss
    assert copy.deepcopy(loss) is loss and copy.copy(loss) is loss


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("through", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_what_is_made_of_losses_comes_back_equal(name, through):
    loss = COMPOSED[name]
    back = through(loss)
    # Equal structures: what was compiled for one serves the other.
    assert type(back) is type(loss) and hash(back) == hash(loss)
    rendering = make_rendering()
    observation = observed(rendering, rgb=1 - rendering.rgb, depth=1.01 * rendering.depth)
    np.testing.assert_array_equal(back(rendering, observation), loss(rendering, observation))


def test_a_function_without_a_name_of_its_own_cannot_be_pickled():
    @sl.residual_loss
    def local(rendering, observation):
        return sl.Residuals(rendering.rgb)

    for loss in (local, sl.residual_loss(lambda rendering, observation: sl.Residuals(rendering.rgb))):
        with pytest.raises((AttributeError, pickle.PicklingError), match=r"Can't (pickle|get)"):
            pickle.dumps(loss)


def test_a_name_that_means_something_else_by_now(monkeypatch):
    saved = pickle.dumps(gain)
    monkeypatch.setattr(sys.modules[__name__], "gain", plain)
    with pytest.raises(pickle.UnpicklingError, match=r"\.gain was a loss made by residual_loss, and is <func"):
        pickle.loads(saved)


def test_another_process_computes_the_same(tmp_path):
    loss = sl.blurred(sl.zncc_loss, 1.0) + sl.pyramid(sl.l1_loss, 1)
    rendering = make_rendering()
    observation = observed(rendering, rgb=1 - rendering.rgb)
    (tmp_path / "task").write_bytes(pickle.dumps((loss, rendering, observation)))
    code = (
        "import pickle, sys; loss, rendering, observation = pickle.load(open(sys.argv[1], 'rb')); "
        "print(float(loss(rendering, observation)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, str(tmp_path / "task")], check=True, text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, timeout=120,
    )  # fmt: skip
    assert float(done.stdout.split()[-1]) == pytest.approx(float(loss(rendering, observation)), rel=1e-5)
