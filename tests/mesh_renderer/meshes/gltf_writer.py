"""Writes small glTF files with any feature, from the specification: a plain dictionary and a buffer."""

from __future__ import annotations

import io
import json
import pathlib
import struct

import numpy as np
from looks import CORNERS, FACES, TEXTURE, UV
from PIL import Image

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Writer:
    """A file that is being made; `document` may be changed at will."""

    def __init__(self):
        self.bytes = b""
        self.document: dict = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": []}], "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def view(self, data: bytes, **extra) -> int:
        self.bytes += b"\0" * (-len(self.bytes) % 4)
        self.document["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.bytes), "byteLength": len(data), **extra}
        )
        self.bytes += data
        return len(self.document["bufferViews"]) - 1

    def array(self, values, kind="f4", *, stride: int | None = None, view: bool = True, **extra) -> int:
        values = np.asarray(values).astype("<" + kind)
        values = values.reshape(len(values), -1)
        accessor = {
            "componentType": COMPONENTS[kind], "type": KINDS[values.shape[1]], "count": len(values), **extra,
        }  # fmt: skip
        if view:
            rows = [row.tobytes() for row in values]
            if stride is None:
                accessor["bufferView"] = self.view(b"".join(rows))
            else:
                padded = b"".join(row + b"\xff" * (stride - len(row)) for row in rows)
                accessor["bufferView"] = self.view(padded, byteStride=stride)
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def primitive(self, attributes: dict, *, indices=FACES, kind="u2", **extra) -> dict:
        """Adds a primitive of the first mesh; attributes are accessors, or arrays of float."""
        made = {name: value if isinstance(value, int) else self.array(value) for name, value in attributes.items()}
        primitive = {"attributes": made, **extra}
        if indices is not None:
            primitive["indices"] = self.array(np.ravel(indices), kind)
        self.document["meshes"][0]["primitives"].append(primitive)
        return primitive

    def picture(self, pixels=TEXTURE, *, mime="image/png", **save) -> int:
        """Adds an image and a texture of it."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG" if mime == "image/png" else mime.rpartition("/")[2], **save)
        images = self.document.setdefault("images", [])
        images.append({"bufferView": self.view(file.getvalue()), "mimeType": mime})
        textures = self.document.setdefault("textures", [])
        textures.append({"source": len(images) - 1})
        return len(textures) - 1

    def material(self, **extra) -> int:
        materials = self.document.setdefault("materials", [])
        materials.append(extra)
        return len(materials) - 1

    def textured(self, pixels=TEXTURE, *, reference: dict | None = None, factor=None, **extra) -> int:
        """Adds a material with a texture."""
        base = {"baseColorTexture": {"index": self.picture(pixels), **(reference or {})}}
        if factor is not None:
            base["baseColorFactor"] = factor
        return self.material(pbrMetallicRoughness=base, **extra)

    def glb(self, path: pathlib.Path) -> pathlib.Path:
        """Writes the file."""
        self.document.setdefault("buffers", [{"byteLength": len(self.bytes)}])
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        data = self.bytes + b"\0" * (-len(self.bytes) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
        return path


def flipped(uv) -> np.ndarray:
    """Coordinates with v up as the format wants them, v down."""
    return np.asarray(uv) * [1, -1] + [0, 1]


def square(**primitive) -> Writer:
    """A file with the square alone."""
    writer = Writer()
    writer.primitive({"POSITION": CORNERS}, **primitive)
    return writer


SQUARE_UV = flipped(UV)
