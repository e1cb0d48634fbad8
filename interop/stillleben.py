"""Scenes and render results of stillleben for `sldiff_jax`, and stillleben as a renderer.

`scene_from_stillleben` and `result_from_stillleben` take anything that has the methods of stillleben's objects, and so
need torch only. `StilllebenRenderer` needs stillleben itself: importing it without raises an ImportError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sldiff_jax as sl

from ._stillleben_buffers import make_result, make_scene, read_result, read_scene
from ._thread_cache import thread_cache as thread_cache

if TYPE_CHECKING:
    from ._stillleben_renderer import StilllebenRenderer as StilllebenRenderer


def __getattr__(name: str) -> Any:
    if name == "StilllebenRenderer":
        from ._stillleben_renderer import StilllebenRenderer  # needs stillleben, the functions below do not

        return StilllebenRenderer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def scene_from_stillleben(scene: Any) -> sl.Scene:
    """Poses, labels and camera of a stillleben scene, as they are now.

    Args:
        scene: a ``stillleben.Scene`` of N objects. Call this on the thread that it belongs to.

    Returns:
        The `sldiff_jax.Scene`, float32, with T_world_object (N, 4, 4) in the order of ``scene.objects``. A copy: later
        changes of the one do not show in the other.

    Raises:
        ValueError: if it is a `sldiff_jax.Scene`, the image width is odd (it then shears its label images), or an
            instance index is repeated or outside 1..32767 (its label images are int16).
    """
    if isinstance(scene, sl.Scene):
        raise ValueError("Expected a stillleben.Scene, got a sldiff_jax.Scene: call the functions of sldiff_jax on it.")
    return make_scene(*read_scene(scene))


def result_from_stillleben(result: Any, *, buffers: str = "all") -> sl.RenderResult:
    """The buffers of a stillleben render result.

    All are read at once, because the next render overwrites them. On a GPU they are shared, not copied, except
    vertex_indices and barycentric_coeffs, which stillleben hands out as slices. On the CPU stillleben's images are
    aligned to 16 bytes and JAX needs 64, so that almost every buffer is copied once: `interop.dlpack.shares_memory`
    tells which.

    Args:
        result: a ``stillleben.RenderPassResult``, on the thread that it belongs to.
        buffers: "all", or "core" for rgb, coord_depth and instance_index alone, which is what gradients need.

    Returns:
        The `sldiff_jax.RenderResult`, (H, W), with stillleben's dtypes.

    Raises:
        ValueError: if the image width is odd (stillleben then shears its label images).
    """
    return make_result(read_result(result, buffers))
