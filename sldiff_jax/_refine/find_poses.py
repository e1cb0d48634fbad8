"""Finding a pose without a start: `find_poses`, from rotations all around to the one that explains an image."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Float, PRNGKeyArray

from .._gradients.rendering import Rendering
from .._images.observation import Observation
from .._losses.region import object_probability
from .._scene.camera import Camera
from .._scene.even_rotations import even_rotations
from .._scene.scene import Scene
from .._scene.transforms import in_default_dtype
from ..mesh_renderer import Mesh, MeshRenderer
from .descent import with_poses
from .placement import Box, measured_distance, place
from .refinement import Refinement, Status, doubted
from .search import Poses, Search, View

MARGIN = 0.3
"""Room around what was seen, in units of its longer side."""
SCORED, COARSE = 32, 64
"""Sides of the images, pixels, by which poses are scored and moved first, and in which colours join in."""
UNLIKELY = 5.0
"""Factor between the size in the image and the measured distance that no hidden part explains."""
SOME = 100
"""Rotations, about, that tell how far away an object of that size would be."""
ROUNDS = ("score", "outline", "colours", "around", "fine")
"""What happens to the poses, in this order."""


def find_poses(
    observation: Observation,
    mesh: Mesh,
    camera: Camera,
    *,
    box: tuple[float, float, float, float] | None = None,
    renderer: MeshRenderer | None = None,
    rotations: int = 3072,
    starts: Float[ArrayLike, "starts 4 4"] | None = None,
    symmetries: ArrayLike | None = None,
    resolution: int = 128,
    memory: int = 2**29,
    key: PRNGKeyArray | None = None,
    callback: Callable[[str, int], None] | None = None,
) -> Refinement:
    """Finds the pose of one object from where it is seen: no start is needed.

    Rotations from all around, each where it fills mask or box, are drawn small, moved to the depth that was measured,
    and scored. The best are moved by least squares, first to where outline and depth lead, then with colours; those
    that end in the same place are merged; the last few are finished with the mesh as it is, and judged.

    Several instances or objects take one call each. Then refine them together, which knows who hides whom::

        found = [sl.find_poses(sl.Observation(rgb, depth, mask), mesh, camera) for mesh, mask in detections]
        poses = jnp.concatenate([one.scene.T_world_object for one in found])
        together = sl.refine_poses(sl.Scene(poses, camera), whole, sl.MeshRenderer(meshes), steps=20)

    Args:
        observation: what was seen, (H, W). A mask is that of the visible part of the object: without depth, something
            in front of the object is not known, so that what is rendered beyond the mask counts little.
        mesh: the object.
        camera: that took the images. Its near and far plane must leave room for the object.
        box: (left, top, width, height), pixels from the image's left and upper edge, around what is seen of the object,
            if there is no mask. Inside, what does not look like its surroundings is taken for the object.
        renderer: of one object, whose light and background are used. Default: unlit.
        rotations: how many are tried. More find objects of many parts more surely; time grows by less.
        starts: (K, 4, 4) T_world_object, metres, tried in addition.
        symmetries: (S, 4, 4) as of `find_symmetries` or `metrics.symmetry_transforms`: poses that they take to each
            other are one.
        resolution: longer side of the largest image that is compared, pixels.
        memory: bytes that the poses which are moved at once may take, about. Less takes longer, and gives the same.
        key: turns the grid of rotations, and looks around the best. Default: ``jax.random.key(0)``.
        callback: called when a round begins, with its name ("score", "outline", "colours", "around", "fine") and the
            number of poses.

    Returns:
        The `Refinement` of the last round; its K starts are the poses that entered it. Its status is LOST, and `doubts`
        say why, if the images do not bear the best pose out, and DOUBTFUL if there are `alternatives`.

    Raises:
        ValueError: if there is neither mask nor box, the box lies outside of the image, sizes differ, or mesh, camera
            and images cannot belong together.
    """
    began = time.perf_counter()
    observation, camera = in_default_dtype((observation, camera))
    _check_numbers(resolution=resolution, memory=memory)
    box = _checked_box(observation, camera, box)
    if symmetries is not None and observation.rgb is not None:
        _check_symmetries(mesh, np.asarray(symmetries))
    masked = observation.mask is not None
    mask = np.asarray(observation.mask) > 0.5 if masked else _mask_in_box(observation, box)
    depth = None if observation.depth is None else np.asarray(observation.depth)
    grid, turn = jax.random.split(jax.random.key(0) if key is None else key)
    distance = measured_distance(depth, mask, box, mesh.diameter)
    T = _placed(mesh, camera, box, distance, rotations, grid)
    if starts is not None:
        T = np.concatenate([np.reshape(np.asarray(starts, T.dtype), (-1, 4, 4)), T])
    seen = dataclasses.replace(observation, mask=jnp.asarray(mask, jnp.result_type(float)))
    whole = MeshRenderer([mesh], buffers="core") if renderer is None else renderer
    search = Search(
        _views(seen, camera, box, resolution), whole.with_meshes([mesh.reduced]), whole, mesh.diameter,
        None if symmetries is None else np.asarray(symmetries), memory, masked,
    )  # fmt: skip
    report = callback or (lambda name, count: None)
    evidence = search.evidence(T)
    report(ROUNDS[0], len(T))
    T = search.scored(T, evidence)
    report(ROUNDS[1], len(T))
    T = search.moved(T, evidence, 0)
    for name, again in zip(ROUNDS[2:4], (False, True)):
        T = search.around(T, evidence, turn) if again else T
        report(name, len(T))
        T = search.moved(T, evidence, 1)
    report(ROUNDS[4], len(T))
    found = search.finished(T, evidence)
    if found.status is Status.NOT_BETTER:  # than one of many starts, none of which was given
        best = int(np.argmin(found.losses))
        scene = with_poses(found.scene, jnp.asarray(found.T_world_object[best]))
        found = dataclasses.replace(found, scene=scene, status=Status.LOST)
    if len(found.alternatives):
        several = f"{len(found.alternatives)} other poses fit about as well; if they show the same, give symmetries"
        found = doubted(found, several)
    scene = dataclasses.replace(found.scene, camera=camera)
    return dataclasses.replace(found, scene=scene, seconds=time.perf_counter() - began)


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"find_poses {name} must be a positive integer, got {number!r}.")


def _check_symmetries(mesh: Mesh, symmetries: np.ndarray) -> None:
    """Warns of symmetries of the shape that the colours do not have."""
    if symmetries.ndim != 3 or symmetries.shape[1:] != (4, 4):
        raise ValueError(f"find_poses symmetries must have shape (S, 4, 4), got {symmetries.shape}.")
    from ..mesh_renderer.meshes.symmetries import colors_agree  # needed by few, and slow to import

    differ = np.flatnonzero(~colors_agree(mesh, symmetries))
    if differ.size:
        warnings.warn(
            f"The symmetries take poses to each other that show the same shape, but of {len(differ)} of "
            f"{len(symmetries)} the texture tells them apart, as of number {differ[0]}: which of these poses is found "
            "will not be said. Leave them out if the print matters (find_symmetries does).",
            stacklevel=3,
        )


def _checked_box(observation: Observation, camera: Camera, box: tuple[float, float, float, float] | None) -> Box:
    """Where the object was seen."""
    height, width = observation.size
    if (height, width) != (camera.height, camera.width):
        raise ValueError(
            f"The observation is (height, width) = {(height, width)}, the camera's image "
            f"{(camera.height, camera.width)}. Resize the observation, or use camera.resized(width, height)."
        )
    if (observation.mask is None) == (box is None):
        raise ValueError(
            "find_poses must know where the object is seen: give the observation a mask, or box=(left, top, width, "
            f"height), and not both, got {'neither' if box is None else 'both'}."
        )
    if box is None:
        return Box.around(np.asarray(observation.mask) > 0)
    found = Box(*(float(side) for side in box))
    if not all(map(math.isfinite, found)) or found.width <= 0 or found.height <= 0:
        raise ValueError(f"box must be (left, top, width, height) with positive sides, pixels, got {box}.")
    right, bottom = min(found.left + found.width, width), min(found.top + found.height, height)
    left, top = max(found.left, 0.0), max(found.top, 0.0)
    if right - left < 1 or bottom - top < 1:
        raise ValueError(
            f"The box {tuple(found)} (left, top, width, height) lies outside of the image of {width}x{height} pixels."
        )
    return Box(left, top, right - left, bottom - top)


def _mask_in_box(observation: Observation, box: Box) -> Bool[np.ndarray, "height width"]:
    """(H, W): what inside of a box does not look like what is around it; all of the box, if that is next to nothing."""
    size = observation.size
    inside, core, around = (np.zeros(size, bool) for _ in range(3))
    inside[box.inner(1.0, size)] = core[box.inner(0.6, size)] = around[box.inner(2.0, size)] = True
    if observation.rgb is not None:
        images = [jnp.asarray(x, jnp.result_type(float)) for x in (core, around)]
        look = Rendering(jnp.zeros((*size, 3)), jnp.zeros(size), images[0])
        likely = np.asarray(object_probability(look, dataclasses.replace(observation, weight=images[1]))) > 0.5
        if (likely & inside).sum() > 0.1 * inside.sum():
            return likely & inside
    return inside


def _placed(mesh: Mesh, camera: Camera, box: Box, distance: float | None, rotations: int, key: PRNGKeyArray) -> Poses:
    """(R, 4, 4) T_world_object, each where it fills the box, or at that distance."""
    dtype = jnp.result_type(float)
    turn = jax.random.orthogonal(key, 3, dtype=dtype)
    R = np.asarray(even_rotations(rotations) @ (turn * jnp.linalg.det(turn)), np.float64)
    vertices, intrinsics = np.asarray(mesh.vertices, np.float64), np.asarray(camera.intrinsics, np.float64)
    T = place(R, vertices, intrinsics, box, distance=distance)
    some = T if distance is None else place(R[:: -(-rotations // SOME)], vertices, intrinsics, box)
    _check_units(mesh, camera, float(np.median(some[:, 2, 3])), distance)
    return (np.asarray(camera.T_world_camera, np.float64) @ T).astype(dtype)


def _check_units(mesh: Mesh, camera: Camera, expected: float, measured: float | None) -> None:
    """Whether mesh, camera and images can belong together, by the distances that size and depth tell."""
    looks = f"The mesh, {mesh.diameter:.3g} m across, would be {expected:.3g} m away to look as large as mask or box"
    if measured is not None and not 1 / UNLIKELY < measured / expected < UNLIKELY:
        raise ValueError(
            f"{looks}, and depth says {measured:.3g} m. Mesh and depth must be in metres: Mesh.load(path, scale=1e-3) "
            "and Observation.load(..., depth_scale=1e-3) read millimetres. Is it the camera of this image?"
        )
    P = np.asarray(camera.projection, np.float64)
    near, far = P[2, 3] / (-1 - P[2, 2]), P[2, 3] / (1 - P[2, 2])
    distance = expected if measured is None else measured
    if not near < distance < far:
        raise ValueError(
            f"{looks}, which is not between the camera's near and far plane, {near:.3g} and {far:.3g} m. The mesh must "
            "be in metres: Mesh.load(path, scale=1e-3) reads millimetres; or give the camera other planes."
        )


def _views(observation: Observation, camera: Camera, box: Box, resolution: int) -> tuple[View, View, View]:
    """The square around what was seen, at three sizes."""
    side = math.ceil(max(box.width, box.height) * (1 + 2 * MARGIN))
    left, top = (round(middle - 0.5 * side) for middle in box.middle.tolist())
    if observation.weight is None:  # windows that reach beyond the image have one
        observation = dataclasses.replace(observation, weight=jnp.ones(observation.size))
    window = observation.cropped(left, top, side, side)
    view = camera.cropped(left, top, side, side)
    sizes = (SCORED, COARSE, resolution if side > COARSE else COARSE)
    placeholder = jnp.eye(4, dtype=camera.projection.dtype)[None]
    first, second, third = (
        View(Scene(placeholder, view.resized(size, size)), window.resized(size, size)) for size in sizes
    )
    return first, second, third
