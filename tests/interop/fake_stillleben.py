"""A stand-in for the package stillleben: the methods, shapes, dtypes, strides and the thread rule of the real one.

It differs in what it renders: ray-cast ellipsoids in NumPy (nothing of JAX, so that a callback may call it), or the
buffers that the real library recorded. Where the real library would end the process, it raises `ProcessEnded` and
remembers what happened in `FakeStillleben.deaths`.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable

import analytic
import numpy as np
import torch


class ProcessEnded(BaseException):
    """Stands for std::abort()."""


class FakeStillleben(types.ModuleType):
    """The module. Make one per test: it holds the OpenGL context."""

    def __init__(self, *, aligned: bool = False):
        super().__init__("stillleben")
        self.aligned = aligned  # as on a GPU; the real library's CPU images lie at any multiple of 16 bytes
        self.thread: threading.Thread | None = None
        self.deaths: list[str] = []
        self.renders = 0
        for kind in (Mesh, Object, Scene, RenderPass, RenderPassResult):
            setattr(self, kind.__name__, _bind(kind, self))

    def init(self) -> None:
        if self.thread is None:  # as in the real library, a second call does nothing, on whatever thread
            self.thread = threading.current_thread()

    def init_cuda(self, device_index: int = 0, use_cuda: bool = True) -> None:
        self.init()

    def has_current_context(self) -> bool:
        return self.thread is threading.current_thread()

    def needs_context(self, what: str) -> None:
        if self.thread is None:
            raise RuntimeError("Call sl::init() first")
        if not self.has_current_context():
            self.dies(f"{what} on {threading.current_thread().name}: no current context")

    def dies(self, why: str) -> None:
        self.deaths.append(why)
        raise ProcessEnded(why)

    def image(self, array: np.ndarray) -> torch.Tensor:
        """A new image with this content, as an array of its own on the heap."""
        memory = np.empty(array.nbytes + 128, np.uint8)
        start = -memory.ctypes.data % 64 + (0 if self.aligned else 16)
        image = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        image[...] = array
        return torch.from_numpy(image)


def _bind(kind: type, module: FakeStillleben) -> Callable:
    return type(kind.__name__, (kind,), {"module": module})


class _Native:
    """Its destructor is OpenGL's."""

    module: FakeStillleben

    def __del__(self):
        if self.module.thread is not None and not self.module.has_current_context():
            # Cannot raise here.
            self.module.deaths.append(f"release of a {type(self).__name__} on {threading.current_thread().name}")


class Mesh(_Native):
    """A textured ellipsoid. The real one takes the name of a file, and so may this one."""

    def __init__(self, radii, seed: int = 0, *, visual: bool = True, physics: bool = True):
        self.module.needs_context("Mesh()")
        if isinstance(radii, str):
            with open(radii, "rb") as file:
                assert file.read()
            radii = (0.1, 0.1, 0.1)
        rng = np.random.default_rng(seed)
        self.radii = np.asarray(radii, float)
        self.wave = rng.normal(size=(3, 3)) * 18
        self.phase = rng.uniform(0, 6, 3)
        self.class_index = 1


class Object(_Native):
    def __init__(self, mesh, options=None):
        self.mesh = mesh
        self.instance_index = 0
        self._pose = torch.eye(4)

    def pose(self) -> torch.Tensor:
        return self._pose.t().contiguous().t().clone()  # Magnum's matrices are column-major

    def set_pose(self, pose: torch.Tensor) -> None:
        self._pose = _matrix(pose)


class Scene(_Native):
    def __init__(self, viewport_size):
        width, height = viewport_size
        self.viewport = (width, height)
        self.manual_exposure = -1.0
        self._objects: list[Object] = []
        self._camera_pose = torch.eye(4)
        self._projection = torch.from_numpy(analytic.projection(width, height).astype(np.float32))

    @property
    def objects(self) -> list[Object]:
        return list(self._objects)

    def add_object(self, object: Object) -> None:
        self._objects.append(object)
        if object.instance_index == 0:
            object.instance_index = len(self._objects)

    def camera_pose(self) -> torch.Tensor:
        return self._camera_pose.clone()

    def set_camera_pose(self, pose: torch.Tensor) -> None:
        self._camera_pose = _matrix(pose)

    def projection_matrix(self) -> torch.Tensor:
        return self._projection.clone()

    def set_camera_projection(self, P: torch.Tensor) -> None:
        self._projection = _matrix(P)


class RenderPassResult(_Native):
    """Textures that the next render overwrites; every method reads them anew."""

    def __init__(self):
        self.module.needs_context("RenderPassResult()")
        self.textures: dict[str, np.ndarray] = {}

    def _read(self, name: str) -> torch.Tensor:
        self.module.needs_context(f"RenderPassResult.{name}()")
        return self.module.image(self.textures[name])

    def rgb(self) -> torch.Tensor:
        return self._read("rgb")

    def coordDepth(self) -> torch.Tensor:
        return self._read("coord_depth")

    def coordinates(self) -> torch.Tensor:
        return self._read("coord_depth")[:, :, :3]

    def depth(self) -> torch.Tensor:
        return self._read("coord_depth")[:, :, 3]

    def instance_index(self) -> torch.Tensor:
        return self._read("instance_index")

    def class_index(self) -> torch.Tensor:
        return self._read("class_index")

    def normals(self) -> torch.Tensor:
        return self._read("normals")

    def vertex_indices(self) -> torch.Tensor:
        return self._read("vertex_indices")[:, :, :3]

    def barycentric_coeffs(self) -> torch.Tensor:
        return self._read("barycentric_coeffs")[:, :, :3]

    def cam_coordinates(self) -> torch.Tensor:
        return self._read("cam_coordinates")


class RenderPass(_Native):
    def __init__(self, shading: str = "pbr", *, recorded: dict[str, np.ndarray] | None = None):
        self.module.needs_context("RenderPass()")
        self.ssao_enabled = True
        self._recorded = recorded
        self._result = self.module.RenderPassResult()
        self._size: tuple[int, int] | None = None  # of the first scene; the real one never allocates another

    def render(self, scene: Scene, result=None, depth_peel=None) -> RenderPassResult:
        self.module.needs_context("RenderPass.render()")
        self.module.renders += 1
        for pose in (scene.camera_pose(), *(item.pose() for item in scene.objects)):
            R = pose[:3, :3].double()
            if not torch.allclose(R.T @ R, torch.eye(3).double(), atol=1e-5) or torch.linalg.det(R) < 0:
                self.module.dies(f"the matrix is not rigid: {pose.tolist()}")
        result = self._result if result is None else result
        textures = textures_of(self._recorded) if self._recorded else ray_cast(scene)
        self._size = self._size or scene.viewport
        result.textures = {name: _of_size(texture, *self._size) for name, texture in textures.items()}
        return result


def _of_size(texture: np.ndarray, width: int, height: int) -> np.ndarray:
    """What fits into a texture of that size."""
    kept = texture[:height, :width]
    missing = [(0, height - kept.shape[0]), (0, width - kept.shape[1]), *[(0, 0)] * (kept.ndim - 2)]
    return np.pad(kept, missing)


def ray_cast(scene: Scene) -> dict[str, np.ndarray]:
    """The textures of a scene of ellipsoids."""
    width, height = scene.viewport
    P, T_world_camera = scene.projection_matrix().double().numpy(), scene.camera_pose().double().numpy()
    solids = [
        analytic.Ellipsoid(
            item.instance_index, item.pose().double().numpy(), item.mesh.radii, item.mesh.wave, item.mesh.phase
        )
        for item in scene.objects
    ]
    color, coord_depth, labels = analytic.ray_cast(solids, P, T_world_camera, width, height)
    seen = labels[..., None] != 0
    rgba = np.concatenate([color, np.ones_like(color[..., :1])], axis=-1)
    zeros = np.zeros((height, width, 4))
    return {
        "rgb": np.round(rgba * 255).astype(np.uint8),
        "coord_depth": coord_depth.astype(np.float32),
        "instance_index": labels[..., None].astype(np.int16),
        "class_index": seen.astype(np.int16),
        "normals": zeros.astype(np.float32),
        "vertex_indices": zeros.astype(np.int32),
        "barycentric_coeffs": zeros.astype(np.float32),
        "cam_coordinates": np.where(seen, zeros, 3000.0).astype(np.float32),
    }


def textures_of(recorded: dict[str, np.ndarray], prefix: str = "buf_") -> dict[str, np.ndarray]:
    """The textures behind recorded buffers: those that were sliced regain their fourth channel."""
    names = ("rgb", "instance_index", "class_index", "normals", "cam_coordinates")
    textures = {name: recorded[prefix + name] for name in names}
    textures["coord_depth"] = recorded[prefix + "coordDepth"]
    for name in ("vertex_indices", "barycentric_coeffs"):
        textures[name] = np.pad(recorded[prefix + name], ((0, 0), (0, 0), (0, 1)))
    return textures


def recorded_stage(module: FakeStillleben, recorded: dict[str, np.ndarray]) -> tuple[Scene, RenderPass]:
    """Scene and render pass of a recorded render. Call on the thread of the context."""
    width, height = recorded["viewport_wh"].tolist()
    scene = module.Scene((width, height))
    for pose, label in zip(recorded["object_poses"], recorded["instance_indices"]):
        item = module.Object(None)
        item.instance_index = int(label)
        item.set_pose(torch.from_numpy(pose))
        scene.add_object(item)
    scene.set_camera_pose(torch.from_numpy(recorded["camera_pose"]))
    scene.set_camera_projection(torch.from_numpy(recorded["projection_matrix"]))
    return scene, module.RenderPass(recorded=recorded)


def ray_cast_stage(
    module: FakeStillleben, *, labels=(3, 1), viewport=(48, 36), camera_pose=None
) -> tuple[Scene, RenderPass]:
    """Scene and render pass of one ellipsoid per label, side by side, before a camera. On the context's thread."""
    scene = module.Scene(viewport)
    camera_pose = np.eye(4) if camera_pose is None else camera_pose
    for number, label in enumerate(labels):
        item = module.Object(module.Mesh((0.12, 0.09, 0.07), seed=number))
        item.instance_index = label
        T_camera_object = analytic.rigid(np.random.default_rng(number), (0.16 * number - 0.09, 0.02, 0.6), angle=0.5)
        item.set_pose(torch.from_numpy(camera_pose @ T_camera_object))
        scene.add_object(item)
    scene.set_camera_pose(torch.from_numpy(camera_pose))
    return scene, module.RenderPass()


def _matrix(tensor: torch.Tensor) -> torch.Tensor:
    if tuple(tensor.shape) != (4, 4):
        raise ValueError("A pose tensor must be 4x4")
    return tensor.detach().to(torch.float32).cpu().clone()
