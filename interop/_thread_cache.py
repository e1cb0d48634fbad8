"""Keeping stillleben's objects from one factory to the next."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from ._stillleben_thread import stillleben_thread

Parameters = ParamSpec("Parameters")
Thing = TypeVar("Thing")


class thread_cache(Generic[Parameters, Thing]):
    """`functools.cache` for stillleben's objects, such as the meshes that several scenes share.

    What the function returns is kept on stillleben's thread. So it can be called where that runs, in a factory of
    `StilllebenRenderer.build`, and nowhere else. Use it as a decorator:

        @thread_cache
        def mesh(path):
            return stillleben.Mesh(path, physics=False)

    The objects live until `clear` is called, the decorated function is dropped, or the program ends.
    """

    def __init__(self, function: Callable[Parameters, Thing]):
        """Decorates a function whose arguments have hashes."""
        functools.update_wrapper(self, function)
        self._function = function
        self._release: weakref.finalize | None = None
        self._number = 0

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Thing:
        """What the function returned when it was first called with these arguments.

        Raises:
            RuntimeError: on another thread than stillleben's.
        """
        home = stillleben_thread()
        if not home.is_here():
            name = getattr(self._function, "__name__", "a function")
            raise RuntimeError(
                f"{name} keeps stillleben's objects, which must not leave their thread. Call it in the factory that "
                "you give to StilllebenRenderer.build."
            )
        if self._release is None:
            self._number = home.keep(dict)
            self._release = weakref.finalize(self, home.release, self._number)
        key = (args, tuple(sorted(kwargs.items())))

        def look_up(known: dict[Any, Thing]) -> Thing:
            if key not in known:
                known[key] = self._function(*args, **kwargs)
            return known[key]

        return home.use(self._number, look_up)

    def clear(self) -> None:
        """Drops what is kept, on any thread. Scenes that use it keep it alive."""
        if self._release is not None:
            self._release()
            self._release = None
