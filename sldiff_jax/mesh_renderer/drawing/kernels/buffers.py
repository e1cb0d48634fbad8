# type: ignore -- Warp's language: annotations are calls, operators are its own
"""Warp kernel that fills the buffers from the visible triangles, and the launches of a whole rendering.

Importing this module imports Warp, so only `launch` does, on first use. (Warp reads annotations as objects: no
``from __future__ import annotations`` here.)
"""

import warp as wp

from ...._gradients.kernels.entry_point import entry_point
from ...._scene.render_result import BACKGROUND_DEPTH
from .shading import Views, blend, camera_normal, shade
from .textures import hit_at
from .visibility import (
    EMPTY,
    LOW_WORD,
    MESH_VERTEX,
    Meshes,
    find_corners,
    launch_rasterize,
    pixel_center,
    transform_vertices,
)

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

BACKGROUND = wp.constant(BACKGROUND_DEPTH)


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
        alpha = float(0.0)
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
            hit = hit_at(corners, pixel_center(column, columns), py, columns, visible.shape[1])
            point = blend(hit.weights, meshes.vertices, meshes.objects[corners.k, MESH_VERTEX], corners.vertices)
            p_camera = wp.transform_point(views.T_camera_object[scene, corners.k], point)
            buffers.coord_depth[scene, row, column] = wp.vec4(point[0], point[1], point[2], p_camera[2])
            buffers.instance_index[scene, row, column] = wp.int16(views.instance_index[scene, corners.k])
            if all_buffers:
                n = camera_normal(meshes, corners, hit, views, scene)
                buffers.class_index[scene, row, column] = wp.int16(class_index[corners.k])
                buffers.normals[scene, row, column] = wp.vec4(n[0], n[1], n[2], -wp.dot(n, wp.normalize(p_camera)))
                buffers.vertex_indices[scene, row, column] = corners.vertices + wp.vec3i(1, 1, 1)
                buffers.barycentric_coeffs[scene, row, column] = hit.weights
                buffers.cam_coordinates[scene, row, column] = wp.vec4(p_camera[0], p_camera[1], p_camera[2], 1.0)
            if supersample == 1:
                color = shade(meshes, corners, hit, views, scene)
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
                        sample_hit = hit_at(
                            sample_corners, sample_px, sample_py, visible_samples.shape[2], visible_samples.shape[1]
                        )
                        color += shade(meshes, sample_corners, sample_hit, views, scene)
                        alpha += 1.0
            color /= float(supersample * supersample)
            alpha /= float(supersample * supersample)
        buffers.rgb[scene, row, column] = quantize(color, alpha)
        column += chunks


@entry_point("meshes", "background", "class_index")
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
