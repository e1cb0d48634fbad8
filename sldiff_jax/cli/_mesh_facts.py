"""What there is to say about a mesh, line by line."""

from __future__ import annotations

import numpy as np

from ..mesh_renderer import Mesh
from ..mesh_renderer.meshes.surface_samples import surface_samples, triangle_areas
from ._symmetry_lines import symmetry_lines

SMALLEST, LARGEST = 5e-3, 5.0
"""Diameters, metres, outside of which the unit is doubted."""

COLORLESS = 0.01
"""Deviation of colours over the surface below which they say nothing."""


def is_of_one_color(mesh: Mesh) -> bool:
    """Whether the colours of the surface are all alike."""
    return bool(surface_samples(mesh, 2000, seed=2).colors.std(axis=0).max() < COLORLESS)


def mesh_facts(mesh: Mesh, scale: float) -> list[tuple[str, str]]:
    """Pairs of what and how much: size, triangles, colours, symmetries."""
    low, high = mesh.bounds
    facts = [
        ("size", f"{' x '.join(f'{x:.4g}' for x in high - low)} m along x, y, z (scale {scale:g} m per unit)"),
        ("diameter", f"{mesh.diameter:.4g} m"),
        ("middle", f"({', '.join(f'{x:.4g}' for x in 0.5 * (low + high))}) m"),
        ("triangles", _triangles(mesh)),
        ("surface", _surface(mesh)),
        ("vertex colours", "no" if mesh.colors is None else "yes"),
        ("materials", _materials(mesh)),
    ]
    return [*facts, *(("symmetry", line) for line in symmetry_lines(mesh) or ["none found"])]


def doubts(mesh: Mesh, scale: float) -> list[str]:
    """What is probably not as it was meant."""
    found = []
    diameter = mesh.diameter
    if not SMALLEST <= diameter <= LARGEST:
        factor = 1e-3 if diameter > LARGEST else 1e3
        found.append(f"it is {diameter:.3g} m across. Is that so? Else try --mesh-scale {scale * factor:g}")
    center = float(np.linalg.norm(mesh.bounds.mean(axis=0)))
    if center > 2 * diameter:
        found.append(f"it lies {center:.3g} m from its origin, about which rotations turn it")
    if is_of_one_color(mesh):
        found.append("it is of one colour: a photo's colours say nothing about its pose, its outline and depth do")
    return found


def _triangles(mesh: Mesh) -> str:
    faces = np.asarray(mesh.faces)
    unused = mesh.vertices.shape[0] - len(np.unique(faces))
    flat = int((triangle_areas(np.asarray(mesh.vertices, np.float64)[faces]) == 0).sum())
    again = len(faces) - len(np.unique(np.sort(faces, axis=1), axis=0))
    remarks = [f"{count} {what}" for count, what in ((flat, "without area"), (again, "there twice")) if count]
    text = f"{len(faces)}" + (f" ({', '.join(remarks)})" if remarks else "")
    return f"{text}, {mesh.vertices.shape[0]} vertices" + (f" ({unused} unused)" if unused else "")


def _surface(mesh: Mesh) -> str:
    """Whether it is closed: vertices at one place count as one, for textures cut surfaces apart."""
    _, number = np.unique(np.asarray(mesh.vertices), axis=0, return_inverse=True)
    faces = number.ravel()[np.asarray(mesh.faces)]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    _, counts = np.unique(edges, axis=0, return_counts=True)
    open_edges, forks = int((counts == 1).sum()), int((counts > 2).sum())
    text = "closed" if not open_edges else f"open, {open_edges} edges have one triangle alone"
    return text + (f"; {forks} edges have more than two" if forks else "")


def _materials(mesh: Mesh) -> str:
    textures, base_colors = np.asarray(mesh.materials.textures), np.asarray(mesh.materials.base_colors)
    kinds: dict[str, int] = {}
    for (_, width, height), color in zip(textures, base_colors):
        kind = f"texture {width} x {height}" if width * height > 1 else "plain"
        kind += "" if (color == 1).all() else f" ({', '.join(f'{x:.3g}' for x in color)})"
        kinds[kind] = kinds.get(kind, 0) + 1
    listed = [f"{count} x {kind}" if count > 1 else kind for kind, count in kinds.items()]
    return f"{len(textures)}: {', '.join(listed[:8])}" + (", ..." if len(listed) > 8 else "")
