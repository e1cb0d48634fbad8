# type: ignore -- Warp's language: annotations are calls, operators are its own
"""Structs in the signatures of the functions that XLA calls, which know arrays and numbers only."""

import inspect


def entry_point(function):
    """`function` with each argument that is a Warp struct replaced by the struct's arrays, ``argument_field`` by name.

    That is what `warp.jax_callable` reads: it asks for the signature and the annotations.
    """
    groups, parameters = [], []
    for parameter in inspect.signature(function).parameters.values():
        struct = parameter.annotation if hasattr(parameter.annotation, "cls") else None
        fields = {parameter.name: parameter.annotation}
        if struct is not None:
            fields = {f"{parameter.name}_{name}": kind for name, kind in struct.cls.__annotations__.items()}
        groups.append((struct, len(fields)))
        parameters += [inspect.Parameter(name, parameter.kind, annotation=kind) for name, kind in fields.items()]

    def flat(*arguments):
        remaining = iter(arguments)
        function(*(_gathered(struct, [next(remaining) for _ in range(count)]) for struct, count in groups))

    flat.__name__ = flat.__qualname__ = function.__name__
    flat.__doc__, flat.__module__ = function.__doc__, function.__module__
    flat.__signature__ = inspect.Signature(parameters)
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _gathered(struct, values):
    if struct is None:
        return values[0]
    instance = struct()
    for name, value in zip(struct.cls.__annotations__, values, strict=True):
        setattr(instance, name, value)
    return instance
