"""``sldiff-jax view`` in a browser: what is seen, dragging, refining, saving, and how it ends. Needs Chromium.

With a path in SLDIFF_JAX_PICTURE, the picture of the documentation is written there: ``make view-picture``.
"""

import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import rendered_photo
import trimesh
from PIL import Image
from rendered_photo import CX, CY, FOCAL, HEIGHT, WIDTH

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("viser", reason="viser is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None and "CI" not in os.environ:
    pytest.skip("no Chromium on the PATH (make browser installs it, on Debian)", allow_module_level=True)

pytestmark = pytest.mark.slow
SECONDS = 1e3
PANEL = 700
"""Column at which the controls begin."""
PATIENCE = 240 * SECONDS
# Graphics without a GPU, and a sandbox is not to be had by root.
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


class Served:
    """The command in a process of its own."""

    def __init__(self, folder: pathlib.Path, output: pathlib.Path, **options):
        # Errors go into a file: a pipe that nobody reads is full after some hundred steps of the progress bar.
        self.errors = output.parent / "errors.txt"
        settings = {"loss": "photometric+2*silhouette", "resolution": 64, "steps": 24} | options
        words = rendered_photo.arguments(folder, output, **settings)
        self.output = output
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sldiff_jax", *words], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        first = self.process.stdout.readline()
        found = re.search(r"open (http://127\.0\.0\.1:\d+) in a browser", first)
        assert found, first + self.errors.read_text()
        self.url = found[1]

    def end(self, number: signal.Signals) -> str:
        """What it still said."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=120)
        errors = self.errors.read_text()
        assert self.process.returncode == 0, errors
        assert "Traceback" not in errors, errors
        return said


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo")
    rendered_photo.write_photo(folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(photo, browser, tmp_path):
    served = Served(photo, tmp_path / "out")
    page = browser.new_page(viewport={"width": 1000, "height": 640})
    page.set_default_timeout(PATIENCE)
    try:
        page.goto(served.url)
        page.get_by_text("WebGL is running in software").wait_for()
        page.get_by_role("alert").get_by_role("button").click()
        settled(page)
        yield served, page
    finally:
        page.close()
        if served.process.poll() is None:
            served.process.kill()
            served.process.communicate()


def seen(page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def settled(page) -> np.ndarray:
    """(H, W, 3): what is seen, once it no longer changes."""
    before, now = None, seen(page)
    while before is None or np.abs(now - before).max() > 2:
        page.wait_for_timeout(1.5 * SECONDS)
        before, now = now, seen(page)
    return now


def button(page, name: str):
    return page.get_by_role("button", name=name, exact=True)


def backdrop(image: np.ndarray) -> tuple[float, float, float]:
    """Where the photo is in a screenshot: its left and top, and the pixels per pixel of the photo."""
    canvas = image[:, :PANEL].min(axis=-1) < 240  # all around it is white
    rows, columns = np.nonzero(canvas.mean(axis=1) > 0.5)[0], np.nonzero(canvas.mean(axis=0) > 0.5)[0]
    return float(columns[0]), float(rows[0]), (columns[-1] + 1 - columns[0]) / WIDTH


def in_screenshot(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Where a point in the camera's frame is seen, by the calibration of the photo."""
    left, top, scale = backdrop(image)
    return np.array([left, top]) + scale * (FOCAL * point[:2] / point[2] + (CX, CY))


def save(served: Served, page) -> dict:
    button(page, "Save").click()
    page.get_by_text("Saved").wait_for()
    return json.loads((served.output / "pose.json").read_text())


def test_the_page_shows_photo_and_object_and_lets_it_be_dragged(opened, photo):
    served, page = opened
    start = np.array(json.loads((photo / "pose.json").read_text()))
    before = seen(page)
    left, top, scale = backdrop(before)
    # The photo is there, where the camera's field of view says, and unchanged away from the object.
    rows, columns = np.mgrid[5:HEIGHT:20, 5:60:10]
    shown = before[
        np.round(top + scale * (rows + 0.5)).astype(int), np.round(left + scale * (columns + 0.5)).astype(int)
    ]
    taken = np.asarray(Image.open(photo / "image.png")).astype(int)[rows, columns]
    assert np.abs(shown - taken).mean() < 4

    # Its gizmo is where the calibration says: an arrow that is dragged along moves the object along its axis.
    mesh = trimesh.load(photo / "mesh.ply", process=False)
    middle = start[:3, :3] @ mesh.bounds.mean(axis=0) + start[:3, 3]
    on_arrow = middle + 0.65 * np.ptp(mesh.vertices, axis=0).max() * start[:3, 0]
    tip, end = (in_screenshot(before, point) for point in (on_arrow, on_arrow + 0.02 * start[:3, 0]))
    page.mouse.move(*tip)
    page.wait_for_timeout(SECONDS)
    page.mouse.down()
    for share in (0.25, 0.5, 0.75, 1.0):
        page.mouse.move(*(tip + share * (end - tip)))
        page.wait_for_timeout(0.3 * SECONDS)
    page.mouse.up()
    after = settled(page)
    T = np.array(save(served, page)["T_camera_object"])
    assert np.allclose(T[:3, :3], start[:3, :3], atol=1e-5)
    assert start[:3, :3].T @ (T[:3, 3] - start[:3, 3]) == pytest.approx([0.02, 0, 0], abs=4e-3)
    assert (np.abs(after - before).max(axis=-1) > 30).sum() > 1000

    button(page, "Back to the start").click()
    settled(page)
    assert np.allclose(save(served, page)["T_camera_object"], start, atol=1e-6)
    assert "ended" in served.end(signal.SIGINT)


def test_refine_lowers_the_loss_and_save_writes_the_pose(opened, photo):
    served, page = opened
    button(page, "Refine").click()
    page.get_by_text(re.compile(r"Refining: step \d+, loss")).wait_for()
    assert button(page, "Save").is_disabled() and button(page, "Stop").is_enabled()
    page.get_by_text(re.compile(r"after \d+ steps, loss")).wait_for()
    start, result = map(float, re.findall(r"loss (\S+) to (\S+?)\.?\s", page.inner_text("body"))[0])
    assert result < 0.2 * start
    settled(page)
    if "SLDIFF_JAX_PICTURE" in os.environ:
        page.screenshot(path=os.environ["SLDIFF_JAX_PICTURE"])
    document = save(served, page)
    T, T_true = (np.array(document["T_camera_object"]), np.array(json.loads((photo / "true.json").read_text())))
    assert np.linalg.norm(T[:3, 3] - T_true[:3, 3]) < 1e-3
    assert np.trace(T[:3, :3].T @ T_true[:3, :3]) > 1 + 2 * np.cos(np.radians(0.5))
    assert document["scores"]["result"]["loss"] == pytest.approx(result, abs=1e-4)
    assert document["status"] in ("converged", "step limit")

    served.end(signal.SIGTERM)


def test_it_ends_while_a_refinement_runs(opened):
    served, page = opened
    button(page, "Refine").click()
    page.get_by_text("Refining").wait_for()
    served.end(signal.SIGTERM)
    assert not served.output.exists()


def test_stop_keeps_the_pose_found_so_far(photo, browser, tmp_path):
    served = Served(photo, tmp_path / "out", optimizer="adam", steps=100_000, loss="l1", learning_rate=1e-5)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(served.url)
    button(page, "Refine").click()
    page.get_by_text(re.compile(r"Refining: step \d+, loss")).wait_for()
    button(page, "Stop").click()
    page.get_by_text(re.compile(r"Stopped after \d+ steps")).wait_for()
    assert save(served, page)["status"] == "stopped"
    page.close()
    served.end(signal.SIGINT)
