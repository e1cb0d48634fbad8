"""The pose accumulator of buffers by one Warp kernel, whose cost follows the pixels that objects cover."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._scene.render_result import RenderResult
from .._scene.typing import ImageCotangent, Transforms
from .warp_calls import call, fold_batches, load_kernels


def accumulate_fused(
    T_clip_object: Transforms, row_of_label: Int[Array, " labels"], shown: RenderResult, cotangent: ImageCotangent
) -> Transforms:
    """What `accumulate` makes of the pull on all pixels, grown silhouettes included: (N, 4, 4) float32, N > 0.

    Args:
        T_clip_object: (N, 4, 4) float32.
        row_of_label: see `accumulator`.
        shown: (H, W) buffers with uint8 colour.
        cotangent: (3, H, W) float32.
    """
    batch = (shown.rgb, shown.coord_depth, shown.instance_index, cotangent, T_clip_object, row_of_label)
    rows = _accumulate(None, tuple(x[None] for x in batch))[0].sum(axis=0)
    return jnp.concatenate([rows[:, :2], jnp.zeros_like(rows[:, :1]), rows[:, 2:]], axis=1)


@fold_batches
def _accumulate(_, batch: tuple[Array, ...]) -> Float[Array, "batch height objects 3 4"]:
    package = "sldiff_jax._gradients.kernels."
    _, kernels = load_kernels(package + "entry_point", package + "buffers_to_poses")
    _, _, labels, _, T_clip_object, _ = batch
    (sums,) = call(kernels.accumulate, {"sums": (*labels.shape[:2], T_clip_object.shape[1], 3)}, *batch)
    return sums
