"""Set-up of the tests at the torch boundary: torch is there, stillleben is a stand-in."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'sldiff-jax[torch]'")

import torch  # noqa: E402
from fake_stillleben import FakeStillleben  # noqa: E402


class Boundary(NamedTuple):
    """The stand-in, and the module of `StilllebenRenderer` that imported it."""

    stillleben: FakeStillleben
    module: ModuleType

    @property
    def Renderer(self) -> type:  # noqa: N802
        return self.module.StilllebenRenderer


@pytest.fixture(autouse=True, scope="package")
def one_thread_of_torch() -> Iterator[None]:
    """Torch's threads wait actively, and take the CPU from XLA's and from other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[False], ids=["heap"])
def boundary(request, monkeypatch) -> Iterator[Boundary]:
    """A stand-in for stillleben. Fails the test if the real one would have ended the process.

    Parametrise indirectly with True for images aligned as on a GPU.
    """
    fake = FakeStillleben(aligned=request.param)
    monkeypatch.setitem(sys.modules, "stillleben", fake)
    monkeypatch.delitem(sys.modules, "interop._stillleben_renderer", raising=False)
    module = importlib.import_module("interop._stillleben_renderer")
    monkeypatch.setattr(module, "has_current_context", fake.has_current_context)
    yield Boundary(fake, module)
    gc.collect()
    if module._make_thread.cache_info().currsize:
        module._stillleben_thread().run(lambda: None)  # what was released is released by then
    assert fake.deaths == []
