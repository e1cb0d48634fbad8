# type: ignore -- Warp's language: annotations are calls, operators are its own
"""How images change when surfaces move, pair of samples by pair of samples; forward, and its exact transpose.

All contrast lies between adjacent samples, and something carries it when it moves:

- *Inside* (both samples show one object): each carries its half of the contrast along with its own surface point. The
  last sample before an outline carries its only contrast whole: its surface goes on to the outline.
- An *outline* that is known to cross the pair: its reach moves with a point of the mesh's edge, and the weights with
  which the two samples mix follow. The contrast there is that of the nearer surface at its rim.
- An *outline that is guessed* (two objects, and no crossing is known): the nearer one carries all of the contrast, by
  the point on its rim, where the line of sight grazes the surface. That lies behind the last visible sample: seen along
  a row, a smooth surface recedes from its rim like the square root of the distance d, ``depth(d) = depth(0) - k
  sqrt(d)``. With sample centres at d = 1/2 and 3/2 the rim is ``sqrt(1/2) / (sqrt(3/2) - sqrt(1/2))`` times as far
  behind the first as this is behind the second.

A surface point with homogeneous object coordinates x has the clip point ``c = M x``, so that with ``s`` an objective's
derivative by its NDC, ``dL/dc = (s_x / w, s_y / w, -(s_x c_x + s_y c_y) / w^2)`` for rows 0, 1 and 3 of c, and the sum
of ``dL/dc x^T`` over all samples and crossings of an object is the derivative by rows 0, 1 and 3 of its M.
"""

import math

import warp as wp

from .compositing import Cotangents, Taken, difference, image_cotangent, lent, sample_cotangent, taken_towards, times
from .entry_point import entry_point
from .layers import (
    NOBODY,
    Layers,
    Plane,
    axis_weight,
    carried_on,
    center,
    crossing_towards,
    inside,
    is_crossed,
    shares_of,
    step_of,
    value_at,
    weights_of,
)

# Loops over the four neighbours stay loops: written out, they take three times as long to compile, and run as fast.
wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False, "max_unroll": 1})

RIM_FACTOR = wp.constant(math.sqrt(0.5) / (math.sqrt(1.5) - math.sqrt(0.5)))
RIM_LIMIT = wp.constant(20.0)  # footprints of a pixel behind the last sample: steeper is a step in the surface
CHUNK = wp.constant(32)  # columns whose derivatives one thread sums up


@wp.struct
class Views:
    """What the projection says.

    T_clip_object: (B, N, 3), takes a point to clip x, y and w.
    T_object_clip: (B, N, 3), takes (clip x, y, w, 1) back.
    footprint: (B,), the size of a sample at depth 1 along x and y.
    """

    T_clip_object: wp.array3d(dtype=wp.vec4)
    T_object_clip: wp.array3d(dtype=wp.vec4)
    footprint: wp.array(dtype=wp.vec2)


@wp.func
def point_at(views: Views, scene: int, k: int, x: float, y: float, w: float):
    """(point of object k, 1) that is seen at NDC (x, y) in the depth w."""
    c = wp.vec4(x * w, y * w, w, 1.0)
    return wp.vec4(
        wp.dot(views.T_object_clip[scene, k, 0], c),
        wp.dot(views.T_object_clip[scene, k, 1], c),
        wp.dot(views.T_object_clip[scene, k, 2], c),
        1.0,
    )


@wp.func
def per_ndc(layers: Layers, direction: int):
    """Contrast towards a neighbour to derivative by the motion of the surface, in NDC along the pair's axis."""
    size = wp.where(direction < 2, layers.row.shape[2], layers.row.shape[1])
    return wp.where(direction % 2 == 0, 0.25, -0.25) * float(size)


@wp.func
def end_share(layers: Layers, scene: int, row: int, column: int, direction: int):
    """1, but 2 where a surface ends on the other side: its contrast there is taken for that towards the neighbour.

    It ends at the border of the image, and at a known outline before or behind something else. An object that hides
    itself moves on both sides: the contrast between the centres counts all that lies between.
    """
    step = step_of(direction)
    r = row - step[0]
    c = column - step[1]
    ends = not inside(layers, r, c)
    if not ends and layers.row[scene, r, c] != layers.row[scene, row, column]:
        ends = crossing_towards(layers, scene, row, column, direction ^ 1)[1] != 0.0
    return wp.where(ends, 2.0, 1.0)


@wp.func
def owns_guessed(layers: Layers, scene: int, row: int, column: int, other_row: int, other_column: int):
    """Whether the first of two samples of different objects carries a guessed outline between them.

    Where a known outline crosses a neighbouring pair, it crosses this one too, in a corner of the grid.
    """
    if is_crossed(layers, scene, row, column) or is_crossed(layers, scene, other_row, other_column):
        return False
    seen = layers.row[scene, row, column] != NOBODY
    other_seen = layers.row[scene, other_row, other_column] != NOBODY
    nearer = layers.depth[scene, row, column] < layers.depth[scene, other_row, other_column]
    return seen and (not other_seen or nearer)


@wp.func
def rim_depth(layers: Layers, views: Views, scene: int, row: int, column: int, direction: int):
    """Depth of the rim towards a neighbour."""
    depth = layers.depth[scene, row, column]
    step = step_of(direction)
    recession = float(0.0)
    r = row - step[0]
    c = column - step[1]
    if inside(layers, r, c) and layers.row[scene, r, c] == layers.row[scene, row, column]:
        limit = RIM_LIMIT * views.footprint[scene][direction // 2] * depth
        recession = wp.clamp(RIM_FACTOR * (depth - layers.depth[scene, r, c]), 0.0, limit)
    return depth + recession


@wp.struct
class Outline:
    """A crossing as its owner sees it: where it is, the pixel whose mixture it changes, and the motion that does so.

    That is the motion of two points of the outline: where it crosses the pair, and up to a pixel farther along, for
    its slope.
    """

    at: wp.vec3  # NDC x, y, and depth
    beyond: wp.vec3
    receiver: wp.vec2i  # (row, column)
    direction: int  # from the receiver to the sample of which it takes a share
    per_at: wp.vec2  # change of that share per NDC of motion along x and y
    per_beyond: wp.vec2  # zero where the slope does not matter


@wp.func
def outline_at(layers: Layers, crossing: wp.vec4, row: int, column: int, direction: int):
    outline = Outline()
    step = step_of(direction)
    slope = crossing[2]
    half = 0.5 * wp.vec2(float(layers.row.shape[2]), float(layers.row.shape[1]))  # pixels per NDC
    x = center(column, layers.row.shape[2]) + float(step[1]) * crossing[0] / half[0]
    y = center(row, layers.row.shape[1]) + float(step[0]) * crossing[0] / half[1]
    # Towards the camera, where no depth becomes infinite.
    forth = wp.where(crossing[3] < 0.0, -1.0, 1.0)
    w = 1.0 / (1.0 / crossing[1] + wp.abs(crossing[3]))
    ahead = wp.where(direction < 2, wp.vec2(slope, 1.0), wp.vec2(1.0, slope)) * forth
    outline.at = wp.vec3(x, y, crossing[1])
    outline.beyond = wp.vec3(x + ahead[0] / half[0], y + ahead[1] / half[1], w)
    sign = float(-1.0)
    outline.receiver = wp.vec2i(row, column)
    outline.direction = direction
    if crossing[0] > 0.5:
        sign = 1.0
        outline.receiver = wp.vec2i(row + step[0], column + step[1])
        outline.direction = direction ^ 1
    weight = axis_weight(slope)
    along = wp.where(direction < 2, wp.vec2(half[0], -slope * half[1]), wp.vec2(-slope * half[0], half[1]))
    turning = wp.abs(crossing[0] - 0.5) * weight[1] * forth
    outline.per_at = (sign * wp.where(direction % 2 == 1, weight[0], -weight[0]) - turning) * along
    outline.per_beyond = turning * along
    return outline


@wp.func
def mask_step(
    layers: Layers,
    cotangents: Cotangents,
    scene: int,
    row: int,
    column: int,
    at_row: int,
    at_column: int,
    step: wp.vec2i,
):
    """What the objects' masks contribute to the objective, at a pixel, if a sample turns into its neighbour."""
    change = float(0.0)
    if cotangents.object_masks.shape[2] > 0:
        k = layers.row[scene, row, column]
        other = layers.row[scene, row + step[0], column + step[1]]
        if other != NOBODY:
            change += cotangents.object_masks[scene, other, at_row, at_column]
        if k != NOBODY:
            change -= cotangents.object_masks[scene, k, at_row, at_column]
    return change


@wp.func
def value_step(layers: Layers, scene: int, row: int, column: int, step: wp.vec2i):
    """The neighbour's value less the sample's own."""
    return difference(value_at(layers, scene, row + step[0], column + step[1]), value_at(layers, scene, row, column))


@wp.func
def color_to_rim(layers: Layers, scene: int, row: int, column: int, direction: int):
    """Change of an owner's colour from its centre to the outline towards a neighbour, by the contrast behind it."""
    step = step_of(direction)
    r = row - step[0]
    c = column - step[1]
    k = layers.row[scene, row, column]
    change = wp.vec3(0.0, 0.0, 0.0)
    is_surface = inside(layers, r, c) and layers.row[scene, r, c] == k
    is_fold = layers.row[scene, row + step[0], column + step[1]] == k
    if is_surface and not is_fold and crossing_towards(layers, scene, row, column, direction ^ 1)[1] == 0.0:
        reach = crossing_towards(layers, scene, row, column, direction)[0]
        change = reach * (layers.color[scene, row, column] - layers.color[scene, r, c])
    return change


@wp.func
def taken_at_outline(layers: Layers, scene: int, row: int, column: int, direction: int, share: float):
    """`taken_towards` as an outline's motion sees it: the colour of the nearer surface is that at its rim."""
    taken = taken_towards(layers, scene, row, column, direction, share)
    step = step_of(direction)
    if crossing_towards(layers, scene, row, column, direction)[1] > 0.0:
        taken.step.color -= color_to_rim(layers, scene, row, column, direction)
    else:
        taken.step.color += color_to_rim(layers, scene, row + step[0], column + step[1], direction ^ 1)
    return taken


@wp.func
def by_weight(layers: Layers, cotangents: Cotangents, scene: int, row: int, column: int, direction: int, taken: Taken):
    """The objective's derivative by the weight with which a pixel takes of a neighbour."""
    derivative = times(image_cotangent(cotangents, scene, row, column), taken.step)
    return derivative + mask_step(layers, cotangents, scene, row, column, row, column, step_of(direction))


@wp.func
def by_share(layers: Layers, cotangents: Cotangents, scene: int, row: int, column: int, direction: int):
    """The objective's derivative by one of a pixel's shares: see `weights_of`."""
    shares = shares_of(layers, scene, row, column)
    total = shares[0] + shares[1] + shares[2] + shares[3]
    taken = taken_at_outline(layers, scene, row, column, direction, shares[direction])
    derivative = by_weight(layers, cotangents, scene, row, column, direction, taken)
    if total > 1.0:
        for other in range(4):
            if shares[other] > 0.0:
                of_other = taken_at_outline(layers, scene, row, column, other, shares[other])
                by_other = by_weight(layers, cotangents, scene, row, column, other, of_other)
                derivative -= shares[other] / total * by_other
        derivative /= total
    by_depth = image_cotangent(cotangents, scene, row, column).cover[0]
    return derivative + weights_of(shares)[direction] * taken.depth_rate * by_depth


@wp.func
def by_clip(s_x: float, s_y: float, x: float, y: float, w: float):
    """Derivative by clip x, y and w from that by NDC."""
    return wp.vec3(s_x / w, s_y / w, -(s_x * x + s_y * y) / w)


@wp.func
def by_plane(plane: Plane, derivative: float):
    """Derivative by clip x, y and w of the surface's point there from that by the depth at this place of the image."""
    c = by_clip(-derivative * plane.slope[0], -derivative * plane.slope[1], plane.at[0], plane.at[1], plane.at[2])
    c[2] += derivative
    return c


@wp.struct
class Part:
    """The plane of a surface in the middle of a part of a pixel, and the objective's derivative by its depth there."""

    plane: Plane
    by_depth: float


@wp.func
def part_at(layers: Layers, cotangents: Cotangents, scene: int, row: int, column: int, direction: int, lends: bool):
    """The part of its neighbour that a sample's surface covers, or that of its own pixel which it leaves to others."""
    shares = shares_of(layers, scene, row, column)
    share = shares[direction]
    weight = -weights_of(shares)[direction]
    distance = 0.5 - 0.5 * share
    receiver = wp.vec2i(row, column)
    if lends:
        loan = lent(layers, scene, row, column, direction)
        weight = loan[0]
        distance = 0.5 + 0.5 * loan[1]
        receiver += step_of(direction)
    part = Part()
    if weight != 0.0:
        part.plane = carried_on(layers, scene, row, column, direction, distance)
        part.by_depth = weight * image_cotangent(cotangents, scene, receiver[0], receiver[1]).cover[0]
    return part


@wp.kernel
def pull_kernel(
    layers: Layers,
    views: Views,
    cotangents: Cotangents,
    sums: wp.array4d(dtype=wp.vec4),
    by_color: wp.array3d(dtype=wp.vec3),
    by_point: wp.array3d(dtype=wp.vec3),
    by_edge: wp.array4d(dtype=wp.vec3),
):
    """One thread sums up `CHUNK` columns of a row, object by object."""
    scene, row, chunk = wp.tid()
    band = row * ((layers.row.shape[2] + CHUNK - 1) // CHUNK) + chunk
    y = center(row, layers.row.shape[1])
    k = int(-1)
    A_x = wp.vec4(0.0, 0.0, 0.0, 0.0)
    A_y = wp.vec4(0.0, 0.0, 0.0, 0.0)
    A_w = wp.vec4(0.0, 0.0, 0.0, 0.0)
    for column in range(chunk * CHUNK, wp.min((chunk + 1) * CHUNK, layers.row.shape[2])):
        own = layers.row[scene, row, column]
        if by_color.shape[1] > 0:
            by_color[scene, row, column] = sample_cotangent(layers, cotangents, scene, row, column).color
        if own != k:
            if k != NOBODY:
                sums[scene, band, k, 0] = sums[scene, band, k, 0] + A_x
                sums[scene, band, k, 1] = sums[scene, band, k, 1] + A_y
                sums[scene, band, k, 2] = sums[scene, band, k, 2] + A_w
                A_x = wp.vec4(0.0, 0.0, 0.0, 0.0)
                A_y = wp.vec4(0.0, 0.0, 0.0, 0.0)
                A_w = wp.vec4(0.0, 0.0, 0.0, 0.0)
            k = own
        if own != NOBODY:
            x = center(column, layers.row.shape[2])
            w = layers.depth[scene, row, column]
            gradient = image_cotangent(cotangents, scene, row, column)
            crossed = is_crossed(layers, scene, row, column)
            if crossed:
                gradient = sample_cotangent(layers, cotangents, scene, row, column)
            s = wp.vec2(0.0, 0.0)
            for direction in range(4):
                step = step_of(direction)
                if inside(layers, row + step[0], column + step[1]):
                    crossing = crossing_towards(layers, scene, row, column, direction)
                    other = layers.row[scene, row + step[0], column + step[1]]
                    if crossing[1] > 0.0:
                        outline = outline_at(layers, crossing, row, column, direction)
                        d = by_share(
                            layers, cotangents, scene, outline.receiver[0], outline.receiver[1], outline.direction
                        )
                        for end in range(2):
                            at = wp.where(end == 0, outline.at, outline.beyond)
                            per = d * wp.where(end == 0, outline.per_at, outline.per_beyond)
                            if per[0] != 0.0 or per[1] != 0.0:
                                c = by_clip(per[0], per[1], at[0], at[1], at[2])
                                point = point_at(views, scene, k, at[0], at[1], at[2])
                                A_x += c[0] * point
                                A_y += c[1] * point
                                A_w += c[2] * point
                                if by_edge.shape[2] > 0:
                                    pair = wp.vec2i(row + wp.min(step[0], 0), column + wp.min(step[1], 0))
                                    by_edge[scene, direction // 2 * 2 + end, pair[0], pair[1]] = c
                    elif crossing[1] == 0.0:
                        contrast = value_step(layers, scene, row, column, step)
                        pull = float(0.0)
                        if other == own:
                            if layers.slope.shape[1] > 0:
                                contrast.cover = wp.vec2(0.0, 0.0)
                            pull = times(gradient, contrast) * end_share(layers, scene, row, column, direction)
                            pull *= per_ndc(layers, direction)
                            s[direction // 2] += pull
                        elif owns_guessed(layers, scene, row, column, row + step[0], column + step[1]):
                            pull = times(gradient, contrast) + times(
                                sample_cotangent(layers, cotangents, scene, row + step[0], column + step[1]), contrast
                            )
                            pull += mask_step(layers, cotangents, scene, row, column, row, column, step)
                            pull += mask_step(
                                layers, cotangents, scene, row, column, row + step[0], column + step[1], step
                            )
                            pull *= per_ndc(layers, direction)
                            depth = rim_depth(layers, views, scene, row, column, direction)
                            point = point_at(views, scene, k, x, y, depth)
                            c = by_clip(
                                wp.where(direction < 2, pull, 0.0), wp.where(direction < 2, 0.0, pull), x, y, depth
                            )
                            A_x += c[0] * point
                            A_y += c[1] * point
                            A_w += c[2] * point
            if layers.slope.shape[1] > 0:
                s -= gradient.cover[0] * layers.slope[scene, row, column]
            c = by_clip(s[0], s[1], x, y, w)
            c[2] += gradient.cover[0]
            point = point_at(views, scene, k, x, y, w)
            A_x += c[0] * point
            A_y += c[1] * point
            A_w += c[2] * point
            if crossed and cotangents.cover.shape[1] > 0:
                for i in range(8):
                    part = part_at(layers, cotangents, scene, row, column, i // 2, i % 2 == 1)
                    if part.by_depth != 0.0:
                        by_part = by_plane(part.plane, part.by_depth)
                        at = part.plane.at
                        point = point_at(views, scene, k, at[0], at[1], at[2])
                        A_x += by_part[0] * point
                        A_y += by_part[1] * point
                        A_w += by_part[2] * point
                        c += by_part
            if by_point.shape[1] > 0:
                by_point[scene, row, column] = c
    if k != NOBODY:
        sums[scene, band, k, 0] = sums[scene, band, k, 0] + A_x
        sums[scene, band, k, 1] = sums[scene, band, k, 1] + A_y
        sums[scene, band, k, 2] = sums[scene, band, k, 2] + A_w


@entry_point()
def pull(
    layers: Layers,
    views: Views,
    cotangents: Cotangents,
    sums: wp.array4d(dtype=wp.vec4),
    by_color: wp.array3d(dtype=wp.vec3),
    by_point: wp.array3d(dtype=wp.vec3),
    by_edge: wp.array4d(dtype=wp.vec3),
):
    """From derivatives by the images to those by what moves and shows.

    sums: (B, bands, N, 3), to be summed over the bands: derivatives by rows 0, 1 and 3 of ``T_clip_object``.
    by_color: (B, H, W), derivatives by the samples' colours, or (B, 0, 0).
    by_point: (B, H, W), derivatives by clip x, y and w of the points that the samples show, or (B, 0, 0).
    by_edge: (B, 4, H, W), the same of the two points of edges that each crossing depends on, or (B, 4, 0, 0).
    """
    for output in (sums, by_point, by_edge):
        output.zero_()
    scenes, height, width = layers.row.shape
    wp.launch(
        pull_kernel,
        (scenes, height, (width + CHUNK - 1) // CHUNK),
        [layers, views, cotangents],
        [sums, by_color, by_point, by_edge],
    )


@wp.struct
class Tangents:
    """K changes of what the images depend on. All but the first may have no samples.

    T_clip_object: (B, K, N, 3), rows 0, 1 and 3.
    point: (B, K, H, W), the points that the samples show, in their object's frames.
    edge: (B, K, 4 H, W), the two points of edges that crossings of the two axes depend on.
    color: (B, K, H, W), the samples' colours.
    """

    T_clip_object: wp.array4d(dtype=wp.vec4)
    point: wp.array4d(dtype=wp.vec3)
    edge: wp.array4d(dtype=wp.vec3)
    color: wp.array4d(dtype=wp.vec3)


@wp.func
def clip_change(views: Views, tangents: Tangents, scene: int, i: int, k: int, point: wp.vec4, motion: wp.vec3):
    """Change of clip x, y, w of a point of object k that moves in its frame by `motion`."""
    own = wp.vec4(motion[0], motion[1], motion[2], 0.0)
    return wp.vec3(
        wp.dot(tangents.T_clip_object[scene, i, k, 0], point) + wp.dot(views.T_clip_object[scene, k, 0], own),
        wp.dot(tangents.T_clip_object[scene, i, k, 1], point) + wp.dot(views.T_clip_object[scene, k, 1], own),
        wp.dot(tangents.T_clip_object[scene, i, k, 2], point) + wp.dot(views.T_clip_object[scene, k, 2], own),
    )


@wp.func
def ndc_change(change: wp.vec3, x: float, y: float, w: float):
    return wp.vec2((change[0] - x * change[2]) / w, (change[1] - y * change[2]) / w)


@wp.func
def guessed_change(
    layers: Layers, views: Views, tangents: Tangents, scene: int, i: int, row: int, column: int, direction: int
):
    """Motion in NDC along the pair of the rim that the owner of a guessed outline has towards a neighbour."""
    k = layers.row[scene, row, column]
    x = center(column, layers.row.shape[2])
    y = center(row, layers.row.shape[1])
    w = rim_depth(layers, views, scene, row, column, direction)
    still = wp.vec3(0.0, 0.0, 0.0)
    change = clip_change(views, tangents, scene, i, k, point_at(views, scene, k, x, y, w), still)
    return ndc_change(change, x, y, w)[direction // 2]


@wp.kernel
def push_samples_kernel(
    layers: Layers,
    views: Views,
    tangents: Tangents,
    chunks: int,
    image: wp.array4d(dtype=wp.vec3),
    cover: wp.array4d(dtype=wp.vec2),
):
    """Change of the samples' values: what surfaces carry along, and what changes in place."""
    scene, row, chunk = wp.tid()
    y = center(row, image.shape[2])
    column = int(chunk)
    while column < image.shape[3]:
        own = layers.row[scene, row, column]
        x = center(column, image.shape[3])
        color_x = wp.vec3(0.0, 0.0, 0.0)
        color_y = wp.vec3(0.0, 0.0, 0.0)
        cover_x = wp.vec2(0.0, 0.0)
        cover_y = wp.vec2(0.0, 0.0)
        for i in range(image.shape[1]):
            image[scene, i, row, column] = wp.vec3(0.0, 0.0, 0.0)
            cover[scene, i, row, column] = wp.vec2(0.0, 0.0)
        if own != NOBODY and layers.slope.shape[1] > 0:
            cover_x = wp.vec2(-layers.slope[scene, row, column][0], 0.0)
            cover_y = wp.vec2(-layers.slope[scene, row, column][1], 0.0)
        for direction in range(4):
            step = step_of(direction)
            is_inside = inside(layers, row + step[0], column + step[1])
            other = int(NOBODY)
            if is_inside:
                other = layers.row[scene, row + step[0], column + step[1]]
            # Between two samples of the background nothing moves.
            if is_inside and (own != NOBODY or other != NOBODY):
                crossing = crossing_towards(layers, scene, row, column, direction)
                if crossing[1] == 0.0:
                    contrast = value_step(layers, scene, row, column, step)
                    if other == own:
                        if layers.slope.shape[1] > 0:
                            contrast.cover = wp.vec2(0.0, 0.0)
                        share = end_share(layers, scene, row, column, direction) * per_ndc(layers, direction)
                        if direction < 2:
                            color_x += share * contrast.color
                            cover_x += share * contrast.cover
                        else:
                            color_y += share * contrast.color
                            cover_y += share * contrast.cover
                    else:
                        owned = owns_guessed(layers, scene, row, column, row + step[0], column + step[1])
                        if owned or owns_guessed(layers, scene, row + step[0], column + step[1], row, column):
                            for i in range(image.shape[1]):
                                change = float(0.0)
                                if owned:
                                    change = guessed_change(
                                        layers, views, tangents, scene, i, row, column, direction
                                    ) * per_ndc(layers, direction)
                                else:
                                    # The neighbour's pair with this sample: contrast and direction both turn round.
                                    change = guessed_change(
                                        layers,
                                        views,
                                        tangents,
                                        scene,
                                        i,
                                        row + step[0],
                                        column + step[1],
                                        direction ^ 1,
                                    ) * per_ndc(layers, direction)
                                image[scene, i, row, column] = image[scene, i, row, column] + change * contrast.color
                                cover[scene, i, row, column] = cover[scene, i, row, column] + change * contrast.cover
        if own != NOBODY:
            w = layers.depth[scene, row, column]
            point = point_at(views, scene, own, x, y, w)
            for i in range(image.shape[1]):
                motion = wp.vec3(0.0, 0.0, 0.0)
                if tangents.point.shape[2] > 0:
                    motion = tangents.point[scene, i, row, column]
                moved = clip_change(views, tangents, scene, i, own, point, motion)
                ndc = ndc_change(moved, x, y, w)
                color = image[scene, i, row, column] + ndc[0] * color_x + ndc[1] * color_y
                covered = cover[scene, i, row, column] + ndc[0] * cover_x + ndc[1] * cover_y
                image[scene, i, row, column] = color
                cover[scene, i, row, column] = covered + wp.vec2(moved[2], 0.0)
        if tangents.color.shape[2] > 0:
            for i in range(image.shape[1]):
                image[scene, i, row, column] = image[scene, i, row, column] + tangents.color[scene, i, row, column]
        column += chunks


@wp.func
def share_change(
    layers: Layers, views: Views, tangents: Tangents, scene: int, i: int, row: int, column: int, direction: int
):
    """Change of the share that a pixel takes of a neighbour."""
    change = float(0.0)
    step = step_of(direction)
    if inside(layers, row + step[0], column + step[1]):
        crossing = crossing_towards(layers, scene, row, column, direction)
        owner = wp.vec2i(row, column)
        towards = int(direction)
        takes = crossing[1] > 0.0 and crossing[0] <= 0.5
        if crossing[1] < 0.0:
            owner = wp.vec2i(row + step[0], column + step[1])
            towards = direction ^ 1
            crossing = wp.vec4(crossing[0], -crossing[1], crossing[2], crossing[3])
            takes = crossing[0] > 0.5
        if takes:
            outline = outline_at(layers, crossing, owner[0], owner[1], towards)
            k = layers.row[scene, owner[0], owner[1]]
            for end in range(2):
                at = wp.where(end == 0, outline.at, outline.beyond)
                per = wp.where(end == 0, outline.per_at, outline.per_beyond)
                if per[0] != 0.0 or per[1] != 0.0:
                    motion = wp.vec3(0.0, 0.0, 0.0)
                    if tangents.edge.shape[2] > 0:
                        plane = direction // 2 * 2 + end
                        pair = wp.vec2i(row + wp.min(step[0], 0), column + wp.min(step[1], 0))
                        motion = tangents.edge[scene, i, plane * layers.row.shape[1] + pair[0], pair[1]]
                    point = point_at(views, scene, k, at[0], at[1], at[2])
                    c = clip_change(views, tangents, scene, i, k, point, motion)
                    change += wp.dot(per, ndc_change(c, at[0], at[1], at[2]))
    return change


@wp.func
def carried_change(
    layers: Layers,
    views: Views,
    tangents: Tangents,
    scene: int,
    i: int,
    row: int,
    column: int,
    direction: int,
    distance: float,
):
    """Change of `carried_on`'s depth."""
    change = float(0.0)
    k = layers.row[scene, row, column]
    if k != NOBODY:
        motion = wp.vec3(0.0, 0.0, 0.0)
        if tangents.point.shape[2] > 0:
            motion = tangents.point[scene, i, row, column]
        plane = carried_on(layers, scene, row, column, direction, distance)
        point = point_at(views, scene, k, plane.at[0], plane.at[1], plane.at[2])
        c = clip_change(views, tangents, scene, i, k, point, motion)
        change = c[2] - wp.dot(plane.slope, ndc_change(c, plane.at[0], plane.at[1], plane.at[2]))
    return change


@wp.kernel
def push_images_kernel(
    layers: Layers,
    views: Views,
    tangents: Tangents,
    chunks: int,
    samples: wp.array4d(dtype=wp.vec3),
    sample_cover: wp.array4d(dtype=wp.vec2),
    image: wp.array4d(dtype=wp.vec3),
    cover: wp.array4d(dtype=wp.vec2),
):
    """Change of the images from that of the samples, and of the weights with which they mix."""
    scene, row, chunk = wp.tid()
    column = int(chunk)
    while column < image.shape[3]:
        for i in range(image.shape[1]):
            image[scene, i, row, column] = samples[scene, i, row, column]
            cover[scene, i, row, column] = sample_cover[scene, i, row, column]
        if is_crossed(layers, scene, row, column):
            shares = shares_of(layers, scene, row, column)
            weights = weights_of(shares)
            total = shares[0] + shares[1] + shares[2] + shares[3]
            for i in range(image.shape[1]):
                changes = wp.vec4(
                    share_change(layers, views, tangents, scene, i, row, column, 0),
                    share_change(layers, views, tangents, scene, i, row, column, 1),
                    share_change(layers, views, tangents, scene, i, row, column, 2),
                    share_change(layers, views, tangents, scene, i, row, column, 3),
                )
                of_weights = changes
                if total > 1.0:
                    more = changes[0] + changes[1] + changes[2] + changes[3]
                    of_weights = (changes - more / total * shares) / total
                color = samples[scene, i, row, column]
                covered = sample_cover[scene, i, row, column]
                for direction in range(4):
                    if weights[direction] > 0.0 or of_weights[direction] != 0.0:
                        step = step_of(direction)
                        weight = weights[direction]
                        share = shares[direction]
                        r = row + step[0]
                        c = column + step[1]
                        taken = taken_at_outline(layers, scene, row, column, direction, share)
                        color += weight * (samples[scene, i, r, c] - samples[scene, i, row, column])
                        color += of_weights[direction] * taken.step.color
                        depth = taken.depth_rate * changes[direction]
                        depth += carried_change(
                            layers, views, tangents, scene, i, r, c, direction ^ 1, 0.5 + 0.5 * share
                        )
                        depth -= carried_change(
                            layers, views, tangents, scene, i, row, column, direction, 0.5 - 0.5 * share
                        )
                        seen = sample_cover[scene, i, r, c][1] - sample_cover[scene, i, row, column][1]
                        covered += weight * wp.vec2(depth, seen) + of_weights[direction] * taken.step.cover
                image[scene, i, row, column] = color
                cover[scene, i, row, column] = covered
        column += chunks


@entry_point()
def push(
    layers: Layers,
    views: Views,
    tangents: Tangents,
    samples: wp.array4d(dtype=wp.vec3),
    sample_cover: wp.array4d(dtype=wp.vec2),
    image: wp.array4d(dtype=wp.vec3),
    cover: wp.array4d(dtype=wp.vec2),
):
    """From changes of what moves and shows to those of the samples, and of the images: (B, K, H, W) each."""
    chunks = image.shape[3] if image.device.is_cuda else 1
    size = (image.shape[0], image.shape[2], chunks)
    wp.launch(push_samples_kernel, size, [layers, views, tangents, chunks], [samples, sample_cover])
    wp.launch(push_images_kernel, size, [layers, views, tangents, chunks, samples, sample_cover], [image, cover])
