"""Where stillleben's objects live: the thread that made them, which must also use and release them.

Both kinds of home keep objects under a number, so that no other thread ever holds a reference to them: the last one
to be dropped decides on which thread an object is destroyed.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

_numbers = itertools.count()
_stranded: dict[int, tuple[threading.Thread, Any]] = {}


class OwnedThread:
    """A thread of its own that runs one function after another, whoever asks.

    Works from any thread: Python's, XLA's, and itself.
    """

    def __init__(self, name: str):
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._kept: dict[int, Any] = {}
        self._closed = False
        self._closing = threading.Lock()
        # A daemon: threads that Python itself joins have ended before the objects can be released at exit.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        atexit.register(self._close)

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Runs ``function(*args)`` on the thread and returns its result or raises its exception here.

        Raises:
            RuntimeError: if the thread has ended or is about to, because Python shuts down or this process was forked.
        """
        if threading.current_thread() is self._thread:
            return function(*args)
        done: concurrent.futures.Future[Result] = concurrent.futures.Future()
        # Nobody would do a job that comes behind the last one, and its caller would wait forever.
        with self._closing:
            if self._closed or not self._thread.is_alive():
                raise RuntimeError(
                    f"The thread {self._thread.name!r} has ended: Python is shutting down, or this process was forked."
                )
            self._jobs.put((function, args, done))
        return done.result()

    def keep(self, make: Callable[[], Any]) -> int:
        """Runs ``make()`` on the thread and keeps its result there, under the number that is returned."""

        def job() -> int:
            number = next(_numbers)
            self._kept[number] = make()
            return number

        return self.run(job)

    def use(self, number: int, function: Callable[..., Result], *args: Any) -> Result:
        """Runs ``function(kept object, *args)`` on the thread."""
        return self.run(lambda: function(self._kept[number], *args))

    def release(self, number: int) -> None:
        """Drops a kept object, on the thread, some time soon. Never waits: garbage collection may call this."""
        self._jobs.put((self._kept.pop, (number, None), None))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _run_job(*job)
            del job

    def _close(self) -> None:
        with self._closing:
            self._closed = True
        if self._thread.is_alive():
            self._jobs.put((self._kept.clear, (), None))
            self._jobs.put(None)
            self._thread.join(timeout=10)


def _run_job(function: Callable, args: tuple, done: concurrent.futures.Future | None) -> None:
    try:
        result = function(*args)
    except BaseException as error:
        if done is None:
            return
        # The frames hold the function's variables, which must not be released by whoever catches the exception.
        _clear_frames(error)
        done.set_exception(error)
    else:
        if done is not None:
            done.set_result(result)


def _clear_frames(error: BaseException) -> None:
    pending: list[BaseException | None] = [error]
    seen = set()
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            pending += (one.__cause__, one.__context__)


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
        number = next(_numbers)
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
