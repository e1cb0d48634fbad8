"""The start of ``sldiff-jax refine`` without ``--pose``: found from where the object is seen."""

from __future__ import annotations

import argparse
import math
import sys

import jax
import numpy as np
from tqdm import tqdm

from .._images.observation import Observation
from .._refine.distinct import alternatives
from .._refine.find_poses import ROUNDS, find_poses
from .._refine.placement import Box
from .._refine.refinement import Refinement
from .._scene.camera import Camera
from ..mesh_renderer import Mesh
from ._errors import InputError
from ._images import Images

NEAREST, FARTHEST = 0.05, 50.0
"""Metres at which objects are believed to be."""


def seen_in(images: Images, options: argparse.Namespace) -> Box:
    """Where the object is seen; an InputError if nothing says so."""
    if options.box is not None:
        return Box(*options.box)
    if images.mask is None:
        raise InputError(
            "Nothing says where the object is: give --pose, a coarse pose; or --mask or --box LEFT TOP WIDTH HEIGHT, "
            "and the pose is looked for."
        )
    return Box.around(images.mask)


def expected_distance(mesh: Mesh, focal_length: float, box: Box) -> float:
    """From which the mesh looks as large as the box, metres; an InputError if that is not to be believed."""
    distance = focal_length * mesh.diameter / max(math.hypot(box.width, box.height), 1e-9)
    if not NEAREST < distance < FARTHEST:
        raise InputError(
            f"The mesh, {mesh.diameter:.3g} m across, would be {distance:.3g} m away to look as large as mask or box. "
            "Probably wrong units: check --mesh-scale (metres per unit), and the camera."
        )
    return distance


def find_start(images: Images, camera: Camera, mesh: Mesh, options: argparse.Namespace) -> Refinement:
    """Looks for the pose, and shows the progress."""
    with tqdm(total=len(ROUNDS), desc="find", unit="round", file=sys.stderr) as bar:

        def progress(name: str, count: int) -> None:
            bar.set_postfix_str(f"{name}: {count} poses")
            bar.update(0 if name == ROUNDS[0] else 1)

        try:
            observation = Observation(images.photo, images.depth, images.mask, images.seen)
            found = find_poses(
                observation, mesh, camera, box=None if options.box is None else tuple(options.box),
                key=jax.random.key(options.seed), callback=progress,
            )  # fmt: skip
        except ValueError as error:
            bar.leave = False
            raise InputError(str(error)) from None
        bar.update()
    return found


def other_poses(found: Refinement, mesh: Mesh) -> np.ndarray:
    """(A, 4, 4): what fits about as well as the best pose, and does not show the same by a symmetry of the mesh."""
    others = found.alternatives
    if len(others):
        from ..mesh_renderer.meshes.symmetries import find_symmetries  # slow to import

        symmetries = [np.asarray(find_symmetries(mesh).transforms())]
        others = alternatives(found.T_world_object, found.losses, np.array([mesh.diameter]), symmetries)
    return others[:, 0]


def best_pose(found: Refinement) -> np.ndarray:
    """(4, 4) float64 T_camera_object."""
    return np.asarray(found.scene.T_world_object[0], np.float64)
