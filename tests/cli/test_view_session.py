"""What ``sldiff-jax view`` does, without a browser: overlays, fits, files, jobs, and everything that is refused."""

import functools
import json
import math
import re
import socket
import sys
import threading
import types

import jax.numpy as jnp
import numpy as np
import pytest
import rendered_photo
from PIL import Image

import sldiff_jax as sl
from sldiff_jax.cli import main
from sldiff_jax.cli._errors import InputError
from sldiff_jax.cli._inputs import read_inputs
from sldiff_jax.cli._main import _parser
from sldiff_jax.cli._photo_fit import fit_photo
from sldiff_jax.cli._view.address import check_address, page_url
from sldiff_jax.cli._view.backdrop import ALONE, DRAWN, OUTLINE, SQUARES, Backdrop, field_of_view, plane_at, pyramid
from sldiff_jax.cli._view.session import Session
from sldiff_jax.cli._view.worker import Worker


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo")
    rendered_photo.write_photo(folder)
    return folder


@pytest.fixture(scope="module")
def inputs(photo):
    return read_inputs(_parser().parse_args(rendered_photo.arguments(photo, photo / "out")))


def moved(T, **meters):
    T = np.array(T)
    for axis, metres in meters.items():
        T["xyz".index(axis), 3] += metres
    return T


# --- the picture


def test_the_overlay_follows_the_pose(inputs):
    backdrop, T = Backdrop(inputs), inputs.T_camera_object
    photo = backdrop.picture(T, ALONE)
    repeats = photo.shape[0] // inputs.image.shape[0]
    assert repeats == 4 and np.array_equal(photo[::repeats, ::repeats], inputs.image)
    drawn = {style: backdrop.picture(T, style) for style in (OUTLINE, DRAWN, SQUARES)}
    changed = {style: (picture != photo).any(axis=-1) for style, picture in drawn.items()}
    assert 0 < changed[OUTLINE].sum() < changed[SQUARES].sum() < changed[DRAWN].sum()

    # Where it is drawn is where the mesh projects to, by the pinhole formula.
    T_moved = moved(T, x=0.04, y=0.03)
    points = np.asarray(inputs.mesh.vertices) @ T_moved[:3, :3].T + T_moved[:3, 3]
    columns, rows = (
        repeats * (rendered_photo.FOCAL * points[:, axis] / points[:, 2] + center)
        for axis, center in ((0, rendered_photo.CX), (1, rendered_photo.CY))
    )
    found = np.nonzero((backdrop.picture(T_moved, OUTLINE) != photo).any(axis=-1))
    for indices, expected in zip(found, (rows, columns)):
        assert indices.min() == pytest.approx(expected.min(), abs=4)
        assert indices.max() == pytest.approx(expected.max(), abs=4)


def test_an_object_out_of_view_leaves_the_photo_alone(inputs):
    backdrop = Backdrop(inputs)
    for T in (moved(inputs.T_camera_object, x=1.0), moved(inputs.T_camera_object, z=-0.8)):
        assert np.array_equal(backdrop.picture(T, DRAWN), backdrop.picture(T, ALONE))


def test_a_large_photo_is_reduced(inputs):
    large = inputs._replace(
        image=inputs.image.repeat(8, axis=0).repeat(8, axis=1), camera=inputs.camera.resized(1920, 1440)
    )
    assert Backdrop(large).picture(inputs.T_camera_object, OUTLINE).shape == (720, 960, 3)


@pytest.mark.parametrize("aspect", [0.5, 1.2, 2.5])
def test_the_photo_fits_into_the_view_and_touches_its_edge(aspect):
    camera = sl.Camera.from_intrinsics(300.0, 280.0, 90.0, 140.0, width=320, height=240)
    plane = plane_at(camera, 2.0)
    corners = np.add(plane.center, [(x * plane.width / 2, y * plane.height / 2, 0) for x in (-1, 1) for y in (-1, 1)])
    pixels = corners[:, :2] / corners[:, 2:] * (300, 280) + (90, 140)
    assert pixels == pytest.approx(np.array([(0, 0), (0, 240), (320, 0), (320, 240)], float), abs=1e-4)
    half = math.tan(field_of_view(camera, aspect) / 2)
    taken = np.abs(corners[:, :2] / corners[:, 2:] / (half * aspect, half)).max()
    assert 0.97 < taken < 1
    edges = pyramid(camera, 2.0)
    assert {tuple(point) for point in edges.reshape(-1, 3).round(6)} == {
        (0.0, 0.0, 0.0), *(tuple(corner) for corner in corners.round(6))
    }  # fmt: skip


# --- the session


class Fitted:
    """Stands for `fit_photo`: is at a pose at once, and makes steps until it is told to stop."""

    def __init__(self, T, steps=5, status=sl.Status.CONVERGED):
        self.T, self.steps, self.status, self.made = jnp.asarray(T, jnp.float32), steps, status, 0

    def __call__(self, inputs, start, *, callback):
        assert start.shape == inputs.image.shape[:2] and (start > 0).any()
        scene = sl.Scene(self.T[None], inputs.camera)
        for step in range(self.steps):
            self.made = step + 1
            if callback(step, 1.0 / self.made, scene):
                break
        refinement = object.__new__(sl.Refinement)  # no more of it than is asked for
        found = {"scene": scene, "loss": 0.25, "status": self.status, "doubts": ()}
        for name, value in (found | {"loss_history": np.zeros((self.made, 1))}).items():
            object.__setattr__(refinement, name, value)
        return types.SimpleNamespace(refinement=refinement, start_loss=1.0)


def saved(path):
    return json.loads(path.read_text())


def test_by_hand_then_refined_then_saved(photo, inputs, tmp_path):
    T_true = np.array(json.loads((photo / "true.json").read_text()))
    session = Session(inputs, Fitted(T_true), tmp_path / "a" / "out", {"steps": 5})
    session.move(moved(inputs.T_camera_object, x=0.01))
    path = session.save()
    assert path == tmp_path / "a" / "out" / "pose.json"
    by_hand = saved(path)
    assert by_hand["status"] == "by hand" and by_hand["moved"]["translation_mm"] == pytest.approx(10, abs=1e-3)
    assert by_hand["scores"]["result"]["loss"] is None

    losses = []
    said = session.refine(lambda step, loss: losses.append((step, loss, session.T_camera_object)))
    assert said == "converged after 5 steps, loss 1.0000 to 0.2500"
    assert [step for step, *_ in losses] == [0, 1, 2, 3, 4]
    assert all(np.allclose(T, T_true) for *_, T in losses)
    document = saved(session.save())
    assert np.allclose(document["T_camera_object"], T_true, atol=1e-6)
    assert document["scores"]["result"]["iou"] > 0.98 > document["scores"]["start"]["iou"]
    assert document["scores"]["result"]["loss"] == 0.25 and document["status"] == "converged"
    assert document["settings"]["steps"] == 5 and document["settings"]["metres_per_unit"] == {"mesh": 1.0, "pose": 1.0}
    assert [path.name for path in (tmp_path / "a" / "out").iterdir()] == ["pose.json"]

    session.move(T_true)  # what was found no longer counts
    assert saved(session.save())["status"] == "by hand"


def test_what_is_saved_is_a_start_again(photo, inputs, tmp_path):
    session = Session(inputs, Fitted(np.eye(4)), tmp_path, {})
    T = moved(inputs.T_camera_object, z=0.02)
    session.move(T)
    options = rendered_photo.arguments(photo, tmp_path, pose=session.save())
    assert np.allclose(read_inputs(_parser().parse_args(options)).T_camera_object, T, atol=1e-12)


def test_a_fit_that_is_not_to_be_trusted_says_why(inputs, tmp_path):
    session = Session(inputs, Fitted(np.eye(4), status=sl.Status.NO_PULL), tmp_path, {})
    assert "nothing pulls at the start" in session.refine(lambda step, loss: None)


def test_a_fit_is_stopped(inputs, tmp_path):
    fit = Fitted(inputs.T_camera_object, steps=100, status=sl.Status.STOPPED)
    session = Session(inputs, fit, tmp_path, {})
    said = session.refine(lambda step, loss: session.stop() if step == 2 else None)
    assert fit.made == 3 and said.startswith("stopped after 3 steps")
    session.refine(lambda step, loss: None)
    assert fit.made == 100  # that stop was for that fit
    session.close()
    session.refine(lambda step, loss: None)
    assert fit.made == 1


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        ({"x": 1.0}, "outside of the frame"),
        ({"z": -1.0}, "behind the camera"),
        ({"z": 300.0}, "would appear 0.121 pixels large"),
    ],
)
def test_no_fit_from_where_the_object_is_not_seen(inputs, tmp_path, shift, message):
    session = Session(inputs, Fitted(np.eye(4)), tmp_path, {})
    T = moved(inputs.T_camera_object, **shift)
    session.move(T)
    with pytest.raises(InputError, match=message):
        session.refine(lambda step, loss: None)
    assert np.array_equal(session.T_camera_object, T)


def test_a_fit_that_fails_leaves_the_pose(inputs, tmp_path):
    def fit(inputs, start, *, callback):
        callback(0, 1.0, sl.Scene(jnp.eye(4)[None], inputs.camera))
        raise InputError("no")

    session = Session(inputs, fit, tmp_path, {})
    with pytest.raises(InputError, match="no"):
        session.refine(lambda step, loss: None)
    assert np.array_equal(session.T_camera_object, inputs.T_camera_object)


def test_a_folder_that_cannot_be_written(inputs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Session(inputs, Fitted(np.eye(4)), tmp_path / "file", {}).save()


@pytest.mark.slow
def test_the_true_fit_is_watched_and_stopped(inputs, tmp_path):
    fit = functools.partial(fit_photo, resolution=48, steps=10, optimizer="adam", loss=sl.l1_loss)
    session = Session(inputs, fit, tmp_path, {})
    losses = []

    def watch(step, loss):
        losses.append(loss)
        if step == 5:
            session.stop()

    assert session.refine(watch).startswith("stopped after 6 steps")
    assert len(losses) == 6 and not np.array_equal(session.T_camera_object, inputs.T_camera_object)


# --- the worker


def test_of_jobs_of_one_name_the_last_is_done():
    done, failures, begun, go = [], [], threading.Event(), threading.Event()
    worker = Worker(failures.append)

    def first():
        begun.set()
        go.wait()
        done.append("first")

    worker.do("first", first)
    begun.wait()
    for number in range(5):
        worker.do("drag", functools.partial(done.append, number))
        worker.do("fails", lambda: 1 / 0)
    last = threading.Event()
    worker.do("last", last.set)
    go.set()
    assert last.wait(60)
    assert done == ["first", 4] and [type(error) for error in failures] == [ZeroDivisionError]
    assert worker.close()
    worker.do("late", functools.partial(done.append, "late"))
    assert done == ["first", 4]


def test_closing_does_not_wait_for_ever():
    go = threading.Event()
    worker = Worker(lambda error: None)
    begun = threading.Event()
    worker.do("long", lambda: (begun.set(), go.wait()))
    worker.do("other", lambda: None)
    begun.wait()
    assert not worker.close(patience=0.01)
    go.set()
    assert worker.close(60)


# --- what is refused


def test_where_the_page_is():
    assert page_url("127.0.0.1", 80) == page_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert page_url("::", 80) == "http://[::1]:80"
    check_address("127.0.0.1", 0)


def refused(words, capsys) -> str:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("sldiff-jax: error: ") and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"port": 65536}, "--port must be between 0 .* got 65536"),
        ({"port": -1}, "--port must be between"),
        ({"port": "http"}, "--port: invalid int value"),
        ({"host": "no.such.host.invalid"}, "--host no.such.host.invalid is not known"),
        ({"host": "192.0.2.1"}, "--host 192.0.2.1 cannot be served at: .* Give an address of this machine"),
        ({"pose": "none.json"}, "none.json"),
        ({"resolution": 8}, "--resolution must be at least 16"),
        ({"loss": "l3"}, "each term must be one of"),
    ],
)
def test_wrong_options(photo, tmp_path, capsys, changed, message):
    pytest.importorskip("viser")
    error = refused(rendered_photo.arguments(photo, tmp_path / "out", **changed), capsys)
    assert re.search(message, error), error


def test_a_port_that_is_taken(photo, tmp_path, capsys):
    pytest.importorskip("viser")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refused(rendered_photo.arguments(photo, tmp_path / "out", port=port), capsys)
    assert f"Port {port} of 127.0.0.1 is taken. Name another with --port" in error


def test_without_viser_the_extra_is_named(photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    error = refused(rendered_photo.arguments(photo, tmp_path / "out"), capsys)
    assert "pip install 'sldiff-jax[viewer]'" in error


def test_a_start_out_of_the_frame(photo, tmp_path, capsys):
    pytest.importorskip("viser")
    (tmp_path / "pose.json").write_text(json.dumps(np.diag([1.0, 1, 1, 1]).tolist()))
    assert "pose" in refused(rendered_photo.arguments(photo, tmp_path / "out", pose=tmp_path / "pose.json"), capsys)


def test_the_photo_shows_the_lump(photo):
    with Image.open(photo / "mask.png") as mask:
        assert 0.05 < (np.asarray(mask) > 0).mean() < 0.5
