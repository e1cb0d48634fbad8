"""Pictures of refinements: loss curves, iterates, hypotheses, GIF and MP4."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from pictures import pixels_of
from PIL import Image

import sldiff_jax as sl
from sldiff_jax import visualize
from sldiff_jax.mesh_renderer import box_mesh


@pytest.fixture(scope="module")
def renderer():
    return sl.MeshRenderer([box_mesh()])


@pytest.fixture(scope="module")
def refinement(renderer):
    """Four steps from three starts in two stages; the best is start 1 at step 2, start 2 was pruned after stage 0."""
    camera = sl.Camera.from_intrinsics(60.0, 60.0, 20.0, 15.0, width=40, height=30)
    poses = np.tile(np.eye(4, dtype=np.float32), (4, 3, 1, 1, 1))
    poses[..., 2, 3] = 0.4
    poses[:, 1, 0, 0, 3] = [0.0, 0.05, 0.1, 0.15]
    poses[:, 2, 0, 0, 3] = -0.1
    poses[2:, 2] = np.nan
    losses = np.array([[0.2, 0.8, 0.01], [0.7, 0.6, 0.02], [0.5, 0.3, np.nan], [0.4, 0.35, np.nan]])
    scene = sl.Scene(poses[2, 1], camera)
    done = sl.refine_poses(
        scene, sl.Observation(rgb=renderer(scene).color), renderer, loss=sl.photometric_loss, steps=1
    )
    return dataclasses.replace(
        done, scene=scene, loss=0.3, best_step=2, best_start=1, loss_history=losses, T_world_object_history=poses,
        stage_history=np.array([0, 0, 1, 1]), losses=np.array([0.4, 0.3, 0.01]),
        T_world_object=poses[[3, 2, 0], range(3)],
        statuses=(sl.Status.CONVERGED, sl.Status.CONVERGED, sl.Status.PRUNED),
    )  # fmt: skip


IMAGE = np.zeros((60, 80, 3), np.uint8)


def strong_lines(axes):
    return [line for line in axes.lines if line.get_linewidth() > 1 and line.get_marker() == "None"]


def test_loss_curve_draws_the_best_start_strongly_and_stages_in_a_row():
    losses = [np.array([[5.0, 3.0], [4.0, 0.1], [np.nan, 0.2]]), np.array([[0.1], [0.01]])]
    figure = visualize.loss_curve(losses, ["coarse", "fine"])
    (axes,) = figure.axes
    strong = strong_lines(axes)
    np.testing.assert_allclose(strong[0].get_xydata(), [[0, 3], [1, 0.1], [2, 0.2]])
    np.testing.assert_allclose(strong[1].get_xydata(), [[3, 0.1], [4, 0.01]])
    assert strong[0].get_color() != strong[1].get_color()
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")
    assert visualize.loss_curve([np.array([[3.0], [2.0]])]).axes[0].get_yscale() == "linear"
    pixels_of(figure)


def test_loss_curve_marks_the_best_of_the_last_stage():
    losses = [np.array([[0.001, 3.0]]), np.array([[0.4, 0.5, 0.6], [0.4, 0.2, 0.6]])]
    axes = visualize.loss_curve(losses).axes[0]
    (mark,) = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(mark.get_xydata(), [[2, 0.2]])
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["other starts", "best: start 1, step 2, loss 0.2"]


def test_loss_curve_of_a_refinement_follows_its_best_start(refinement):
    axes = visualize.loss_curve(refinement, ["half", "full"]).axes[0]
    strong = strong_lines(axes)
    np.testing.assert_allclose(strong[0].get_xydata(), [[0, 0.8], [1, 0.6]])
    np.testing.assert_allclose(strong[1].get_xydata(), [[2, 0.3], [3, 0.35]])
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["half", "other starts", "full", "best: start 1, step 2, loss 0.3"]


@pytest.mark.parametrize(
    ("losses", "labels", "message"),
    [
        ([], None, "a finite loss in each, got shapes"),
        ([np.full((3, 2), np.nan)], None, "a finite loss in each"),
        ([np.ones((3, 2))], ["a", "b"], "got 2 for 1 stages"),
    ],
)
def test_loss_curve_refuses(losses, labels, message):
    with pytest.raises(ValueError, match=message):
        visualize.loss_curve(losses, labels)


def columns_of(frames):
    return [np.nonzero(np.asarray(frame).any(axis=-1))[1].mean() for frame in frames]


def test_refinement_frames_draw_the_best_start_from_first_to_best(refinement, renderer):
    frames = visualize.refinement_frames(refinement, renderer, IMAGE, count=10)
    assert [frame.shape for frame in frames] == [(60, 80, 3)] * 3
    assert columns_of(frames) == pytest.approx([40, 40 + 0.05 / 0.4 * 120, 40 + 0.1 / 0.4 * 120], abs=4)
    assert all(frame.dtype == np.uint8 for frame in frames)
    (best,) = visualize.refinement_frames(refinement, renderer, IMAGE, count=1)
    np.testing.assert_array_equal(best, frames[-1])
    with pytest.raises(ValueError, match="at least 1"):
        visualize.refinement_frames(refinement, renderer, IMAGE, count=0)


def test_frames_drawn_at_once_are_those_drawn_one_by_one(refinement, renderer):
    few, at_once = 2, visualize._frames.AT_ONCE
    T = np.tile(np.asarray(refinement.T_world_object_history[0, 0]), (at_once + few, 1, 1, 1))
    T[:, 0, 0, 3] = np.linspace(-0.1, 0.1, len(T))
    scene = visualize._frames._seen_in(IMAGE, refinement.scene)
    together = list(visualize._frames._drawings(renderer, scene, T))
    alone = list(visualize._frames._drawings(lambda scene: renderer(scene), scene, T))
    assert len(together) == len(T) == len(alone)
    for (mask, color), (mask_alone, color_alone) in zip(together, alone):
        assert mask.any()
        np.testing.assert_array_equal(mask, mask_alone)
        np.testing.assert_array_equal(color, color_alone)


def test_hypotheses_are_sorted_within_the_stage_that_they_reached(refinement, renderer):
    figure = visualize.hypothesis_grid(refinement, renderer, IMAGE, columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["start 1: 0.3000", "start 0: 0.4000", "start 2: 0.0100"]
    assert [axes.title.get_fontweight() for axes in figure.axes] == ["bold", "normal", "normal"]
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    repeats = pictures[0].shape[1] // 80
    expected = [40 + 0.1 / 0.4 * 120, 40, 40 - 0.1 / 0.4 * 120]
    assert [column / repeats for column in columns_of(pictures)] == pytest.approx(expected, abs=4)
    blue, orange = np.array([0x00, 0x72, 0xB2]), np.array([0xE6, 0x9F, 0x00])
    assert (np.abs(pictures[0].astype(int) - blue).max(axis=-1) < 8).any()
    assert (np.abs(pictures[1].astype(int) - orange).max(axis=-1) < 8).any()
    assert len(visualize.hypothesis_grid(refinement, renderer, IMAGE, count=2).axes) == 2
    with pytest.raises(ValueError, match="at least 1"):
        visualize.hypothesis_grid(refinement, renderer, IMAGE, count=0)


def test_before_and_after(refinement, renderer):
    start = sl.Scene(refinement.T_world_object_history[0, 1], refinement.scene.camera)
    figure = visualize.before_after(IMAGE, start, refinement.scene, renderer, titles=("photo", "start", "result"))
    assert [axes.get_title() for axes in figure.axes] == ["photo", "start", "result"]
    photo, before, after = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    repeats = photo.shape[1] // 80
    np.testing.assert_array_equal(photo, 0)
    assert [column / repeats for column in columns_of([before, after])] == pytest.approx([40, 70], abs=4)
    with pytest.raises(ValueError, match="2 titles"):
        visualize.before_after(IMAGE, start, refinement.scene, renderer, titles=("a", "b"))


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


def decoded(contents: bytes, tmp_path, size: tuple[int, int]) -> np.ndarray:
    """The frames of an MP4 as ffmpeg reads them, (frames, H, W, 3)."""
    from sldiff_jax.visualize._animation import _ffmpeg

    (tmp_path / "video.mp4").write_bytes(contents)
    command = [
        _ffmpeg(),
        "-loglevel",
        "error",
        "-i",
        str(tmp_path / "video.mp4"),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
    ]
    raw = subprocess.run([*command, "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *size, 3)


def test_video_is_an_mp4_of_even_size_that_holds_its_end(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    frames = [np.full((47, 65, 3), (10 * i, 100, 200 - 5 * i), np.uint8) for i in range(20)]
    contents = visualize.video(frames, frames_per_second=10, hold=0.5)
    assert contents[4:8] == b"ftyp"
    shown = decoded(contents, tmp_path, (48, 66))
    assert len(shown) == 25
    for i in (0, 10, 19):
        assert np.abs(shown[i][:47, :65].astype(int) - frames[i]).max() < 12
    assert np.abs(shown[-1].astype(int) - shown[19]).max() < 6


def test_without_ffmpeg_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"pip install 'sldiff-jax\[video\]'"):
        visualize.video([np.zeros((4, 4, 3), np.uint8)])


def test_what_ffmpeg_complains_about_is_passed_on(monkeypatch, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no such encoder >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="could not write the video: no such encoder"):
        visualize.video([np.zeros((4, 4, 3), np.uint8)])


@pytest.mark.parametrize("function", [visualize.animation, visualize.video])
def test_frames_of_one_size_and_a_speed_are_needed(function):
    with pytest.raises(ValueError, match="one size"):
        function([])
    with pytest.raises(ValueError, match="one size"):
        function([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)])
    with pytest.raises(ValueError, match="frames_per_second must be positive"):
        function([np.zeros((4, 4, 3), np.uint8)], frames_per_second=0)
