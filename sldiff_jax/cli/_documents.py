"""Reading documents that describe cameras and poses: JSON, YAML, or a matrix as text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from .._images.open_image import existing_file
from ._errors import InputError


def read_document(path: Path, what: str) -> Any:
    """The contents of a JSON or YAML file, or of a text file of numbers; an InputError if it is none of these.

    Args:
        path: the file. Its contents say what it is, not its name. Of YAML, OpenCV's dialect is understood too.
        what: its role, for messages.

    Returns:
        Dictionaries, lists, numbers and strings. A text of numbers gives a list of rows.
    """
    name = f"{what} {path}"
    try:
        text = existing_file(path, what).read_bytes().decode("utf-8-sig").lstrip()
    except UnicodeDecodeError:
        raise InputError(f"{name} is not a text file; JSON, YAML or a matrix of numbers is expected.") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(str(error)) from None
    if not text.strip():
        raise InputError(f"{name} is empty; JSON, YAML or a matrix of numbers is expected.")
    if text.startswith("<"):
        raise InputError(f"{name} is XML, which is not understood. Save it as JSON or YAML.")
    rows = _rows(text)
    if rows is not None:
        return rows
    try:
        return json.loads(text) if text[0] in "{[" else _load_yaml(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{name} is not valid JSON: {error.msg} in line {error.lineno}.") from None
    except ImportError:
        raise InputError(f"{name} is YAML, which needs the package PyYAML: pip install pyyaml.") from None
    except Exception as error:  # YAML's, numbers too long to convert, lists nested too deeply
        raise InputError(f"{name} cannot be understood as JSON, YAML or a matrix of numbers: {error}.") from None


def numbers(value: Any, what: str, path: Path) -> Float[np.ndarray, "..."]:
    """Nested lists of finite numbers as an array; OpenCV's and ROS's matrices, ``{"rows", "cols", "data"}``, too."""
    shape = None
    if isinstance(value, dict) and {"rows", "cols", "data"} <= value.keys():
        shape, value = (value["rows"], value["cols"]), value["data"]
    try:
        array = np.asarray(value, dtype=np.float64)
        array = array if shape is None else array.reshape(shape)
    except (TypeError, ValueError, OverflowError):
        array = np.full(1, np.nan)
    if isinstance(value, str | bool) or not np.isfinite(array).all():
        raise InputError(f"In {path}, {what} must be numbers in lists of equal length, got {shown(value)}.")
    return array


def number(value: Any, what: str, path: Path) -> float:
    """A finite number."""
    if not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < 1e300:
        return float(value)
    raise InputError(f"{what} in {path} must be a number, got {shown(value)}.")


def shown(value: Any) -> str:
    """The beginning of a value, for messages."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _rows(text: str) -> list[list[float]] | None:
    """The lines of a text that holds numbers alone; comments begin with #."""
    lines = (line.partition("#")[0].replace(",", " ").split() for line in text.splitlines())
    try:
        return [[float(word) for word in line] for line in lines if line] or None
    except ValueError:
        return None


def _load_yaml(text: str) -> Any:
    import yaml

    text = re.sub(r"\A%YAML:.*\n", "", text)  # OpenCV's first line

    class Loader(yaml.SafeLoader):
        """Also of numbers such as 1e-3 and of OpenCV's matrices."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+0123456789.")
    )
    Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", Loader.construct_yaml_map)
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=Loader)):
        raise ValueError("aliases, which could unfold without end")
    return yaml.load(text, Loader=Loader)
