# type: ignore -- Warp's language: annotations are calls, operators are its own
"""Functions that XLA calls: structs in their signatures, and scenes that are spread over the threads of a CPU."""

import inspect

import warp as wp

from ..threads import share


def entry_point(*shared):
    """Makes a function with each argument that is a Warp struct replaced by the struct's arrays, ``argument_field``.

    That is what `warp.jax_callable` reads: it asks for the signature and the annotations. On a CPU the function is
    called once per thread, with as many of the scenes.

    Args:
        shared: names of the arguments that all scenes share. All other arrays begin with an axis of scenes.
    """

    def make(function):
        groups, parameters = [], []
        for parameter in inspect.signature(function).parameters.values():
            struct = parameter.annotation if hasattr(parameter.annotation, "cls") else None
            fields = {parameter.name: parameter.annotation}
            if struct is not None:
                fields = {f"{parameter.name}_{name}": kind for name, kind in struct.cls.__annotations__.items()}
            groups.append((struct, len(fields), parameter.name not in shared))
            parameters += [inspect.Parameter(name, parameter.kind, annotation=kind) for name, kind in fields.items()]

        def flat(*arguments):
            remaining = iter(arguments)
            values = [([next(remaining) for _ in range(count)], struct, own) for struct, count, own in groups]
            arrays = [array for parts, _, own in values if own for array in parts if isinstance(array, wp.array)]

            def run(first, end):
                function(*(_gathered(parts, struct, (first, end) if own else None) for parts, struct, own in values))

            if arrays[0].device.is_cpu and arrays[0].shape[0] > 1:
                share(arrays[0].shape[0], run)
            else:
                run(0, arrays[0].shape[0])

        flat.__name__ = flat.__qualname__ = function.__name__
        flat.__doc__, flat.__module__ = function.__doc__, function.__module__
        flat.__signature__ = inspect.Signature(parameters)
        flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return flat

    return make


def _gathered(parts, struct, scenes):
    """An argument from its arrays: those of a range of scenes, if there is one."""
    if scenes is not None:
        parts = [_scenes_of(part, *scenes) for part in parts]
    if struct is None:
        return parts[0]
    instance = struct()
    for name, value in zip(struct.cls.__annotations__, parts, strict=True):
        setattr(instance, name, value)
    return instance


def _scenes_of(part, first, end):
    if not isinstance(part, wp.array) or not part.size or end - first == part.shape[0]:
        return part
    return part[first:end]
