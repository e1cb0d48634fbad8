"""One thread that does the page's work, so that the page stays alive and nothing is computed twice at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

Job = Callable[[], None]


class Worker:
    """Does jobs one after the other, in a thread of its own.

    A job of the same name as one that waits takes its place: of a hundred poses on the way of a drag, those are drawn
    for which there is time.
    """

    def __init__(self, failed: Callable[[Exception], None]):
        """Starts the thread; `failed` is told what jobs raise."""
        self._failed = failed
        self._waiting: dict[str, Job] = {}
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sldiff-jax view", daemon=True)
        self._thread.start()

    def do(self, name: str, job: Job) -> None:
        """Adds a job. None is taken after `close`."""
        with self._changed:
            if not self._closed:
                self._waiting[name] = job
                self._changed.notify()

    def close(self, patience: float | None = None) -> bool:
        """Drops what waits, and returns when the job at hand is done: True; or after that many seconds."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:
                self._failed(error)

    def _next(self) -> Job | None:
        """The job that has waited longest; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None
