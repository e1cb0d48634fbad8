"""How an image changes when its pixels move: image-space gradients, occlusion and silhouettes.

Conventions: row 0 is the top; gradients are per unit of NDC (x to the right, y down, both spanning 2), and negated,
because the image moves *with* the pixel: ``I_new(p) = I(p - u) = I(p) + (grad_x, grad_y) . u``.

Some private functions take or return images that reach beyond the border by a margin (see `neighbours`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from .._scene.render_result import BACKGROUND_DEPTH, RenderResult
from .._scene.scene import Scene
from .._scene.typing import ColorImage, ImageCotangent, Labels, Mask, PaddedMask, PaddedScalarImage, ScalarImage
from .neighbours import OFFSETS, fold_neighbours, neighbour, with_margin

LenderBits = UInt8[Array, "lender_height lender_width"]


def compute_image_space_gradients(scene: Scene, render_result: RenderResult) -> tuple[ColorImage, ColorImage, Mask]:
    """Derivative of the image with respect to a motion of its content, where that is meaningful.

    Central differences of the colour in [0, 1], ``-(W / 4) (I[x + 1] - I[x - 1])`` and likewise for y, with the border
    pixels repeated outside the image. Zero where a pixel is not valid.

    Args:
        scene: the scene that was rendered. The gradients do not depend on it; it is part of the reference's signature.
        render_result: its buffers, (H, W).

    Returns:
        A tuple ``(grad_x, grad_y, valid)``: two (H, W, 3) float images, change of colour per unit of NDC, and an
        (H, W) bool image, false at object pixels that have another, nearer object among their eight neighbours (what
        shows there next is decided by the occluder's motion). Background pixels are valid.

    Raises:
        ValueError: if the sizes of scene and render result differ.
    """
    check_sizes(scene, render_result)
    return _image_space_gradients(render_result)


@jax.jit
def _image_space_gradients(render_result: RenderResult) -> tuple[ColorImage, ColorImage, Mask]:
    valid = unoccluded(render_result)
    color = with_margin(render_result.rgb[..., :3], 1)
    diff_x, diff_y = _negated_differences(color, render_result.coord_depth.dtype)
    scale_x, scale_y = _gradient_scale(render_result)
    return jnp.where(valid[..., None], diff_x * scale_x, 0), jnp.where(valid[..., None], diff_y * scale_y, 0), valid


def color_motion(
    render_result: RenderResult, cotangent: ImageCotangent, valid: PaddedMask
) -> tuple[PaddedScalarImage, PaddedScalarImage]:
    """The image-space gradients contracted with a cotangent of the colour: two planes with the margin of `valid`.

    The same numbers as from `compute_image_space_gradients`, without ever holding the (H, W, 3) gradients. Zero in the
    margin.
    """
    margin = (valid.shape[0] - cotangent.shape[1]) // 2
    s_x = s_y = jnp.zeros((), cotangent.dtype)
    for channel in range(3):
        plane = with_margin(render_result.rgb[..., channel], margin + 1)
        weight = with_margin(cotangent[channel], margin, fill=0)
        diff_x, diff_y = _negated_differences(plane, cotangent.dtype)
        s_x += weight * diff_x
        s_y += weight * diff_y
    scale_x, scale_y = _gradient_scale(render_result)
    return jnp.where(valid, s_x * scale_x, 0), jnp.where(valid, s_y * scale_y, 0)


def _negated_differences(image: Array, dtype: jnp.dtype) -> tuple[Array, Array]:
    left, right, up, down = (neighbour(image, *at).astype(dtype) for at in ((0, -1), (0, 1), (-1, 0), (1, 0)))
    return left - right, up - down


def _gradient_scale(render_result: RenderResult) -> tuple[float, float]:
    """From differences over two pixels to colour in [0, 1] per unit of NDC, which spans 2."""
    height, width = render_result.instance_index.shape
    levels = 255 if render_result.rgb.dtype == jnp.uint8 else 1
    return width / (4 * levels), height / (4 * levels)


def unoccluded(render_result: RenderResult, *, margin: int = 0) -> PaddedMask:
    """False at object pixels that have another, nearer object among their eight neighbours, true in the margin."""
    labels = with_margin(render_result.instance_index, margin + 1, fill=0)
    depths = with_margin(render_result.depth, margin + 1)
    label, depth = neighbour(labels), neighbour(depths)

    def step(occluded: Mask, _, other_label: Labels, other_depth: ScalarImage) -> Mask:
        return occluded | ((other_label != 0) & (other_label != label) & (other_depth < depth))

    return ~fold_neighbours(step, jnp.zeros(label.shape, bool), labels, depths) | (label == 0)


def silhouette_lenders(render_result: RenderResult, valid: PaddedMask) -> LenderBits:
    """Which neighbours a pixel joins when the silhouettes of all objects grow by one pixel.

    A pixel joins an object that it does not show if one of its neighbours shows that object and all pixels of the 3x3
    window are valid. It borrows the coordinates of such a neighbour: the last one in row-major order. A pixel can
    join several objects, at most one per neighbour, so eight bits say it all: bit i is set if the pixel borrows from
    its neighbour ``OFFSETS[i]``. The result has one pixel less of margin than `valid`.
    """
    margin = (valid.shape[0] - render_result.instance_index.shape[0]) // 2
    labels = with_margin(render_result.instance_index, margin, fill=0)
    label = neighbour(labels)
    window_valid = fold_neighbours(lambda all_valid, _, other: all_valid & other, neighbour(valid), valid)
    others = [neighbour(labels, *offset) for offset in OFFSETS]
    lenders = jnp.zeros(label.shape, jnp.uint8)
    for i, other in enumerate(others):
        joins = window_valid & (other != 0) & (other != label)
        for later in others[i + 1 :]:
            joins &= later != other
        lenders |= jnp.where(joins, jnp.uint8(1 << i), jnp.uint8(0))
    return lenders


def return_to_lenders(lenders: LenderBits, plane: PaddedScalarImage) -> ScalarImage:
    """Adds to every pixel what its borrowers hold: a sum over a dilated silhouette, folded back onto the object.

    Both arguments have a margin of one pixel, in which `plane` is zero; the result has none.
    """

    def step(total: ScalarImage, i: Array, other_lenders: LenderBits, other: ScalarImage) -> ScalarImage:
        # We are on the other side of our neighbour i, its neighbour 7 - i.
        return total + ((other_lenders >> (7 - i)) & 1).astype(plane.dtype) * other

    return fold_neighbours(step, neighbour(plane), lenders, plane)


def dilate_silhouettes(
    scene: Scene, render_result: RenderResult
) -> tuple[Bool[Array, "objects height width"], Float[Array, "objects height width 3"]]:
    """The silhouette of every object grown by one pixel, with the object coordinates that the new pixels borrow.

    So the outline of an object feels the contrast against what is behind it. A pixel outside joins if one of its
    eight neighbours shows the object and all pixels of its 3x3 window (within the image) are valid; it borrows the
    coordinates of the last such neighbour in row-major order.

    Args:
        scene: the scene that was rendered, N objects.
        render_result: its buffers, (H, W).

    Returns:
        A tuple of the dilated masks, (N, H, W) bool, and the coordinates in each object's frame, (N, H, W, 3) float,
        metres, 3000.0 outside the mask.

    Raises:
        ValueError: if the sizes of scene and render result differ.
    """
    check_sizes(scene, render_result)
    return _dilate_silhouettes(scene, render_result)


@jax.jit
def _dilate_silhouettes(scene: Scene, render_result: RenderResult) -> tuple[Array, Array]:
    label = render_result.instance_index
    lenders = silhouette_lenders(render_result, unoccluded(render_result, margin=1))
    labels = with_margin(label, 1, fill=0)
    coordinates = with_margin(render_result.coordinates, 1)

    def dilate(index: Array) -> tuple[Array, Array]:
        mask = label == index
        points = jnp.where(mask[..., None], render_result.coordinates, BACKGROUND_DEPTH)
        for i, offset in enumerate(OFFSETS):
            borrows = (((lenders >> i) & 1) != 0) & (neighbour(labels, *offset) == index)
            points = jnp.where(borrows[..., None], neighbour(coordinates, *offset), points)
            mask |= borrows
        return mask, points

    return jax.vmap(dilate)(scene.instance_index)


def check_sizes(scene: Scene, render_result: RenderResult) -> None:
    """Raises ValueError unless these are a scene and its buffers, of the size of the scene's camera."""
    if not isinstance(scene, Scene) or not isinstance(render_result, RenderResult):
        raise ValueError(
            "Expected a sldiff_jax.Scene and the RenderResult that renderer(scene) returns, got "
            f"{type(scene).__name__} and {type(render_result).__name__}. For stillleben's, use interop.diff, or "
            "interop.stillleben.scene_from_stillleben and result_from_stillleben."
        )
    expected, got = (scene.camera.height, scene.camera.width), render_result.instance_index.shape
    if got != expected:
        raise ValueError(
            f"The camera of the scene is {expected[0]} high and {expected[1]} wide, the render result {got[0]} by "
            f"{got[1]}. Render at the camera's size, or use camera.resized(width, height)."
        )
