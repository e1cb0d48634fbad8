"""PLY files as tables: ascii or binary, either byte order, with lists of any length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .numbers import floats

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8", "int64": "i8", "uint64": "u8",
}  # fmt: skip
ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
MAX_HEADER = 2**20


class Property(NamedTuple):
    """A column: its type, and for a list also that of the length."""

    name: str
    dtype: np.dtype
    length: np.dtype | None = None


class Lists(NamedTuple):
    """A column of lists: (N,) int lengths, and the values of all behind each other."""

    lengths: np.ndarray
    values: np.ndarray


class Element(NamedTuple):
    """A table of so many rows. `columns` holds the values by lower-case name, `types` their declared types."""

    rows: int
    columns: dict[str, np.ndarray | Lists]
    types: dict[str, np.dtype]


class PlyFile(NamedTuple):
    """The tables by lower-case name, and the texts behind ``comment`` and ``obj_info``."""

    elements: dict[str, Element]
    comments: list[str]


def parse_ply(data: bytes) -> PlyFile:
    """Reads all tables.

    Raises:
        ValueError: if the header is not understood, or what follows is not what it declares.
    """
    encoding, declared, comments, start = _header(data)
    if encoding == "ascii":
        body: _Values = _Words(data[start:])
    else:
        body = _Bytes(data, start)
    elements = {name: _element(body, name, count, properties) for name, (count, properties) in declared.items()}
    body.check_end()
    return PlyFile(elements, comments)


def _header(data: bytes) -> tuple[str, dict[str, tuple[int, list[Property]]], list[str], int]:
    encoding, declared, comments = "", {}, []
    properties: list[Property] = []
    at = 0
    while True:
        end = data.find(b"\n", at, at + MAX_HEADER)
        line = data[at:end].decode("latin-1").strip() if end >= 0 else ""
        if "\r" in line or (end < 0 and b"\r" in data[at : at + MAX_HEADER]):  # lines end as on an old Mac
            end = data.find(b"\r", at)
            line = data[at:end].decode("latin-1").strip()
        if end < 0:
            raise ValueError("its header has no end_header")
        words = line.split()
        if at == 0 and words != ["ply"]:
            raise ValueError("it does not begin with 'ply'")
        at = end + 1
        match words:
            case ["end_header"]:
                break
            case ["format", name, "1.0"] if name in ORDERS:
                encoding = name
            case ["comment" | "obj_info", *_]:
                comments.append(line.partition(words[0])[2].strip())
            case ["element", name, count] if count.isdigit():
                properties = []
                declared[name.lower()] = (int(count), properties)
            case ["property", "list", length, kind, name] if length in TYPES and kind in TYPES and declared:
                properties.append(Property(name.lower(), _dtype(kind, encoding), _dtype(length, encoding)))
            case ["property", kind, name] if kind in TYPES and declared:
                properties.append(Property(name.lower(), _dtype(kind, encoding)))
            case [] | ["ply"]:
                pass
            case _:
                raise ValueError(f"its header has the line {line[:80]!r}, which is not understood")
    if not encoding:
        raise ValueError("its header has no format line, or one that is not understood")
    return encoding, declared, comments, at


def _dtype(kind: str, encoding: str) -> np.dtype:
    return np.dtype(ORDERS.get(encoding, "=") + TYPES[kind])


class _Values:
    """The body: values one behind another, at places. Subclasses know how wide a value is and how to take it."""

    at = 0
    size = 0

    def width(self, dtype: np.dtype) -> int:
        raise NotImplementedError

    def spaced(self, first: int, step: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """(rows, values): values side by side, rows at equal distances."""
        raise NotImplementedError

    def scattered(self, places: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """(N,) values at any places."""
        raise NotImplementedError

    def check_end(self) -> None:
        pass


class _Words(_Values):
    def __init__(self, body: bytes):
        words = body.decode("latin-1").split()
        self.values = floats(words)
        self.size = len(words)

    def width(self, dtype: np.dtype) -> int:
        return 1

    def spaced(self, first: int, step: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        strides = (step * self.values.itemsize, self.values.itemsize)
        return np.ndarray(shape, np.float64, self.values, first * self.values.itemsize, strides)

    def scattered(self, places: np.ndarray, dtype: np.dtype) -> np.ndarray:
        return self.values[places]

    def check_end(self) -> None:
        if self.at < self.size:
            raise ValueError(f"it holds {self.size} values, {self.size - self.at} more than its header declares")


class _Bytes(_Values):
    def __init__(self, data: bytes, start: int):
        self.bytes = np.frombuffer(data, np.uint8)
        self.at, self.size = start, len(data)

    def width(self, dtype: np.dtype) -> int:
        return dtype.itemsize

    def spaced(self, first: int, step: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        return np.ndarray(shape, dtype, self.bytes, first, (step, dtype.itemsize))

    def scattered(self, places: np.ndarray, dtype: np.dtype) -> np.ndarray:
        return self.bytes[places[:, None] + np.arange(dtype.itemsize)].view(dtype).ravel()


def _element(body: _Values, name: str, count: int, properties: list[Property]) -> Element:
    types = {p.name: p.dtype for p in properties}
    if count == 0 or not properties:
        return Element(count, {p.name: np.zeros(0) if p.length is None else _no_lists() for p in properties}, types)
    least = sum(body.width(p.length or p.dtype) for p in properties)
    if body.at + count * least > body.size:
        raise ValueError(f"it was cut off: its header declares {count} rows of {name!r}, more than the file holds")
    columns = _rows_alike(body, count, properties)
    return Element(count, _rows_scanned(body, name, count, properties) if columns is None else columns, types)


def _no_lists() -> Lists:
    return Lists(np.zeros(0, np.int64), np.zeros(0))


def _rows_alike(body: _Values, count: int, properties: list[Property]) -> dict[str, np.ndarray | Lists] | None:
    """The columns, if all lists are as long as those of the first row: then rows lie at equal distances."""
    offsets, lengths, at = [], [], body.at
    for p in properties:
        length = 1
        if p.length is not None:
            if at + body.width(p.length) > body.size:
                return None
            length = _length(float(body.spaced(at, 0, (1, 1), p.length)[0, 0]))
            at += body.width(p.length)
        offsets.append(at)
        lengths.append(length)
        at += length * body.width(p.dtype)
    step = at - body.at
    if body.at + count * step > body.size:
        return None
    columns: dict[str, np.ndarray | Lists] = {}
    for p, offset, length in zip(properties, offsets, lengths):
        if p.length is not None:
            before = body.spaced(offset - body.width(p.length), step, (count, 1), p.length)
            if (before != length).any():
                return None
        values = body.spaced(offset, step, (count, length), p.dtype).ravel()
        columns[p.name] = values if p.length is None else Lists(np.full(count, length), values)
    body.at += count * step
    return columns


def _rows_scanned(body: _Values, name: str, count: int, properties: list[Property]) -> dict[str, np.ndarray | Lists]:
    """The columns, row by row: where one begins depends on the lists before it."""
    places = np.zeros((len(properties), count), np.int64)
    lengths = np.ones((len(properties), count), np.int64)
    at = body.at
    for row in range(count):
        for column, p in enumerate(properties):
            length = 1
            if p.length is not None:
                if at + body.width(p.length) > body.size:
                    raise _cut_off(name, row, count)
                length = _length(float(body.spaced(at, 0, (1, 1), p.length)[0, 0]))
                at += body.width(p.length)
                lengths[column, row] = length
            places[column, row] = at
            at += length * body.width(p.dtype)
        if at > body.size:
            raise _cut_off(name, row, count)
    body.at = at
    columns: dict[str, np.ndarray | Lists] = {}
    for p, place, length in zip(properties, places, lengths):
        first = np.repeat(place - (np.cumsum(length) - length) * body.width(p.dtype), length)
        values = body.scattered(first + np.arange(length.sum()) * body.width(p.dtype), p.dtype)
        columns[p.name] = values if p.length is None else Lists(length, values)
    return columns


def _length(value: float) -> int:
    if not (0 <= value < 2**31 and value == int(value)):
        raise ValueError(f"a list in it has the length {value:g}")
    return int(value)


def _cut_off(name: str, row: int, count: int) -> ValueError:
    return ValueError(f"it was cut off: it ends in row {row + 1} of {count} of {name!r}")
