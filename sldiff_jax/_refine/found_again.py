"""A further start: where a photo shows the print of an object, found patch by patch.

Descent finds a print again from as far as its details are wide. Looking is slower and reaches farther: patches of the
rendering are sought around their places in the photo by normalised cross-correlation, and the motion is taken that the
most of them agree on (RANSAC: Fischler and Bolles 1981), since patches of hidden or changed parts are found anywhere.
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float

from .._gradients.rendering import DifferentiableRenderer
from .._images.observation import Observation
from .._scene.camera import Camera
from .._scene.poses import se3_exp
from .._scene.scene import Scene
from .._scene.transforms import to_jax
from .._scene.typing import Transforms
from .descent import with_poses
from .loop import first_look
from .options import at_scale
from .patches import Matches, eroded, find_patches

ROUNDS = ((0.5, 7, 14), (1.0, 7, 10), (1.0, 7, 6))
"""Of each look: the scale of the images, the patches' radius, and how far each is sought, in pixels."""
MARGIN = 2
"""Pixels along the outline that no patch looks at: a photo mixes them with what is behind, which pulls inwards."""
FEWEST = 8
"""The number of patches below which a motion may be chance."""
DRAWS, DRAWN = 300, 4
"""How many motions are tried, and of how many patches each is made."""
INLIER = 0.02
"""Distance, of the longer side of the images, within which a patch agrees with a motion."""
LEAST_AGREEMENT = 0.5
"""The share of the patches that must agree: fewer may do so by chance where much of the surface looks alike."""
FARTHEST = 0.8
"""Radians, or sizes of the visible part, that a look may move the object by."""

_exp = jax.jit(se3_exp)


def found_again(
    renderer: DifferentiableRenderer, jit: bool, scene: Scene, observation: Observation
) -> tuple[Transforms, float]:
    """Where the photo shows the objects' prints, as seen from their poses in the scene.

    Args:
        renderer: of the scene; draws at any size.
        jit: whether it can be compiled.
        scene: N objects.
        observation: must have rgb.

    Returns:
        (N, 4, 4), an object of which too little is found stays where it is, and the share of the patches that agree
        with the last motion, of all objects; zero if too few do, or nothing was found.
    """
    rng = np.random.default_rng(0)
    shares = [0.0]
    for scale, radius, reach in ROUNDS:
        small, images = at_scale(scene, observation, scale)
        photo = np.asarray(images.rgb, np.float64)
        buffers, rendering = first_look(renderer, jit, small, small.T_world_object)
        rgb, points = np.asarray(rendering.rgb, np.float64), np.asarray(buffers.coord_depth, np.float64)
        labels, depth = np.asarray(buffers.instance_index), points[..., 3]
        T_world_object, shares = np.array(scene.T_world_object, np.float64), []
        for k, label in enumerate(np.asarray(scene.instance_index)):
            inside = labels == label
            for _ in range(MARGIN):
                inside = eroded(inside)
            if images.mask is not None:
                inside &= np.asarray(images.mask) > 0.5
            matches = find_patches(rgb, inside, photo, radius=radius, reach=reach)
            motion = agreed_motion(matches, depth, small.camera, INLIER * max(inside.shape), rng)
            if motion is not None:
                T_world_camera = np.asarray(scene.camera.T_world_camera, np.float64)
                moved = T_world_camera @ motion[0] @ np.linalg.inv(T_world_camera)
                T_world_object[k] = moved @ T_world_object[k]
                shares.append(motion[1])
        scene = with_poses(scene, to_jax(T_world_object, scene.T_world_object.dtype))
    share = float(np.mean(shares)) if shares else 0.0
    return scene.T_world_object, share if share >= LEAST_AGREEMENT else 0.0


def agreed_motion(
    matches: Matches, depth: Float[np.ndarray, "height width"], camera: Camera, near: float, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "4 4"], float] | None:
    """The motion, in the camera's frame, on which the most patches agree, and their share; None without enough.

    Args:
        matches: M patches.
        depth: (H, W) of the rendering, metres.
        camera: whose image it is.
        near: pixels within which a patch agrees.
        rng: of the draws.
    """
    count = len(matches.scores)
    if count < FEWEST:
        return None
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64)
    rows, columns = matches.places.T
    z = depth[rows, columns]
    points = np.stack([(columns + 0.5 - cx) / fx * z, (rows + 0.5 - cy) / fy * z, z], axis=-1)
    middle = points.mean(axis=0)
    size = np.linalg.norm(points.max(axis=0) - points.min(axis=0))
    # The derivative of a pixel's place by a turn about the middle (radians) and a shift (sizes): (M, 2, 6).
    of_point = np.zeros((count, 2, 3))
    of_point[:, 0, 0], of_point[:, 0, 2] = fx / z, -fx * points[:, 0] / z**2
    of_point[:, 1, 1], of_point[:, 1, 2] = fy / z, -fy * points[:, 1] / z**2
    turns = np.cross(np.eye(3)[None], (points - middle)[:, None]).swapaxes(1, 2)
    J = np.concatenate([of_point @ turns, of_point * size], axis=-1)

    def solve(weights: np.ndarray) -> np.ndarray:
        """(..., 6): the motion that explains the shifts best, by weights (..., M)."""
        H = np.einsum("...m,mai,maj->...ij", weights, J, J, optimize=True) + 0.5 * np.eye(6)
        g = np.einsum("...m,mai,ma->...i", weights, J, matches.shifts, optimize=True)
        return np.linalg.solve(H, g[..., None])[..., 0]

    def distance(motion: np.ndarray) -> np.ndarray:
        return np.linalg.norm(np.einsum("mai,...i->...ma", J, motion) - matches.shifts, axis=-1)

    likely = matches.scores**2 / np.sum(matches.scores**2)
    draws = np.stack([rng.choice(count, DRAWN, replace=False, p=likely) for _ in range(DRAWS)])
    motions = solve(np.eye(count)[draws].sum(axis=1))
    support = np.sum(matches.scores * np.maximum(1 - (distance(motions) / near) ** 2, 0), axis=-1)
    far = np.maximum(*(np.linalg.norm(part, axis=-1) for part in np.split(motions, 2, axis=-1))) > FARTHEST
    motion = motions[np.argmax(np.where(far, -1.0, support))]
    for _ in range(5):
        motion = solve(matches.scores * (distance(motion) < near))
    agreeing = distance(motion) < near
    if agreeing.sum() < FEWEST or np.linalg.norm(motion[:3]) > FARTHEST or np.linalg.norm(motion[3:]) > FARTHEST:
        return None
    T = np.eye(4)
    T[:3, :3] = np.asarray(_exp(to_jax(np.append(motion[:3], np.zeros(3)))))[:3, :3]
    T[:3, 3] = middle + size * motion[3:] - T[:3, :3] @ middle
    return T, float(agreeing.mean())
