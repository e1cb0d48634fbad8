"""``sldiff-jax view``: move an object over its photo by hand, in the browser, and refine from there."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._bop_common import settings_of
from ._errors import InputError
from ._inputs import check_plausible, read_inputs, rendered_depth
from ._named_losses import parse_loss
from ._output import check_output
from ._photo_fit import Spread, fit_photo
from ._view.address import check_address, page_url
from ._view.page import Page
from ._view.session import Session
from .refine import check_options

if TYPE_CHECKING:
    import viser

PATIENCE = 5.0
"""Seconds that a step of a refinement has to end when the command is ended."""


def run(options: argparse.Namespace) -> int:
    """Reads, checks, and serves until a signal ends it."""
    steps = check_options(options)
    loss = None if options.loss is None else parse_loss(options.loss)
    check_output(options.output)
    if importlib.util.find_spec("viser") is None:
        raise InputError("The page needs viser: pip install 'sldiff-jax[viewer]'.")
    check_address(options.host, options.port)
    inputs = read_inputs(options)
    check_plausible(inputs, rendered_depth(inputs, inputs.T_camera_object))
    for note in inputs.notes:
        print(f"sldiff-jax: note: {note}", file=sys.stderr)
    fit = functools.partial(
        fit_photo, resolution=options.resolution, steps=steps, optimizer=options.optimizer, loss=loss,
        learning_rate=options.learning_rate,
        spread=Spread(options.hypotheses, options.spread_rotation, options.spread_translation, options.seed),
    )  # fmt: skip
    session = Session(inputs, fit, options.output, settings_of(options))
    with _ended_by_signal() as ended:
        with _served(options.host, options.port) as server:
            page = Page(server, session)
            url = page_url(options.host, server.get_port())
            print(f"sldiff-jax: open {url} in a browser. Ctrl-C ends it.", flush=True)
            ended.wait()
        done = page.close(PATIENCE)
    print("sldiff-jax: ended", flush=True)
    if not done:
        # XLA compiles, which nothing stops, and in a thread that must not outlive the interpreter.
        os._exit(0)
    return 0


@contextlib.contextmanager
def _served(host: str, port: int) -> Iterator[viser.ViserServer]:
    """The server, without its own words on the terminal."""
    import rich
    import viser

    rich.reconfigure(quiet=True)
    server = viser.ViserServer(host=host, port=port, verbose=False)
    try:
        if port not in (0, server.get_port()):  # taken since it was checked
            raise InputError(f"Port {port} of {host} is taken. Name another with --port; 0 takes any that is free.")
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set. A second one, while the work at hand is finished, ends the process."""
    ended = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(*_) -> None:
        restore()
        ended.set()

    for number in before:
        signal.signal(number, end)
    try:
        yield ended
    finally:
        restore()
