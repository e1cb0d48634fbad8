# type: ignore -- Warp's language: annotations are calls, operators are its own
"""From samples to images, and the transpose of that: the linear part, in which outlines stand still."""

import warp as wp

from .entry_point import entry_point
from .layers import (
    NOBODY,
    Layers,
    Value,
    inside,
    is_crossed,
    shares_of,
    step_of,
    value_at,
    value_towards,
    weights_of,
)

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})


@wp.kernel
def composite_kernel(
    layers: Layers,
    chunks: int,
    image: wp.array3d(dtype=wp.vec3),
    cover: wp.array3d(dtype=wp.vec2),
    object_masks: wp.array4d(dtype=float),
):
    scene, row, chunk = wp.tid()
    column = int(chunk)
    while column < image.shape[2]:
        own = value_at(layers, scene, row, column)
        color = own.color
        covered = own.cover
        kept = float(1.0)
        if is_crossed(layers, scene, row, column):
            weights = weights_of(shares_of(layers, scene, row, column))
            for direction in range(4):
                weight = weights[direction]
                if weight > 0.0:
                    step = step_of(direction)
                    other = value_towards(layers, scene, row, column, direction)
                    color += weight * (other.color - own.color)
                    covered += weight * (other.cover - own.cover)
                    kept -= weight
                    k = layers.row[scene, row + step[0], column + step[1]]
                    if k != NOBODY and object_masks.shape[2] > 0:
                        object_masks[scene, k, row, column] = object_masks[scene, k, row, column] + weight
        k = layers.row[scene, row, column]
        if k != NOBODY and object_masks.shape[2] > 0:
            object_masks[scene, k, row, column] = object_masks[scene, k, row, column] + kept
        image[scene, row, column] = color
        cover[scene, row, column] = covered
        column += chunks


def _chunks(array):
    """Threads per row: the pixels of a row are dealt out to them. On a CPU there is one thread."""
    return array.shape[2] if array.device.is_cuda else 1


@entry_point()
def composite(
    layers: Layers,
    image: wp.array3d(dtype=wp.vec3),
    cover: wp.array3d(dtype=wp.vec2),
    object_masks: wp.array4d(dtype=float),
):
    """Colour, and depth and coverage, each weighted by coverage. `object_masks` (B, N, H, W), or (B, N, 0, 0)."""
    object_masks.zero_()
    chunks = _chunks(image)
    wp.launch(
        composite_kernel, (image.shape[0], image.shape[1], chunks), [layers, chunks], [image, cover, object_masks]
    )


@wp.struct
class Cotangents:
    """Derivatives of an objective by the images: (B, H, W) each, and `object_masks` (B, N, H, W); 0 x 0 for none."""

    image: wp.array3d(dtype=wp.vec3)
    cover: wp.array3d(dtype=wp.vec2)
    object_masks: wp.array4d(dtype=float)


@wp.func
def image_cotangent(cotangents: Cotangents, scene: int, row: int, column: int):
    value = Value()
    if cotangents.image.shape[1] > 0:
        value.color = cotangents.image[scene, row, column]
    if cotangents.cover.shape[1] > 0:
        value.cover = cotangents.cover[scene, row, column]
    return value


@wp.func
def lent(layers: Layers, scene: int, row: int, column: int, direction: int):
    """How much of a sample's value a neighbour takes."""
    step = step_of(direction)
    weight = float(0.0)
    if inside(layers, row + step[0], column + step[1]):
        weight = weights_of(shares_of(layers, scene, row + step[0], column + step[1]))[direction ^ 1]
    return weight


@wp.func
def sample_cotangent(layers: Layers, cotangents: Cotangents, scene: int, row: int, column: int):
    """Derivative by a sample's value: `composite` transposed; but for the depth that is carried on to neighbours."""
    value = image_cotangent(cotangents, scene, row, column)
    if is_crossed(layers, scene, row, column):
        weights = weights_of(shares_of(layers, scene, row, column))
        kept = 1.0 - weights[0] - weights[1] - weights[2] - weights[3]
        value.color = kept * value.color
        value.cover = kept * value.cover
        for direction in range(4):
            weight = lent(layers, scene, row, column, direction)
            if weight > 0.0:
                step = step_of(direction)
                other = image_cotangent(cotangents, scene, row + step[0], column + step[1])
                value.color += weight * other.color
                value.cover += wp.vec2(0.0, weight * other.cover[1])
    return value


@wp.func
def times(gradient: Value, value: Value):
    """The product of a derivative by a value with a change of the value."""
    return wp.dot(gradient.color, value.color) + wp.dot(gradient.cover, value.cover)


@wp.func
def difference(a: Value, b: Value):
    result = Value()
    result.color = a.color - b.color
    result.cover = a.cover - b.cover
    return result
