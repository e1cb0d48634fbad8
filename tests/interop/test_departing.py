"""Copies of exceptions that hold text and numbers alone."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import gc
import os
import subprocess
import sys
import traceback
import weakref

from interop._departing import departing


class Thing:
    """Must not leave."""

    def __repr__(self):
        return "<a thing>"


class Telling(Exception):
    """Says what it holds."""

    def __init__(self, thing, *, number):
        self.thing, self.number = thing, number

    def __str__(self):
        return f"{self.thing!r} number {self.number}"


class Slotted(Exception):
    __slots__ = ("thing",)


def slotted(thing):
    error = Slotted("with a slot")
    error.thing = thing
    raise error


def raises(error):
    raise error


def local(thing):
    class Local(LookupError):
        held = thing

    raise Local("made here")


def chained(thing):
    try:
        raise KeyError(thing)
    except KeyError as error:
        raise ValueError("from another") from error


ERRORS = {
    "an attribute of a thing": (lambda thing: thing.colour, AttributeError),
    "a key": (lambda thing: {}[thing], KeyError),
    "an argument": (lambda thing: raises(ValueError("of", thing, 3)), ValueError),
    "a list of arguments": (lambda thing: raises(ValueError(["of", (thing,)])), ValueError),
    "its own attribute": (lambda thing: raises(Telling(thing, number=3)), Telling),
    "a slot": (slotted, Slotted),
    "a class of a function": (local, LookupError),
    "a chain": (chained, ValueError),
    "a group": (lambda thing: raises(ExceptionGroup("of", [ValueError(thing), KeyError("a")])), ExceptionGroup),
    "a file": (lambda thing: os.stat("/nowhere/" + str(thing)), FileNotFoundError),
    "two files": (lambda thing: os.rename("/nowhere/a", "/nowhere/b"), FileNotFoundError),
    "an exit": (lambda thing: sys.exit(3), SystemExit),
    "an exit with a thing": (lambda thing: raises(SystemExit(thing)), SystemExit),
    "a stop": (lambda thing: raises(StopIteration(thing)), StopIteration),
    "bytes": (lambda thing: b"\xff".decode(), UnicodeDecodeError),
    "a module": (lambda thing: __import__("nowhere"), ModuleNotFoundError),
    "a name": (lambda thing: nowhere, NameError),
    "syntax": (lambda thing: compile("a b", "file", "exec"), SyntaxError),
    "a process": (lambda thing: subprocess.run([sys.executable, "-c", "1/0"], check=True, stderr=-1), Exception),
}


@pytest.mark.parametrize("case", ERRORS)
def test_type_and_text_stay_and_things_do_not(case):
    fails, kind = ERRORS[case]
    gc.disable()  # what goes must not need it

    def caught() -> tuple[BaseException, str, str, weakref.ref]:
        thing = Thing()
        try:
            fails(thing)
        except BaseException as error:
            text, history = str(error), traceback.format_exc()
            return departing(error, "here"), text, history, weakref.ref(thing)
        raise AssertionError

    try:
        copy, text, history, reference = caught()
        if case == "a class of a function":
            gc.collect()  # every class is a cycle
        assert reference() is None
    finally:
        gc.enable()
    assert isinstance(copy, kind) and str(copy) == text
    assert copy.__traceback__ is copy.__cause__ is copy.__context__ is None
    (note,) = copy.__notes__
    assert (
        note.startswith("On the thread 'here':\n")
        and "Traceback (most" in note
        and note.endswith(history.splitlines()[-1])
    )
    with pytest.raises(kind):
        raise copy


def test_what_built_in_exceptions_tell_stays():
    def copy_of(function):
        try:
            function()
        except BaseException as error:
            return departing(error, "here")

    missing = copy_of(lambda: os.stat("/nowhere/at/all"))
    assert (missing.errno, missing.filename) == (2, "/nowhere/at/all")
    assert copy_of(lambda: sys.exit(3)).code == 3
    assert copy_of(lambda: __import__("nowhere")).name == "nowhere"
    assert copy_of(lambda: b"\xff".decode()).start == 0
    assert copy_of(lambda: Thing().colour).name == "colour" and copy_of(lambda: Thing().colour).obj is None
    assert copy_of(lambda: raises(Telling("it", number=3))).number == 3
    assert copy_of(lambda: compile("a b", "file", "exec")).lineno == 1


def test_an_exception_that_somebody_keeps_is_emptied():
    def caught():
        thing = Thing()
        try:
            try:
                raise KeyError("first")
            except KeyError:
                return thing.colour
        except AttributeError as error:
            departing(error, "here")
            return error, weakref.ref(thing)

    error, reference = caught()
    assert reference() is None and error.__context__ is None


def test_an_exception_whose_text_fails_comes_back():
    class Broken(ValueError):
        def __str__(self):
            raise KeyError

    copy = departing(Broken(1), "here")
    assert isinstance(copy, ValueError) and "cannot be shown: KeyError" in str(copy)
