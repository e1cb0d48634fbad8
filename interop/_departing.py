"""Exceptions that leave a thread without anything of what lives there."""

from __future__ import annotations

import builtins
import contextlib
import sys
import traceback
import types
from typing import Any

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_MEMBERS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_THINGS = ("args", "obj", "exceptions")  # the object that lacks an attribute; the members of a group


def departing(error: BaseException, thread: str) -> BaseException:
    """A copy that holds text and numbers alone: type, message, plain attributes, and the formatted traceback as a note.

    Frames, causes, contexts and attributes such as `AttributeError.obj` keep objects alive. The original is emptied of
    them, too, in case something refers to it.

    Args:
        error: as it was raised.
        thread: the name of the thread on which that was.
    """
    history = "".join(traceback.format_exception(error)).rstrip()
    copy = _copy(error)
    _empty(error)
    copy.add_note(f"On the thread {thread!r}:\n{history}")
    return copy


class _Shown(str):
    """Stands for an object whose representation it is."""

    def __repr__(self) -> str:
        return str(self)


def _copy(error: BaseException) -> BaseException:
    kind, text = _known_type(type(error)), _text_of(error)
    try:
        copy = _made_of_plain_parts(kind, error)
        if _text_of(copy) != text:
            speaking = type(kind.__name__, (kind,), {"__str__": lambda self: text, "__module__": kind.__module__})
            copy = _made_of_plain_parts(speaking, error)
    except Exception:  # a type that cannot be made of its arguments
        return RuntimeError(f"{type(error).__name__}: {text}")
    return copy


def _made_of_plain_parts(kind: type[BaseException], error: BaseException) -> BaseException:
    args = _plain(error.args)
    if isinstance(error, BaseExceptionGroup):
        args = (error.message, [_copy(member) for member in error.exceptions])
    copy = kind.__new__(kind, *args)
    # The constructors of built-in types set more than args; those of others may want other arguments.
    builtin = next(base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
    builtin.__init__(copy, *args)
    for name in _plain_members(builtin):
        if (value := getattr(error, name, None)) is not None:
            with contextlib.suppress(AttributeError):  # some cannot be set
                setattr(copy, name, _plain(value))
    for name, value in vars(error).items():
        if name != "__notes__" and _is_plain(value):
            setattr(copy, name, value)
    for note in getattr(error, "__notes__", ()):
        copy.add_note(str(note))
    return copy


def _known_type(kind: type[BaseException]) -> type[BaseException]:
    """The type, or its first base that is a module's: a type that a function made may hold what that had at hand."""
    for base in kind.__mro__:
        found: Any = sys.modules.get(base.__module__)
        for name in base.__qualname__.split("."):
            found = getattr(found, name, None)
        if found is base:
            return base
    return BaseException


def _plain_members(kind: type) -> list[str]:
    """What the constructor of a built-in exception leaves out or names: errno, code, value, name, ..."""
    members = {name for base in kind.__mro__ for name, member in vars(base).items() if isinstance(member, _MEMBERS)}
    return sorted(name for name in members if not name.startswith("__") and name not in _THINGS)


def _plain(value: Any) -> Any:
    """The value, with text for everything that is more than text or a number."""
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    if isinstance(value, str):
        return "".join([value])  # of a derived type
    return value if type(value) in _PLAIN else _Shown(repr(value))


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if type(value) in (tuple, list) else type(value) in _PLAIN


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"<its text cannot be shown: {type(failure).__name__}>"


def _empty(error: BaseException) -> None:
    pending: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while pending:
        one = pending.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        traceback.clear_frames(one.__traceback__)
        pending += (one.__cause__, one.__context__, *getattr(one, "exceptions", ()))
    for one in seen:
        one.__traceback__ = one.__cause__ = one.__context__ = None
        if isinstance(one, AttributeError):
            one.obj = None
