"""What a mesh in the x-y plane looks like from above, by a plain loop over its triangles."""

from __future__ import annotations

import numpy as np

# A square whose texture, seen from +z with y up, is: red green / blue white.
TEXTURE = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
UV = CORNERS[:, :2]
FACES = np.array([[0, 1, 2], [0, 2, 3]])
QUARTERS = np.array([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.75, 0.25]])
"""The middles of the square's quarters: a texel's centre each. Their colours are those of TEXTURE, row by row."""


def color_at(mesh, x: float, y: float) -> np.ndarray:
    """(3,) float in [0, 1]: texture x vertex colour x base colour of the triangle over a point."""
    vertices = np.asarray(mesh.vertices, np.float64)
    for face, material in zip(np.asarray(mesh.faces), np.asarray(mesh.face_material)):
        (ax, ay), (bx, by), (cx, cy) = vertices[face, :2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0:
            continue
        b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        weights = np.array([1 - b - c, b, c])
        if weights.min() < -1e-9:
            continue
        color = np.asarray(mesh.materials.base_colors, np.float64)[material]
        if mesh.colors is not None:
            color = color * (weights @ np.asarray(mesh.colors, np.float64)[face])
        first, width, height = (int(k) for k in mesh.materials.textures[material])
        texels = np.asarray(mesh.materials.texels)[first : first + width * height, :3].reshape(height, width, 3) / 255
        u, v = weights @ np.asarray(mesh.uv, np.float64)[face]
        return color * lookup(texels, u, v, ("repeat", "repeat"))
    raise AssertionError(f"nothing is at {x}, {y}")


def quarters(mesh) -> np.ndarray:
    """(2, 2, 3) uint8: the colours of the square's quarters."""
    return np.rint(255 * np.array([color_at(mesh, x, y) for x, y in QUARTERS])).astype(np.uint8).reshape(2, 2, 3)


def lookup(image: np.ndarray, u: float, v: float, wrap: tuple[str, str]) -> np.ndarray:
    """Bilinear, v up, one texel at a time; each texel's place is brought into the image as the wrap mode says."""
    height, width = image.shape[:2]
    x, y = u * width - 0.5, (1 - v) * height - 0.5
    total = np.zeros(3)
    for column in (np.floor(x), np.floor(x) + 1):
        for row in (np.floor(y), np.floor(y) + 1):
            weight = (1 - abs(x - column)) * (1 - abs(y - row))
            total += weight * image[inside(row, height, wrap[1]), inside(column, width, wrap[0])]
    return total


def inside(place: float, size: int, wrap: str) -> int:
    if wrap == "clamp":
        return int(min(max(place, 0), size - 1))
    if wrap == "mirror":
        place = place % (2 * size)
        return int(place if place < size else 2 * size - 1 - place)
    return int(place % size)


def area(mesh) -> float:
    """Of all triangles."""
    a, b, c = np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
