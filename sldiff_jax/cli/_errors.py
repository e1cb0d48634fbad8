"""The one kind of error that the command reports without a traceback."""


class InputError(Exception):
    """Something that the user gave is wrong. The message is one line: what was expected, what came, what to do."""
