"""The embedded renderer: scene in, buffers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ..._gradients.moving_images import (
    NOBODY,
    Layers,
    Motion,
    Moving,
    change_of_rendering,
    footprint,
    motion_of,
    moving_images,
    rendering_of,
    surface_points,
)
from ..._gradients.rendering import Rendering
from ..._scene.camera import Camera
from ..._scene.render_result import BACKGROUND_DEPTH, RenderResult
from ..._scene.scene import MAX_INSTANCE_INDEX, Scene
from ..._scene.transforms import to_jax
from ..._scene.typing import PoseDeltas, Transform
from ..meshes.arrays import as_unit_color
from ..meshes.mesh import Mesh
from .geometry import Geometry
from .images import what_moves
from .launch import MeshDrawing, PerScene, draw_layers, fused_buffers
from .lighting import Lighting


class MeshRenderer(eqx.Module):
    """Renders triangle meshes on CPU or GPU.

    A `Renderer`: ``renderer(scene)`` gives a `RenderResult`, whose buffers are constants to automatic differentiation.
    And a `DifferentiableRenderer`: `sldiff_jax.render` gives float images that are continuous in the pose, with the
    derivative of just these images by the scene and by the renderer itself, which is a pytree: ``eqx.filter_grad`` by
    it has leaves at ``geometry.vertices``, ``.colors``, ``.base_colors``, ``.texels`` (those of float textures),
    ``background`` and ``lighting.*``.

    Works eagerly, under `jax.jit` (as an argument or closed over) and under `jax.vmap`, nested too; a batch of scenes
    is one launch and shares the meshes. Deterministic on a CPU.

    Conventions:
        - Object k of the scene is drawn with ``meshes[k]``, both sides of each triangle, opaque.
        - A pixel shows what is nearest at its centre, between the near and far planes of the projection.
        - Background pixels: 3000.0 in `coord_depth` and `cam_coordinates`, the background colour with alpha 0 in
          `rgb`, 0 elsewhere.
        - `normals` are in the camera frame, interpolated, and the other way round where a triangle shows its back, as
          light sees them too; channel 3 is the cosine between the normal and the direction to the camera.

    Attributes:
        geometry: the meshes, packed.
        class_index: (N,) int32.
        background: (H, W, 3) or (1, 1, 3) float32 in [0, 1].
        lighting: `Lighting`, or None for flat shading.
        supersample: samples per pixel and axis (static).
        antialias: whether outlines cover pixels in part (static).
        all_buffers: whether to fill the optional buffers (static).
    """

    geometry: Geometry
    class_index: Int[Array, " objects"]
    background: Float[Array, "rows columns 3"]
    lighting: Lighting | None
    supersample: int = eqx.field(static=True)
    antialias: bool = eqx.field(static=True)
    all_buffers: bool = eqx.field(static=True)

    def __init__(
        self,
        meshes: Sequence[Mesh],
        *,
        shading: Literal["flat", "phong"] = "flat",
        class_index: ArrayLike | None = None,
        ambient_light: ArrayLike | None = None,
        light_directions: ArrayLike | None = None,
        light_colors: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        shininess: ArrayLike | None = None,
        background: ArrayLike | None = None,
        supersample: int = 1,
        antialias: bool = True,
        texture_filter: Literal["bilinear", "mipmap"] = "bilinear",
        anisotropy: int = 1,
        buffers: Literal["all", "core"] = "all",
    ):
        """Prepares the meshes.

        Args:
            meshes: one `Mesh` per object of the scenes to come, in their order. The same `Mesh` object may be given
                several times at no cost in memory.
            shading: "flat" shows the colour of the surface as it is; "phong" lights it, see `Lighting`.
            class_index: (N,) int in 1..32767, class label of each object. Default: 1, as stillleben.
            ambient_light: (3,) float, for "phong". Default: none.
            light_directions: (L, 3) float, for "phong": the way the light travels, in the world frame.
            light_colors: (L, 3) float, for "phong".
            exposure: float, for "phong": factor on all light, stillleben's manual exposure. Default: 1.
            shininess: float, for "phong": exponent of the highlight. Default: 13.4, a roughness of 0.6.
            background: (3,) colour or (H, W, 3) image, uint8 or float in [0, 1]. Default: black.
            supersample: images are the mean over supersample x supersample samples per pixel; of the raw buffers only
                colour and alpha are, the others come from the pixel centre. 1 for none.
            antialias: whether outlines cover pixels in part, which makes images continuous in the pose and the
                derivative of outlines exact. Without, images are hard and that derivative is estimated.
            texture_filter: "bilinear" takes four texels of the image itself, so that textures finer than the pixels
                flicker as objects move. "mipmap" shows of a texture what a pixel covers, as the real stillleben does:
                texels of a level whose size fits the pixel's extent, between two levels and four texels of each
                (trilinear). Where a texture is an atlas of scraps, these mix with what lies between.
            anisotropy: for "mipmap", at most so many points of the texture are taken along a pixel's longer extent,
                which surfaces have that are seen at a grazing angle; 1 for one, which blurs across that extent too.
            buffers: "all", or "core" to fill only `rgb`, `coord_depth` and `instance_index`, which is all that
                gradients and refinement need, and faster.

        Raises:
            ValueError: if an argument is not as described.
        """
        meshes = _list_of_meshes(meshes)
        if shading not in ("flat", "phong"):
            raise ValueError(f'shading must be "flat" or "phong", got {shading!r}.')
        if texture_filter not in ("mipmap", "bilinear"):
            raise ValueError(f'texture_filter must be "mipmap" or "bilinear", got {texture_filter!r}.')
        if isinstance(anisotropy, bool) or not isinstance(anisotropy, int) or anisotropy < 1:
            raise ValueError(f"anisotropy must be a positive integer, got {anisotropy!r}.")
        if anisotropy > 1 and texture_filter == "bilinear":
            raise ValueError(f'anisotropy={anisotropy} needs texture_filter="mipmap", got texture_filter="bilinear".')
        if buffers not in ("all", "core"):
            raise ValueError(f'buffers must be "all" or "core", got {buffers!r}.')
        if isinstance(supersample, bool) or not isinstance(supersample, int) or supersample < 1:
            raise ValueError(f"supersample must be a positive integer, got {supersample!r}.")
        light = (ambient_light, light_directions, light_colors, exposure, shininess)
        if shading == "flat" and any(value is not None for value in light):
            raise ValueError('Light, exposure and shininess need shading="phong", got shading="flat".')
        self.geometry = Geometry(meshes, anisotropy=anisotropy if texture_filter == "mipmap" else 0)
        self.class_index = _class_labels(class_index, len(meshes))
        self.background = _background(background)
        self.lighting = None
        if shading == "phong":
            exposure = 1.0 if exposure is None else exposure
            shininess = 13.4 if shininess is None else shininess
            self.lighting = Lighting(ambient_light, light_directions, light_colors, exposure, shininess)
        self.supersample = supersample
        self.antialias = antialias
        self.all_buffers = buffers == "all"

    def __call__(self, scene: Scene) -> RenderResult:
        """Renders a scene.

        Args:
            scene: the `Scene`, with as many objects as the renderer has meshes.

        Returns:
            The `RenderResult`, with float32 buffers. Without the optional buffers if ``buffers="core"``.

        Raises:
            ValueError: if the number of objects, or the size of a background image, does not fit.
        """
        self._check(scene)
        return RenderResult(**_render(self, scene))

    def draw(self, scene: Scene) -> MeshDrawing:
        """Draws what `images` are made of. Constant to differentiation."""
        self._check(scene)
        return _draw(self, scene)

    def buffers(self, scene: Scene, drawing: MeshDrawing) -> RenderResult:
        """Labels, points and colours of one sample per pixel, as buffers."""
        points = surface_points(scene.T_clip_object.astype(jnp.float32), drawing.layers)
        everything = (drawing.layers.row, drawing.layers.color, points, drawing.layers.depth)
        step = self.supersample
        row, color, points, depth = (x[step // 2 :: step, step // 2 :: step] for x in everything)
        seen = (row >= 0)[..., None]
        labels = jnp.concatenate([scene.instance_index, jnp.zeros(1, scene.instance_index.dtype)])
        return RenderResult(
            rgb=jnp.concatenate([color, seen.astype(color.dtype)], axis=-1),
            coord_depth=jnp.where(seen, jnp.concatenate([points, depth[..., None]], axis=-1), BACKGROUND_DEPTH),
            instance_index=labels[row].astype(jnp.int16),
        )

    def images(self, scene: Scene, drawing: MeshDrawing, *, object_masks: bool = False) -> Rendering:
        """The images of a drawing.

        Args:
            scene: the scene that was drawn.
            drawing: what `draw` made of it.
            object_masks: (static) also one mask per object.

        Returns:
            The `Rendering`. Differentiable in reverse mode with respect to the scene and the renderer.
        """
        return _images(self, scene, drawing, object_masks)

    def change(
        self, scene: Scene, drawing: MeshDrawing, delta: PoseDeltas, *, projection: Transform | None = None
    ) -> Rendering:
        """The change of the images when the objects move: `images` in forward mode.

        Args:
            scene: the scene that was drawn.
            drawing: what `draw` made of it.
            delta: (N, 6) float, a motion per object as in `apply_pose_delta`: radians, then metres.
            projection: optional (4, 4) float, a change of the camera's projection on top of it.
        """
        return _change(self, scene, drawing, motion_of(delta, projection))

    def with_meshes(self, meshes: Sequence[Mesh]) -> MeshRenderer:
        """The renderer with other meshes, one for each of its own. Works inside of traced functions.

        Args:
            meshes: for instance those of `Mesh.replace`.

        Returns:
            The renderer.

        Raises:
            ValueError: if their number differs, or they are no meshes.
        """
        meshes, count = _list_of_meshes(meshes), self.class_index.shape[0]
        if len(meshes) != count:
            raise ValueError(f"with_meshes takes {count} meshes, one per object, got {len(meshes)}.")
        return eqx.tree_at(
            lambda renderer: renderer.geometry, self, Geometry(meshes, anisotropy=self.geometry.anisotropy)
        )

    def _check(self, scene: Scene) -> None:
        count, camera = self.class_index.shape[0], scene.camera
        if scene.T_world_object.shape[0] != count:
            raise ValueError(
                f"The scene must have one object per mesh of the renderer ({count}), "
                f"got {scene.T_world_object.shape[0]} objects."
            )
        self.geometry.check()
        size = self.background.shape[:2]
        if size not in ((1, 1), (camera.height, camera.width)):
            raise ValueError(
                f"The background image must have the size of the camera's image ({camera.height}, {camera.width}), "
                f"got {size}."
            )


@eqx.filter_jit
def _render(renderer: MeshRenderer, scene: Scene) -> dict[str, Array]:
    if scene.T_world_object.shape[0] == 0:
        return _background_buffers(renderer, scene.camera)
    render = fused_buffers(scene.camera.height, scene.camera.width, renderer.supersample, renderer.all_buffers)
    shared = (renderer.geometry, renderer.background, renderer.class_index)
    buffers = render(*jax.lax.stop_gradient((shared, per_scene_inputs(renderer, scene))))
    return {name: buffer[0] for name, buffer in buffers.items()}


@eqx.filter_jit
def _draw(renderer: MeshRenderer, scene: Scene) -> MeshDrawing:
    height, width = (renderer.supersample * side for side in (scene.camera.height, scene.camera.width))
    if scene.T_world_object.shape[0] == 0:
        background = jnp.broadcast_to(renderer.background, (scene.camera.height, scene.camera.width, 3))
        for axis in (0, 1):
            background = jnp.repeat(background, renderer.supersample, axis=axis)
        nobody = jnp.full((height, width), NOBODY, jnp.int32)
        layers = Layers(
            nobody, background, *(jnp.zeros(size, jnp.float32) for size in ((height, width), (0, 0, 2), (2, 0, 0, 4)))
        )
        return jax.lax.stop_gradient(MeshDrawing(layers, jnp.zeros((2, 0, 0), jnp.int32), nobody, jnp.zeros((0, 0, 3))))
    draw = draw_layers(height, width, renderer.supersample, renderer.antialias)
    shared = (renderer.geometry, renderer.background)
    batch = (per_scene_inputs(renderer, scene), _footprint(renderer, scene.camera)[None])
    return jax.tree.map(lambda x: x[0], draw(*jax.lax.stop_gradient((shared, batch))))


def _footprint(renderer: MeshRenderer, camera: Camera) -> Float[Array, "2"]:
    return footprint(camera, renderer.supersample * camera.width, renderer.supersample * camera.height)


@eqx.filter_jit
def _images(renderer: MeshRenderer, scene: Scene, drawing: MeshDrawing, object_masks: bool) -> Rendering:
    moving = _moving(renderer, scene, drawing)
    images = moving_images(moving, _footprint(renderer, scene.camera), drawing.layers, object_masks=object_masks)
    return _typed(rendering_of(images, renderer.supersample), scene)


def _moving(renderer: MeshRenderer, scene: Scene, drawing: MeshDrawing) -> Moving:
    view = jax.tree.map(lambda x: x[0], per_scene_inputs(renderer, scene))
    return what_moves(renderer.geometry, renderer.background, view, drawing)


def _typed(rendering: Rendering, scene: Scene) -> Rendering:
    return jax.tree.map(lambda image: image.astype(scene.T_world_object.dtype), rendering)


@eqx.filter_jit
def _change(renderer: MeshRenderer, scene: Scene, drawing: MeshDrawing, motion: Motion) -> Rendering:
    def moving_at(motion: Motion) -> Moving:
        moving = _moving(renderer, motion.of(scene), drawing)
        # In the objects' frames points stay where they are, and colours, unless light falls on them. The kernels need
        # not go through images of zeros.
        return Moving(moving.T_clip_object, color=None if renderer.lighting is None else moving.color)

    size = _footprint(renderer, scene.camera)
    rendering = change_of_rendering(moving_at, motion, size, drawing.layers, renderer.supersample)
    return _typed(rendering, scene)


def per_scene_inputs(renderer: MeshRenderer, scene: Scene) -> PerScene:
    """What the kernels want to know about a scene, as a batch of one."""
    with jax.default_matmul_precision("highest"):  # a GPU would round poses to 10 bits
        T_camera_object, T_clip_object = scene.T_camera_object, scene.T_clip_object
        lights = jnp.zeros((0, 3)) if renderer.lighting is None else renderer.lighting.rows(scene.camera.T_camera_world)
    return PerScene(
        T_clip_object=T_clip_object.astype(jnp.float32)[None],
        T_camera_object=T_camera_object.astype(jnp.float32)[None],
        instance_index=scene.instance_index.astype(jnp.int32)[None],
        lights=lights.astype(jnp.float32)[None],
    )


def _background_buffers(renderer: MeshRenderer, camera: Camera) -> dict[str, Array]:
    """The buffers of a scene without objects."""
    size = (camera.height, camera.width)
    rgb = jnp.broadcast_to((255 * renderer.background + 0.5).astype(jnp.uint8), (*size, 3))
    buffers = {
        "rgb": jnp.concatenate([rgb, jnp.zeros((*size, 1), jnp.uint8)], axis=-1),
        "coord_depth": jnp.full((*size, 4), BACKGROUND_DEPTH, jnp.float32),
        "instance_index": jnp.zeros(size, jnp.int16),
    }
    if renderer.all_buffers:
        buffers |= {
            "class_index": jnp.zeros(size, jnp.int16),
            "normals": jnp.zeros((*size, 4), jnp.float32),
            "vertex_indices": jnp.zeros((*size, 3), jnp.int32),
            "barycentric_coeffs": jnp.zeros((*size, 3), jnp.float32),
            "cam_coordinates": jnp.full((*size, 4), BACKGROUND_DEPTH, jnp.float32),
        }
    return buffers


def _list_of_meshes(meshes: Sequence[Mesh]) -> list[Mesh]:
    if isinstance(meshes, Mesh):
        raise ValueError("MeshRenderer meshes must be a list of sldiff_jax.Mesh, got a single one: pass [mesh].")
    meshes = list(meshes)
    wrong = [type(mesh).__name__ for mesh in meshes if not isinstance(mesh, Mesh)]
    if wrong:
        raise ValueError(f"MeshRenderer meshes must be a list of sldiff_jax.Mesh, got {wrong[0]} in it.")
    return meshes


def _class_labels(class_index: ArrayLike | None, count: int) -> Array:
    labels = np.ones(count, np.int32) if class_index is None else np.asarray(class_index)
    if labels.shape != (count,) or (count and not np.issubdtype(labels.dtype, np.integer)):
        raise ValueError(f"class_index must hold {count} integers, got shape {labels.shape}, dtype {labels.dtype}.")
    if count and (labels.min() < 1 or labels.max() > MAX_INSTANCE_INDEX):
        raise ValueError(f"class_index must lie in 1..{MAX_INSTANCE_INDEX}, got {labels.tolist()}.")
    return to_jax(labels, jnp.int32)


def _background(background: ArrayLike | None) -> Array:
    image = np.zeros(3) if background is None else np.asarray(background)
    if image.ndim not in (1, 3):
        raise ValueError(f"background must be a (3,) colour or an (H, W, 3) image, got shape {image.shape}.")
    image = image.reshape(1, 1, -1) if image.ndim == 1 else image
    return to_jax(as_unit_color(image, "background", (None, None)), jnp.float32)
