"""Runs over a data set: nothing lost, nothing twice, nothing mixed; and poses that end nearer to the truth."""

import json
import math
import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from sldiff_jax import bop
from sldiff_jax.bop._parts import Part, Parts
from sldiff_jax.bop._task import Task, Worker
from sldiff_jax.cli import main

OPTIONS = ["--steps", "10", "--resolution", "64", "--no-times"]
SETTINGS = bop.Settings(steps=10, resolution=64, times=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> bop.Dataset:
    folder = tmp_path_factory.mktemp("refine") / "small"
    return bop.make_dataset(folder, images=4, seed=3, size=(90, 120), offset=bop.Offset(math.radians(8), 0.008))


@pytest.fixture
def coarse(made) -> list[bop.Estimate]:
    return bop.read_estimates(made.folder / "coarse_small-test.csv")


class FakeEngine:
    """Moves every pose by a millimetre. Stops dead after some images, and says which it was asked for."""

    def __init__(self, *, stop_after: int | None = None, failing: tuple = ()):
        self.stop_after, self.failing, self.asked = stop_after, failing, []

    def run(self, task, images):
        for number, (ids, begins) in enumerate(images):
            if number == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(ids)
            if ids in self.failing:
                yield Part(*ids, (), "ValueError: no image")
                continue
            shift = np.zeros((4, 4))
            shift[0, 3] = 1e-3
            moved = [begin._replace(T_camera_object=begin.T_camera_object + shift, time=0.5) for begin in begins]
            yield Part(*ids, tuple(moved))


def expected(coarse) -> dict:
    return {e[:4]: e.T_camera_object[0, 3] + 1e-3 for e in coarse}


def written(path: pathlib.Path) -> dict:
    return {e[:4]: pytest.approx(e.T_camera_object[0, 3]) for e in bop.read_estimates(path)}


def test_a_stopped_run_goes_on_where_it_was(made, coarse, tmp_path):
    output = tmp_path / "mine_small-test.csv"
    first, second, third = FakeEngine(stop_after=2), FakeEngine(), FakeEngine()
    with pytest.raises(KeyboardInterrupt):
        bop.refine_dataset(made, output, estimates=coarse, engine=first)
    assert not output.exists()
    progress = []
    run = bop.refine_dataset(
        made, output, estimates=coarse, engine=second, callback=lambda *done: progress.append(done)
    )
    assert run == bop.Run(4, 2, len(coarse), 0, {})
    assert progress == [(2, 4), (3, 4), (4, 4)]
    assert first.asked + second.asked == list(made.image_ids)
    assert written(output) == expected(coarse) and len(bop.read_estimates(output)) == len(coarse)
    before = output.read_bytes()
    assert bop.refine_dataset(made, output, estimates=coarse, engine=third).resumed == 4
    assert third.asked == [] and output.read_bytes() == before


def test_a_killed_process_loses_nothing(made, coarse, tmp_path):
    output = tmp_path / "mine_small-test.csv"
    code = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from test_refine_dataset import FakeEngine
from sldiff_jax import bop
class Killed(FakeEngine):
    def run(self, task, images):
        for number, part in enumerate(super().run(task, images)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield part
dataset = bop.Dataset.open({str(made.folder)!r})
estimates = bop.read_estimates(dataset.folder / "coarse_small-test.csv")
bop.refine_dataset(dataset, {str(output)!r}, estimates=estimates, engine=Killed())
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    engine = FakeEngine()
    run = bop.refine_dataset(made, output, estimates=coarse, engine=engine)
    assert run.resumed == 3 and engine.asked == [made.image_ids[3]]
    assert written(output) == expected(coarse)


def test_images_that_fail_are_told_and_tried_again(made, coarse, tmp_path):
    output = tmp_path / "mine_small-test.csv"
    bad = made.image_ids[1]
    run = bop.refine_dataset(made, output, estimates=coarse, engine=FakeEngine(failing=(bad,)))
    assert run.failures == {bad: "ValueError: no image"}
    assert written(output).keys() == {e[:4] for e in coarse if e[:2] != bad}
    again = FakeEngine()
    assert bop.refine_dataset(made, output, estimates=coarse, engine=again) == bop.Run(4, 3, len(coarse), 0, {})
    assert again.asked == [bad] and written(output) == expected(coarse)


def test_other_settings_or_data_do_not_mix(made, coarse, tmp_path):
    output = tmp_path / "mine_small-test.csv"
    bop.refine_dataset(made, output, estimates=coarse, engine=FakeEngine())
    with pytest.raises(ValueError, match=r"other settings or data \(settings\)"):
        bop.refine_dataset(made, output, estimates=coarse, engine=FakeEngine(), settings=SETTINGS)
    moved = [coarse[0]._replace(score=0.1), *coarse[1:]]
    with pytest.raises(ValueError, match=r"other settings or data \(starts\)"):
        bop.refine_dataset(made, output, estimates=moved, engine=FakeEngine())
    with pytest.raises(ValueError, match=r"\(images, starts\)"):
        bop.refine_dataset(made, output, estimates=coarse[:2], engine=FakeEngine())
    (tmp_path / "other_small-test.csv.parts").mkdir()
    (tmp_path / "other_small-test.csv.parts" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="not the folder of a run"):
        bop.refine_dataset(made, tmp_path / "other_small-test.csv", estimates=coarse, engine=FakeEngine())


def test_parts_come_back_to_the_last_bit(coarse, tmp_path):
    parts = Parts(tmp_path / "parts", {"settings": 1})
    part = Part(1, 0, tuple(e for e in coarse if e.image_id == 0))
    parts.write(part)
    back = parts.read(1, 0)
    assert back[:2] == (1, 0) and back.error is None and len(back.estimates) == len(part.estimates) > 0
    for before, after in zip(part.estimates, back.estimates):
        assert before[:4] == after[:4]
        np.testing.assert_array_equal(before.T_camera_object, after.T_camera_object)
    assert parts.missing([(1, 0), (1, 1)]) == [(1, 1)]
    assert all(not path.name.startswith(".") for path in parts.folder.iterdir())


def test_equal_outcomes_are_written_once(made, coarse, tmp_path):
    output = tmp_path / "mine_small-test.csv"
    run = bop.refine_dataset(made, output, estimates=[*coarse, coarse[0]], engine=FakeEngine())
    assert run.estimates == len(coarse) and written(output) == expected(coarse)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e._replace(image_id=77), "scene 1, image 77, and no such image"),
        (lambda e: e._replace(object_id=77), r"of object 77 .* holds only \[1, 2, 3\]"),
        (lambda e: e._replace(score=math.nan), "not finite"),
        (lambda e: e._replace(T_camera_object=np.full((4, 4), np.nan)), "not finite"),
    ],
)
def test_what_cannot_be_begun_with(made, coarse, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        bop.refine_dataset(made, tmp_path / "mine_small-test.csv", estimates=[change(coarse[0])], engine=FakeEngine())
    assert not list(tmp_path.iterdir())


def test_nothing_to_begin_with(made, rare, coarse, tmp_path):
    output = tmp_path / "mine_small-test.csv"
    with pytest.raises(ValueError, match="nothing to begin from"):
        bop.refine_dataset(made, output, estimates=[], engine=FakeEngine())
    with pytest.raises(ValueError, match="not both"):
        bop.refine_dataset(made, output, estimates=coarse, detections=[], engine=FakeEngine())
    with pytest.raises(ValueError, match=r"must be METHOD_DATASET-SPLIT\.csv"):
        bop.refine_dataset(made, tmp_path / "poses.csv", estimates=coarse, engine=FakeEngine())
    for settings, message in (({"resolution": 33}, "even number"), ({"steps": 1}, "At least 3 steps")):
        with pytest.raises(ValueError, match=message):
            bop.Settings(**settings)


# --- with the real refiner


@pytest.mark.slow
def test_the_command_refines_and_survives_a_broken_image(made, coarse, tmp_path, capsys):
    output = tmp_path / "mine_small-test.csv"
    arguments = ["bop", "refine", str(made.folder), "--estimates", str(made.folder / "coarse_small-test.csv")]
    arguments += ["--output", str(output), *OPTIONS]
    scene_id, image_id = made.image_ids[2]
    image = made.folder / "test" / f"{scene_id:06d}" / "rgb" / f"{image_id:06d}.png"
    whole = image.read_bytes()
    try:
        image.write_bytes(whole[: len(whole) // 2])
        assert main(arguments) == 4
    finally:
        image.write_bytes(whole)
    said = capsys.readouterr()
    assert "3 of 4 images done" in said.out and f"failed: scene {scene_id}, image {image_id}: ValueError" in said.err
    record = json.loads((tmp_path / "run.json").read_text())
    assert "cannot be read as an image" in record["results"]["failures"][f"{scene_id}/{image_id}"]
    assert len(bop.read_estimates(output)) == sum(e.image_id != image_id for e in coarse)
    assert main(arguments) == 0
    assert "4 of 4 images done, 3 of them by an earlier run" in capsys.readouterr().out

    refined = bop.read_estimates(output)
    assert [e[:3] for e in refined] == [e[:3] for e in coarse]
    assert all(0 < after.score <= before.score and after.time == -1 for before, after in zip(coarse, refined))
    before, after = (bop.evaluate(made, estimates).summary for estimates in (coarse, refined))
    assert (
        after["ad_recall"] > before["ad_recall"]
        and after["bop19_average_recall"] > before["bop19_average_recall"] + 0.1
    )

    # The same in another run, image by image, where the later ones compile nothing.
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, _, **__: compiled.append(name))
    worker, parts = Worker(Task(str(made.folder), "test", (1, 2, 3), SETTINGS)), []
    for ids in made.image_ids:
        compiled.clear()
        parts.append(worker.refine(ids, [e for e in coarse if e[:2] == ids]))
    assert not [name for name in compiled if "backend_compile" in name]
    again = [estimate for part in parts for estimate in part.estimates]
    for one, other in zip(refined, again, strict=True):
        assert one[:4] == other[:4]
        np.testing.assert_allclose(one.T_camera_object, other.T_camera_object, rtol=0, atol=1e-15)


@pytest.mark.slow
def test_objects_are_moved_together(made, coarse):
    ids = next(ids for ids in made.image_ids if sum(e[:2] == ids for e in coarse) > 1)
    begins = [e for e in coarse if e[:2] == ids]
    worker = Worker(Task(str(made.folder), "test", (1, 2, 3), bop.Settings(steps=10, resolution=64, joint=True)))
    # A second opinion about the first object, and one behind the camera, are not part of the scene.
    behind = begins[0].T_camera_object.copy()
    behind[2, 3] *= -1
    part = worker.refine(ids, [*begins, begins[0]._replace(score=0.01), begins[1]._replace(T_camera_object=behind)])
    assert part.error is None and len(part.estimates) == len(begins) + 2
    truth = {i.object_id: i.T_camera_object for i in made.frame(*ids).instances}
    for before, after in zip(begins, part.estimates):
        near, far = (
            np.linalg.norm(e.T_camera_object[:3, 3] - truth[e.object_id][:3, 3]) for e in (after, before)
        )  # fmt: skip
        assert near < 0.5 * far and after.time > 0
    assert part.estimates[-1].score == 0
    np.testing.assert_array_equal(part.estimates[-1].T_camera_object, behind)


@pytest.mark.slow
def test_masks_alone_find_the_poses(made, tmp_path):
    frame = max(made, key=lambda frame: min(i.visibility for i in frame.instances))
    toy = next((i for i in frame.instances if i.object_id == 1), frame.instances[0])
    detection = bop.Detection(frame.scene_id, frame.image_id, toy.object_id, 0.9, None, frame.mask(toy.place))
    worker = Worker(Task(str(made.folder), "test", (toy.object_id,), bop.Settings(steps=24, resolution=64)))
    (found,) = worker.refine((frame.scene_id, frame.image_id), [detection]).estimates
    shift = np.linalg.norm(found.T_camera_object[:3, 3] - toy.T_camera_object[:3, 3])
    assert shift < 0.1 * made.models[toy.object_id].diameter
    assert 0 < found.score <= 0.9
