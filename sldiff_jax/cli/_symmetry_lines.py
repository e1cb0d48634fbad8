"""The symmetries of a mesh in words, axis by axis."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from ..mesh_renderer import Mesh
from ..mesh_renderer.meshes.symmetries import MeshSymmetries, find_symmetries

SAME_AXIS = math.cos(math.radians(3.0))


def symmetry_lines(mesh: Mesh) -> list[str]:
    """One line for each axis, such as "about z, every 90 degrees, in shape but not in colour"; none if there are none.

    Whoever fits such a mesh should know: where only colour tells turns apart, colour decides them.
    """
    shape, colored = find_symmetries(mesh, texture=False), find_symmetries(mesh)
    turns, colored_turns = turns_by_axis(shape), turns_by_axis(colored)
    lines = []
    for axis, order in turns:
        same = any(abs(axis @ other) > SAME_AXIS and n == order for other, n in colored_turns)
        every = "at every angle" if order == 0 else f"every {360 / order:g} degrees"
        lines.append(f"about {_named(axis)}, {every}" + ("" if same else ", in shape but not in colour"))
    return lines


def turns_by_axis(symmetries: MeshSymmetries) -> list[tuple[np.ndarray, int]]:
    """Axes, and how often the mesh looks the same in a whole turn about each; 0 for at every angle."""
    found = [(np.asarray(one["axis"]), 0) for one in symmetries.continuous]
    vectors = Rotation.from_matrix(symmetries.discrete[:, :3, :3]).as_rotvec() if len(symmetries.discrete) else []
    for vector in sorted(vectors, key=lambda v: float(np.linalg.norm(v))):  # the smallest turn tells the order
        angle = float(np.linalg.norm(vector))
        if not any(abs(vector @ axis) > SAME_AXIS * angle for axis, _ in found):
            largest = vector[np.argmax(np.abs(vector))]
            found.append((np.copysign(1.0, largest) * vector / angle, round(2 * math.pi / angle)))
    return found


def _named(axis: np.ndarray) -> str:
    names = [name for k, name in enumerate("xyz") if abs(axis[k]) > 0.9999]
    return names[0] if names else "(" + ", ".join(f"{x:.3f}" for x in axis) + ")"
