"""The two points of a cloud that are farthest from each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAF = 8
PAIRS_AT_A_TIME = 2**16
ROUNDING = 1e-7
"""Of angles near zero, radians."""


class _Boxes(NamedTuple):
    """Bounds of the points in each box of one level.

    Attributes:
        lower, upper: (B, 3), coordinates.
        radius: (B,), largest distance from the middle of the cloud.
        axis: (B, 3), unit vector from there to the points, on the mean.
        spread: (B,), largest angle to it, radians.
    """

    lower: np.ndarray
    upper: np.ndarray
    radius: np.ndarray
    axis: np.ndarray
    spread: np.ndarray


def farthest_pair(points: np.ndarray) -> tuple[int, int]:
    """Finds the two points with the largest distance, exactly.

    Points are sorted into a tree of boxes. Pairs of boxes are opened, the farthest first, and dropped once no two of
    their points can be farther apart than two that are known. Dense round shapes, where every point has one almost as
    far away, cost about V log V.

    Args:
        points: (V, 3) float, finite, V > 0.

    Returns:
        Their numbers.
    """
    points = np.asarray(points, np.float64)
    best, pair = _first_guess(points)
    order, levels = _tree(points - 0.5 * (points[pair[0]] + points[pair[1]]))
    waiting = [(0, np.zeros((1, 2), np.int64))]
    while waiting:
        depth, pairs = waiting.pop()
        bound = _largest_squared_distance(levels[depth], *pairs.T)
        kept = bound > best * (1 + 1e-14)
        pairs, bound = pairs[kept], bound[kept]
        if not len(pairs):
            continue
        if depth + 1 < len(levels):
            pairs = _opened(pairs[np.argsort(bound)])
            # The last, which are the farthest, are next.
            waiting += [(depth + 1, chunk) for chunk in np.array_split(pairs, -(-len(pairs) // PAIRS_AT_A_TIME))]
        else:
            members = order.reshape(-1, LEAF)[pairs]
            distance = ((points[members[:, 0, :, None]] - points[members[:, 1, None, :]]) ** 2).sum(axis=-1)
            if distance.max() > best:
                best = float(distance.max())
                k, i, j = np.unravel_index(distance.argmax(), distance.shape)
                pair = (int(members[k, 0, i]), int(members[k, 1, j]))
    return pair


def _first_guess(points: np.ndarray) -> tuple[float, tuple[int, int]]:
    """A pair that is far apart: the farthest from the farthest from ... the middle."""
    best, pair = 0.0, (0, 0)
    here, at = 0, points.mean(axis=0)
    for _ in range(6):
        there = int(((points - at) ** 2).sum(axis=1).argmax())
        distance = float(((points[here] - points[there]) ** 2).sum())
        if distance > best:
            best, pair = distance, (here, there)
        here, at = there, points[there]
    return best, pair


def _tree(points: np.ndarray) -> tuple[np.ndarray, list[_Boxes]]:
    """Sorts points, whose middle is the origin, into boxes.

    Returns:
        Numbers of points, `LEAF` for each box of the last level; and the bounds of the boxes of each level, from one
        on. Each is halved, along its longest side, into two of the next.
    """
    depth = max(0, int(np.ceil(np.log2(len(points) / LEAF))))
    order = np.resize(np.arange(len(points)), LEAF << depth)  # some come again to fill up
    radius = np.linalg.norm(points, axis=1)
    directions = points / np.where(radius > 0, radius, 1)[:, None]
    levels = []
    for level in range(depth + 1):
        order = order.reshape(1 << level, -1)
        inside, heading = points[order], directions[order]
        lower, upper = inside.min(axis=1), inside.max(axis=1)
        axis = heading.sum(axis=1)
        axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-30)
        spread = np.arccos(np.clip((heading @ axis[..., None]).min(axis=(1, 2)), -1, 1))
        levels.append(_Boxes(lower, upper, radius[order].max(axis=1), axis, spread))
        if level < depth:
            longest = np.argmax(upper - lower, axis=1)
            along = np.take_along_axis(inside, longest[:, None, None], axis=2)[..., 0]
            order = np.take_along_axis(order, np.argpartition(along, order.shape[1] // 2, axis=1), axis=1)
    return order.ravel(), levels


def _largest_squared_distance(boxes: _Boxes, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An upper bound for each pair of boxes, the lower of two.

    By the corners; or by the law of cosines around the middle, which is closer for opposite sides of something round.
    """
    reach = np.maximum(np.abs(boxes.upper[a] - boxes.lower[b]), np.abs(boxes.upper[b] - boxes.lower[a]))
    by_corners = (reach**2).sum(axis=1)
    from_opposite = np.arccos(np.clip(-(boxes.axis[a] * boxes.axis[b]).sum(axis=1), -1, 1))
    gap = np.maximum(from_opposite - boxes.spread[a] - boxes.spread[b] - ROUNDING, 0)
    r, s = boxes.radius[a], boxes.radius[b]
    # Where the angle between two points may be right or less, shorter arms can be farther apart.
    by_angle = r**2 + s**2 + 2 * r * s * np.maximum(np.cos(gap), 0)
    return np.minimum(by_corners, by_angle)


def _opened(pairs: np.ndarray) -> np.ndarray:
    """The pairs of halves, each once."""
    a, b = 2 * pairs[:, 0], 2 * pairs[:, 1]
    opened = np.stack([np.stack([a + i, b + j], axis=1) for i in (0, 1) for j in (0, 1)], axis=1).reshape(-1, 2)
    return opened[opened[:, 0] <= opened[:, 1]]
