"""Writes small PLY files of any kind, value by value."""

from __future__ import annotations

import struct
from typing import Any

CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


def ply(
    elements: dict[str, tuple[list[str], list[list[Any]]]], *, encoding="ascii", comments=(), newline="\n"
) -> bytes:
    """A file of tables: properties such as ``float x`` or ``list uchar int vertex_indices``, and rows of values."""
    lines = ["ply", f"format {encoding} 1.0", *(f"comment {text}" for text in comments)]
    body = b""
    order = ">" if encoding == "binary_big_endian" else "<"
    for name, (properties, rows) in elements.items():
        lines += [f"element {name} {len(rows)}", *(f"property {text}" for text in properties)]
        for row in rows:
            words = []
            for text, value in zip(properties, row, strict=True):
                kinds = text.split()
                values = [(kinds[0], value)]
                if kinds[0] == "list":
                    values = [(kinds[1], len(value)), *((kinds[2], x) for x in value)]
                words += values
            if encoding == "ascii":
                body += (" ".join(str(value) for _, value in words) + newline).encode()
            else:
                body += b"".join(struct.pack(order + CODES[kind], value) for kind, value in words)
    return (newline.join([*lines, "end_header"]) + newline).encode() + body
