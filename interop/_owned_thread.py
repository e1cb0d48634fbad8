"""A thread of its own for objects that only the thread that made them may use and release: stillleben's.

It keeps them under a number, so that no other thread ever holds a reference to them: the last one to be dropped decides
on which thread an object is destroyed.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import ctypes
import functools
import gc
import itertools
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ._departing import departing

Result = TypeVar("Result")

PATIENCE = 60
"""Seconds for which the end of the program waits for the job that the thread is doing."""

numbers = itertools.count()
_threads: weakref.WeakSet[OwnedThread] = weakref.WeakSet()


class OwnedThread:
    """A thread of its own that runs one function after another, whoever asks.

    Works from any thread: Python's, XLA's, and itself. Exceptions come back as copies without objects (`departing`).
    When the program ends, the last job drops all that is kept, on the thread. In a forked process, which has not got
    the thread, nothing of it is ever destroyed.
    """

    def __init__(self, name: str):
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._kept: dict[int, Any] = {}
        self._kept_longest: list[Any] = []
        self._closed = False
        self._closing = threading.Lock()
        # A daemon: threads that Python itself joins have ended before the objects can be released at exit.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        atexit.register(self._close)
        _threads.add(self)
        _watch_forks()

    def is_here(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Runs ``function(*args)`` on the thread and returns its result or raises its exception here.

        Raises:
            RuntimeError: if the thread has ended or is about to, because Python shuts down or this process was forked.
        """
        return self._run(function, args)

    def _run(self, function: Callable[..., Result], args: tuple, makes_garbage: bool = False) -> Result:
        if self.is_here():
            return function(*args)
        done: concurrent.futures.Future[Result] = concurrent.futures.Future()
        # Nobody would do a job that comes behind the last one, and its caller would wait forever.
        with self._closing:
            if self._closed or not self._thread.is_alive():
                raise RuntimeError(
                    f"The thread {self._thread.name!r} has ended: Python is shutting down, or this process was forked."
                )
            self._jobs.put(_Job(function, args, done, makes_garbage))
        return done.result()

    def keep(self, make: Callable[[], Any]) -> int:
        """Runs ``make()`` on the thread and keeps its result there, under the number that is returned."""

        def job() -> int:
            number = next(numbers)
            self._kept[number] = make()
            return number

        return self._run(job, (), makes_garbage=True)

    def keep_longest(self, thing: Any) -> None:
        """Keeps a thing until all else is gone. To be called on the thread."""
        assert self.is_here()
        self._kept_longest.append(thing)

    def use(self, number: int, function: Callable[..., Result], *args: Any) -> Result:
        """Runs ``function(kept object, *args)`` on the thread."""
        return self.run(lambda: function(self._kept[number], *args))

    def release(self, number: int) -> None:
        """Drops a kept object, on the thread, some time soon. Never waits: garbage collection may call this."""
        self._jobs.put(_Job(self._kept.pop, (number, None)))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(job, self._thread.name)
            del job

    def _close(self) -> None:
        with self._closing:
            self._closed = True
        if not self._thread.is_alive():
            return
        self._jobs.put(_Job(self._drop_all))
        self._jobs.put(None)
        try:
            self._thread.join(timeout=PATIENCE)
        finally:  # also on ctrl-c
            if self._thread.is_alive():
                self._abandon()

    def _drop_all(self) -> None:
        self._kept.clear()
        gc.collect()
        self._kept_longest.clear()

    def _abandon(self) -> None:
        """Sees to it that nothing that is kept is ever destroyed: it would be on another thread."""
        self._closed = True
        self._closing = threading.Lock()  # whoever held it may not be in this process
        for things in (self._kept, self._kept_longest):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(things))


@functools.cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: [thread._abandon() for thread in _threads])


class _Job(NamedTuple):
    """A function, its arguments, who waits for it, and whether cycles become garbage while it runs."""

    function: Callable
    args: tuple = ()
    done: concurrent.futures.Future | None = None
    makes_garbage: bool = False


def _do(job: _Job, thread: str) -> None:
    result = failure = None
    with _garbage_stays_here() if job.makes_garbage else contextlib.nullcontext():
        try:
            result = job.function(*job.args)
        except BaseException as error:
            failure = departing(error, thread)
    if failure is None:
        if job.done is not None:
            job.done.set_result(result)
        return
    if not job.makes_garbage:
        gc.collect()  # what the exception held in a cycle must not wait for a collection on another thread
    if job.done is None:
        logging.getLogger(__name__).error("A job of the thread %r failed.", thread, exc_info=failure)
    else:
        job.done.set_exception(failure)


@contextlib.contextmanager
def _garbage_stays_here() -> Iterator[None]:
    """Cycles that become garbage inside are collected on this thread, not by chance on another one."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        if enabled:
            gc.enable()
