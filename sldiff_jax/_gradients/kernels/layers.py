# type: ignore -- Warp's language: annotations are calls, operators are its own
"""What was drawn, one sample per pixel, and how neighbouring samples mix at outlines.

A *pair* is a pixel with its right neighbour (axis 0) or its lower one (axis 1), and is stored with the first of both.
An outline may cross a pair, between the two pixel centres. The pixel on the near side of it is the pair's *owner*; the
outline lies `reach` of the distance behind the owner's centre. A reach above 1/2 covers part of the other pixel, one
below leaves part of the owner to what is behind: so much of either pixel takes the other's value, and the image becomes
continuous in the outline's position. If outlines cross a pixel along rows and columns, it keeps the product of what
either leaves: with the sums h and v of the weights along the two axes, each weight along the rows is multiplied by
1 - v/2 and each along the columns by 1 - h/2, which adds up to 1 - (1 - h)(1 - v).
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

NOBODY = wp.constant(-1)


@wp.struct
class Layers:
    """The arrays of `Layers` in `moving_images`, under the same names. B scenes of H x W samples.

    row: (B, H, W), row of the scene whose object is seen, `NOBODY` for none.
    color: (B, H, W).
    depth: (B, H, W), clip w of the surface point that is seen.
    slope: (B, H, W), change of the depth per NDC along x and y on the surface that is seen; or (B, 0, 0) where it is
        not known, and told from the neighbours' depth.
    crossings: (B, 2, H, W), or (B, 2, 0, 0) for none at all: reach; the outline's depth, positive if the first pixel of
        the pair is the owner, negative if the second is, 0 if no outline crosses the pair; the outline's slope, NDC
        along the pair per NDC across it; and the bits of whatever number tells the edge.
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
def taken(crossing: wp.vec4):
    """The share that a pixel takes of its neighbour's value, by what crosses their pair alone."""
    share = float(0.0)
    if crossing[1] > 0.0:
        share = wp.max(0.5 - crossing[0], 0.0)
    elif crossing[1] < 0.0:
        share = wp.max(crossing[0] - 0.5, 0.0)
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
    """How much of the four neighbours' values a pixel takes."""
    along_rows = 1.0 - 0.5 * (shares[2] + shares[3])
    along_columns = 1.0 - 0.5 * (shares[0] + shares[1])
    return wp.vec4(shares[0] * along_rows, shares[1] * along_rows, shares[2] * along_columns, shares[3] * along_columns)


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
