"""The thread that makes a renderer as the home of its objects, as `OwnedThread` is one that we make."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ._owned_thread import Result, numbers

_stranded: dict[int, tuple[threading.Thread, Any]] = {}


class ThisThread:
    """The thread that makes this object. Other threads get an error."""

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self._kept: dict[int, Any] = {}

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Runs ``function(*args)``.

        Raises:
            RuntimeError: on another thread.
        """
        if threading.current_thread() is not self._thread:
            raise RuntimeError(
                f"This renderer belongs to the thread {self._thread.name!r}, which made it, and was called on "
                f"{threading.current_thread().name!r}, where stillleben would end the process. Use "
                "StilllebenRenderer.build(factory), which works on any thread."
            )
        _release_stranded()
        return function(*args)

    def keep(self, make: Callable[[], Any]) -> int:
        """Keeps ``make()`` under the number that is returned."""
        number = next(numbers)
        self._kept[number] = self.run(make)
        return number

    def use(self, number: int, function: Callable[..., Result], *args: Any) -> Result:
        """Runs ``function(kept object, *args)``.

        Raises:
            RuntimeError: on another thread.
        """
        return self.run(lambda: function(self._kept[number], *args))

    def release(self, number: int) -> None:
        """Drops a kept object; on another thread only once this one uses any object of its own again."""
        _stranded[number] = (self._thread, self._kept.pop(number, None))
        _release_stranded()


def _release_stranded() -> None:
    for number, (thread, _) in list(_stranded.items()):
        if thread is threading.current_thread():
            _stranded.pop(number, None)
