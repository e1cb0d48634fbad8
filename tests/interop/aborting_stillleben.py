"""The stand-in for stillleben as hard as the real one: what would end the process does. For processes of their own.

As in the real library, every object shares in the OpenGL context, and so does a capsule in the module of its bindings;
the context ends with the last of them, and itself holds meshes once an object was made. Whatever touches OpenGL on a
thread without the context, the end of these meshes included, calls abort().
"""

from __future__ import annotations

import os
import sys
import threading
import types
from types import ModuleType

import fake_stillleben
from fake_stillleben import FakeStillleben


class Context:
    """What the objects share in."""

    def __init__(self):
        self.thread: threading.Thread | None = None
        self.shares = 0
        self.has_meshes = False

    def release(self, what: str, current_thread=threading.current_thread) -> None:
        """One share less. The capsule alone may go anywhere, unless it is the last and the meshes go with it."""
        self.shares -= 1
        harmless = what == "the capsule" and not (self.shares == 0 and self.has_meshes)
        if self.thread is not None and current_thread() is not self.thread and not harmless:
            _abort(f"release of {what} on {current_thread().name}")


class Capsule:
    """``_cleanup``."""

    def __init__(self, context: Context):
        self.context = context
        context.shares += 1

    def __del__(self):
        self.context.release("the capsule")


class AbortingStillleben(FakeStillleben):
    """The package, with its bindings in ``lib.libstillleben_python``."""

    def __init__(self):
        super().__init__()
        self.context = Context()
        self.lib = types.ModuleType("stillleben.lib")
        self.lib.libstillleben_python = types.ModuleType("stillleben.lib.libstillleben_python")
        self.lib.libstillleben_python._cleanup = Capsule(self.context)
        for kind in ("Mesh", "Object", "Scene", "RenderPass", "RenderPassResult"):
            setattr(self, kind, _counted(getattr(self, kind), self.context))

    def init(self) -> None:
        super().init()
        self.context.thread = self.thread

    def dies(self, why: str) -> None:
        _abort(why)


def _counted(kind: type, context: Context) -> type:
    class Counted(kind):
        def __new__(cls, *args, **options):
            context.shares += 1
            context.has_meshes |= kind.__name__ == "Object"
            return super().__new__(cls)

        def __del__(self):
            context.release(f"a {kind.__name__}")

    Counted.__name__ = Counted.__qualname__ = kind.__name__
    return Counted


def _abort(why: str, write=os.write, abort=os.abort) -> None:
    write(2, f"Fatal: {why}: no current context\n".encode())
    abort()


def install() -> tuple[AbortingStillleben, ModuleType]:
    """The stand-in in place of stillleben, and the module of `StilllebenRenderer` that uses it."""
    sys.modules["stillleben"] = stillleben = AbortingStillleben()
    sys.modules["stillleben.lib"] = stillleben.lib
    sys.modules["stillleben.lib.libstillleben_python"] = stillleben.lib.libstillleben_python
    import interop._stillleben_renderer as module

    module.has_current_context = stillleben.has_current_context
    return stillleben, module


def stage(stillleben: AbortingStillleben, **options):
    """Scene and render pass."""
    return fake_stillleben.ray_cast_stage(stillleben, viewport=(16, 12), **options)
