# type: ignore -- Warp's language: annotations are calls, operators are its own
"""Warp kernels that find the visible triangle of every pixel, and the sequence of their launches.

Importing this module imports Warp, so only `launch` does, on first use. (Warp reads annotations as objects: no
``from __future__ import annotations`` here.)

Coverage is decided with homogeneous edge functions (Olano & Greer, "Triangle Scan Conversion using 2D Homogeneous
Coordinates", 1997), taken relative to the pixel: with clip vertices ``c_i`` and pixel NDC ``(px, py)``, let
``q_i = (c_i.x - px c_i.w, c_i.y - py c_i.w)``. The weights ``lambda ~ (q1 x q2, q2 x q0, q0 x q1)`` are the
perspective-correct barycentrics of the point that the pixel sees, without any division by w before clipping.
"""

import warp as wp

# Without contraction a*b - c*d is exactly -(c*d - a*b), so triangles that share an edge agree on which side a pixel is.
wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
BOX_MARGIN = wp.constant(0.01)  # pixels; only has to exceed the rounding of a projected vertex
GPU_THREADS = 1 << 20  # enough to fill a large GPU several times over

LOW_WORD = wp.constant(wp.uint64(0xFFFFFFFF))

# Columns of the object table, whose last row holds the totals.
DRAW_VERTEX = wp.constant(0)
DRAW_FACE = wp.constant(1)
DRAW_EDGE = wp.constant(2)
MESH_VERTEX = wp.constant(3)
MESH_FACE = wp.constant(4)
MESH_EDGE = wp.constant(5)


@wp.struct
class Meshes:
    """The arrays of `Geometry`, under the same names. One of the two kinds of texels is empty, of all levels."""

    objects: wp.array2d(dtype=wp.int32)
    vertices: wp.array(dtype=wp.vec3)
    normals: wp.array(dtype=wp.vec3)
    colors: wp.array(dtype=wp.vec3)
    uv: wp.array(dtype=wp.vec2)
    faces: wp.array(dtype=wp.vec3i)
    face_material: wp.array(dtype=wp.int32)
    byte_texels: wp.array(dtype=wp.vec4ub)
    float_texels: wp.array(dtype=wp.vec4)
    textures: wp.array(dtype=wp.vec3i)
    byte_coarse: wp.array(dtype=wp.vec4ub)
    float_coarse: wp.array(dtype=wp.vec4)
    levels: wp.array2d(dtype=wp.int32)
    most_taps: wp.array(dtype=float)
    base_colors: wp.array(dtype=wp.vec3)
    edges: wp.array(dtype=wp.vec4i)


@wp.func
def find_object(objects: wp.array2d(dtype=wp.int32), column: int, index: int):
    """The row k with ``objects[k, column] <= index < objects[k + 1, column]``."""
    low = int(0)
    high = objects.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if objects[middle, column] <= index:
            low = middle
        else:
            high = middle
    return low


@wp.struct
class Corners:
    """A drawn triangle: its object, its number in the mesh arrays, and its vertices within the mesh."""

    k: int
    face: int
    vertices: wp.vec3i
    c0: wp.vec4
    c1: wp.vec4
    c2: wp.vec4


@wp.func
def find_corners(meshes: Meshes, clip: wp.array2d(dtype=wp.vec4), scene: int, triangle: int):
    corners = Corners()
    k = find_object(meshes.objects, DRAW_FACE, triangle)
    first = meshes.objects[k, DRAW_VERTEX]
    corners.k = k
    corners.face = meshes.objects[k, MESH_FACE] + triangle - meshes.objects[k, DRAW_FACE]
    corners.vertices = meshes.faces[corners.face]
    corners.c0 = clip[scene, first + corners.vertices[0]]
    corners.c1 = clip[scene, first + corners.vertices[1]]
    corners.c2 = clip[scene, first + corners.vertices[2]]
    return corners


@wp.func
def pixel_center(index: int, size: int):
    return float(2 * index + 1) / float(size) - 1.0


@wp.func
def edge_functions(c0: wp.vec4, c1: wp.vec4, c2: wp.vec4, px: float, py: float):
    x0 = c0[0] - px * c0[3]
    x1 = c1[0] - px * c1[3]
    x2 = c2[0] - px * c2[3]
    y0 = c0[1] - py * c0[3]
    y1 = c1[1] - py * c1[3]
    y2 = c2[1] - py * c2[3]
    return wp.vec3(x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0)


@wp.func
def min3(a: float, b: float, c: float):
    # Plain comparisons: wp.min spends twice as many instructions, on NaN.
    least = wp.where(b < a, b, a)
    return wp.where(c < least, c, least)


@wp.func
def max3(a: float, b: float, c: float):
    most = wp.where(b > a, b, a)
    return wp.where(c > most, c, most)


@wp.func
def project(c: wp.vec4, width: float, height: float):
    """Clip point to pixels from the upper left corner of the image."""
    scale = 0.5 / c[3]
    return wp.vec2(width * (c[0] * scale + 0.5), height * (c[1] * scale + 0.5))


@wp.func
def grow(box: wp.vec4, c: wp.vec4, width: float, height: float):
    """`box` (x min, y min, x max, y max; pixels) extended by a projected clip point."""
    if c[3] <= 0.0:
        return wp.vec4(0.0, 0.0, width, height)
    p = project(c, width, height)
    return wp.vec4(wp.min(box[0], p[0]), wp.min(box[1], p[1]), wp.max(box[2], p[0]), wp.max(box[3], p[1]))


@wp.func
def near_crossing(a: wp.vec4, b: wp.vec4):
    """The point of edge a-b on the near plane, which lies between them."""
    near_a = a[2] + a[3]
    near_b = b[2] + b[3]
    return a + (b - a) * (near_a / (near_a - near_b))


@wp.func
def clipped_box(c0: wp.vec4, c1: wp.vec4, c2: wp.vec4, width: float, height: float):
    """Bounding box of the part of a triangle that lies beyond the near plane; inverted if there is none."""
    box = wp.vec4(width, height, 0.0, 0.0)
    beyond0 = c0[2] >= -c0[3]
    beyond1 = c1[2] >= -c1[3]
    beyond2 = c2[2] >= -c2[3]
    if beyond0:
        box = grow(box, c0, width, height)
    if beyond1:
        box = grow(box, c1, width, height)
    if beyond2:
        box = grow(box, c2, width, height)
    if beyond0 != beyond1:
        box = grow(box, near_crossing(c0, c1), width, height)
    if beyond1 != beyond2:
        box = grow(box, near_crossing(c1, c2), width, height)
    if beyond2 != beyond0:
        box = grow(box, near_crossing(c2, c0), width, height)
    return box


@wp.kernel
def transform_vertices(
    meshes: Meshes,
    T_clip_object: wp.array2d(dtype=wp.mat44),
    clip: wp.array2d(dtype=wp.vec4),
):
    scene, index = wp.tid()
    k = find_object(meshes.objects, DRAW_VERTEX, index)
    v = meshes.vertices[meshes.objects[k, MESH_VERTEX] + index - meshes.objects[k, DRAW_VERTEX]]
    clip[scene, index] = T_clip_object[scene, k] * wp.vec4(v[0], v[1], v[2], 1.0)


@wp.kernel
def rasterize(
    meshes: Meshes,
    clip: wp.array2d(dtype=wp.vec4),
    chunks: int,
    branchless: int,
    visible: wp.array3d(dtype=wp.uint64),
):
    """Nearest triangle per pixel: ``depth bits << 32 | triangle``, so that one atomic minimum decides, ties included.

    The rows of a triangle are dealt out to `chunks` threads. With `branchless`, pixels of its box that it does not
    cover take a minimum with `EMPTY`: on a CPU that costs less than a mispredicted branch.
    """
    scene, triangle, chunk = wp.tid()
    corners = find_corners(meshes, clip, scene, triangle)
    c0 = corners.c0
    c1 = corners.c1
    c2 = corners.c2

    columns = visible.shape[2]
    rows = visible.shape[1]
    width = float(columns)
    height = float(rows)
    box = wp.vec4()
    if min3(c0[2] + c0[3], c1[2] + c1[3], c2[2] + c2[3]) >= 0.0 and min3(c0[3], c1[3], c2[3]) > 0.0:
        p0 = project(c0, width, height)
        p1 = project(c1, width, height)
        p2 = project(c2, width, height)
        box = wp.vec4(
            min3(p0[0], p1[0], p2[0]), min3(p0[1], p1[1], p2[1]), max3(p0[0], p1[0], p2[0]), max3(p0[1], p1[1], p2[1])
        )
    else:
        box = clipped_box(c0, c1, c2, width, height)

    # Pixel i is inside the box if its centre i + 0.5 is. Clamped as floats: a huge float has no int.
    first_column = int(wp.ceil(wp.max(box[0] - 0.5 - BOX_MARGIN, 0.0)))
    last_column = int(wp.floor(wp.min(box[2] - 0.5 + BOX_MARGIN, width - 1.0)))
    first_row = int(wp.ceil(wp.max(box[1] - 0.5 - BOX_MARGIN, 0.0)))
    last_row = int(wp.floor(wp.min(box[3] - 0.5 + BOX_MARGIN, height - 1.0)))

    row = first_row + chunk
    while row <= last_row:
        py = pixel_center(row, rows)
        column = int(first_column)
        while column <= last_column:
            e = edge_functions(c0, c1, c2, pixel_center(column, columns), py)
            total = e[0] + e[1] + e[2]
            scale = 1.0 / total
            w = (e[0] * c0[3] + e[1] * c1[3] + e[2] * c2[3]) * scale
            z = (e[0] * c0[2] + e[1] * c1[2] + e[2] * c2[2]) * scale
            key = (wp.uint64(wp.cast(w, wp.uint32)) << wp.uint64(32)) | wp.uint64(triangle)
            least = min3(e[0], e[1], e[2])
            most = max3(e[0], e[1], e[2])
            key = wp.where(wp.where(least < -most, -most, least) >= 0.0, key, EMPTY)  # all of one sign
            # Between near and far, and so in front of the camera; false for the NaN of a degenerate triangle.
            key = wp.where(wp.abs(z) <= w, key, EMPTY)
            if branchless != 0 or key != EMPTY:
                wp.atomic_min(visible, scene, row, column, key)
            column += 1
        row += chunks


def _as_keys(visible):
    """A (scenes, height, width) array of uint32 pairs as the uint64 keys of `rasterize`.

    JAX has no 64-bit integers unless they are switched on.
    """
    keys = wp.array(ptr=visible.ptr, dtype=wp.uint64, shape=visible.shape, device=visible.device)
    keys.fill_(EMPTY)
    return keys


def launch_rasterize(meshes, triangles, clip, visible):
    keys = _as_keys(visible)
    scenes, height, _ = keys.shape
    # On a GPU a large triangle must not keep one thread busy for long. On a CPU there is one thread.
    chunks = max(1, min(height, GPU_THREADS // triangles)) if keys.device.is_cuda else 1
    wp.launch(rasterize, (scenes, triangles, chunks), [meshes, clip, chunks, int(keys.device.is_cpu)], [keys])
    return keys
