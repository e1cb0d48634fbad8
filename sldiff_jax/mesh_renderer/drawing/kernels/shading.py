# type: ignore -- Warp's language: annotations are calls, operators are its own
"""The colour of a surface point: texture, vertex colours and light."""

import warp as wp

from ..lighting import REFLECTANCE as DIELECTRIC_REFLECTANCE
from .textures import Hit, sample_texture
from .visibility import MESH_VERTEX, Corners, Meshes

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

REFLECTANCE = wp.constant(DIELECTRIC_REFLECTANCE)


@wp.struct
class Views:
    """The arrays of `PerScene`, under the same names."""

    T_clip_object: wp.array2d(dtype=wp.mat44)
    T_camera_object: wp.array2d(dtype=wp.mat44)
    instance_index: wp.array2d(dtype=wp.int32)
    lights: wp.array2d(dtype=wp.vec3)


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
def shows_its_back(hit: Hit, T_clip_object: wp.mat44):
    """Whether the corners run clockwise, seen from the camera.

    Also where the projection or the object's transform mirrors: the sign of the determinant says so.
    """
    T = T_clip_object
    minor_x = T[1, 1] * T[3, 2] - T[1, 2] * T[3, 1]
    minor_y = T[1, 2] * T[3, 0] - T[1, 0] * T[3, 2]
    minor_z = T[1, 0] * T[3, 1] - T[1, 1] * T[3, 0]
    return (hit.area > 0.0) == (T[0, 0] * minor_x + T[0, 1] * minor_y + T[0, 2] * minor_z > 0.0)


@wp.func
def camera_normal(meshes: Meshes, corners: Corners, hit: Hit, views: Views, scene: int):
    """Turned towards the camera where the triangle shows its back, as the real stillleben does."""
    n = blend(hit.weights, meshes.normals, meshes.objects[corners.k, MESH_VERTEX], corners.vertices)
    n = wp.normalize(wp.transform_vector(views.T_camera_object[scene, corners.k], n))
    if shows_its_back(hit, views.T_clip_object[scene, corners.k]):
        n = -n
    return n


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
def albedo_at(meshes: Meshes, corners: Corners, hit: Hit, is_lit: bool):
    """Texture, which light decodes, times base and vertex colour."""
    color = sample_texture(meshes, corners, hit)
    if is_lit:
        color = wp.vec3(linear_from_srgb(color[0]), linear_from_srgb(color[1]), linear_from_srgb(color[2]))
    color = wp.cw_mul(color, meshes.base_colors[meshes.face_material[corners.face]])
    if meshes.colors.shape[0] > 0:
        first = meshes.objects[corners.k, MESH_VERTEX]
        color = wp.cw_mul(color, blend(hit.weights, meshes.colors, first, corners.vertices))
    return color


@wp.func
def lit(meshes: Meshes, corners: Corners, hit: Hit, views: Views, scene: int, albedo: wp.vec3):
    """Colour of a surface point: its albedo if there are no `lights`."""
    if views.lights.shape[1] == 0:
        return albedo
    first = meshes.objects[corners.k, MESH_VERTEX]
    p = blend(hit.weights, meshes.vertices, first, corners.vertices)
    p = wp.transform_point(views.T_camera_object[scene, corners.k], p)
    return phong(albedo, camera_normal(meshes, corners, hit, views, scene), p, views.lights, scene)


@wp.func
def shade(meshes: Meshes, corners: Corners, hit: Hit, views: Views, scene: int):
    """Colour of a surface point."""
    return lit(meshes, corners, hit, views, scene, albedo_at(meshes, corners, hit, views.lights.shape[1] > 0))
