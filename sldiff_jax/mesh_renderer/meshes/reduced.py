"""Meshes with fewer triangles, for images so small that nobody sees the difference."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from .mesh import Mesh
from .surface_samples import surface_samples

ENOUGH = 8000
"""Triangles. A mesh with up to twice as many stays as it is."""
SAMPLES, AVERAGED = 40_000, 4
"""Points whose colours are looked up, and how many of the nearest make the colour of a vertex."""


def reduced_mesh(mesh: Mesh) -> Mesh:
    """The mesh, or one of about `ENOUGH` triangles with the same shape, coloured by vertices.

    Edges are collapsed by quadric error metrics (Garland and Heckbert 1997), as fast_simplification has them.
    """
    if mesh.num_triangles <= 2 * ENOUGH:
        return mesh
    import fast_simplification

    points, welded = np.unique(np.asarray(mesh.vertices), axis=0, return_inverse=True)
    faces = welded.reshape(-1)[np.asarray(mesh.faces)]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    points, faces = fast_simplification.simplify(points, faces.astype(np.int32), target_count=ENOUGH)[:2]
    samples = surface_samples(mesh, SAMPLES, seed=0)
    _, nearest = KDTree(samples.points).query(points, k=AVERAGED)
    return Mesh(points, faces, colors=samples.colors[nearest].mean(axis=1).clip(0, 1))
