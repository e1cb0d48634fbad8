"""The images of a drawing, as a function of everything that a scene and a renderer hold."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._gradients.moving_images import Layers, Moving, beyond
from .deferred import Surface, drawn_albedo, find_surface, surface_color
from .geometry import Geometry
from .launch import MeshDrawing, PerScene


def what_moves(
    geometry: Geometry, background: Float[Array, "rows columns 3"], view: PerScene, drawing: MeshDrawing
) -> Moving:
    """What the images of a drawing depend on. The surface points that the samples show stay the same.

    Args:
        geometry: the meshes.
        background: (H, W, 3) or (1, 1, 3) float32.
        view: the scene, without a batch axis.
        drawing: what was drawn.
    """
    if not view.T_clip_object.shape[0]:
        height, width = drawing.triangle.shape
        return Moving(view.T_clip_object, color=jnp.broadcast_to(background, (height, width, 3)))
    constant = jax.lax.stop_gradient
    surface = constant(find_surface(geometry, drawing.triangle, view.T_clip_object))
    return Moving(
        T_clip_object=view.T_clip_object,
        point=surface.blend(geometry.vertices),
        edge=_edge_points(geometry, drawing, view.T_clip_object) if drawing.edge.size else None,
        color=_sample_colors(geometry, surface, background, view, drawing),
    )


def _sample_colors(
    geometry: Geometry,
    surface: Surface,
    background: Float[Array, "rows columns 3"],
    view: PerScene,
    drawing: MeshDrawing,
) -> Float[Array, "height width 3"]:
    height, width = surface.visible.shape
    rows, columns, _ = background.shape
    if rows * columns > 1:
        background = jnp.repeat(jnp.repeat(background, height // rows, axis=0), width // columns, axis=1)
    is_lit = view.lights.shape[0] > 0
    albedo = drawn_albedo(geometry, surface, is_lit, drawing.albedo if is_lit else drawing.layers.color)
    return surface_color(geometry, surface, albedo, view.T_camera_object, view.lights, background)


def _edge_points(
    geometry: Geometry, drawing: MeshDrawing, T_clip_object: Float[Array, "objects 4 4"]
) -> Float[Array, "2 2 height width 3"]:
    """The two points of edges that each crossing depends on, in objects' frames; anything where nothing crosses."""
    index = jnp.maximum(drawing.edge, 0)
    _, _, drawn, mesh_vertex, _, mesh_edge = geometry.objects.T
    k = jnp.searchsorted(drawn[1:], index, side="right")
    ends = geometry.edges[mesh_edge[k] + index - drawn[k]][..., :2] + mesh_vertex[k][..., None]
    points = geometry.vertices[ends]
    along = _along(drawing.layers, T_clip_object[k], points)
    return points[:, None, ..., 0, :] + along * (points[..., 1, :] - points[..., 0, :])[:, None]


def _along(layers: Layers, T: Float[Array, "2 height width 4 4"], points: Array) -> Float[Array, "2 2 height width 1"]:
    """Where edges, given by their ends (2, H, W, 2, 3), cross rows and columns, and `beyond`. Constant.

    As a share of the edge, which may be extended.
    """
    height, width = layers.row.shape
    clip = jnp.sum(T[..., None, :, :3] * points[..., None, :], axis=-1) + T[..., None, :, 3]
    x = ((2 * jnp.arange(width) + 1) / width - 1).astype(jnp.float32)
    y = ((2 * jnp.arange(height)[:, None] + 1) / height - 1).astype(jnp.float32)
    line = jnp.stack(jnp.broadcast_arrays(y, x))  # row pairs lie on a row's centre line, the others on a column's
    lines = jnp.stack([line, line + beyond(layers) * 2 / jnp.array([height, width])[:, None, None]], axis=1)
    across = jnp.stack([clip[0, ..., 1], clip[1, ..., 0]])[:, None] - lines[..., None] * clip[:, None, ..., 3]
    step = across[..., :1] - across[..., 1:]
    return jax.lax.stop_gradient(jnp.where(step == 0, 0, across[..., :1] / jnp.where(step == 0, 1, step)))
