"""Set-up of the tests at the torch boundary: stillleben is a stand-in. Loads torch on use, since it may be missing."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    from fake_stillleben import FakeStillleben


class Boundary(NamedTuple):
    """The stand-in, and the module of `StilllebenRenderer` that uses it."""

    stillleben: FakeStillleben
    module: ModuleType

    @property
    def Renderer(self) -> type:
        return self.module.StilllebenRenderer


@pytest.fixture(autouse=True, scope="package")
def one_thread_of_torch() -> Iterator[None]:
    """Torch's threads wait actively, and take the CPU from XLA's and from other processes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def renderer_module() -> Iterator[tuple[ModuleType, list[FakeStillleben]]]:
    """The module of `StilllebenRenderer`, imported where stillleben can be, and the stand-ins of all tests."""
    from fake_stillleben import FakeStillleben

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "stillleben", FakeStillleben())
        patch.delitem(sys.modules, "interop._stillleben_renderer", raising=False)
        module = importlib.import_module("interop._stillleben_renderer")
    sys.modules.pop("interop._stillleben_renderer", None)
    fakes: list[FakeStillleben] = []
    yield module, fakes
    gc.collect()
    flush(module)
    assert [fake.deaths for fake in fakes if fake.deaths] == []


@pytest.fixture(params=[False], ids=["heap"])
def boundary(request, renderer_module, monkeypatch) -> Iterator[Boundary]:
    """A new stand-in for stillleben. Fails the test if the real one would have ended the process.

    Parametrise indirectly with True for images aligned as on a GPU.
    """
    from fake_stillleben import FakeStillleben

    module, fakes = renderer_module
    fakes.append(fake := FakeStillleben(aligned=request.param))
    monkeypatch.setattr(module, "stillleben", fake)
    monkeypatch.setattr(module, "has_current_context", fake.has_current_context)
    yield Boundary(fake, module)
    flush(module)
    assert fake.deaths == []


@pytest.fixture
def recorded(boundary, golden) -> Callable[[str], tuple[Any, Any, dict[str, np.ndarray]]]:
    """A recorded scene behind stillleben's methods: scene, its render result, and the recorded arrays."""
    from fake_stillleben import recorded_stage

    def load(name: str):
        data = golden(name).data
        boundary.stillleben.init()
        scene, render_pass = recorded_stage(boundary.stillleben, data)
        return scene, render_pass.render(scene), data

    return load


def flush(module: ModuleType) -> None:
    """Waits until what was released on stillleben's thread is gone."""
    if module._make_thread.cache_info().currsize:
        module._stillleben_thread().run(lambda: None)
