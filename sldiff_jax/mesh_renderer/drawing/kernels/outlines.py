# type: ignore -- Warp's language: annotations are calls, operators are its own
"""Where the outlines of the meshes cross the lines between neighbouring sample centres.

An edge is an outline where its triangles lie on the same side of it in the image, or where it has only one. With clip
vertices as rows (x, y, w) the sign of the determinant of (a, b, c) tells on which side of the edge a-b the vertex c is,
in front of the camera and behind it, whatever the winding. Unless it is very flat in the image, an edge is crossed with
the centre lines of the rows, and unless very steep with those of the columns; a line counts if it lies in the half-open
interval between the edge's ends, so that chains of edges cross it once. See `_gradients.kernels.layers` for what a
crossing is.

A crossing counts if the sample on the side of the triangles shows this object, on the sheet that the edge bounds, and
the other sample shows something farther away, or nothing. Of several, the outermost bounds the sheet. An outline of an
object before *itself* counts only if the surface behind is far away: on dense scanned meshes thousands of small folds
lie near the rim, and each would take the contrast of the texture along with its own, quite different motion.
"""

import warp as wp

from ...._gradients.kernels.entry_point import entry_point
from ...._gradients.kernels.layers import NOBODY, Layers, axis_weight
from .shading import Views, albedo_at, lit
from .textures import hit_at
from .visibility import (
    DRAW_EDGE,
    DRAW_VERTEX,
    EMPTY,
    LOW_WORD,
    MESH_EDGE,
    Corners,
    Meshes,
    find_corners,
    find_object,
    launch_rasterize,
    near_crossing,
    pixel_center,
    transform_vertices,
)

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

SHEET = wp.constant(60.0)  # footprints of a sample within which an edge belongs to the sheet that the sample shows
FOLD = wp.constant(6.0)  # footprints by which what an object hides of itself must lie behind


@wp.func
def depth_slope(corners: Corners, w: float):
    """Change of the depth w per NDC along x and y.

    1 / w is linear in them: 1 = (c_x, c_y, w) . n for the clip points of the triangle, and 1 / w = (x, y, 1) . n.
    """
    a = wp.vec3(corners.c0[0], corners.c0[1], corners.c0[3])
    b = wp.vec3(corners.c1[0], corners.c1[1], corners.c1[3])
    c = wp.vec3(corners.c2[0], corners.c2[1], corners.c2[3])
    n = wp.cross(b, c) + wp.cross(c, a) + wp.cross(a, b)
    scale = -w * w / wp.dot(a, wp.cross(b, c))
    return wp.vec2(n[0] * scale, n[1] * scale)


@wp.kernel
def fill_layers(
    meshes: Meshes,
    views: Views,
    background: wp.array2d(dtype=wp.vec3),
    clip: wp.array2d(dtype=wp.vec4),
    visible: wp.array3d(dtype=wp.uint64),
    chunks: int,
    supersample: int,
    layers: Layers,
    albedo: wp.array3d(dtype=wp.vec3),
):
    """What every sample shows. The samples of a row are dealt out to `chunks` threads."""
    scene, row, chunk = wp.tid()
    columns = visible.shape[2]
    py = pixel_center(row, visible.shape[1])
    column = int(chunk)
    while column < columns:
        key = visible[scene, row, column]
        if key == EMPTY:
            layers.row[scene, row, column] = NOBODY
            layers.depth[scene, row, column] = 0.0
            layers.slope[scene, row, column] = wp.vec2(0.0, 0.0)
            layers.color[scene, row, column] = background[
                (row // supersample) % background.shape[0], (column // supersample) % background.shape[1]
            ]
            if albedo.shape[1] > 0:
                albedo[scene, row, column] = wp.vec3(0.0, 0.0, 0.0)  # a derivative times what memory held may be NaN
        else:
            corners = find_corners(meshes, clip, scene, int(key & LOW_WORD))
            hit = hit_at(corners, pixel_center(column, columns), py, columns, visible.shape[1])
            weights = hit.weights
            w = weights[0] * corners.c0[3] + weights[1] * corners.c1[3] + weights[2] * corners.c2[3]
            layers.row[scene, row, column] = corners.k
            layers.depth[scene, row, column] = w
            layers.slope[scene, row, column] = depth_slope(corners, w)
            unlit = albedo_at(meshes, corners, hit, views.lights.shape[1] > 0)
            layers.color[scene, row, column] = lit(meshes, corners, hit, views, scene, unlit)
            if albedo.shape[1] > 0:
                albedo[scene, row, column] = unlit
        column += chunks


@wp.struct
class Edge:
    """The part of a drawn edge beyond the near plane."""

    is_outline: bool
    k: int
    a: wp.vec4
    b: wp.vec4
    turn: float  # its sign tells on which side of a-b the triangles are


@wp.func
def side(a: wp.vec4, b: wp.vec4, c: wp.vec4):
    return a[0] * (b[1] * c[3] - b[3] * c[1]) + a[1] * (b[3] * c[0] - b[0] * c[3]) + a[3] * (b[0] * c[1] - b[1] * c[0])


@wp.func
def find_edge(meshes: Meshes, clip: wp.array2d(dtype=wp.vec4), scene: int, index: int):
    edge = Edge()
    edge.is_outline = False
    edge.k = find_object(meshes.objects, DRAW_EDGE, index)
    corners = meshes.edges[meshes.objects[edge.k, MESH_EDGE] + index - meshes.objects[edge.k, DRAW_EDGE]]
    first = meshes.objects[edge.k, DRAW_VERTEX]
    a = clip[scene, first + corners[0]]
    b = clip[scene, first + corners[1]]
    edge.turn = side(a, b, clip[scene, first + corners[2]])
    outline = edge.turn != 0.0
    if corners[3] >= 0:
        outline = edge.turn * wp.sign(side(a, b, clip[scene, first + corners[3]])) > 0.0
    near_a = a[2] + a[3]
    near_b = b[2] + b[3]
    if outline and (near_a > 0.0 or near_b > 0.0):
        edge.is_outline = True
        edge.a = a
        edge.b = b
        if near_a < 0.0:
            edge.a = near_crossing(a, b)
        if near_b < 0.0:
            edge.b = near_crossing(a, b)
    return edge


@wp.func
def pixels(c: wp.vec4, width: int, height: int):
    return wp.vec2((c[0] / c[3] + 1.0) * 0.5 * float(width), (c[1] / c[3] + 1.0) * 0.5 * float(height))


@wp.func
def cross(edge: Edge, p: wp.vec2, q: wp.vec2, axis: int, line: int):
    """Where the edge p-q, in pixels, crosses the centre line of a row (axis 0) or column.

    Pixels along the line, depth, and pixels along the line per pixel across it.
    """
    across = 1 - axis
    slope = (q[axis] - p[axis]) / (q[across] - p[across])
    share = (float(line) + 0.5 - p[across]) / (q[across] - p[across])
    w = 1.0 / ((1.0 - share) / edge.a[3] + share / edge.b[3])
    return wp.vec3(p[axis] + (float(line) + 0.5 - p[across]) * slope, w, slope)


@wp.func
def on_second_side(edge: Edge, p: wp.vec2, q: wp.vec2, axis: int):
    """Whether the triangles at the edge p-q, in pixels, are right of it (axis 0), or below."""
    across = 1 - axis
    return (edge.turn > 0.0) == ((q[across] < p[across]) == (axis == 0))


@wp.func
def find_crossings_along(
    axis: int,
    edge: Edge,
    p: wp.vec2,
    q: wp.vec2,
    index: int,
    far: float,
    scene: int,
    layers: Layers,
    keys: wp.array4d(dtype=wp.uint64),
):
    size = layers.row.shape[2 - axis]
    lines = layers.row.shape[1 + axis]
    across = 1 - axis
    low = wp.min(p[across], q[across])
    high = wp.max(p[across], q[across])
    # Clamped as floats: a huge float has no int.
    line = int(wp.clamp(wp.ceil(low - 0.5), 0.0, float(lines)))
    last = int(wp.clamp(wp.ceil(high - 0.5), 0.0, float(lines)))
    second_side = on_second_side(edge, p, q, axis)
    while line < last:
        crossing = cross(edge, p, q, axis, line)
        position = crossing[0] - 0.5
        if position >= 0.0 and position < float(size - 1):
            index_along = int(wp.floor(position))
            first = wp.where(axis == 0, wp.vec2i(line, index_along), wp.vec2i(index_along, line))
            second = wp.where(axis == 0, wp.vec2i(line, index_along + 1), wp.vec2i(index_along + 1, line))
            owner = wp.where(second_side, second, first)
            other = wp.where(second_side, first, second)
            w = crossing[1]
            if layers.row[scene, owner[0], owner[1]] == edge.k:
                owner_depth = layers.depth[scene, owner[0], owner[1]]
                k = layers.row[scene, other[0], other[1]]
                other_depth = layers.depth[scene, other[0], other[1]]
                behind = k == NOBODY or other_depth > w
                if k == edge.k:
                    behind = other_depth - w > FOLD * far * w
                if behind and wp.abs(owner_depth - w) < SHEET * far * w:
                    reach = position - float(index_along)
                    if second_side:
                        reach = 1.0 - reach
                    key = (wp.uint64(wp.cast(reach, wp.uint32)) << wp.uint64(32)) | (LOW_WORD - wp.uint64(index))
                    wp.atomic_max(keys, scene, axis, first[0], first[1], key)
        line += 1


@wp.kernel
def find_crossings(
    meshes: Meshes,
    clip: wp.array2d(dtype=wp.vec4),
    footprint: wp.array(dtype=wp.vec2),
    layers: Layers,
    keys: wp.array4d(dtype=wp.uint64),
):
    """Per pair the outermost crossing: ``bits of reach << 32 | not edge``, so that one atomic maximum decides."""
    scene, index = wp.tid()
    edge = find_edge(meshes, clip, scene, index)
    if not edge.is_outline:
        return
    height = layers.row.shape[1]
    width = layers.row.shape[2]
    p = pixels(edge.a, width, height)
    q = pixels(edge.b, width, height)
    for axis in range(2):
        if axis_weight((q[axis] - p[axis]) / (q[1 - axis] - p[1 - axis]))[0] > 0.0:
            find_crossings_along(axis, edge, p, q, index, footprint[scene][axis], scene, layers, keys)


@wp.kernel
def resolve_crossings(
    meshes: Meshes,
    clip: wp.array2d(dtype=wp.vec4),
    keys: wp.array4d(dtype=wp.uint64),
    chunks: int,
    crossings: wp.array4d(dtype=wp.vec4),
    crossed_edge: wp.array4d(dtype=wp.int32),
):
    """The crossings themselves, from their keys in the same place; no key is no crossing: zeros.

    The pairs of a row are dealt out to `chunks` threads.
    """
    scene, axis_row, chunk = wp.tid()
    height = keys.shape[2]
    width = keys.shape[3]
    axis = axis_row // height
    row = axis_row % height
    column = int(chunk)
    while column < width:
        key = keys[scene, axis, row, column]
        if key != wp.uint64(0):
            index = int(LOW_WORD - (key & LOW_WORD))
            edge = find_edge(meshes, clip, scene, index)
            p = pixels(edge.a, width, height)
            q = pixels(edge.b, width, height)
            crossing = cross(edge, p, q, axis, wp.where(axis == 0, row, column))
            reach = crossing[0] - 0.5 - float(wp.where(axis == 0, column, row))
            w = crossing[1]
            if on_second_side(edge, p, q, axis):
                reach = 1.0 - reach
                w = -w
            rate = (1.0 / edge.b[3] - 1.0 / edge.a[3]) / (q[1 - axis] - p[1 - axis])
            crossings[scene, axis, row, column] = wp.vec4(reach, w, crossing[2], rate)
            crossed_edge[scene, axis, row, column] = index
        column += chunks


@entry_point("meshes", "background")
def draw(
    meshes: Meshes,
    views: Views,
    background: wp.array2d(dtype=wp.vec3),
    footprint: wp.array(dtype=wp.vec2),
    triangles: int,
    edges: int,
    supersample: int,
    clip: wp.array2d(dtype=wp.vec4),
    visible: wp.array3d(dtype=wp.vec2ui),
    layers: Layers,
    crossed_edge: wp.array4d(dtype=wp.int32),
    albedo: wp.array3d(dtype=wp.vec3),
):
    """What every sample shows, and where which edges cross, -1 for none; without crossings if they have no pairs.

    Also the colour that light falls on; without if it has no pixels.
    """
    wp.launch(transform_vertices, clip.shape, [meshes, views.T_clip_object], [clip])
    keys = launch_rasterize(meshes, triangles, clip, visible)
    scenes, height, width = keys.shape
    chunks = width if keys.device.is_cuda else 1
    wp.launch(
        fill_layers,
        (scenes, height, chunks),
        [meshes, views, background, clip, keys, chunks, supersample, layers],
        [albedo],
    )
    crossings = layers.crossings
    if crossings.size > 0:
        crossings.zero_()
        crossed_edge.fill_(-1)
        # Keys stand where the crossings will.
        pairs = wp.array(
            ptr=crossings.ptr,
            dtype=wp.uint64,
            shape=crossings.shape,
            strides=crossings.strides,
            device=crossings.device,
        )
        wp.launch(find_crossings, (scenes, edges), [meshes, clip, footprint, layers], [pairs])
        wp.launch(
            resolve_crossings, (scenes, 2 * height, chunks), [meshes, clip, pairs, chunks], [crossings, crossed_edge]
        )
