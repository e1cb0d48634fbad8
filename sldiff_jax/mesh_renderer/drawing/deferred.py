"""From the visible triangles to the buffers, in JAX alone.

The same arithmetic as the fused kernel, as functions that can be differentiated with respect to transforms, vertices,
colours, texture coordinates and lights. The visible triangles themselves are constants.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..._scene.render_result import BACKGROUND_DEPTH
from .geometry import Geometry
from .lighting import REFLECTANCE


class Surface(eqx.Module):
    """What each pixel of an (H, W) image sees. Where `visible` is false the rest belongs to an arbitrary triangle.

    Attributes:
        visible: (H, W) bool.
        object: (H, W) int32, row of the scene.
        face: (H, W) int32, row of `Geometry.faces`.
        vertices: (H, W, 3) int32, vertex numbers within the mesh, from 0.
        rows: (H, W, 3) int32, the same vertices as rows of the arrays of `Geometry`.
        weights: (H, W, 3) float32, perspective-correct barycentric coordinates.
        steps: (2, H, W, 3) float32, change of the weights per pixel along x and y.
        side: (H, W) float32, 1 where the triangle faces the camera, -1 where it shows its back.
    """

    visible: Array
    object: Array
    face: Array
    vertices: Array
    rows: Array
    weights: Array
    steps: Array
    side: Array

    def blend(self, values: Float[Array, "vertices channels"]) -> Float[Array, "height width channels"]:
        """Vertex attributes (V, C) interpolated at the pixels: (H, W, C)."""
        return (self.weights[..., None] * values[self.rows]).sum(axis=-2)


def find_surface(
    geometry: Geometry, triangles: Int[Array, "height width"], T_clip_object: Float[Array, "objects 4 4"]
) -> Surface:
    """What the pixels see, given the visible triangles.

    Args:
        geometry: the meshes.
        triangles: (H, W) int32, number of the visible triangle among all that are drawn, -1 for none.
        T_clip_object: (N, 4, 4) float32, N > 0.

    Returns:
        The `Surface`. Differentiable with respect to the transforms and the vertices.
    """
    height, width = triangles.shape
    visible = triangles >= 0
    triangles = jnp.where(visible, triangles, 0)
    _, drawn_face, _, mesh_vertex, mesh_face, _ = geometry.objects.T
    k = jnp.searchsorted(drawn_face[1:], triangles, side="right")
    face = mesh_face[k] + triangles - drawn_face[k]
    vertices = geometry.faces[face]
    rows = mesh_vertex[k][..., None] + vertices

    clip = _transform(T_clip_object[k][..., None, :, :], geometry.vertices[rows], 1.0)
    px = (2 * jnp.arange(width, dtype=jnp.float32) + 1) / width - 1
    py = (2 * jnp.arange(height, dtype=jnp.float32)[:, None] + 1) / height - 1
    q_x = clip[..., 0] - px[..., None] * clip[..., 3]
    q_y = clip[..., 1] - py[..., None] * clip[..., 3]
    # The weights are q1 x q2, q2 x q0, q0 x q1, normalised: see the kernels.
    following, last = (1, 2, 0), (2, 0, 1)
    edges = q_x[..., following] * q_y[..., last] - q_x[..., last] * q_y[..., following]
    edges = jnp.where(visible[..., None], edges, 1.0)
    area = edges.sum(axis=-1, keepdims=True)
    weights = edges / area
    w = clip[..., 3]
    changes = jnp.stack(
        [
            (w[..., last] * q_y[..., following] - w[..., following] * q_y[..., last]) * 2 / width,
            (w[..., following] * q_x[..., last] - w[..., last] * q_x[..., following]) * 2 / height,
        ]
    )
    steps = (changes - weights * changes.sum(axis=-1, keepdims=True)) / area
    x, y, w = jnp.moveaxis(T_clip_object[:, (0, 1, 3), :3], 1, 0)
    mirrors = jnp.sum(x * jnp.cross(y, w), axis=-1) < 0
    side = jnp.where((area[..., 0] > 0) == mirrors[k], 1.0, -1.0)
    return Surface(visible, k, face, vertices, rows, weights, steps, side)


def surface_buffers(
    geometry: Geometry,
    surface: Surface,
    T_camera_object: Float[Array, "objects 4 4"],
    instance_index: Int[Array, " objects"],
    class_index: Int[Array, " objects"],
) -> dict[str, Array]:
    """Every buffer of `RenderResult` but the colour.

    Args:
        geometry: the meshes.
        surface: what the pixels see.
        T_camera_object: (N, 4, 4) float32.
        instance_index: (N,) int32 labels.
        class_index: (N,) int32 labels.

    Returns:
        The buffers by name, (H, W, ...).
    """
    T = T_camera_object[surface.object]
    visible = surface.visible[..., None]
    point = surface.blend(geometry.vertices)
    p_camera = _transform(T, point, 1.0)[..., :3]
    # Values that cannot make a derivative NaN, where the real ones are not used.
    p_safe = jnp.where(visible, p_camera, 1.0)
    n = camera_normals(geometry, surface, T_camera_object)
    facing = -(n * p_safe).sum(axis=-1, keepdims=True) / jnp.linalg.norm(p_safe, axis=-1, keepdims=True)
    ones = jnp.ones_like(facing)
    return {
        "coord_depth": jnp.where(visible, jnp.concatenate([point, p_camera[..., 2:]], -1), BACKGROUND_DEPTH),
        "instance_index": jnp.where(surface.visible, instance_index[surface.object], 0).astype(jnp.int16),
        "class_index": jnp.where(surface.visible, class_index[surface.object], 0).astype(jnp.int16),
        "normals": jnp.where(visible, jnp.concatenate([n, facing], -1), 0.0),
        "vertex_indices": jnp.where(visible, surface.vertices + 1, 0),
        "barycentric_coeffs": jnp.where(visible, surface.weights, 0.0),
        "cam_coordinates": jnp.where(visible, jnp.concatenate([p_camera, ones], -1), BACKGROUND_DEPTH),
    }


def camera_normals(
    geometry: Geometry, surface: Surface, T_camera_object: Float[Array, "objects 4 4"]
) -> Float[Array, "height width 3"]:
    """(H, W, 3) float32: unit normals in the camera frame, turned towards the camera where triangles show their backs.

    A constant where no object is visible.
    """
    n = _transform(T_camera_object[surface.object], surface.blend(geometry.normals), 0.0)[..., :3]
    n = surface.side[..., None] * n
    squared = (n * n).sum(axis=-1, keepdims=True)
    usable = surface.visible[..., None] & (squared > 0)
    return jnp.where(usable, n, 1.0) / jnp.sqrt(jnp.where(usable, squared, 3.0))


@eqx.filter_custom_jvp
def drawn_albedo(
    geometry: Geometry, surface: Surface, is_lit: bool, drawn: Float[Array, "height width 3"]
) -> Float[Array, "height width 3"]:
    """`albedo` where a kernel has computed it: only its derivative is computed here, by what is asked for."""
    return drawn


@drawn_albedo.def_jvp
def _drawn_albedo_jvp(primals, tangents):
    geometry, surface, is_lit, drawn = primals

    def computed(geometry: Geometry, surface: Surface) -> Array:
        return albedo(geometry, surface, is_lit)

    return drawn, eqx.filter_jvp(computed, (geometry, surface), tuple(tangents[:2]))[1]


def albedo(geometry: Geometry, surface: Surface, is_lit: bool) -> Float[Array, "height width 3"]:
    """Texture, which light decodes, times base and vertex colour; that of an arbitrary triangle if nothing is seen."""
    material = geometry.face_material[surface.face]
    color = sample_texture(geometry, material, surface.blend(geometry.uv), texture_extent(geometry, surface))
    if is_lit:
        above = jnp.where(color > 0.04045, color, 1.0)
        color = jnp.where(color > 0.04045, ((above + 0.055) / 1.055) ** 2.4, color / 12.92)
    color = color * geometry.base_colors[material]
    return color * surface.blend(geometry.colors) if geometry.colors.shape[0] else color


def surface_color(
    geometry: Geometry,
    surface: Surface,
    albedo: Float[Array, "height width 3"],
    T_camera_object: Float[Array, "objects 4 4"],
    lights: Float[Array, "light_rows 3"],
    background: Float[Array, "rows columns 3"],
) -> Float[Array, "height width 3"]:
    """Colour of the pixels.

    Args:
        geometry: the meshes.
        surface: what the pixels see.
        albedo: (H, W, 3) float32, colours without light.
        T_camera_object: (N, 4, 4) float32.
        lights: `Lighting.rows`, or no rows for the albedo.
        background: (H, W, 3) or (1, 1, 3) float32 in [0, 1].

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    visible = surface.visible[..., None]
    color = albedo
    if lights.shape[0]:
        point = _transform(T_camera_object[surface.object], surface.blend(geometry.vertices), 1.0)[..., :3]
        point = jnp.where(visible, point, 1.0)
        color = _phong(color, camera_normals(geometry, surface, T_camera_object), point, lights)
    return jnp.clip(jnp.where(visible, color, background), 0, 1)


class Extent(NamedTuple):
    """What the pixels cover of their textures, see the kernels. Constant to differentiation.

    Attributes:
        level: (H, W) float32, from 0 on.
        taps: (H, W) float32, how many.
        step: (H, W, 2) float32, between two taps, in texture coordinates.
    """

    level: Array
    taps: Array
    step: Array


def texture_extent(geometry: Geometry, surface: Surface) -> Extent:
    """What the pixels cover of their textures."""
    uv, steps = jax.lax.stop_gradient((geometry.uv[surface.rows], surface.steps))
    size = geometry.textures[geometry.face_material[surface.face]][..., 1:].astype(jnp.float32)
    along = (steps[..., None] * uv).sum(axis=-2) * size
    ones = jnp.ones(size.shape[:-1], size.dtype)
    if geometry.anisotropy <= 1:
        return Extent(_log_extent((along**2).sum(axis=-1).max(axis=0)), ones, jnp.zeros_like(size))
    xx, yy = jnp.moveaxis((along**2).sum(axis=0), -1, 0)
    xy = (along[..., 0] * along[..., 1]).sum(axis=0)
    half = 0.5 * (xx - yy)
    longer = 0.5 * (xx + yy) + jnp.sqrt(half**2 + xy**2)
    shorter = jnp.maximum(xx + yy - longer, 1.0)
    taps = jnp.where(longer > shorter, jnp.minimum(jnp.sqrt(longer / shorter), geometry.anisotropy), 1.0)
    axis = jnp.where(half > 0, jnp.stack([longer - yy, xy]), jnp.stack([xy, longer - xx]))
    axis = axis / jnp.maximum(jnp.linalg.norm(axis, axis=0), 1e-30)
    step = jnp.moveaxis(axis * jnp.sqrt(longer) / taps, 0, -1) / size
    return Extent(_log_extent(longer / taps**2), taps, jnp.where(taps[..., None] > 1, step, 0.0))


def _log_extent(squared: Float[Array, "height width"]) -> Float[Array, "height width"]:
    return 0.5 * jnp.log2(jnp.where(squared > 1, squared, 1))


def sample_texture(
    geometry: Geometry,
    material: Int[Array, "height width"],
    uv: Float[Array, "height width 2"],
    extent: Extent,
) -> Float[Array, "height width 3"]:
    """Trilinear, repeating texture lookup, the mean over the taps; v points up, row 0 of a texture is its top."""
    first, width, height = jnp.moveaxis(geometry.textures[material], -1, 0)

    def bilinear(texels: Array, uv: Array, first: Array, width: Array, height: Array) -> Array:
        x = (uv[..., 0] - jnp.floor(uv[..., 0])) * width - 0.5
        y = (1 - (uv[..., 1] - jnp.floor(uv[..., 1]))) * height - 0.5
        column, row = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
        fx, fy = (x - column)[..., None], (y - row)[..., None]

        def texel(down: int, right: int) -> Array:
            color = texels[first + width * ((row + down) % height) + (column + right) % width, :3]
            return color.astype(jnp.float32) / 255 if color.dtype == jnp.uint8 else color

        top = texel(0, 0) * (1 - fx) + texel(0, 1) * fx
        bottom = texel(1, 0) * (1 - fx) + texel(1, 1) * fx
        return top * (1 - fy) + bottom * fy

    count = geometry.levels.shape[1]
    if not count:
        return bilinear(geometry.texels, uv, first, width, height)
    texels = jnp.concatenate([geometry.texels, geometry.float_coarse if geometry.images else geometry.coarse])
    firsts = jnp.concatenate([geometry.textures[:, :1], len(geometry.texels) + geometry.levels], axis=1)
    last = 31 - jax.lax.clz(jnp.maximum(width, height))
    level = jnp.minimum(extent.level, last)
    fine = jnp.floor(level).astype(jnp.int32)
    share = (level - fine)[..., None]

    def at(uv: Array, level: Array) -> Array:
        sides = (jnp.maximum(side >> level, 1) for side in (width, height))
        return bilinear(texels, uv, firsts[material, level], *sides)

    def trilinear(uv: Array) -> Array:
        return at(uv, fine) * (1 - share) + at(uv, jnp.minimum(fine + 1, last)) * share

    if geometry.anisotropy <= 1:
        return trilinear(uv)
    side = -(-(geometry.anisotropy - 1) // 2)
    color = jnp.zeros((*level.shape, 3), level.dtype)
    for i in range(-side, side + 1):
        weight = jnp.clip(0.5 * (extent.taps + 1) - abs(i), 0, 1) / extent.taps
        color = color + weight[..., None] * trilinear(uv + i * extent.step)
    return color


def _phong(albedo: Array, n: Array, p_camera: Array, lights: Array) -> Array:
    """See `Lighting`."""
    view = -p_camera / jnp.linalg.norm(p_camera, axis=-1, keepdims=True)
    shininess = lights[1, 0]
    gloss = REFLECTANCE * (shininess + 2) / (8 * jnp.pi)
    radiance = albedo * lights[0]
    for to_light, color in zip(*jnp.split(lights[2:], 2)):
        half = to_light + view
        half = half / jnp.maximum(jnp.linalg.norm(half, axis=-1, keepdims=True), 1e-12)
        cosine = jnp.maximum((n * to_light).sum(axis=-1, keepdims=True), 0)
        half_cosine = jnp.maximum((n * half).sum(axis=-1, keepdims=True), 1e-6)
        reflected = albedo * ((1 - REFLECTANCE) / jnp.pi) + gloss * half_cosine**shininess
        radiance = radiance + cosine * color * reflected
    return (radiance * (2.51 * radiance + 0.03)) / (radiance * (2.43 * radiance + 0.59) + 0.14)


def _transform(T: Float[Array, "... 4 4"], v: Float[Array, "... 3"], w: float) -> Float[Array, "... 4"]:
    """``T @ (v, w)`` in float32, without the reduced precision that matrix products have on some devices."""
    return (T[..., :3] * v[..., None, :]).sum(axis=-1) + w * T[..., 3]


def quantized(color: Float[Array, "height width 4"]) -> Array:
    """(H, W, 4) float in [0, 1] to uint8."""
    return (255 * color + 0.5).astype(jnp.uint8)


def mean_of_samples(color: Float[Array, "rows columns 4"], supersample: int) -> Float[Array, "height width 4"]:
    """Mean over blocks of supersample x supersample pixels."""
    rows, columns, channels = color.shape
    blocks = color.reshape(rows // supersample, supersample, columns // supersample, supersample, channels)
    return blocks.mean(axis=(1, 3))
