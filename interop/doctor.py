"""What works on this machine: `sldiff-jax doctor`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

import sldiff_jax as sl

OK, NOTE, FAILED = "ok", "note", "FAILED"

PACKAGES = ("sldiff-jax", "jax", "jaxlib", "equinox", "optax", "warp-lang", "torch", "stillleben")
NARROW = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "bfloat16", "float32", "complex64"]
WIDE = ["int64", "uint64", "float64", "complex128"]

DREW = "drew the cube"
RENDER_WITH_STILLLEBEN = f"""
import os, sys, tempfile, stillleben, jax, torch, trimesh
from interop.stillleben import StilllebenRenderer
def factory():
    with tempfile.TemporaryDirectory() as folder:  # stillleben writes a cache beside a mesh
        trimesh.creation.box((0.1, 0.1, 0.1)).export(file := os.path.join(folder, "cube.glb"))
        item = stillleben.Object(stillleben.Mesh(file, physics=False))
    item.set_pose(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]]))
    scene = stillleben.Scene((64, 48))
    scene.add_object(item)
    return scene
renderer = StilllebenRenderer.build(factory)
for render in (renderer, jax.jit(renderer)):
    result = render(renderer.scene())
    assert result.rgb.shape == (48, 64, 4) and result.rgb.dtype == "uint8", (result.rgb.shape, result.rgb.dtype)
    assert (result.instance_index != 0).any(), "a cube was not drawn"
print({DREW!r}, flush=True)
"""


class Line(NamedTuple):
    """One line of the report; `text` of a failed one says what to do."""

    status: str
    text: str


def main() -> int:
    """Prints the report.

    Returns:
        0 if what is installed works together, else 1. Missing optional packages are no failure.
    """
    failed = 0
    for name, (check, packages) in CHECKS.items():
        for status, text in _run(check, packages):
            failed += status == FAILED
            sys.stdout.write(f"{status:7}{name}: {text}\n")
            sys.stdout.flush()
    verdict = f"{failed} checks failed." if failed else "What is installed works together."
    sys.stdout.write(verdict + "\n")
    return 1 if failed else 0


def _run(check: Callable[[], Iterator[Line]], packages: str) -> Iterator[Line]:
    try:
        yield from check()
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        yield Line(
            FAILED,
            f"{type(error).__name__}: {first_line}. Reinstall: pip install --upgrade --force-reinstall {packages}",
        )


def check_versions() -> Iterator[Line]:
    """Python and the packages that take part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions = ", ".join(f"{package} {version}" for package, version in found.items())
    yield Line(OK, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {versions}")


def check_jax() -> Iterator[Line]:
    """JAX's devices, and whether a GPU is left unused."""
    devices = jax.devices()
    yield Line(OK, ", ".join(f"{device} ({device.device_kind})" for device in devices))
    if _gpu_of_jax() is None and os.path.exists("/dev/nvidia0"):
        forced = os.environ.get("JAX_PLATFORMS", "")
        remedy = "unset JAX_PLATFORMS" if forced == "cpu" else "pip install 'sldiff-jax[cuda]'"
        yield Line(NOTE, f"this machine has an NVIDIA GPU that JAX does not use: {remedy}")


def check_warp() -> Iterator[Line]:
    """One triangle by the embedded renderer, and Warp's devices."""
    mesh = sl.Mesh(np.array([[-0.2, -0.2, 0], [0.2, -0.2, 0], [0, 0.2, 0]], np.float32), np.array([[0, 1, 2]]))
    scene = sl.Scene(jnp.eye(4)[None].at[0, 2, 3].set(0.5), sl.Camera.from_fov(1.0, width=32, height=24))
    seen = int((sl.MeshRenderer([mesh])(scene).instance_index == 1).sum())
    if seen == 0:
        yield Line(
            FAILED, "the embedded renderer drew nothing: remove Warp's kernel cache (warp.config.kernel_cache_dir)"
        )
    else:
        yield Line(OK, f"the embedded renderer drew a triangle of {seen} pixels")
    import warp  # after the renderer, which starts it quietly

    yield Line(OK, ", ".join(str(device) for device in warp.get_devices()))


def check_torch() -> Iterator[Line]:
    """Torch's devices, and whether JAX has the same."""
    if importlib.util.find_spec("torch") is None:
        yield Line(NOTE, "not installed, interop is off: pip install 'sldiff-jax[torch]'")
        return
    import torch

    on_gpu, gpu = torch.cuda.is_available(), _gpu_of_jax()
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if on_gpu else []
    yield Line(OK, ", ".join(["cpu", *names]))
    if on_gpu and gpu is None:
        yield Line(FAILED, "torch has a GPU and JAX has none, GPU tensors cannot cross: pip install 'sldiff-jax[cuda]'")
    elif gpu is not None and not on_gpu:
        yield Line(
            FAILED,
            "JAX has a GPU and torch has none, JAX's arrays cannot cross: install torch for CUDA from pytorch.org, or "
            "set JAX_PLATFORMS=cpu",
        )


def check_zero_copy() -> Iterator[Line]:
    """Every dtype, in both directions, on every device that JAX and torch share."""
    if importlib.util.find_spec("torch") is None:
        return
    for device in _shared_devices():
        for direction, crosses in (("torch to JAX", _from_torch_shares), ("JAX to torch", _to_torch_shares)):
            shared, copied = [], []
            for name in NARROW + WIDE:
                with jax.enable_x64(True) if name in WIDE else contextlib.nullcontext():
                    (shared if crosses(name, device) else copied).append(name)
            if shared:
                yield Line(OK, f"{direction}, {device.platform}: {' '.join(shared)}")
            if copied:
                yield Line(
                    FAILED, f"{direction}, {device.platform}, copied or refused: {' '.join(copied)}. Convert the dtype."
                )


def check_callbacks() -> Iterator[Line]:
    """Torch inside a jitted function."""
    if importlib.util.find_spec("torch") is None:
        return
    from ._callbacks import tensor_of, torch_on_xla_stream

    def double(context: Any, out: Any, x: Any) -> None:
        with torch_on_xla_stream(context, x):
            tensor_of(out).copy_(tensor_of(x) * 2)

    for device in _shared_devices():
        x = jax.device_put(jnp.arange(3.0), device)
        doubled = jax.jit(buffer_callback(double, jax.ShapeDtypeStruct((3,), jnp.float32)))(x)
        if np.array_equal(doubled, [0, 2, 4]):
            yield Line(OK, f"torch works inside jit, {device.platform}")
        else:
            yield Line(
                FAILED, f"torch inside jit computes {doubled}, {device.platform}: install another version of jax"
            )


def check_memory() -> Iterator[Line]:
    """Whether JAX leaves GPU memory to torch and stillleben."""
    preallocates = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower() not in ("false", "0")
    if _gpu_of_jax() is None:
        yield Line(OK, "JAX takes memory as it needs it (no GPU)")
    elif preallocates and "XLA_PYTHON_CLIENT_ALLOCATOR" not in os.environ:
        share = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75")
        yield Line(
            NOTE,
            f"JAX takes {share} of the GPU's memory when it starts; if torch or stillleben run out of it, set "
            "XLA_PYTHON_CLIENT_PREALLOCATE=false",
        )
    else:
        yield Line(OK, "JAX takes GPU memory as it needs it")


def check_stillleben() -> Iterator[Line]:
    """Whether stillleben renders, by itself and inside jit; in a process of its own, since it may end that."""
    if importlib.util.find_spec("stillleben") is None:
        yield Line(NOTE, "not installed, sldiff_jax.MeshRenderer renders: build it from github.com/AIS-Bonn/stillleben")
        return
    command = [sys.executable, "-c", RENDER_WITH_STILLLEBEN]
    # This process may have taken most of the GPU's memory.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    except subprocess.TimeoutExpired:
        yield Line(FAILED, "did not render within two minutes: check the OpenGL driver (eglinfo)")
        return
    if done.returncode == 0:
        yield Line(OK, "imports, renders an object, eagerly and inside jit, and lets the program end")
        return
    if DREW in done.stdout:
        yield Line(
            FAILED,
            f"renders, but ends the program with exit code {done.returncode}: it is not the version that sldiff_jax "
            "knows, whose OpenGL context ends on the thread that made it; build its latest one",
        )
        return
    last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
    if "ModuleNotFoundError" in last:
        remedy = "install that module (cv2: pip install opencv-python-headless)"
    elif "ImportError" in last:
        remedy = "build it against the installed torch"
    elif "AssertionError" in last:
        remedy = "its images are not those of the version that sldiff_jax knows, build its latest one"
    else:
        remedy = "it needs EGL: apt install libegl1, eglinfo"
    yield Line(FAILED, f"does not render ({last}): {remedy}")


CHECKS = {
    "versions": (check_versions, "sldiff-jax"),
    "JAX": (check_jax, "jax jaxlib"),
    "Warp": (check_warp, "warp-lang"),
    "torch": (check_torch, "torch"),
    "zero copy": (check_zero_copy, "torch jax jaxlib"),
    "callbacks": (check_callbacks, "torch jax jaxlib"),
    "memory": (check_memory, "jax jaxlib"),
    "stillleben": (check_stillleben, "sldiff-jax"),
}


def _gpu_of_jax() -> Any | None:
    try:
        return jax.local_devices(backend="gpu")[0]
    except RuntimeError:
        return None


def _shared_devices() -> list:
    import torch

    gpu = _gpu_of_jax()
    cpus = jax.local_devices(backend="cpu")[:1]
    return cpus if gpu is None or not torch.cuda.is_available() else [*cpus, gpu]


def _from_torch_shares(name: str, device: Any) -> bool:
    import torch

    from .dlpack import from_torch, shares_memory

    where = "cpu" if device.platform == "cpu" else f"cuda:{device.local_hardware_id}"
    tensor = torch.ones(64, device=where).to(getattr(torch, name))
    try:
        array = from_torch(tensor, copy=False)
    except (ValueError, RuntimeError):
        return False
    return array.dtype.name == name and shares_memory(array, tensor)


def _to_torch_shares(name: str, device: Any) -> bool:
    from .dlpack import shares_memory, to_torch

    array = jax.device_put(jnp.ones(64, name), device)
    try:
        tensor = to_torch(array, copy=False)
    except (ValueError, RuntimeError):
        return False
    return str(tensor.dtype) == f"torch.{name}" and shares_memory(array, tensor)
