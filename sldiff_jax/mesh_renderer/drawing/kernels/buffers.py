# type: ignore -- Warp's language: annotations are calls, operators are its own
"""Warp kernel that fills the buffers from the visible triangles, and the launches of a whole rendering.

Importing this module imports Warp, so only `launch` does, on first use. (Warp reads annotations as objects: no
``from __future__ import annotations`` here.)
"""

import warp as wp

from ...._scene.render_result import BACKGROUND_DEPTH
from ..lighting import REFLECTANCE as DIELECTRIC_REFLECTANCE
from .entry_point import entry_point
from .visibility import (
    EMPTY,
    MESH_VERTEX,
    Corners,
    Meshes,
    edge_functions,
    find_corners,
    launch_rasterize,
    pixel_center,
    transform_vertices,
)

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

LOW_WORD = wp.constant(wp.uint64(0xFFFFFFFF))
BACKGROUND = wp.constant(BACKGROUND_DEPTH)
REFLECTANCE = wp.constant(DIELECTRIC_REFLECTANCE)


@wp.struct
class Views:
    """The arrays of `PerScene`, under the same names."""

    T_clip_object: wp.array2d(dtype=wp.mat44)
    T_camera_object: wp.array2d(dtype=wp.mat44)
    instance_index: wp.array2d(dtype=wp.int32)
    lights: wp.array2d(dtype=wp.vec3)


@wp.struct
class Buffers:
    """The buffers of `RenderResult`, under the same names. The last five are optional."""

    rgb: wp.array3d(dtype=wp.vec4ub)
    coord_depth: wp.array3d(dtype=wp.vec4)
    instance_index: wp.array3d(dtype=wp.int16)
    class_index: wp.array3d(dtype=wp.int16)
    normals: wp.array3d(dtype=wp.vec4)
    vertex_indices: wp.array3d(dtype=wp.vec3i)
    barycentric_coeffs: wp.array3d(dtype=wp.vec3)
    cam_coordinates: wp.array3d(dtype=wp.vec4)


@wp.func
def wrap(index: int, size: int):
    """`index` modulo `size`, for negative numbers too."""
    remainder = index % size
    if remainder < 0:
        remainder += size
    return remainder


@wp.func
def texel(texels: wp.array(dtype=wp.vec4ub), index: int):
    c = texels[index]
    return wp.vec3(float(c[0]), float(c[1]), float(c[2])) / 255.0


@wp.func
def sample_texture(meshes: Meshes, material: int, u: float, v: float):
    """Bilinear, repeating; v points up, row 0 of the texture is its top."""
    offset = meshes.textures[material][0]
    width = meshes.textures[material][1]
    height = meshes.textures[material][2]
    if width * height == 1:
        return texel(meshes.texels, offset)
    x = (u - wp.floor(u)) * float(width) - 0.5
    y = (1.0 - (v - wp.floor(v))) * float(height) - 0.5
    column = int(wp.floor(x))
    row = int(wp.floor(y))
    fx = x - float(column)
    fy = y - float(row)
    left = wrap(column, width)
    right = wrap(column + 1, width)
    top = offset + width * wrap(row, height)
    bottom = offset + width * wrap(row + 1, height)
    return wp.lerp(
        wp.lerp(texel(meshes.texels, top + left), texel(meshes.texels, top + right), fx),
        wp.lerp(texel(meshes.texels, bottom + left), texel(meshes.texels, bottom + right), fx),
        fy,
    )


@wp.func
def aces(x: float):
    """Narkowicz, "ACES filmic tone mapping curve", 2015."""
    return (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)


@wp.func
def blend(weights: wp.vec3, values: wp.array(dtype=wp.vec3), first: int, vertices: wp.vec3i):
    return (
        weights[0] * values[first + vertices[0]]
        + weights[1] * values[first + vertices[1]]
        + weights[2] * values[first + vertices[2]]
    )


@wp.func
def surface_weights(corners: Corners, px: float, py: float):
    e = edge_functions(corners.c0, corners.c1, corners.c2, px, py)
    return e / (e[0] + e[1] + e[2])


@wp.func
def camera_normal(meshes: Meshes, corners: Corners, weights: wp.vec3, T: wp.mat44):
    n = blend(weights, meshes.normals, meshes.objects[corners.k, MESH_VERTEX], corners.vertices)
    return wp.normalize(wp.transform_vector(T, n))


@wp.func
def linear_from_srgb(x: float):
    if x <= 0.04045:
        return x / 12.92
    return wp.pow((x + 0.055) / 1.055, 2.4)


@wp.func
def phong(albedo: wp.vec3, n: wp.vec3, p_camera: wp.vec3, lights: wp.array2d(dtype=wp.vec3), scene: int):
    """See `Lighting`, also for the rows of `lights`."""
    view = -wp.normalize(p_camera)
    shininess = lights[scene, 1][0]
    gloss = REFLECTANCE * (shininess + 2.0) / (8.0 * wp.PI)
    radiance = wp.cw_mul(albedo, lights[scene, 0])
    count = (lights.shape[1] - 2) // 2
    for light in range(count):
        to_light = lights[scene, 2 + light]
        cosine = wp.max(wp.dot(n, to_light), 0.0)
        half_cosine = wp.max(wp.dot(n, wp.normalize(to_light + view)), 0.0)
        highlight = gloss * wp.pow(half_cosine, shininess)
        scattered = albedo * ((1.0 - REFLECTANCE) / wp.PI)
        reflected = scattered + wp.vec3(highlight, highlight, highlight)
        radiance += cosine * wp.cw_mul(lights[scene, 2 + count + light], reflected)
    return wp.vec3(aces(radiance[0]), aces(radiance[1]), aces(radiance[2]))


@wp.func
def shade(
    meshes: Meshes,
    corners: Corners,
    weights: wp.vec3,
    views: Views,
    scene: int,
):
    """Colour of a surface point: its albedo, or lit if there are `lights`."""
    first = meshes.objects[corners.k, MESH_VERTEX]
    material = meshes.face_material[corners.face]
    t = (
        weights[0] * meshes.uv[first + corners.vertices[0]]
        + weights[1] * meshes.uv[first + corners.vertices[1]]
        + weights[2] * meshes.uv[first + corners.vertices[2]]
    )
    color = sample_texture(meshes, material, t[0], t[1])
    if views.lights.shape[1] > 0:
        color = wp.vec3(linear_from_srgb(color[0]), linear_from_srgb(color[1]), linear_from_srgb(color[2]))
    color = wp.cw_mul(color, meshes.base_colors[material])
    if meshes.colors.shape[0] > 0:
        color = wp.cw_mul(color, blend(weights, meshes.colors, first, corners.vertices))
    if views.lights.shape[1] > 0:
        T = views.T_camera_object[scene, corners.k]
        p = wp.transform_point(T, blend(weights, meshes.vertices, first, corners.vertices))
        color = phong(color, camera_normal(meshes, corners, weights, T), p, views.lights, scene)
    return color


@wp.func
def quantize(color: wp.vec3, alpha: float):
    return wp.vec4ub(
        wp.uint8(wp.clamp(color[0], 0.0, 1.0) * 255.0 + 0.5),
        wp.uint8(wp.clamp(color[1], 0.0, 1.0) * 255.0 + 0.5),
        wp.uint8(wp.clamp(color[2], 0.0, 1.0) * 255.0 + 0.5),
        wp.uint8(alpha * 255.0 + 0.5),
    )


@wp.kernel
def fill_buffers(
    meshes: Meshes,
    views: Views,
    background: wp.array2d(dtype=wp.vec3),
    class_index: wp.array(dtype=wp.int32),
    clip: wp.array2d(dtype=wp.vec4),
    visible: wp.array3d(dtype=wp.uint64),
    visible_samples: wp.array3d(dtype=wp.uint64),
    chunks: int,
    supersample: int,
    buffers: Buffers,
):
    """Every buffer, from the visible triangles. The optional ones may have no pixels.

    The pixels of a row are dealt out to `chunks` threads.
    """
    scene, row, chunk = wp.tid()
    all_buffers = buffers.class_index.shape[1] > 0
    nothing = wp.vec4(BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND)
    columns = visible.shape[2]
    py = pixel_center(row, visible.shape[1])
    column = int(chunk)
    while column < columns:
        behind = background[row % background.shape[0], column % background.shape[1]]
        color = behind
        alpha = float(0.0)  # noqa: UP018 -- a variable, not a constant, to Warp
        key = visible[scene, row, column]
        if key == EMPTY:
            buffers.coord_depth[scene, row, column] = nothing
            buffers.instance_index[scene, row, column] = wp.int16(0)
            if all_buffers:
                buffers.class_index[scene, row, column] = wp.int16(0)
                buffers.normals[scene, row, column] = wp.vec4()
                buffers.vertex_indices[scene, row, column] = wp.vec3i()
                buffers.barycentric_coeffs[scene, row, column] = wp.vec3()
                buffers.cam_coordinates[scene, row, column] = nothing
        else:
            corners = find_corners(meshes, clip, scene, int(key & LOW_WORD))
            weights = surface_weights(corners, pixel_center(column, columns), py)
            point = blend(weights, meshes.vertices, meshes.objects[corners.k, MESH_VERTEX], corners.vertices)
            T = views.T_camera_object[scene, corners.k]
            p_camera = wp.transform_point(T, point)
            buffers.coord_depth[scene, row, column] = wp.vec4(point[0], point[1], point[2], p_camera[2])
            buffers.instance_index[scene, row, column] = wp.int16(views.instance_index[scene, corners.k])
            if all_buffers:
                n = camera_normal(meshes, corners, weights, T)
                buffers.class_index[scene, row, column] = wp.int16(class_index[corners.k])
                buffers.normals[scene, row, column] = wp.vec4(n[0], n[1], n[2], -wp.dot(n, wp.normalize(p_camera)))
                buffers.vertex_indices[scene, row, column] = corners.vertices + wp.vec3i(1, 1, 1)
                buffers.barycentric_coeffs[scene, row, column] = weights
                buffers.cam_coordinates[scene, row, column] = wp.vec4(p_camera[0], p_camera[1], p_camera[2], 1.0)
            if supersample == 1:
                color = shade(meshes, corners, weights, views, scene)
                alpha = 1.0
        if supersample > 1:
            color = wp.vec3()
            for sample_row in range(row * supersample, (row + 1) * supersample):
                sample_py = pixel_center(sample_row, visible_samples.shape[1])
                for sample_column in range(column * supersample, (column + 1) * supersample):
                    sample_key = visible_samples[scene, sample_row, sample_column]
                    if sample_key == EMPTY:
                        color += behind
                    else:
                        sample_corners = find_corners(meshes, clip, scene, int(sample_key & LOW_WORD))
                        sample_px = pixel_center(sample_column, visible_samples.shape[2])
                        sample_weights = surface_weights(sample_corners, sample_px, sample_py)
                        color += shade(meshes, sample_corners, sample_weights, views, scene)
                        alpha += 1.0
            color /= float(supersample * supersample)
            alpha /= float(supersample * supersample)
        buffers.rgb[scene, row, column] = quantize(color, alpha)
        column += chunks


@entry_point
def render(
    meshes: Meshes,
    views: Views,
    background: wp.array2d(dtype=wp.vec3),
    class_index: wp.array(dtype=wp.int32),
    triangles: int,
    supersample: int,
    clip: wp.array2d(dtype=wp.vec4),
    visible: wp.array3d(dtype=wp.vec2ui),
    visible_samples: wp.array3d(dtype=wp.vec2ui),
    buffers: Buffers,
):
    """All buffers. Optional ones that are not wanted have no pixels, as `visible_samples` if supersample is 1."""
    wp.launch(transform_vertices, clip.shape, [meshes, views.T_clip_object], [clip])
    keys = launch_rasterize(meshes, triangles, clip, visible)
    sample_keys = keys if supersample == 1 else launch_rasterize(meshes, triangles, clip, visible_samples)
    scenes, height, width = buffers.rgb.shape
    chunks = width if buffers.rgb.device.is_cuda else 1
    wp.launch(
        fill_buffers,
        (scenes, height, chunks),
        [meshes, views, background, class_index, clip, keys, sample_keys, chunks, supersample, buffers],
    )
