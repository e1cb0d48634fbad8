"""Two workers of Ray, one of them killed in the middle: nothing lost, nothing twice, and the same poses."""

import contextlib
import math
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from sldiff_jax import bop
from sldiff_jax.bop._parts import Part
from sldiff_jax.bop._task import Task

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    # Ray leaves its sockets and log files to the garbage collector, and warns of things to come.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray", "ignore::DeprecationWarning:ray"),
]

SETTINGS = bop.Settings(steps=6, resolution=32, times=False)
LOCAL = """
import sys
from sldiff_jax import bop
folder, coarse, output = sys.argv[1:]
bop.refine_dataset(bop.Dataset.open(folder), output, estimates=bop.read_estimates(coarse), settings=bop.{settings})
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> bop.Dataset:
    folder = tmp_path_factory.mktemp("ray") / "small"
    return bop.make_dataset(folder, images=4, seed=3, size=(60, 80), offset=bop.Offset(math.radians(5), 0.005))


def processes() -> list[int]:
    """The workers below this process: Ray names them after what they do."""
    parents, names = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_text()

    def below(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and below(parents[pid]))

    return [pid for pid, name in names.items() if name.startswith("ray::Worker") and below(pid)]


def test_a_killed_worker_loses_nothing(made, tmp_path):
    coarse = bop.read_estimates(made.folder / "coarse_small-test.csv")
    outputs = {name: tmp_path / name / "mine_small-test.csv" for name in ("local", "ray")}
    # In a process of its own, as the workers: in this one, operations may be left that other tests compiled otherwise.
    subprocess.run(
        [sys.executable, "-c", LOCAL.format(settings=SETTINGS), made.folder, made.folder / "coarse_small-test.csv",
         outputs["local"]],
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, check=True,
    )  # fmt: skip

    class Killing(bop.RayEngine):
        seen: list

        def run(self, task, images):
            self.seen = []
            for part in super().run(task, images):
                self.seen.append(part[:2])
                if len(self.seen) == 2:
                    victims = processes()
                    assert len(victims) == 2
                    os.kill(victims[0], signal.SIGKILL)
                yield part

    engine = Killing(2)
    try:
        run = bop.refine_dataset(made, outputs["ray"], estimates=coarse, settings=SETTINGS, engine=engine)
    finally:
        engine.close()
    assert run.failures == {} and run.estimates == len(coarse)
    assert sorted(engine.seen) == list(made.image_ids)  # each once
    assert outputs["ray"].read_bytes() == outputs["local"].read_bytes()


def test_an_image_that_kills_its_worker_fails_alone(made, tmp_path, monkeypatch):
    class Deadly:
        def __init__(self, task):
            self.task = task

        def refine(self, ids, begins):
            if ids == (1, 2):
                os._exit(1)
            return Part(*ids, tuple(begins))

    monkeypatch.setattr("sldiff_jax.bop._ray_engine.Worker", Deadly)
    T = np.eye(4)
    images = [((1, k), [bop.Estimate(1, k, 1, 0.5, T)]) for k in range(4)]
    engine = bop.RayEngine(2)
    try:
        parts = {part[:2]: part for part in engine.run(Task(str(made.folder), "test", (1,), SETTINGS), images)}
    finally:
        engine.close()
    assert sorted(parts) == [ids for ids, _ in images]
    assert "the worker died" in parts[1, 2].error
    assert all(part.error is None and len(part.estimates) == 1 for ids, part in parts.items() if ids != (1, 2))


def test_wrong_engines():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        bop.RayEngine(0)
    with pytest.raises(ValueError, match="fraction of memory"):
        bop.RayEngine(1, memory_fraction=2.0)
