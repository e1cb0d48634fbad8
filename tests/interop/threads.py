"""Work on other threads, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def on_another_thread(function: Callable, *args: Any) -> Any:
    """Runs a function on a new thread; its result or exception. Fails if it does not come back."""
    outcome = []

    def run():
        try:
            outcome.append(function(*args))
        except BaseException as error:
            error.__traceback__ = None  # its frames hold objects that belong to the thread
            outcome.append(error)

    thread = threading.Thread(target=run, name="another", daemon=True)
    thread.start()
    thread.join(timeout=300)
    assert outcome, "deadlock"
    return outcome[0]


def run_in_two_threads(work: Callable[[int], None]) -> None:
    """Runs ``work(0)`` and ``work(1)`` at once; fails if one of them fails or does not come back."""
    errors, start = [], threading.Barrier(2)

    def run(number: int):
        try:
            start.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "deadlock"
    assert errors == []
