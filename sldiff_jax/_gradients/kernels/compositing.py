# type: ignore -- Warp's language: annotations are calls, operators are its own
"""From samples to images, and the transpose of that: the linear part, in which outlines stand still."""

import warp as wp

from .entry_point import entry_point
from .layers import (
    NOBODY,
    Layers,
    Value,
    carried_on,
    inside,
    is_crossed,
    shares_of,
    step_of,
    value_at,
    weights_of,
)

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})


@wp.func
def difference(a: Value, b: Value):
    result = Value()
    result.color = a.color - b.color
    result.cover = a.cover - b.cover
    return result


@wp.struct
class Taken:
    """What a pixel gains as it takes of a neighbour's value instead of its own.

    step: per share. depth_rate: change of the step's depth with the share.
    """

    step: Value
    depth_rate: float


@wp.func
def taken_towards(layers: Layers, scene: int, row: int, column: int, direction: int, share: float):
    """See `Taken`. Depth is that of both surfaces in the middle of the part that is taken: exact for planes."""
    step = step_of(direction)
    own = value_at(layers, scene, row, column)
    other = value_at(layers, scene, row + step[0], column + step[1])
    taken = Taken()
    taken.step = difference(other, own)
    depth = float(0.0)
    if other.cover[1] > 0.0:
        plane = carried_on(layers, scene, row + step[0], column + step[1], direction ^ 1, 0.5 + 0.5 * share)
        depth += plane.at[2]
        taken.depth_rate += 0.5 * plane.rate
    if own.cover[1] > 0.0:
        plane = carried_on(layers, scene, row, column, direction, 0.5 - 0.5 * share)
        depth -= plane.at[2]
        taken.depth_rate += 0.5 * plane.rate
    taken.step.cover = wp.vec2(depth, taken.step.cover[1])
    return taken


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
            shares = shares_of(layers, scene, row, column)
            weights = weights_of(shares)
            for direction in range(4):
                weight = weights[direction]
                if weight > 0.0:
                    step = step_of(direction)
                    taken = taken_towards(layers, scene, row, column, direction, shares[direction])
                    color += weight * taken.step.color
                    covered += weight * taken.step.cover
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
    """How much of a sample's value a neighbour takes, and the share that made it so: see `weights_of`."""
    step = step_of(direction)
    result = wp.vec2(0.0, 0.0)
    if inside(layers, row + step[0], column + step[1]):
        shares = shares_of(layers, scene, row + step[0], column + step[1])
        result = wp.vec2(weights_of(shares)[direction ^ 1], shares[direction ^ 1])
    return result


@wp.func
def sample_cotangent(layers: Layers, cotangents: Cotangents, scene: int, row: int, column: int):
    """Derivative by a sample's value: `composite` transposed; but for the depth of what is taken."""
    value = image_cotangent(cotangents, scene, row, column)
    if is_crossed(layers, scene, row, column):
        weights = weights_of(shares_of(layers, scene, row, column))
        kept = 1.0 - weights[0] - weights[1] - weights[2] - weights[3]
        value.color = kept * value.color
        value.cover = wp.vec2(value.cover[0], kept * value.cover[1])
        for direction in range(4):
            weight = lent(layers, scene, row, column, direction)[0]
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
