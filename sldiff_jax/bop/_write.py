"""Writing data sets: scenes and their images in, BOP's layout out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from .._scene.render_result import BACKGROUND_DEPTH
from .._scene.scene import Scene
from ..mesh_renderer import Mesh, MeshRenderer
from ._atomic import write_atomically
from ._dataset import Dataset
from ._ply import write_ply
from ._visibility import silhouette

LEAST_VISIBILITY = 0.1
"""Share of an object that must be seen for it to be a target."""


class View(NamedTuple):
    """One image to write, and the scene in it.

    Attributes:
        scene_id: number of the scene.
        image_id: number of the image in it.
        scene: camera and poses, metres. The camera's pose is written too.
        object_ids: which objects the N poses of the scene are of.
        rgb: optional (H, W, 3) uint8.
        depth: optional (H, W) float, metres, 0 where nothing was measured, 3000 on the background as renderers have it.
        depth_scale: metres per unit of the depth image: 1e-4 reaches 6.5 m in steps of 0.1 mm.
    """

    scene_id: int
    image_id: int
    scene: Scene
    object_ids: Sequence[int]
    rgb: UInt8[np.ndarray, "height width 3"] | None = None
    depth: Float[np.ndarray, "height width"] | None = None
    depth_scale: float = 1e-4


def write_dataset(
    folder: str | os.PathLike[str],
    meshes: Mapping[int, Mesh],
    views: Iterable[View],
    *,
    split: str = "test",
    symmetries: Mapping[int, Mapping[str, Any]] | None = None,
    targets: bool = True,
) -> Dataset:
    """Writes a data set in BOP's layout: models, images, cameras, ground truth with visibility, masks and targets.

    Masks and visibility are drawn from the meshes and the depth image (or, without one, the depth of the meshes), by
    BOP's definitions. Views are taken one by one, so that memory does not grow with their number.

    Args:
        folder: the data set. Models that it has already are kept if they are those of `meshes`' numbers.
        meshes: by number of the object, metres.
        views: the images. Those of a scene must follow each other.
        split: name of the folder for them, which must not exist.
        symmetries: by number of the object, its entries ``symmetries_discrete`` and ``symmetries_continuous`` in BOP's
            form: lists of 16 numbers, axes and offsets, millimetres.
        targets: whether to write the lists of targets, bop19 and bop24.

    Returns:
        The data set, opened; poses (4, 4) in metres.

    Raises:
        ValueError: if the split exists, there are no views, an object has no mesh, sizes differ from the camera's,
            depth does not fit into 16 bits, or scenes are not together.
    """
    folder = Path(folder)
    if (folder / split).exists():
        raise ValueError(f"{folder / split} exists already. Give another folder, or another split.")
    if not (folder / "models").is_dir():
        write_models(folder, meshes, symmetries or {})
    renderers = {object_id: MeshRenderer([mesh], buffers="core") for object_id, mesh in meshes.items()}
    documents: dict[str, dict[str, Any]] = {}
    current, finished, wanted = None, set(), []
    for view in views:
        if view.scene_id != current:
            if current is not None:
                _write_scene(folder / split, current, documents)
                finished.add(current)
            if view.scene_id in finished:
                raise ValueError(f"The views of scene {view.scene_id} must follow each other.")
            current, documents = view.scene_id, {"scene_camera": {}, "scene_gt": {}, "scene_gt_info": {}}
        _check(view, meshes, documents)
        path = folder / split / f"{view.scene_id:06d}"
        infos = _write_images(path, view, renderers)
        key = str(view.image_id)
        documents["scene_camera"][key] = _camera(view)
        documents["scene_gt"][key] = _ground_truth(view)
        documents["scene_gt_info"][key] = infos
        wanted.append((view.scene_id, view.image_id, [
            object_id for object_id, info in zip(view.object_ids, infos) if info["visib_fract"] >= LEAST_VISIBILITY
        ]))  # fmt: skip
        if not (folder / "camera.json").exists():
            _write_camera(folder / "camera.json", view)
    if current is None:
        raise ValueError("There are no views to write.")
    _write_scene(folder / split, current, documents)
    if targets:
        _write_targets(folder, split, wanted)
    return Dataset.open(folder, split)


def write_models(folder: Path, meshes: Mapping[int, Mesh], symmetries: Mapping[int, Mapping[str, Any]]) -> None:
    """Writes ``models`` and ``models_eval``, which are the same, with ``models_info.json``."""
    info = {}
    for object_id, mesh in sorted(meshes.items()):
        low, high = 1e3 * mesh.bounds.astype(np.float64)
        box = {f"min_{axis}": float(low[k]) for k, axis in enumerate("xyz")}
        box |= {f"size_{axis}": float(high[k] - low[k]) for k, axis in enumerate("xyz")}
        info[str(object_id)] = {"diameter": 1e3 * mesh.diameter} | box | dict(symmetries.get(object_id, {}))
    for name in ("models", "models_eval"):
        (folder / name).mkdir(parents=True)
        for object_id, mesh in meshes.items():
            write_ply(folder / name / f"obj_{object_id:06d}.ply", mesh)
        _write_json(folder / name / "models_info.json", info)


def _check(view: View, meshes: Mapping[int, Mesh], documents: dict[str, dict[str, Any]]) -> None:
    name = f"The view of scene {view.scene_id}, image {view.image_id}"
    count = view.scene.T_world_object.shape[0]
    if len(view.object_ids) != count:
        raise ValueError(f"{name} has {count} poses and {len(view.object_ids)} numbers of objects.")
    if missing := sorted(set(view.object_ids) - set(meshes)):
        raise ValueError(f"{name} shows objects {missing}, for which there is no mesh.")
    if str(view.image_id) in documents["scene_gt"]:
        raise ValueError(f"{name} is given twice.")
    size = (view.scene.camera.height, view.scene.camera.width)
    for what, image in (("rgb", view.rgb), ("depth", view.depth)):
        if image is not None and image.shape[:2] != size:
            raise ValueError(f"{name} has {what} of (height, width) {image.shape[:2]}, its camera {size}.")


def _write_images(path: Path, view: View, renderers: Mapping[int, MeshRenderer]) -> list[dict[str, Any]]:
    """Writes colour, depth and masks; returns the entries of ``scene_gt_info.json``."""
    name = f"{view.image_id:06d}"
    if view.rgb is not None:
        _write_png(path / "rgb" / f"{name}.png", view.rgb)
    depth = view.depth
    if depth is not None:
        units = np.rint(np.where(depth < BACKGROUND_DEPTH, depth, 0) / view.depth_scale)
        if units.min(initial=0) < 0 or units.max(initial=0) > 65535:
            raise ValueError(
                f"The depth of scene {view.scene_id}, image {view.image_id} reaches {depth.max():.3g} m, beyond 16 "
                f"bits of {view.depth_scale:g} m. Take a larger depth_scale."
            )
        _write_png(path / "depth" / f"{name}.png", units.astype(np.uint16))
        depth = (units * view.depth_scale).astype(np.float32)
    if depth is None:
        depth = np.zeros((view.scene.camera.height, view.scene.camera.width), np.float32)
        for place, object_id in enumerate(view.object_ids):
            alone = Scene(view.scene.T_world_object[place : place + 1], view.scene.camera)
            drawn = np.asarray(renderers[object_id](alone).depth)
            depth = np.where((drawn < BACKGROUND_DEPTH) & ((depth == 0) | (drawn < depth)), drawn, depth)
    infos = []
    for place, object_id in enumerate(view.object_ids):
        seen = silhouette(renderers[object_id], view.scene, place, depth)
        for kind, mask in (("mask", seen.mask), ("mask_visib", seen.visible)):
            _write_mask(path / kind / f"{name}_{place:06d}.png", mask)
        infos.append(seen.info)
    return infos


def _camera(view: View) -> dict[str, Any]:
    camera = view.scene.camera
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64).tolist()
    T = np.linalg.inv(np.asarray(camera.T_world_camera, np.float64))
    return {
        "cam_K": [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0],
        "depth_scale": 1e3 * view.depth_scale,
        "cam_R_w2c": T[:3, :3].reshape(-1).tolist(),
        "cam_t_w2c": (1e3 * T[:3, 3]).tolist(),
    }


def _ground_truth(view: View) -> list[dict[str, Any]]:
    T_camera_world = np.linalg.inv(np.asarray(view.scene.camera.T_world_camera, np.float64))
    entries = []
    for object_id, T_world_object in zip(view.object_ids, np.asarray(view.scene.T_world_object, np.float64)):
        T = T_camera_world @ T_world_object
        entries.append(
            {
                "cam_R_m2c": T[:3, :3].reshape(-1).tolist(),
                "cam_t_m2c": (1e3 * T[:3, 3]).tolist(),
                "obj_id": int(object_id),
            }
        )
    return entries


def _write_camera(path: Path, view: View) -> None:
    """``camera.json``: the camera that simulators of this data set take."""
    camera = view.scene.camera
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64).tolist()
    intrinsics = {"fx": fx, "fy": fy, "cx": cx - 0.5, "cy": cy - 0.5}
    size = {"width": camera.width, "height": camera.height}
    _write_json(path, intrinsics | size | {"depth_scale": 1e3 * view.depth_scale})


def _write_scene(split: Path, scene_id: int, documents: Mapping[str, Any]) -> None:
    for name, document in documents.items():
        _write_json(split / f"{scene_id:06d}" / f"{name}.json", document)


def _write_targets(folder: Path, split: str, wanted: list[tuple[int, int, list[int]]]) -> None:
    bop19 = [
        {"im_id": image_id, "inst_count": seen.count(object_id), "obj_id": object_id, "scene_id": scene_id}
        for scene_id, image_id, seen in wanted
        for object_id in sorted(set(seen))
    ]
    bop24 = [{"im_id": image_id, "scene_id": scene_id} for scene_id, image_id, _ in wanted]
    prefix = split.partition("_")[0]
    _write_json(folder / f"{prefix}_targets_bop19.json", bop19)
    _write_json(folder / f"{prefix}_targets_bop24.json", bop24)


def _write_json(path: Path, document: Any) -> None:
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def _write_mask(path: Path, mask: Bool[np.ndarray, "height width"]) -> None:
    _write_png(path, np.where(mask, 255, 0).astype(np.uint8))


def _write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
