# type: ignore -- Warp's language: annotations are calls, operators are its own
"""What a texture shows at a surface point.

A pixel's step along x or y moves the point in the texture by so many texels: the longer of both steps says of which
level one texel is as large (OpenGL 4.6, section 8.14), between two levels and four texels of each. Both steps follow
from the triangle: texture coordinates are ``u = (e . u_i) / (e . 1)`` with edge functions e that are linear in NDC.

With anisotropy a pixel shows the mean of several points, *taps*, along the longer axis of the ellipse into which the
two steps take a circle. Their number is the ratio r of both axes, but not more than is allowed, and a texel of their
level is as large as the distance between two. The weight of the i-th from the middle is ``(r + 1) / 2 - |i|``, but at
most 1: they add up to r, and the colour is continuous as r changes.
"""

import warp as wp

from .visibility import MESH_VERTEX, Corners, Meshes, edge_functions

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})


@wp.struct
class Hit:
    """Where a line of sight meets a triangle.

    x, y: in NDC.
    spacing: NDC between two lines of sight along x and y.
    weights: perspective-correct barycentric coordinates.
    area: doubled, of the triangle as it is seen; positive if its corners run clockwise in the image.
    """

    x: float
    y: float
    spacing: wp.vec2
    weights: wp.vec3
    area: float


@wp.func
def hit_at(corners: Corners, x: float, y: float, columns: int, rows: int):
    hit = Hit()
    hit.x = x
    hit.y = y
    hit.spacing = wp.vec2(2.0 / float(columns), 2.0 / float(rows))
    e = edge_functions(corners.c0, corners.c1, corners.c2, x, y)
    hit.area = e[0] + e[1] + e[2]
    hit.weights = e / hit.area
    return hit


@wp.func
def wrap(index: int, size: int):
    """`index` modulo `size`, for -1 to `size`."""
    wrapped = wp.where(index < 0, index + size, index)
    return wp.where(wrapped >= size, wrapped - size, wrapped)


@wp.func
def texel(meshes: Meshes, level: int, index: int):
    """As it is stored: see `intensity`."""
    if meshes.float_texels.shape[0] > 0:
        f = wp.vec4()
        if level > 0:
            f = meshes.float_coarse[index]
        else:
            f = meshes.float_texels[index]
        return wp.vec3(f[0], f[1], f[2])
    c = wp.vec4ub()
    if level > 0:
        c = meshes.byte_coarse[index]
    else:
        c = meshes.byte_texels[index]
    return wp.vec3(float(c[0]), float(c[1]), float(c[2]))


@wp.func
def intensity(meshes: Meshes, color: wp.vec3):
    """Of a mean of texels, from 0 to 1. Once for all of them: dividing takes longer than all else here."""
    if meshes.float_texels.shape[0] > 0:
        return color
    return color / 255.0


@wp.func
def sample_level(meshes: Meshes, material: int, level: int, t: wp.vec2):
    """Bilinear, repeating; v points up, row 0 of the texture is its top."""
    first = meshes.textures[material][0]
    if level > 0:
        first = meshes.levels[material, level - 1]
    width = wp.max(meshes.textures[material][1] >> level, 1)
    height = wp.max(meshes.textures[material][2] >> level, 1)
    x = (t[0] - wp.floor(t[0])) * float(width) - 0.5
    y = (1.0 - (t[1] - wp.floor(t[1]))) * float(height) - 0.5
    column = int(wp.floor(x))
    row = int(wp.floor(y))
    fx = x - float(column)
    fy = y - float(row)
    left = wrap(column, width)
    right = wrap(column + 1, width)
    top = first + width * wrap(row, height)
    bottom = first + width * wrap(row + 1, height)
    return wp.lerp(
        wp.lerp(texel(meshes, level, top + left), texel(meshes, level, top + right), fx),
        wp.lerp(texel(meshes, level, bottom + left), texel(meshes, level, bottom + right), fx),
        fy,
    )


@wp.struct
class Extent:
    """What a pixel covers of a texture. level: from 0 on. taps: how many. step: between two, in texture coordinates."""

    level: float
    taps: float
    step: wp.vec2


@wp.func
def log_extent(squared: float):
    """The level whose texels are so large, from 0 on."""
    level = float(0.0)
    if squared > 1.0:  # not for NaN
        level = 0.5 * wp.log2(squared)
    return level


@wp.func
def extent_at(
    corners: Corners, hit: Hit, t: wp.vec2, t0: wp.vec2, t1: wp.vec2, t2: wp.vec2, size: wp.vec2, most_taps: float
):
    """What a pixel covers of a texture of that size."""
    w0 = corners.c0[3]
    w1 = corners.c1[3]
    w2 = corners.c2[3]
    x0 = corners.c0[0] - hit.x * w0
    x1 = corners.c1[0] - hit.x * w1
    x2 = corners.c2[0] - hit.x * w2
    y0 = corners.c0[1] - hit.y * w0
    y1 = corners.c1[1] - hit.y * w1
    y2 = corners.c2[1] - hit.y * w2
    d0 = t0 - t
    d1 = t1 - t
    d2 = t2 - t
    # Changes of the edge functions along x and y, and so of t.
    along_x = wp.cw_mul((w2 * y1 - w1 * y2) * d0 + (w0 * y2 - w2 * y0) * d1 + (w1 * y0 - w0 * y1) * d2, size)
    along_y = wp.cw_mul((w1 * x2 - w2 * x1) * d0 + (w2 * x0 - w0 * x2) * d1 + (w0 * x1 - w1 * x0) * d2, size)
    along_x *= hit.spacing[0] / hit.area
    along_y *= hit.spacing[1] / hit.area
    extent = Extent()
    extent.taps = 1.0
    if most_taps <= 1.0:
        extent.level = log_extent(wp.max(wp.dot(along_x, along_x), wp.dot(along_y, along_y)))
    else:
        xx = along_x[0] * along_x[0] + along_y[0] * along_y[0]
        xy = along_x[0] * along_x[1] + along_y[0] * along_y[1]
        yy = along_x[1] * along_x[1] + along_y[1] * along_y[1]
        half = 0.5 * (xx - yy)
        longer = 0.5 * (xx + yy) + wp.sqrt(half * half + xy * xy)
        shorter = wp.max(xx + yy - longer, 1.0)  # finer than texels there is nothing to tell apart
        if longer > shorter:  # not for NaN
            extent.taps = wp.min(wp.sqrt(longer / shorter), most_taps)
            axis = wp.normalize(wp.where(half > 0.0, wp.vec2(longer - yy, xy), wp.vec2(xy, longer - xx)))
            extent.step = wp.cw_div(wp.sqrt(longer) / extent.taps * axis, size)
        extent.level = log_extent(longer / (extent.taps * extent.taps))
    return extent


@wp.func
def last_level(width: int, height: int):
    level = int(0)
    size = wp.max(width, height)
    while (size >> (level + 1)) > 0:
        level += 1
    return level


@wp.func
def sample_between(meshes: Meshes, material: int, level: float, t: wp.vec2):
    """Trilinear."""
    fine = int(level)
    share = level - float(fine)
    color = sample_level(meshes, material, fine, t)
    if share > 0.0:
        color = wp.lerp(color, sample_level(meshes, material, fine + 1, t), share)
    return color


@wp.func
def sample_texture(meshes: Meshes, corners: Corners, hit: Hit):
    """The texture at a surface point."""
    material = meshes.face_material[corners.face]
    width = meshes.textures[material][1]
    height = meshes.textures[material][2]
    if width * height == 1:
        return intensity(meshes, texel(meshes, 0, meshes.textures[material][0]))
    first = meshes.objects[corners.k, MESH_VERTEX]
    t0 = meshes.uv[first + corners.vertices[0]]
    t1 = meshes.uv[first + corners.vertices[1]]
    t2 = meshes.uv[first + corners.vertices[2]]
    t = hit.weights[0] * t0 + hit.weights[1] * t1 + hit.weights[2] * t2
    if meshes.levels.shape[1] == 0:
        return intensity(meshes, sample_level(meshes, material, 0, t))
    size = wp.vec2(float(width), float(height))
    extent = extent_at(corners, hit, t, t0, t1, t2, size, meshes.most_taps[0])
    level = wp.min(extent.level, float(last_level(width, height)))
    if extent.taps <= 1.0:
        return intensity(meshes, sample_between(meshes, material, level, t))
    side = int(wp.ceil(0.5 * (extent.taps - 1.0)))
    color = wp.vec3(0.0, 0.0, 0.0)
    for i in range(-side, side + 1):
        weight = wp.min(0.5 * (extent.taps + 1.0) - wp.abs(float(i)), 1.0) / extent.taps
        color += weight * sample_between(meshes, material, level, t + float(i) * extent.step)
    return intensity(meshes, color)
