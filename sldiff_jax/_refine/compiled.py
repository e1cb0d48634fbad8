"""Compiling functions of arrays and of everything else, so that what is compiled goes when its other arguments go.

`jax.jit` and `equinox.filter_jit` keep static arguments, and the structure of all arguments, in caches that live as
long as the process: a loss or a renderer that was one of them, or a static field of one, is never let go. Here these
caches see arrays alone.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import equinox as eqx
import jax

ROOM = 32
"""How many programs are kept: each is some 10 MB and 400 memory mappings, of which Linux allows a process 65,530."""


class Program(NamedTuple):
    """A compiled function.

    Attributes:
        run: calls it.
        bytes_needed: what it would allocate, temporary memory and results; compiles it for these arguments.
    """

    run: Callable[..., Any]
    bytes_needed: Callable[..., int]

    def __call__(self, *args: Any) -> Any:
        """What the function returns."""
        return self.run(*args)


_kept: collections.OrderedDict[Hashable, tuple[Program, list[weakref.ref]]] = collections.OrderedDict()
_ARRAY = "array"
_lock = threading.RLock()  # a weak reference may die, and call back, while its own thread holds the lock


def program(function: Callable[..., Any]) -> Program:
    """``function(*args)``, compiled; the arguments may be any pytrees, what it returns must be arrays.

    Arrays are traced. All else must be equal in all calls, and is looked at only when one of them compiles: the program
    itself refers to none of it, unless a traced callback or custom derivative does.
    """
    call = threading.local()

    @jax.jit
    def traced(arrays: list) -> Any:
        constants, structure = call.rest
        leaves = [constant if array is None else array for array, constant in zip(arrays, constants)]
        return function(*jax.tree.unflatten(structure, leaves))

    def with_arrays(use: Callable[[list], Any], args: tuple[Any, ...]) -> Any:
        leaves, structure = jax.tree.flatten(args)
        is_array = [eqx.is_array(leaf) for leaf in leaves]
        call.rest = [None if array else leaf for leaf, array in zip(leaves, is_array)], structure
        try:
            return use([leaf if array else None for leaf, array in zip(leaves, is_array)])
        finally:
            del call.rest

    def bytes_needed(arrays: list) -> int:
        size = traced.lower(arrays).compile().memory_analysis()
        return 0 if size is None else size.temp_size_in_bytes + size.output_size_in_bytes

    return Program(lambda *args: with_arrays(traced, args), lambda *args: with_arrays(bytes_needed, args))


def kept_program(function: Callable[..., Any]) -> Program:
    """As `program`, but what is compiled serves others made of the same function, too.

    It is found again by the arguments that are no arrays: functions and other objects without an equality of their own
    by identity, all else by value. The former are held weakly, and their programs go when they do. Of the rest those
    that were used last are kept, `ROOM` of them. Arguments without a hash are found again by this program alone.
    """
    own = program(function)

    def found(*args: Any) -> Program:
        mortal: list[Any] = []
        try:
            key = (function, *(_description(arg, mortal) for arg in args))
            hash(key)
        except TypeError:
            return own
        with _lock:
            if key not in _kept:
                _kept[key] = program(function), _watches(key, mortal)
            _kept.move_to_end(key)
            kept = _kept[key][0]
            while len(_kept) > ROOM:
                _kept.popitem(last=False)
        return kept

    return Program(lambda *args: found(*args).run(*args), lambda *args: found(*args).bytes_needed(*args))


def _watches(key: Hashable, mortal: list[Any]) -> list[weakref.ref]:
    """Forget the program as soon as one of these objects dies, as long as what is returned is there."""

    def forget(_: weakref.ref) -> None:
        with _lock:
            _kept.pop(key, None)

    return [weakref.ref(one, forget) for one in mortal]


def _description(argument: Any, mortal: list[Any], static: bool = False) -> Hashable:
    """What an argument is apart from its arrays. The objects in it that are held weakly join `mortal`.

    Args:
        argument: any pytree.
        mortal: is extended.
        static: whether arrays are constants, too: they have no hash then.
    """
    if isinstance(argument, eqx.Module):
        fields = (
            _description(getattr(argument, field.name, None), mortal, static or field.metadata.get("static", False))
            for field in dataclasses.fields(argument)
        )
        return (_leaf(type(argument), mortal), *fields)
    # One level only: a Module inside describes itself, since its own structure holds its static fields.
    level = None if argument is None else jax.tree_util.default_registry.flatten_one_level(argument)
    if level is not None:
        children, structure = level
        if isinstance(structure, weakref.ref) and (referent := structure()) is not None:
            mortal.append(referent)
        parts = (_description(child, mortal, static) for child in children)
        return (_leaf(type(argument), mortal), structure, *parts)
    return _ARRAY if eqx.is_array(argument) and not static else _leaf(argument, mortal)


def _leaf(leaf: Any, mortal: list[Any]) -> Hashable:
    if callable(leaf) or type(leaf).__eq__ is object.__eq__:
        try:
            reference = weakref.ref(leaf)
        except TypeError:  # not of every type there are weak references
            return type(leaf), leaf
        mortal.append(leaf)
        return reference
    return type(leaf), leaf
