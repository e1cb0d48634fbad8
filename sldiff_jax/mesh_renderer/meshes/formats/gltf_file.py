"""The container of glTF 2.0: JSON, binary chunk, buffers and images."""

from __future__ import annotations

import base64
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from .textures import find_file, missing_texture

UNDERSTOOD = frozenset(
    {
        "EXT_mesh_gpu_instancing", "EXT_texture_webp", "KHR_lights_punctual", "KHR_mesh_quantization",
        "KHR_node_visibility", "KHR_texture_transform", "KHR_xmp_json_ld",
        # These change how light is reflected, but not the colour that is kept here.
        "KHR_materials_anisotropy", "KHR_materials_clearcoat", "KHR_materials_dispersion",
        "KHR_materials_emissive_strength", "KHR_materials_ior", "KHR_materials_iridescence",
        "KHR_materials_pbrSpecularGlossiness", "KHR_materials_sheen", "KHR_materials_specular", "KHR_materials_unlit",
        "KHR_materials_variants",
    }
)  # fmt: skip
"""Extensions that a file may require."""

DRACO = "KHR_draco_mesh_compression"
REMEDIES = {DRACO: "pip install 'sldiff-jax[draco]', or export it without compression"}

JSON_CHUNK, BINARY_CHUNK = b"JSON", b"BIN\0"


class GltfFile:
    """A glTF or GLB file, whose extensions were checked.

    Raises:
        ValueError: if it is damaged, of another version, or requires an extension that is not understood.
    """

    def __init__(self, path: Path):
        data = path.read_bytes()
        self.path = path
        self.size = len(data)
        text, self._chunk = _chunks(data) if data[:4] == b"glTF" else (data, None)
        try:
            self.root: dict[str, Any] = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its JSON is damaged: {error}") from None
        if not isinstance(self.root, dict):
            raise ValueError("its JSON is no object")
        version = str(self.root.get("asset", {}).get("version", "2.0"))
        if not version.startswith("2."):
            raise ValueError(f"it is of version {version} of glTF; 2.0 was expected. Export it as that")
        decoders = {DRACO} if importlib.util.find_spec("DracoPy") is not None else set()
        unknown = sorted({str(name) for name in self.root.get("extensionsRequired", [])} - UNDERSTOOD - decoders)
        if unknown:
            remedy = REMEDIES.get(unknown[0], "Export it without") if len(unknown) == 1 else "Export it without"
            raise ValueError(f"it requires {', '.join(unknown)}, which is not supported. {remedy}")
        self._buffers: dict[int, bytes] = {}
        for image in self.root.get("images", []):
            if "uri" in image and not image["uri"].startswith("data:"):
                self._neighbour(image["uri"])

    def get(self, kind: str, index: Any) -> dict[str, Any]:
        """An object of the file by its kind and number."""
        items = self.root.get(kind, [])
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(items):
            raise ValueError(f"it refers to {index!r} of {len(items)} {kind}")
        return items[index]

    def view(self, index: Any) -> tuple[memoryview, int | None]:
        """The bytes of a buffer view, and the distance of its rows if that is given."""
        view = self.get("bufferViews", index)
        buffer = self._buffer(view.get("buffer"))
        start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or length < 0 or start + length > len(buffer):
            raise ValueError(f"its buffer view {index} reaches to byte {start + length} of {len(buffer)}")
        stride = view.get("byteStride")
        return memoryview(buffer)[start : start + length], None if stride is None else int(stride)

    def image(self, index: Any) -> tuple[bytes, str]:
        """The contents of an image file and its name."""
        image = self.get("images", index)
        name = str(image.get("name") or f"image {index}")
        if "uri" not in image:
            return bytes(self.view(image.get("bufferView"))[0]), name
        uri = image["uri"]
        return (_data(uri), name) if uri.startswith("data:") else (self._neighbour(uri).read_bytes(), unquote(uri))

    def _buffer(self, index: Any) -> bytes:
        if index not in self._buffers:
            buffer = self.get("buffers", index)
            if "uri" in buffer:
                uri = buffer["uri"]
                name = unquote(uri)
                if uri.startswith("data:"):
                    data = _data(uri)
                elif (file := find_file(uri, [self.path.parent]) or find_file(name, [self.path.parent])) is not None:
                    data = file.read_bytes()
                else:
                    raise ValueError(f"it takes its geometry from {name[:200]}, which does not exist beside it")
            elif index == 0 and self._chunk is not None:
                data = self._chunk
            else:
                extensions = ", ".join(buffer.get("extensions", {})) or "none"
                raise ValueError(f"its buffer {index} holds no data (extensions: {extensions})")
            if len(data) < int(buffer["byteLength"]):
                raise ValueError(f"it was cut off: buffer {index} has {len(data)} of {buffer['byteLength']} bytes")
            self._buffers[index] = data
        return self._buffers[index]

    def _neighbour(self, uri: str) -> Path:
        file = find_file(uri, [self.path.parent]) or find_file(unquote(uri), [self.path.parent])
        if file is None:
            raise missing_texture(unquote(uri))
        return file


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """JSON and binary chunk of a GLB file."""
    if len(data) < 20:
        raise ValueError("it was cut off")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise ValueError(f"it is of version {version} of GLB; 2 was expected. Export it as that")
    if length > len(data):
        raise ValueError(f"it was cut off: {len(data)} of {length} bytes are there")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + size > length:
            raise ValueError("it was cut off: its last chunk is not complete")
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    if JSON_CHUNK not in chunks:
        raise ValueError("it has no JSON chunk")
    return chunks[JSON_CHUNK], chunks.get(BINARY_CHUNK)


def _data(uri: str) -> bytes:
    head, _, body = uri.partition(",")
    return base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
