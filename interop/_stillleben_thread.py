"""The one thread that all of stillleben's objects share."""

from __future__ import annotations

import functools
import threading

from ._owned_thread import OwnedThread

_making = threading.Lock()


def stillleben_thread() -> OwnedThread:
    """The thread, started on first use."""
    with _making:
        return make_thread()


@functools.cache
def make_thread() -> OwnedThread:
    """The same, for one caller at a time."""
    return OwnedThread("stillleben")
