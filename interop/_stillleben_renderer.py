"""stillleben as a `Renderer`."""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental.buffer_callback import buffer_callback

import sldiff_jax as sl

from ._callbacks import tensor_of, torch_on_xla_stream
from ._gl_context import has_current_context
from ._owned_thread import OwnedThread
from ._stillleben_buffers import fields, make_result, make_scene, read_scene, result_shapes
from ._stillleben_stage import Stage
from ._stillleben_thread import make_thread as _make_thread  # noqa: F401
from ._stillleben_thread import stillleben_thread as _stillleben_thread
from ._this_thread import ThisThread
from ._torch import torch

try:
    stillleben = importlib.import_module("stillleben")
except ImportError as error:
    raise ImportError(
        f"StilllebenRenderer needs stillleben, which cannot be imported ({error}). It is on no package index: build "
        "it from https://github.com/AIS-Bonn/stillleben. sldiff_jax.MeshRenderer renders without it."
    ) from error


@jax.tree_util.register_pytree_node_class
class StilllebenRenderer:
    """Renders with stillleben. A `sldiff_jax.Renderer`: scene in, buffers out.

    Sets object poses, camera pose and projection in stillleben's scene, renders it and hands its buffers over as
    `result_from_stillleben` does. The scene keeps the poses that it was given last. Lights, materials and exposure are
    those of stillleben's scene; set its `manual_exposure` for optimisation, since automatic exposure changes the whole
    picture when one object moves.

    stillleben's OpenGL context belongs to the thread that called ``stillleben.init()``; if stillleben renders or
    releases an object on any other thread, it ends the process. So there are two ways to make a renderer:

    - ``StilllebenRenderer(scene)`` for a scene that you built on this thread. Calls on other threads raise a
      RuntimeError, and so do calls inside `jit` and `vmap`, where XLA chooses the thread.
    - ``StilllebenRenderer.build(factory)`` initialises stillleben and does everything on one thread of its own. Any
      thread, jitted program or callback may then call it.

    Called with concrete arrays, also under an eager `jax.grad` or `jax.value_and_grad`, buffers cross as in
    `result_from_stillleben`. Inside `jit` and `vmap` the renderer runs as a callback on device buffers (under `vmap`
    one render after another), and stillleben's buffers are copied once, into memory of the compiled program.

    Poses are made rigid before rendering (the nearest rotation), since stillleben ends the process otherwise. Objects
    are matched by instance index, whatever the order of the scene's rows.

    A camera may have a smaller image than the viewport of stillleben's scene: it is drawn into a corner of that, with
    the same pixels as in a scene of its size, for the price of the whole viewport.

    A renderer is a pytree without arrays that equals itself alone. Compiled programs do not hold it: they work as long
    as it is there, and do not keep stillleben's objects alive when it is dropped.
    """

    def __init__(self, scene: Any, render_pass: Any = None, *, buffers: str = "all"):
        """A renderer for a stillleben scene of this thread.

        Args:
            scene: a ``stillleben.Scene`` with an even image width and all its objects in place.
            render_pass: a ``stillleben.RenderPass``. Default: a new one, with stillleben's default shading.
            buffers: "all", or "core" for rgb, coord_depth and instance_index alone, which is what gradients need.

        Raises:
            ValueError: if these are no such objects, the image width is odd, or instance indices are repeated or
                outside 1..32767.
            RuntimeError: if stillleben was initialised on another thread.
        """
        if has_current_context() is False:
            raise RuntimeError(
                "This thread has no OpenGL context: stillleben was initialised on another one, or not yet. Make "
                "StilllebenRenderer(scene) on the thread that called stillleben.init(), or use "
                "StilllebenRenderer.build(factory), which works on any thread."
            )
        self._set_up(ThisThread(), lambda: _stage(scene, render_pass, "StilllebenRenderer needs"), buffers)

    @classmethod
    def build(
        cls, factory: Callable[[], Any], *, cuda_device: int | None = None, buffers: str = "all"
    ) -> StilllebenRenderer:
        """A renderer that any thread can use, for a scene that is built on stillleben's own thread.

        Do not call ``stillleben.init()`` yourself before. All renderers made in this way share one thread.

        Args:
            factory: a function without arguments that returns a ``stillleben.Scene``, or a tuple of a scene and a
                ``stillleben.RenderPass``. It must not pass any of stillleben's objects on to other threads, nor leave
                one in a variable that outlives it: `thread_cache` keeps meshes for the next factory. An exception in
                it comes back as a copy with its text, and its traceback as a note.
            cuda_device: index of the GPU on which stillleben renders and leaves its buffers. Default: on the CPU.
            buffers: as in the constructor.

        Returns:
            The renderer.

        Raises:
            ValueError: as the constructor, or if the factory returns something else.
            RuntimeError: if stillleben was initialised on another thread before.
        """
        home = _stillleben_thread()

        def make() -> Stage:
            stillleben.init() if cuda_device is None else stillleben.init_cuda(cuda_device)
            if has_current_context() is False:
                raise RuntimeError(
                    "stillleben has been initialised on another thread. Leave that to StilllebenRenderer.build: do not "
                    "call stillleben.init() or stillleben.init_cuda() before."
                )
            _take_over_context(home)
            made = factory()
            scene, render_pass = made if type(made) is tuple and len(made) == 2 else (made, None)
            return _stage(scene, render_pass, "The factory of StilllebenRenderer.build must return")

        renderer = cls.__new__(cls)
        renderer._set_up(home, make, buffers)
        return renderer

    def _set_up(self, home: OwnedThread | ThisThread, make: Callable[[], Stage], buffers: str) -> None:
        fields(buffers)
        self._buffers = buffers
        self._home = home
        # stillleben's objects stay at home; a number stands for them, so that this object may die on any thread.
        self._number = home.keep(make)
        weakref.finalize(self, home.release, self._number)
        self._viewport, self._count = home.use(self._number, lambda stage: (stage.viewport, len(stage.objects)))

    def scene(self) -> sl.Scene:
        """The scene as stillleben has it now, (N, 4, 4) poses and all: see `scene_from_stillleben`."""
        return make_scene(*self._home.use(self._number, lambda stage: read_scene(stage.scene)))

    def __call__(self, scene: sl.Scene) -> sl.RenderResult:
        """Renders a scene of N objects, T_world_object (N, 4, 4).

        Returns:
            The buffers, (H, W), on the device of the scene.

        Raises:
            ValueError: if the image is larger than the viewport of stillleben's scene, number of objects or labels are
                not those of that scene, objects were added to it or removed since, the RenderPass has drawn another
                size before, or a pose is not finite or far from rigid. Inside `jit`, all but the first two come as a
                `jax.errors.JaxRuntimeError`.
            RuntimeError: on a thread to which the renderer does not belong, or inside `jit` or `vmap` if it was not
                made by `build`.
        """
        camera = scene.camera
        if camera.width > self._viewport[0] or camera.height > self._viewport[1]:
            raise ValueError(
                f"The viewport of stillleben's scene has {self._viewport[0]} x {self._viewport[1]} pixels and cannot "
                f"grow, the camera's image has {camera.width} x {camera.height}. Make the stillleben.Scene as large as "
                "the largest image."
            )
        if scene.T_world_object.shape[0] != self._count:
            raise ValueError(
                f"stillleben's scene has {self._count} objects, the scene to render {scene.T_world_object.shape[0]}. "
                "Start from StilllebenRenderer.scene()."
            )
        arrays = (
            scene.T_world_object.astype(jnp.float32),
            camera.T_world_camera.astype(jnp.float32),
            camera.projection.astype(jnp.float32),
            scene.instance_index,
        )
        drawing = _Drawing(self._home, self._number, (camera.width, camera.height), self._buffers)
        if any(isinstance(array, Tracer) for array in arrays):
            if isinstance(self._home, ThisThread):
                raise RuntimeError(
                    "Inside jit and vmap XLA chooses the thread, and this renderer works on the one that made it only. "
                    "Use StilllebenRenderer.build(factory), or stay outside: eager jax.grad, refine_poses(jit=False)."
                )
            shapes = result_shapes(self._buffers, camera.height, camera.width)
            return sl.RenderResult(**buffer_callback(drawing, shapes, vmap_method="sequential")(*arrays))
        tensors = drawing.render(*map(np.asarray, arrays))
        if tensors["rgb"].is_cuda:
            # stillleben writes on the default stream, and DLPack orders JAX after the caller's current one.
            device = tensors["rgb"].device
            torch.cuda.current_stream(device).wait_stream(torch.cuda.default_stream(device))
        result = make_result(tensors)
        (device,) = arrays[0].devices()
        return result if result.rgb.devices() == {device} else jax.device_put(result, device)

    def tree_flatten(self) -> tuple[tuple[()], weakref.ref[StilllebenRenderer]]:
        """No arrays; itself, held weakly: JAX keeps the structure of arguments as long as the process lives."""
        return (), weakref.ref(self)

    @classmethod
    def tree_unflatten(cls, structure: weakref.ref[StilllebenRenderer], children: tuple[()]) -> StilllebenRenderer:
        """The same renderer."""
        renderer = structure()
        if renderer is None:
            raise RuntimeError(_GONE)
        return renderer


_GONE = "The StilllebenRenderer that this was compiled or taken apart with is gone. Keep a reference to it."


class _Drawing(NamedTuple):
    """What a compiled program calls instead of the renderer: where and under which number to find its `Stage`."""

    home: OwnedThread | ThisThread
    number: int
    size: tuple[int, int]
    buffers: str

    def render(self, *arrays: np.ndarray) -> dict[str, torch.Tensor]:
        """The tensors of poses, camera pose, projection and labels."""
        try:
            return self.home.use(self.number, lambda stage: stage.render(*arrays, size=self.size, buffers=self.buffers))
        except KeyError:
            raise RuntimeError(_GONE) from None

    def __call__(self, context: Any, out: dict[str, Any], *buffers: Any) -> None:
        """The callback of `buffer_callback`."""
        with torch_on_xla_stream(context, buffers[0]):
            arrays = [tensor_of(buffer).cpu().numpy() for buffer in buffers]
        tensors = self.render(*arrays)
        with torch_on_xla_stream(context, buffers[0]):
            for name, tensor in tensors.items():
                tensor_of(out[name]).copy_(tensor)


def _stage(scene: Any, render_pass: Any, needs: str) -> Stage:
    is_scene = hasattr(scene, "viewport") and hasattr(scene, "objects")
    if not is_scene or not (render_pass is None or hasattr(render_pass, "render")):
        inside = f" of {len(scene)}" if isinstance(scene, tuple | list) else ""
        got = type(scene).__name__ + inside if render_pass is None else f"{type(scene)} and {type(render_pass)}"
        raise ValueError(
            f"{needs} a stillleben.Scene, or a tuple of a scene and a stillleben.RenderPass, got {got}."
            + (" Is its return statement missing?" if scene is None else "")
        )
    return Stage(scene, stillleben.RenderPass() if render_pass is None else render_pass)


def _take_over_context(home: OwnedThread) -> None:
    """On stillleben's thread: its OpenGL context is to be destroyed here, when all else is gone.

    stillleben leaves that to a capsule in its module, hence to the main thread and the end of the interpreter; the
    meshes that the context holds end the process there.
    """
    name = "libstillleben_python"
    module = getattr(getattr(stillleben, "lib", None), name, sys.modules.get(f"{stillleben.__name__}.lib.{name}"))
    if (capsule := vars(module).pop("_cleanup", None) if module is not None else None) is not None:
        home.keep_longest(capsule)
