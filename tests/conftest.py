"""Shared set-up of the tests: run-time type checks, golden data, x64, GPU marker, hypothesis profile."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Before the first import of the packages: every signature is checked with beartype in every test. As for pyright, an
# int is a float.
install_import_hook(("sldiff_jax", "interop"), "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# What one test process compiles the others find, which saves about a fifth of the time. Kept while the tests run.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="sldiff_jax_tests_", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import sldiff_jax as sl  # noqa: E402

# How long anything takes says nothing on a busy machine.
hypothesis.settings.register_profile(
    "core",
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("core")

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``-m gpu`` selects every test, to be run on the GPU: not only those that are about GPUs."""
    if re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        for item in items:
            item.add_marker(pytest.mark.gpu)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _gpus():
        pytest.skip("JAX sees no GPU")


@pytest.fixture(autouse=True)
def _on_the_gpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is marked runs there, wherever JAX would compute by itself."""
    if request.node.get_closest_marker("gpu") is None:
        yield
        return
    with jax.default_device(_gpus()[0]):
        yield


@functools.cache
def _gpus() -> list[jax.Device]:
    try:
        return jax.devices("gpu")
    except RuntimeError:
        return []


@pytest.fixture
def gpu() -> jax.Device:
    """The first GPU. Use together with ``@pytest.mark.gpu``."""
    if not _gpus():
        pytest.skip("JAX sees no GPU")
    return _gpus()[0]


@pytest.fixture
def x64() -> Iterator[None]:
    """64-bit types for the duration of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Run-time type checks off, as users run the library: its own errors have to speak."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder with the recorded data: ``data`` in $SLDIFF_SHARED, else in ``shared`` beside the repository."""
    shared = pathlib.Path(os.environ.get("SLDIFF_SHARED", REPOSITORY.parent / "shared"))
    if not (shared / "data").is_dir():
        pytest.skip(f"no recorded data: {shared / 'data'} does not exist (set SLDIFF_SHARED to the shared folder)")
    return shared / "data"


class Golden(NamedTuple):
    """One recorded scene of the original: the scene, its render result, and everything else that was recorded."""

    scene: sl.Scene
    result: sl.RenderResult
    data: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def golden(shared_data: pathlib.Path) -> Callable[[str], Golden]:
    """Load a recorded scene by its name, e.g. ``golden("five_flat")``; each is read once."""

    @functools.cache
    def load(name: str) -> Golden:
        path = shared_data / "stillleben_golden" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no recorded scene {path}")
        with np.load(path) as file:
            data = {key: file[key] for key in file.files}
        height, width = data["buf_rgb"].shape[:2]
        camera = sl.Camera(data["projection_matrix"], data["camera_pose"], width=width, height=height)
        scene = sl.Scene(data["object_poses"], camera, data["instance_indices"])
        result = sl.RenderResult(
            rgb=data["buf_rgb"],
            coord_depth=data["buf_coordDepth"],
            instance_index=data["buf_instance_index"][..., 0],
            class_index=data["buf_class_index"][..., 0],
            normals=data["buf_normals"],
            vertex_indices=data["buf_vertex_indices"],
            barycentric_coeffs=data["buf_barycentric_coeffs"],
            cam_coordinates=data["buf_cam_coordinates"],
        )
        return Golden(scene, result, data)

    return load
