"""What the command keeps of what XLA compiled: found again by other processes, with the same results."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from sldiff_jax.cli import _compilation_cache as cache
from sldiff_jax.cli import doctor

VARIABLES = (cache.VARIABLE, cache.JAX_FOLDER, cache.JAX_ENABLED, cache.JAX_MINIMUM)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set here is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(sys, "platform", "linux")


def test_it_is_in_the_users_folder_for_caches(tmp_path, monkeypatch):
    cache.keep_compiled_programs()
    folder = pathlib.Path(os.environ[cache.JAX_FOLDER])
    assert folder.parent == tmp_path / "caches" / "sldiff-jax" / "xla" and folder.is_dir()
    assert os.environ[cache.JAX_MINIMUM] == "0"
    (folder / "program").write_bytes(b"12345")
    assert cache.cache_state() == (folder, "", 5)
    for platform, variable, value, expected in (
        ("win32", "LOCALAPPDATA", "C", pathlib.Path("C")),
        ("darwin", "HOME", "/Users/me", pathlib.Path("/Users/me/Library/Caches")),
        ("linux", "XDG_CACHE_HOME", "", pathlib.Path("/Users/me/.cache")),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv(variable, value)
        assert cache.chosen_folder().parents[2] == expected


def test_other_processors_have_other_folders(monkeypatch):
    before = cache.chosen_folder()
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: "processor : 0\nflags : fpu avx1024\n")
    assert cache.chosen_folder() != before and cache.chosen_folder().parent == before.parent


@pytest.mark.parametrize("word", ["off", "0", "False"])
def test_it_can_be_switched_off(word, monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, word)
    cache.keep_compiled_programs()
    assert cache.JAX_FOLDER not in os.environ and not (tmp_path / "caches").exists()
    assert cache.cache_state() == (None, f"{cache.VARIABLE} says so", 0)


def test_other_folders(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    cache.keep_compiled_programs()
    assert pathlib.Path(os.environ[cache.JAX_FOLDER]).parent == tmp_path / "mine"
    monkeypatch.setenv(cache.JAX_FOLDER, str(tmp_path / "jax"))
    monkeypatch.delenv(cache.JAX_MINIMUM)
    cache.keep_compiled_programs()  # JAX's own variable is left as it is
    assert os.environ[cache.JAX_FOLDER] == str(tmp_path / "jax") and cache.JAX_MINIMUM not in os.environ
    cache.forget_compiled_programs()
    assert cache.cache_state().reason == f"{cache.JAX_ENABLED} says so"


def test_where_nothing_can_be_written_nothing_is_kept(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    cache.keep_compiled_programs()
    assert cache.JAX_FOLDER not in os.environ
    assert "cannot be written" in cache.cache_state().reason


def test_the_oldest_programs_go(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "LARGEST", 100)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    folder = cache.chosen_folder()
    folder.mkdir(parents=True)

    def keep(*ages: int):
        for age in ages:
            (folder / f"{age}").write_bytes(bytes(20))
            os.utime(folder / f"{age}", (1e9 - age, 1e9 - age))
        cache.keep_compiled_programs()
        monkeypatch.delenv(cache.JAX_FOLDER)
        return sorted(int(path.name) for path in folder.iterdir())

    assert keep(1, 2, 3, 4, 5) == [1, 2, 3, 4, 5]
    assert keep(6) == [1, 2]


def test_the_doctor_says_where_it_is_and_how_large(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    folder = cache.chosen_folder()
    folder.mkdir(parents=True)
    (folder / "program").write_bytes(bytes(1_500_000))
    assert doctor.compiled_programs() == f"ok     compiled programs: {folder}, 1.5 MB"
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert doctor.compiled_programs() == f"note   compiled programs: not kept, for {cache.VARIABLE} says so"


# --- in processes of their own


def run(*words: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, *words], env=clean | {"JAX_PLATFORMS": "cpu"} | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def programs(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.rglob("*-cache")}


@pytest.mark.slow
def test_the_command_finds_its_programs_again(tmp_path):
    kept, results = tmp_path / "kept", []
    demo = ["-m", "sldiff_jax", "demo", "--steps", "4", "--resolution", "32", "--output"]
    for name in ("first", "second"):
        run(*demo, str(tmp_path / name), SLDIFF_JAX_COMPILATION_CACHE=str(kept))
        results.append(((tmp_path / name / "history.json").read_text(), programs(kept)))
    run(*demo, str(tmp_path / "third"), "--no-compilation-cache", SLDIFF_JAX_COMPILATION_CACHE=str(tmp_path / "none"))
    (first, after_first), (second, after_second) = results
    assert len(after_first) > 10 and after_second == after_first
    assert json.loads(first)["stages"] and first == second == (tmp_path / "third" / "history.json").read_text()
    assert not (tmp_path / "none").exists()


DRAW = """
import collections, hashlib, sys
import jax, jax.numpy as jnp, numpy as np
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counts.update([name.rpartition("/")[2]]))
import sldiff_jax as sl
from sldiff_jax.mesh_renderer import demo_mesh
mesh = demo_mesh()
for name in sys.argv[1]:
    # a and b have 64x64 samples: but for a number among the arguments of the kernel, the programs that draw are equal.
    samples, size = {"a": (1, 64), "b": (2, 32), "c": (1, 40)}[name]
    camera = sl.Camera.from_fov(0.7, width=size, height=size)
    T = jnp.eye(4).at[2, 3].set(0.3)
    renderer = sl.MeshRenderer([mesh], supersample=samples, buffers="core")
    image = sl.render(sl.Scene(T[None], camera), renderer).rgb
    print(name, hashlib.sha256(np.asarray(image).tobytes()).hexdigest())
print(counts["cache_misses"], "misses")
"""


@pytest.mark.slow
def test_programs_that_differ_in_a_number_alone_are_not_mixed_up(tmp_path):
    def drawn(order: str, **environment: str) -> tuple[dict[str, str], int]:
        *lines, misses = run("-c", DRAW, order, **environment).splitlines()
        return dict(line.split() for line in lines), int(misses.split()[0])

    kept = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    truth, _ = drawn("cab", JAX_ENABLE_COMPILATION_CACHE="false")
    assert truth["a"] != truth["b"]
    first, misses = drawn("cab", **kept)
    assert first == truth and misses > 2
    # In another process, in another order: all programs are found again, and they are the right ones.
    assert drawn("bac", **kept) == (truth, 0)
    assert drawn("b", **kept) == ({"b": truth["b"]}, 0)
