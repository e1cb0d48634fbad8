# type: ignore -- Warp's language: annotations are calls, operators are its own
"""What was drawn, one sample per pixel, and how neighbouring samples mix at outlines.

A *pair* is a pixel with its right neighbour (axis 0) or its lower one (axis 1), and is stored with the first of both.
An outline may cross a pair, between the two pixel centres. The pixel on the near side of it is the pair's *owner*; the
outline lies `reach` of the distance behind the owner's centre. A reach above 1/2 covers part of the other pixel, one
below leaves part of the owner to what is behind: so much of either pixel takes the other's value, and the image becomes
continuous in the outline's position.

An outline that is neither steep nor flat crosses pairs along both axes. These share it by `axis_weight`, which depends
on its direction alone and adds up to 1: as a curved outline turns from steep to flat, rows fade out while columns fade
in, and sums over the crossings are as accurate as the trapezoidal rule is for smooth functions.
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

NOBODY = wp.constant(-1)
STEEPEST = wp.constant(0.05)  # of the depth within a sample: steeper surfaces are not carried on


@wp.struct
class Layers:
    """The arrays of `Layers` in `moving_images`, under the same names. B scenes of H x W samples.

    row: (B, H, W), row of the scene whose object is seen, `NOBODY` for none.
    color: (B, H, W).
    depth: (B, H, W), clip w of the surface point that is seen.
    slope: (B, H, W), change of the depth per NDC along x and y on the surface that is seen; or (B, 0, 0) where it is
        not known, and told from the neighbours' depth.
    crossings: (B, 2, H, W), or (B, 2, 0, 0) for none at all: reach; the outline's depth, positive if the first pixel of
        the pair is the owner, negative if the second is, 0 if no outline crosses the pair; the outline's slope, pixels
        along the pair per pixel across it; and the change of 1 / depth along the outline, per pixel across the pair.
    """

    row: wp.array3d(dtype=wp.int32)
    color: wp.array3d(dtype=wp.vec3)
    depth: wp.array3d(dtype=float)
    slope: wp.array3d(dtype=wp.vec2)
    crossings: wp.array4d(dtype=wp.vec4)


@wp.struct
class Value:
    """What an image shows of a sample: its colour, and (its depth, 1), or zeros where nothing is seen."""

    color: wp.vec3
    cover: wp.vec2


@wp.func
def value_at(layers: Layers, scene: int, row: int, column: int):
    value = Value()
    value.color = layers.color[scene, row, column]
    value.cover = wp.vec2(0.0, 0.0)
    if layers.row[scene, row, column] != NOBODY:
        value.cover = wp.vec2(layers.depth[scene, row, column], 1.0)
    return value


# The four neighbours of a pixel: 0 left, 1 right, 2 above, 3 below. So d // 2 is the axis, and d ^ 1 points back.


@wp.func
def step_of(direction: int):
    """As (rows, columns)."""
    sign = 2 * (direction % 2) - 1
    if direction < 2:
        return wp.vec2i(0, sign)
    return wp.vec2i(sign, 0)


@wp.func
def center(index: int, size: int):
    """NDC of a sample's centre."""
    return float(2 * index + 1) / float(size) - 1.0


@wp.struct
class Plane:
    """Depth around a point of the image.

    at: NDC x and y, and depth. slope: change of the depth per NDC. rate: per pixel of the way that led there.
    """

    at: wp.vec3
    slope: wp.vec2
    rate: float


@wp.func
def carried_on(layers: Layers, scene: int, row: int, column: int, direction: int, distance: float):
    """The surface that a sample shows, so many pixels towards a neighbour; where too steep, as the sample sees it.

    The inverse of a plane's depth is linear in the image.
    """
    step = step_of(direction)
    size = wp.vec2(float(layers.row.shape[2]), float(layers.row.shape[1]))
    way = wp.vec2(2.0 * float(step[1]) / size[0], 2.0 * float(step[0]) / size[1])
    plane = Plane()
    plane.at = wp.vec3(center(column, layers.row.shape[2]), center(row, layers.row.shape[1]), 0.0)
    plane.slope = layers.slope[scene, row, column]
    w = layers.depth[scene, row, column]
    change = wp.dot(plane.slope, way) / w
    if wp.abs(change) < STEEPEST:
        shrunk = 1.0 - distance * change
        plane.at += wp.vec3(distance * way[0], distance * way[1], 0.0)
        plane.slope = plane.slope / (shrunk * shrunk)
        plane.rate = wp.dot(plane.slope, way)
        w = w / shrunk
    plane.at[2] = w
    return plane


@wp.func
def inside(layers: Layers, row: int, column: int):
    return row >= 0 and column >= 0 and row < layers.row.shape[1] and column < layers.row.shape[2]


@wp.func
def crossing_towards(layers: Layers, scene: int, row: int, column: int, direction: int):
    """The crossing between a pixel and its neighbour, with a positive depth if the pixel is the owner."""
    crossing = wp.vec4(0.0, 0.0, 0.0, 0.0)
    if layers.crossings.shape[2] > 0:
        axis = direction // 2
        if direction % 2 == 1:
            if inside(layers, row + axis, column + 1 - axis):
                crossing = layers.crossings[scene, axis, row, column]
        elif row >= axis and column >= 1 - axis:
            c = layers.crossings[scene, axis, row - axis, column - 1 + axis]
            crossing = wp.vec4(c[0], -c[1], c[2], c[3])
    return crossing


@wp.func
def axis_weight(slope: float):
    """The part that the pairs along one axis have in an outline, and its derivative by the slope.

    A smooth step of the squared cosine between the axis and the outline's normal, 0 or 1 within 18 degrees.
    """
    squared_cosine = 1.0 / (1.0 + slope * slope)
    t = wp.clamp((squared_cosine - 0.1) / 0.8, 0.0, 1.0)
    by_slope = -2.0 * slope * squared_cosine * squared_cosine
    return wp.vec2(t * t * (3.0 - 2.0 * t), 6.0 * t * (1.0 - t) / 0.8 * by_slope)


@wp.func
def taken(crossing: wp.vec4):
    """The share that a pixel takes of its neighbour's value, by what crosses their pair alone."""
    share = float(0.0)
    if crossing[1] > 0.0 and crossing[0] < 0.5:
        share = (0.5 - crossing[0]) * axis_weight(crossing[2])[0]
    elif crossing[1] < 0.0 and crossing[0] > 0.5:
        share = (crossing[0] - 0.5) * axis_weight(crossing[2])[0]
    return share


@wp.func
def shares_of(layers: Layers, scene: int, row: int, column: int):
    """`taken` for the four neighbours."""
    return wp.vec4(
        taken(crossing_towards(layers, scene, row, column, 0)),
        taken(crossing_towards(layers, scene, row, column, 1)),
        taken(crossing_towards(layers, scene, row, column, 2)),
        taken(crossing_towards(layers, scene, row, column, 3)),
    )


@wp.func
def weights_of(shares: wp.vec4):
    """How much of the four neighbours' values a pixel takes: its shares, but not more than there is."""
    return shares / wp.max(shares[0] + shares[1] + shares[2] + shares[3], 1.0)


@wp.func
def is_crossed(layers: Layers, scene: int, row: int, column: int):
    """Whether an outline crosses one of the pixel's four pairs."""
    crossed = bool(False)
    if layers.crossings.shape[2] > 0:
        crossed = layers.crossings[scene, 0, row, column][1] != 0.0 or layers.crossings[scene, 1, row, column][1] != 0.0
        if column > 0:
            crossed = crossed or layers.crossings[scene, 0, row, column - 1][1] != 0.0
        if row > 0:
            crossed = crossed or layers.crossings[scene, 1, row - 1, column][1] != 0.0
    return crossed
