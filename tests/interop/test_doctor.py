"""The report of what works on this machine."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import importlib.util
import os
import sys
import types

import jax
import jax.numpy as jnp
import torch
from processes import REPOSITORY, try_python

from interop import doctor

CODE = "import sys; from interop.doctor import main; sys.exit(main())"


def lines_of(check) -> list[doctor.Line]:
    return list(doctor._run(*doctor.CHECKS[check]))


@pytest.fixture(autouse=True)
def no_fake_stillleben(monkeypatch):
    """The doctor examines what is installed, not the stand-in of the other tests."""
    monkeypatch.delitem(sys.modules, "stillleben", raising=False)


def test_all_is_well_here(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "subprocess", None)  # nothing to start: stillleben is not installed here
    if importlib.util.find_spec("stillleben"):
        monkeypatch.setitem(doctor.CHECKS, "stillleben", (lambda: iter(()), ""))
    assert doctor.main() == 0
    report = capsys.readouterr().out
    for words in (
        "jax " + jax.__version__,
        "cpu",
        "torch to JAX, cpu: bool uint8",
        "float64",
        "inside jit",
        "triangle",
    ):
        assert words in report
    assert "FAILED" not in report and report.endswith("What is installed works together.\n")


@pytest.mark.parametrize("check", ["zero copy"])
def test_a_dtype_that_is_copied_fails_with_a_remedy(check, monkeypatch):
    monkeypatch.setattr(doctor, "_to_torch_shares", lambda name, device: name != "int8")
    failed = [text for status, text in lines_of(check) if status == doctor.FAILED]
    assert len(failed) == 1 and "JAX to torch" in failed[0] and "int8." in failed[0] and "Convert" in failed[0]


def test_one_failed_line_makes_the_exit_code_1(capsys, monkeypatch):
    def broken():
        yield doctor.Line(doctor.OK, "one")
        raise OSError("cannot open shared object\nand more")

    monkeypatch.setattr(doctor, "CHECKS", {"thing": (broken, "thing-package")})
    assert doctor.main() == 1
    report = capsys.readouterr().out
    assert "FAILED thing: OSError: cannot open shared object. Reinstall" in report and "thing-package" in report
    assert "1 checks failed" in report


def test_gpus_that_do_not_match_fail_with_a_remedy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(doctor, "_gpu_of_jax", lambda: None)
    assert "'sldiff-jax[cuda]'" in next(line for line in lines_of("torch") if line.status == doctor.FAILED).text
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "_gpu_of_jax", lambda: "a GPU")
    assert "JAX_PLATFORMS=cpu" in next(line for line in lines_of("torch") if line.status == doctor.FAILED).text


def test_preallocation_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_gpu_of_jax", lambda: "a GPU")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    (line,) = lines_of("memory")
    assert line.status == doctor.NOTE and "0.75" in line.text and "XLA_PYTHON_CLIENT_PREALLOCATE=false" in line.text
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    assert lines_of("memory")[0].status == doctor.OK


def test_an_unused_gpu_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_gpu_of_jax", lambda: None)
    monkeypatch.setattr("os.path.exists", lambda path: path == "/dev/nvidia0")
    for platforms, remedy in (("", "'sldiff-jax[cuda]'"), ("cpu", "unset JAX_PLATFORMS")):
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        (note,) = (line for line in lines_of("JAX") if line.status == doctor.NOTE)
        assert remedy in note.text


def test_a_renderer_that_draws_nothing_fails_with_a_remedy(monkeypatch):
    empty = types.SimpleNamespace(instance_index=jnp.zeros((24, 32)))
    monkeypatch.setattr(doctor.sl, "MeshRenderer", lambda meshes: lambda scene: empty)
    (failed,) = (line for line in lines_of("Warp") if line.status == doctor.FAILED)
    assert "kernel_cache_dir" in failed.text


def test_a_callback_that_computes_nothing_fails_with_a_remedy(monkeypatch):
    monkeypatch.setattr(doctor, "buffer_callback", lambda callback, shape: lambda x: x)
    (failed,) = (line for line in lines_of("callbacks") if line.status == doctor.FAILED)
    assert "another version of jax" in failed.text


FAKE = f"""
import sys
sys.path += {[str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "interop")]}
from fake_stillleben import FakeStillleben
sys.modules["stillleben"] = stillleben = FakeStillleben()
"""
STILLLEBEN = {
    "renders": (FAKE, doctor.OK, "eagerly and inside jit"),
    "ends with its context": (FAKE.replace("fake_stillleben", "aborting_stillleben").replace("Fake", "Aborting"),
                              doctor.OK, "lets the program end"),
    "ends the process when its object goes": (
        FAKE + "import atexit, os; stillleben.Object.__del__ = lambda self: os.abort()", doctor.FAILED, "exit code -6"
    ),
    "draws nothing": (
        FAKE + "stillleben.Scene.add_object = lambda *args: None", doctor.FAILED, "a cube was not drawn"
    ),
    "renders something else": (
        FAKE + "stillleben.RenderPassResult.rgb = lambda self: self.coordDepth()", doctor.FAILED, "latest"
    ),
    "ends the process": ("import os\nos.abort()", doctor.FAILED, "EGL"),
    "cannot be imported": ("raise ImportError('undefined symbol')", doctor.FAILED, "against the installed torch"),
    "lacks a module": ("import a_missing_module", doctor.FAILED, "install that module"),
}  # fmt: skip


@pytest.mark.parametrize("case", STILLLEBEN)
def test_stillleben_is_tried_in_a_process_of_its_own(case, tmp_path, monkeypatch):
    source, status, words = STILLLEBEN[case]
    (tmp_path / "stillleben.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REPOSITORY)]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stillleben", raising=False)
    (line,) = lines_of("stillleben")
    assert line.status == status and words in line.text, line


def test_it_works_without_torch():
    done = try_python(f"import sys; sys.modules['torch'] = None\nimport importlib.util as u; f = u.find_spec\n"
                      f"u.find_spec = lambda n, *a: None if n == 'torch' else f(n, *a)\n{CODE}")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note   torch: not installed" in done.stdout and "pip install 'sldiff-jax[torch]'" in done.stdout
