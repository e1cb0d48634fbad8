"""Attributes per corner of a face, as attributes per vertex."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """How corners become vertices.

    Attributes:
        vertex: (C,) int, the vertex of each corner.
        source: (V',) int, the vertex of the file that each vertex is a copy of. The first V are those of the file.
        attributes: (V', A) int, the attributes of each vertex, -1 for none.
    """

    vertex: np.ndarray
    source: np.ndarray
    attributes: np.ndarray


def split_vertices(corner: np.ndarray, attributes: np.ndarray, count: int) -> Split:
    """Makes a vertex for each combination that occurs.

    The vertices of the file keep their numbers, with the attributes of their first corner; further combinations come
    behind them, in the order of the file.

    Args:
        corner: (C,) int, the vertex of each corner.
        attributes: (C, A) int, numbers of its attributes, -1 for none.
        count: number V of vertices.
    """
    key = corner.astype(np.int64)
    for column in attributes.T:
        # Ranks, so that the products stay small however many columns there are.
        key = np.unique(key, return_inverse=True)[1].ravel() * (int(column.max(initial=0)) + 2) + column + 1
    _, first, combination = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    vertex = corner[first[order]]
    _, earliest = np.unique(vertex, return_index=True)
    place = np.full(len(order), -1, np.int64)
    place[earliest] = vertex[earliest]
    further = np.flatnonzero(place < 0)
    place[further] = count + np.arange(len(further))

    source = np.concatenate([np.arange(count), vertex[further]])
    of_vertex = np.full((len(source), attributes.shape[1]), -1, np.int64)
    of_vertex[place] = attributes[first[order]]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Split(place[rank[combination.ravel()]], source, of_vertex)


def looked_up(values: np.ndarray, numbers: np.ndarray, missing: float) -> np.ndarray:
    """(V, n) float: rows of `values`, or `missing` where the number is -1."""
    padded = np.concatenate([values, np.full((1, values.shape[1]), missing)])
    return padded[numbers]  # -1 is the last row
