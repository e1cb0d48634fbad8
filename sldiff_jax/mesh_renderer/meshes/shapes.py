"""Textured meshes built in code: an object for demonstrations, boxes and spheres for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .mesh import Mesh
from .vertex_normals import vertex_normals

# Bumps on the body of the demo object: direction, height (relative to the body), width (radians). No two alike.
DEMO_BUMPS = (
    ((0.80, -0.62, 0.05), 0.62, 0.44),  # head
    ((1.00, -0.30, 0.12), 0.42, 0.17),  # beak
    ((-0.95, -0.45, -0.10), 0.55, 0.22),  # tail
    ((-0.10, 0.05, 1.00), 0.32, 0.34),  # left wing
    ((-0.35, -0.25, -1.00), 0.22, 0.26),  # right wing, smaller and further back
    ((0.15, 1.00, 0.25), 0.20, 0.30),  # foot
    ((0.10, -1.00, -0.35), 0.24, 0.14),  # knob on the back
)


def demo_mesh() -> Mesh:
    """A toy of about 11 cm, without any symmetry in shape or texture, so that every rotation can be seen.

    Returns:
        A `Mesh` of 12,288 triangles, centred, with a smooth colourful texture.
    """
    directions, faces, uv = _sphere_grid(64, 96, texture_height=256)
    vertices = _demo_surface(directions)
    return Mesh(
        vertices - 0.5 * (vertices.min(axis=0) + vertices.max(axis=0)),
        faces,
        normals=_grid_normals(vertices, directions, faces),
        uv=uv,
        texture=_as_bytes(_demo_colors(_texel_directions(256))),
    )


def sphere_mesh(radius: float = 0.05, *, seed: int = 0, rings: int = 24, segments: int = 48) -> Mesh:
    """A sphere with a smooth random texture.

    Args:
        radius: metres.
        seed: of the texture.
        rings: divisions from pole to pole.
        segments: divisions around.

    Returns:
        A `Mesh` of ``2 rings segments`` triangles, those at the poles degenerate.
    """
    directions, faces, uv = _sphere_grid(rings, segments, texture_height=128)
    texture = _as_bytes(smooth_colors(_texel_directions(128), seed))
    return Mesh(radius * directions, faces, normals=directions, uv=uv, texture=texture)


def box_mesh(size: Sequence[float] = (0.08, 0.06, 0.04), *, seed: int = 0) -> Mesh:
    """A box with a smooth random texture, continuous across its edges.

    Args:
        size: side lengths along x, y and z, metres.
        seed: of the texture.

    Returns:
        A `Mesh` of 12 triangles and six materials, one per side.
    """
    half = 0.5 * np.asarray(size, np.float64)
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    # The outermost texel centres lie on the edges: nothing of the opposite edge is blended in by the repetition.
    texels = 64
    v, u = np.meshgrid(np.linspace(1, 0, texels), np.linspace(0, 1, texels), indexing="ij")
    vertices, normals, textures = [], [], []
    for axis in range(3):
        for sign in (1.0, -1.0):
            # Seen from outside, u runs along one side and v along the other, counter-clockwise.
            first, second = ((axis + 1) % 3, (axis + 2) % 3)[:: int(sign)]

            def point(u, v, axis=axis, sign=sign, first=first, second=second):
                p = np.empty((*np.shape(u), 3))
                p[..., axis], p[..., first], p[..., second] = sign, 2 * u - 1, 2 * v - 1
                return p * half

            vertices.append(point(corner[:, 0], corner[:, 1]))
            normals.append(np.tile(sign * np.eye(3)[axis], (4, 1)))
            textures.append(_as_bytes(smooth_colors(point(u, v) / half.max(), seed)))
    return Mesh(
        np.concatenate(vertices),
        np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * side for side in range(6)]),
        normals=np.concatenate(normals),
        uv=np.tile(_inset(corner, texels), (6, 1)),
        texture=textures,
        face_material=np.repeat(np.arange(6), 2),
    )


def smooth_colors(points: np.ndarray, seed: int, *, frequency: float = 4.0) -> np.ndarray:
    """A smooth random colour field.

    Args:
        points: (..., 3) float, about the unit ball.
        seed: of the field.
        frequency: typical angular frequency, radians per unit of length.

    Returns:
        (..., 3) float in [0.05, 0.95].
    """
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(3, 8, 3)) * frequency
    phases = rng.uniform(0, 2 * np.pi, size=(3, 8))
    values = np.cos(np.einsum("...i,cki->...ck", points, waves) + phases).sum(axis=-1)
    return 0.5 + 0.45 * np.tanh(0.5 * values)


def _demo_surface(directions: np.ndarray) -> np.ndarray:
    body = 1 / np.linalg.norm(directions / np.array([0.036, 0.027, 0.0245]), axis=-1, keepdims=True)
    radius = np.ones_like(body)
    for direction, height, width in DEMO_BUMPS:
        cosine = directions @ (np.array(direction) / np.linalg.norm(direction))
        radius += height * np.exp((cosine[..., None] - 1) / width**2)
    return body * radius * directions


def _demo_colors(directions: np.ndarray) -> np.ndarray:
    """Bands of colour that wind around the body, and a few rings of another colour."""
    field = smooth_colors(directions, seed=7, frequency=2.2)
    bands = 0.5 + 0.5 * np.sin(9 * directions[..., :1] + 8 * field[..., :1] + 3 * directions[..., 1:2])
    warm, cool, light = np.array([0.93, 0.45, 0.13]), np.array([0.08, 0.36, 0.58]), np.array([0.97, 0.90, 0.70])
    color = cool + (warm - cool) * _step(field[..., 1:2] - 0.5, 0.18)
    color = color + (light - color) * _step(bands - 0.62, 0.15)
    for direction, _, width in DEMO_BUMPS:
        angle = np.arccos(np.clip(directions @ (np.array(direction) / np.linalg.norm(direction)), -1, 1))[..., None]
        ring = np.exp(-(((angle - 0.9 * width) / 0.07) ** 2))
        color = color + (np.array([0.45, 0.08, 0.25]) - color) * ring
    return np.clip(color, 0, 1)


def _step(x: np.ndarray, width: float) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(x / width)


def _sphere_grid(rings: int, segments: int, *, texture_height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions, faces and uv of a latitude-longitude grid; vertices on the seam and at the poles are repeated."""
    v, u = np.meshgrid(np.linspace(1, 0, rings + 1), np.linspace(0, 1, segments + 1), indexing="ij")
    number = np.arange(u.size).reshape(u.shape)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    uv = np.stack([u, _inset(v, texture_height)], -1)
    return _directions(v, u).reshape(-1, 3), faces, uv.reshape(-1, 2)


def _texel_directions(height: int) -> np.ndarray:
    """(height, 2 height, 3): the directions of the texels of a sphere's texture, whose outermost rows are the poles."""
    width = 2 * height
    v, u = np.meshgrid(np.linspace(1, 0, height), (np.arange(width) + 0.5) / width, indexing="ij")
    return _directions(v, u)


def _as_bytes(colors: np.ndarray) -> np.ndarray:
    return np.rint(255 * colors).astype(np.uint8)


def _inset(coordinate: np.ndarray, texels: int) -> np.ndarray:
    """Texture coordinate that takes 0 and 1 to the centres of the outermost texels."""
    return (0.5 + (texels - 1) * coordinate) / texels


def _directions(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Unit vectors of the sphere's texture coordinates: v = 1 at +y."""
    polar, azimuth = np.pi * (1 - v), 2 * np.pi * u
    return np.stack([np.sin(polar) * np.cos(azimuth), np.cos(polar), -np.sin(polar) * np.sin(azimuth)], -1)


def _grid_normals(vertices: np.ndarray, directions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Vertex normals that agree where vertices are repeated."""
    _, first, same = np.unique(np.round(directions, 9), axis=0, return_index=True, return_inverse=True)
    return vertex_normals(vertices, first[same.ravel()][faces])[first][same.ravel()]
