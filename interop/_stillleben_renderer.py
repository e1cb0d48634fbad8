"""stillleben as a `Renderer`."""

from __future__ import annotations

import functools
import importlib
import threading
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental.buffer_callback import buffer_callback

import sldiff_jax as sl

from ._callbacks import tensor_of, torch_on_xla_stream
from ._gl_context import has_current_context
from ._owned_thread import OwnedThread, ThisThread
from ._stillleben_buffers import (
    check_width,
    fields,
    make_result,
    make_scene,
    read_labels,
    read_result,
    read_scene,
    result_shapes,
)
from ._torch import torch

try:
    stillleben = importlib.import_module("stillleben")
except ImportError as error:
    raise ImportError(
        f"StilllebenRenderer needs stillleben, which cannot be imported ({error}). It is on no package index: build "
        "it from https://github.com/AIS-Bonn/stillleben. sldiff_jax.MeshRenderer renders without it."
    ) from error


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
    """

    def __init__(self, scene: Any, render_pass: Any = None, *, buffers: str = "all"):
        """A renderer for a stillleben scene of this thread.

        Args:
            scene: a ``stillleben.Scene`` with an even image width and all its objects in place.
            render_pass: a ``stillleben.RenderPass``. Default: a new one, with stillleben's default shading.
            buffers: "all", or "core" for rgb, coord_depth and instance_index alone, which is what gradients need.

        Raises:
            ValueError: if the image width is odd, or instance indices are repeated or outside 1..32767.
            RuntimeError: if stillleben was initialised on another thread.
        """
        if has_current_context() is False:
            raise RuntimeError(
                "This thread has no OpenGL context: stillleben was initialised on another one, or not yet. Make "
                "StilllebenRenderer(scene) on the thread that called stillleben.init(), or use "
                "StilllebenRenderer.build(factory), which works on any thread."
            )
        self._set_up(ThisThread(), lambda: _Stage(scene, render_pass), buffers)

    @classmethod
    def build(
        cls, factory: Callable[[], Any], *, cuda_device: int | None = None, buffers: str = "all"
    ) -> StilllebenRenderer:
        """A renderer that any thread can use, for a scene that is built on stillleben's own thread.

        Do not call ``stillleben.init()`` yourself before. All renderers made in this way share one thread.

        Args:
            factory: a function without arguments that returns a ``stillleben.Scene``, or a pair of a scene and a
                ``stillleben.RenderPass``. It must not pass any of stillleben's objects on to other threads.
            cuda_device: index of the GPU on which stillleben renders and leaves its buffers. Default: on the CPU.
            buffers: as in the constructor.

        Returns:
            The renderer.

        Raises:
            ValueError: as the constructor.
            RuntimeError: if stillleben was initialised on another thread before.
        """

        def make() -> _Stage:
            stillleben.init() if cuda_device is None else stillleben.init_cuda(cuda_device)
            if has_current_context() is False:
                raise RuntimeError(
                    "stillleben has been initialised on another thread. Leave that to StilllebenRenderer.build: do not "
                    "call stillleben.init() or stillleben.init_cuda() before."
                )
            made = factory()
            return _Stage(*made) if isinstance(made, tuple) else _Stage(made)

        renderer = cls.__new__(cls)
        renderer._set_up(_stillleben_thread(), make, buffers)
        return renderer

    def _set_up(self, home: OwnedThread | ThisThread, make: Callable[[], _Stage], buffers: str) -> None:
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
            ValueError: if image size, number of objects or labels are not those of stillleben's scene, objects were
                added to it or removed since, or a pose is not finite or far from rigid. Inside `jit`, the last two
                come as a `jax.errors.JaxRuntimeError`.
            RuntimeError: on a thread to which the renderer does not belong, or inside `jit` or `vmap` if it was not
                made by `build`.
        """
        camera = scene.camera
        if (camera.width, camera.height) != self._viewport:
            raise ValueError(
                f"stillleben's viewport is {self._viewport[0]} x {self._viewport[1]} pixels and cannot change, the "
                f"camera's image is {camera.width} x {camera.height}. Use camera.resized, or another stillleben.Scene."
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
        if any(isinstance(array, Tracer) for array in arrays):
            if isinstance(self._home, ThisThread):
                raise RuntimeError(
                    "Inside jit and vmap XLA chooses the thread, and this renderer works on the one that made it only. "
                    "Use StilllebenRenderer.build(factory), or stay outside: eager jax.grad, refine_poses(jit=False)."
                )
            shapes = result_shapes(self._buffers, camera.height, camera.width)
            return sl.RenderResult(**buffer_callback(self._callback, shapes, vmap_method="sequential")(*arrays))
        tensors = self._render(*map(np.asarray, arrays))
        if tensors["rgb"].is_cuda:
            # stillleben writes on the default stream, and DLPack orders JAX after the caller's current one.
            device = tensors["rgb"].device
            torch.cuda.current_stream(device).wait_stream(torch.cuda.default_stream(device))
        result = make_result(tensors)
        (device,) = arrays[0].devices()
        return result if result.rgb.devices() == {device} else jax.device_put(result, device)

    def _render(self, poses, camera_pose, projection, labels) -> dict[str, torch.Tensor]:
        return self._home.use(self._number, _Stage.render, poses, camera_pose, projection, labels, self._buffers)

    def _callback(self, context, out, *buffers) -> None:
        with torch_on_xla_stream(context, buffers[0]):
            arrays = [tensor_of(buffer).cpu().numpy() for buffer in buffers]
        tensors = self._render(*arrays)
        with torch_on_xla_stream(context, buffers[0]):
            for name, tensor in tensors.items():
                tensor_of(out[name]).copy_(tensor)


class _Stage:
    """stillleben's objects behind one renderer. Lives, works and dies on their thread."""

    def __init__(self, scene: Any, render_pass: Any = None):
        self.viewport = tuple(scene.viewport)
        check_width(self.viewport[0])
        self.scene = scene
        self.objects = list(scene.objects)
        read_labels(self.objects)
        self.render_pass = stillleben.RenderPass() if render_pass is None else render_pass

    def render(self, poses, camera_pose, projection, labels, buffers: str) -> dict[str, torch.Tensor]:
        """Sets (N, 4, 4) poses of the objects labelled (N,) and the (4, 4) matrices of the camera, renders, reads."""
        by_label = self._objects_by_label(labels)
        poses = [nearest_rigid(pose, f"T_world_object[{row}]") for row, pose in enumerate(poses)]
        camera_pose = nearest_rigid(camera_pose, "camera.T_world_camera")
        for label, pose in zip(labels.tolist(), poses):
            by_label[label].set_pose(torch.from_numpy(pose))
        self.scene.set_camera_pose(torch.from_numpy(camera_pose))
        self.scene.set_camera_projection(torch.from_numpy(np.array(projection)))
        return read_result(self.render_pass.render(self.scene), buffers)

    def _objects_by_label(self, labels: np.ndarray) -> dict[int, Any]:
        objects = self.scene.objects
        if len(objects) != len(self.objects) or any(now is not before for now, before in zip(objects, self.objects)):
            raise ValueError(
                "Objects were added to stillleben's scene or removed from it since this renderer was made. Make a new "
                "StilllebenRenderer."
            )
        actual = read_labels(objects).tolist()
        if sorted(actual) != sorted(labels.tolist()):
            raise ValueError(
                f"stillleben's objects have instance_index {actual}, those of the scene to render {labels.tolist()}. "
                "Start from StilllebenRenderer.scene()."
            )
        return dict(zip(actual, objects))


def nearest_rigid(T: np.ndarray, name: str) -> np.ndarray:
    """The (4, 4) float32 transform with the nearest rotation.

    Raises:
        ValueError: if `T` is not finite, mirrors, scales by more than a factor of 2, or does not end in (0, 0, 0, 1).
    """
    T = np.asarray(T, np.float64)
    if not np.isfinite(T).all():
        raise ValueError(f"{name} is not finite: {T.tolist()}. Has the optimisation diverged? Lower its step size.")
    U, scales, Vt = np.linalg.svd(T[:3, :3])
    if np.linalg.det(U @ Vt) < 0 or scales.min() < 0.5 or scales.max() > 2 or not np.allclose(T[3], (0, 0, 0, 1)):
        raise ValueError(f"{name} must be a rigid transform, or nearly one, got {T.tolist()}.")
    rigid = np.eye(4, dtype=np.float32)
    rigid[:3, :3], rigid[:3, 3] = U @ Vt, T[:3, 3]
    return rigid


_making_the_thread = threading.Lock()


def _stillleben_thread() -> OwnedThread:
    with _making_the_thread:
        return _make_thread()


@functools.cache
def _make_thread() -> OwnedThread:
    return OwnedThread("stillleben")
