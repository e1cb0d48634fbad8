"""Where the nodes of a glTF file are: transforms, instances, skins."""

from __future__ import annotations

from typing import Any

import numpy as np

from .gltf_accessors import read_array
from .gltf_file import GltfFile


class Nodes:
    """The placed nodes of a file.

    Attributes:
        visible: numbers of the nodes that the file's scene shows, parents first.
    """

    def __init__(self, file: GltfFile):
        self._file = file
        self._nodes = file.root.get("nodes", [])
        children = {child for node in self._nodes for child in node.get("children", [])}
        roots = [index for index in range(len(self._nodes)) if index not in children]
        self._T_scene_node: dict[int, np.ndarray] = {}
        self._walk(roots, hidden=False)
        scenes = file.root.get("scenes", [])
        if scenes:
            roots = file.get("scenes", file.root.get("scene", 0)).get("nodes", [])
        self.visible = self._walk(roots, hidden=True)

    def _walk(self, roots: list[Any], *, hidden: bool) -> list[int]:
        """The nodes below these, placed; each may be met once. Those that are hidden are left out if that is asked."""
        met: list[int] = []
        seen: set[int] = set()
        waiting = [(root, np.eye(4)) for root in reversed(roots)]
        while waiting:
            index, T_scene_parent = waiting.pop()
            node = self._file.get("nodes", index)
            if index in seen:
                raise ValueError(f"its node {index} has two parents, or is its own")
            seen.add(index)
            if hidden and node.get("extensions", {}).get("KHR_node_visibility", {}).get("visible", True) is False:
                continue
            if hidden and index in self._T_scene_node:  # also where the scene begins below a parent
                T_scene_node = self._T_scene_node[index]
            else:
                T_scene_node = T_scene_parent @ _local(node)
                self._T_scene_node[index] = T_scene_node
            met.append(index)
            waiting += [(child, T_scene_node) for child in reversed(node.get("children", []))]
        return met

    def node(self, index: int) -> dict[str, Any]:
        """A node as the file has it."""
        return self._nodes[index]

    def placements(self, index: int) -> list[np.ndarray]:
        """The (4, 4) transforms to the scene of a node's mesh: one, or those of its instances."""
        T_scene_node = self._T_scene_node[index]
        extension = self._nodes[index].get("extensions", {}).get("EXT_mesh_gpu_instancing")
        if extension is None:
            return [T_scene_node]
        given = {
            name: read_array(self._file, accessor, f"instances ({name})", normalized=name == "ROTATION" or None)
            for name, accessor in extension["attributes"].items()
            if name in ("TRANSLATION", "ROTATION", "SCALE")
        }
        count = min((len(values) for values in given.values()), default=0)
        return [
            T_scene_node @ _local({name.lower(): values[k] for name, values in given.items()}) for k in range(count)
        ]

    def skin(self, skin: Any, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(V, 4, 4) transforms to the scene of a skinned mesh's vertices.

        Args:
            skin: its number.
            joints: (V, J) int, numbers of its joints.
            weights: (V, J) float.
        """
        definition = self._file.get("skins", skin)
        numbers = definition["joints"]
        for number in numbers:
            self._file.get("nodes", number)
        T_joint_mesh = np.tile(np.eye(4), (len(numbers), 1, 1))
        if "inverseBindMatrices" in definition:
            matrices = read_array(self._file, definition["inverseBindMatrices"], "inverseBindMatrices")
            if matrices.shape != (len(numbers), 16) and not (matrices.shape[1] == 16 and len(matrices) > len(numbers)):
                raise ValueError(f"its skin {skin} has {len(numbers)} joints and {len(matrices)} inverse bind matrices")
            T_joint_mesh = matrices[: len(numbers)].reshape(-1, 4, 4).transpose(0, 2, 1)
        if joints.max(initial=0) >= len(numbers):
            raise ValueError(f"its vertices refer to joint {joints.max()} of {len(numbers)}")
        T_scene_mesh = np.stack([self._T_scene_node[number] for number in numbers]) @ T_joint_mesh
        total = weights.sum(axis=1, keepdims=True)
        # A vertex without weights follows its first joint.
        weights = np.where(total > 0, weights / np.where(total > 0, total, 1), np.eye(1, weights.shape[1]))
        blended = np.zeros((len(joints), 4, 4))
        for column in range(joints.shape[1]):
            blended += weights[:, column, None, None] * T_scene_mesh[joints[:, column]]
        return blended


def _local(node: dict[str, Any]) -> np.ndarray:
    """(4, 4): a matrix, or translation, rotation (a quaternion, w last) and scale."""
    if "matrix" in node:
        return _numbers(node["matrix"], 16, "matrix").reshape(4, 4).T
    T = np.eye(4)
    x, y, z, w = _numbers(node.get("rotation", (0, 0, 0, 1)), 4, "rotation")
    length = np.sqrt(x * x + y * y + z * z + w * w)
    if not length > 0:
        raise ValueError("a rotation of its nodes is zero")
    x, y, z, w = x / length, y / length, z / length, w / length
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, :3] *= _numbers(node.get("scale", (1, 1, 1)), 3, "scale")
    T[:3, 3] = _numbers(node.get("translation", (0, 0, 0)), 3, "translation")
    return T


def _numbers(values: Any, count: int, what: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(f"a {what} of its nodes is not {count} numbers: {values!r:.80}")
    return array
