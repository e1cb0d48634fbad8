"""Colours of glTF materials: base colour texture and factor, how the texture is looked up, opacity."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .gltf_file import GltfFile
from .part import Material
from .texture_lookup import Wrap
from .textures import Picture, read_picture

NEAREST = 9728
WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


class Surface(NamedTuple):
    """A material and how its texture is looked up.

    Attributes:
        material: its colour.
        uv_set: which ``TEXCOORD`` the texture takes.
        transform: (2, 3), coordinates to coordinates, v counted downwards.
        wrap: how the texture continues along u and v.
        invisible: whether it is transparent all over.
        has_image: whether it needs texture coordinates.
    """

    material: Material
    uv_set: int = 0
    transform: np.ndarray = np.eye(2, 3)
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    invisible: bool = False
    has_image: bool = False


class Surfaces:
    """The materials of a file, each read once.

    Attributes:
        warnings: what will look otherwise than in a viewer.
        notes: what hardly matters.
    """

    def __init__(self, file: GltfFile):
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self._file = file
        self._made: dict[Any, Surface] = {}
        self._pictures: dict[int, Picture] = {}

    def get(self, index: Any) -> Surface:
        """The surface of a material; a white one for None."""
        if index is None:
            return Surface(Material())
        if index not in self._made:
            self._made[index] = self._surface(self._file.get("materials", index), str(index))
        return self._made[index]

    def _surface(self, material: dict[str, Any], name: str) -> Surface:
        name = repr(material.get("name", name))
        factor, reference = _color(material)
        if factor.shape != (4,) or not (factor.min() >= 0 and factor.max() <= 1 + 1e-6):
            raise ValueError(f"the base colour of its material {name} must be four numbers in 0..1, got {factor}")
        if reference is None:
            invisible = self._check_opacity(material, name, (factor[3], factor[3]))
            # An image of one texel: like other images it is encoded, and light decodes it.
            encoded = np.rint(255 * _srgb(np.minimum(factor[:3], 1))).astype(np.uint8)
            return Surface(Material(None if (encoded == 255).all() else encoded[None, None]), invisible=invisible)
        texture = self._file.get("textures", reference.get("index"))
        picture = self._picture(_source(texture, name))
        invisible = self._check_opacity(material, name, (factor[3] * picture.alpha[0], factor[3] * picture.alpha[1]))
        pixels = picture.pixels if (factor[:3] == 1).all() else _multiplied(picture.pixels, factor[:3])
        sampler = self._file.get("samplers", texture["sampler"]) if "sampler" in texture else {}
        if sampler.get("magFilter") == NEAREST:
            self.notes.append(f"the texture of material {name} asks for the nearest texel; texels are blended")
        extension = reference.get("extensions", {}).get("KHR_texture_transform", {})
        return Surface(
            Material(pixels),
            uv_set=int(extension.get("texCoord", reference.get("texCoord", 0))),
            transform=_uv_transform(extension),
            wrap=(_wrap(sampler.get("wrapS", 10497)), _wrap(sampler.get("wrapT", 10497))),
            invisible=invisible,
            has_image=True,
        )

    def _picture(self, source: Any) -> Picture:
        if source not in self._pictures:
            data, name = self._file.image(source)
            self._pictures[source] = read_picture(data, name)
            if self._pictures[source].turned:
                self.warnings.append(f"texture {name} asks to be turned (EXIF orientation), which is not done")
        return self._pictures[source]

    def _check_opacity(self, material: dict[str, Any], name: str, alpha: tuple[float, float]) -> bool:
        """Warns where a surface would be transparent; true if it is so all over."""
        if material.get("extensions", {}).get("KHR_materials_transmission", {}).get("transmissionFactor", 0) > 0:
            self.warnings.append(f"material {name} lets light through; it is drawn opaque")
        mode = material.get("alphaMode", "OPAQUE")
        if mode not in ("MASK", "BLEND"):
            return False
        cutoff = float(material.get("alphaCutoff", 0.5)) if mode == "MASK" else 1.0
        lowest, highest = alpha
        if highest < cutoff if mode == "MASK" else highest == 0:
            return True
        if lowest < cutoff:
            self.warnings.append(
                f"material {name} has alphaMode {mode} and is transparent (opacity down to {lowest:.2g}); it is drawn "
                "opaque. Cut the geometry instead, if its outline matters"
            )
        return False


def _color(material: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any] | None]:
    """Factor (4) and texture of the colour."""
    older = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if older is not None:
        return np.asarray(older.get("diffuseFactor", np.ones(4)), np.float64), older.get("diffuseTexture")
    base = material.get("pbrMetallicRoughness", {})
    return np.asarray(base.get("baseColorFactor", np.ones(4)), np.float64), base.get("baseColorTexture")


def _source(texture: dict[str, Any], name: str) -> Any:
    webp = texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source")
    source = texture.get("source", webp)
    if source is None:
        extensions = ", ".join(texture.get("extensions", {})) or "none"
        raise ValueError(
            f"the texture of its material {name} has no image that can be read (extensions: {extensions}). Export it "
            "with PNG or JPEG"
        )
    return source


def _wrap(code: Any) -> Wrap:
    if code not in WRAPS:
        raise ValueError(f"a sampler of it has the wrap mode {code!r}, which is not known")
    return WRAPS[code]


def _uv_transform(extension: dict[str, Any]) -> np.ndarray:
    """(2, 3) of KHR_texture_transform: scale, then a turn (counter-clockwise in the image), then offset."""
    c, s = np.cos(float(extension.get("rotation", 0))), np.sin(float(extension.get("rotation", 0)))
    scale = np.asarray(extension.get("scale", (1, 1)), np.float64)
    offset = np.asarray(extension.get("offset", (0, 0)), np.float64)
    return np.column_stack([np.array([[c, s], [-s, c]]) * scale, offset])


def _srgb(linear: np.ndarray) -> np.ndarray:
    """Intensity to the values of image files. Source: IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def _intensity(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _multiplied(pixels: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """An image times an intensity: the format multiplies what is not encoded."""
    table = np.rint(255 * _srgb(_intensity(np.arange(256) / 255)[:, None] * factor)).astype(np.uint8)
    return np.stack([table[pixels[..., channel], channel] for channel in range(3)], axis=-1)
