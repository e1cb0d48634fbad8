"""Fits whose stages are chosen, where photos are unlike renderings: light, sensors, masks, and things in front."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import box_mesh

SIZE = 64
SIDES = (0.08, 0.06, 0.05)
DIAMETER = float(np.linalg.norm(SIDES))
CAMERA = sl.Camera.from_intrinsics(190, 190, SIZE / 2, SIZE / 2, width=SIZE, height=SIZE)
CORNERS = 0.5 * np.array(SIDES) * np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T


def printed_box() -> sl.Mesh:
    """Each side has its own print, of blobs a tenth of the box in size."""
    plain = box_mesh(SIDES)
    vertices, faces = np.asarray(plain.vertices), np.asarray(plain.faces)
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across = np.abs(normals).argmax(axis=1)
    uv = np.empty((len(faces), 3, 2))
    for k, axis in enumerate(across):
        side = (axis + 3 * (normals[k, axis] > 0)) / 6
        in_plane = np.delete(corners[k] / np.array(SIDES), axis, axis=1) + 0.5
        uv[k] = np.stack([side + (0.02 + 0.96 * in_plane[:, 0]) / 6, in_plane[:, 1]], axis=-1)
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).random((64, 384, 3)), (4, 4, 0))
    texture = (255 * (blobs - blobs.min()) / (blobs.max() - blobs.min())).astype(np.uint8)
    return sl.Mesh(
        corners.reshape(-1, 3).astype(np.float32), np.arange(3 * len(faces)).reshape(-1, 3),
        uv=uv.reshape(-1, 2).astype(np.float32), texture=texture,
    )  # fmt: skip


TRUE = (
    jnp.eye(4).at[:3, :3].set(Rotation.from_rotvec([0.6, -0.5, 0.3]).as_matrix()).at[:3, 3].set(jnp.array([0, 0, 0.5]))
)
START = sl.apply_twist(TRUE, jnp.array([0.1, -0.08, 0.1, 0.008, -0.006, 0.006]))


class Seen:
    """Images of the box in front of a mottled wall, as NumPy arrays to be spoiled."""

    def __init__(self, renderer: sl.MeshRenderer, T=TRUE):
        image = sl.render(sl.Scene(T[None], CAMERA), renderer)
        self.mask = np.array(image.mask)
        self.inside = self.mask > 0.5
        self.rng = np.random.default_rng(1)
        wall = 0.3 + 0.2 * ndimage.gaussian_filter(self.rng.normal(size=(SIZE, SIZE, 3)), (1, 1, 0))
        mixed = np.array(image.rgb) + (1 - self.mask[..., None]) * wall
        self.rgb = mixed + 0.01 * self.rng.normal(size=mixed.shape)
        self.depth = np.where(self.inside, image.depth, 0.7) + 0.001 * self.rng.normal(size=self.mask.shape)
        self.hard = self.inside.astype(float)

    def observation(self, *names: str) -> sl.Observation:
        images = {"rgb": np.clip(self.rgb, 0, 1), "depth": self.depth, "mask": self.hard}
        return sl.Observation(**{name: images[name].astype(np.float32) for name in names})


def side_light(seen: Seen) -> None:
    """From the left three times as bright as from the right, yellow, hazy, and clipped."""
    light = np.linspace(1.5, 0.5, SIZE)[None, :, None] * np.array([1.1, 1.0, 0.6])
    seen.rgb = 0.1 + light * seen.rgb


def flying_pixels(seen: Seen) -> None:
    """Along the outline, the sensor sees neither the box nor the wall; elsewhere it has holes."""
    core = np.asarray(ndimage.binary_erosion(seen.inside, iterations=2), bool)
    edge = ndimage.binary_dilation(seen.inside, iterations=2) & np.logical_not(core)
    share = seen.rng.random(seen.depth.shape)
    wall = 0.7
    seen.depth = np.where(edge, share * seen.depth + (1 - share) * wall, seen.depth)
    seen.depth[seen.rng.random(seen.depth.shape) < 0.15] = 0


def careless_mask(seen: Seen) -> None:
    """Drawn three pixels too wide on the right, and two too narrow on the left."""
    wide, narrow = (ndimage.shift(seen.hard, (0, by), order=0) for by in (3, 2))
    right = np.arange(SIZE)[None] > SIZE / 2
    seen.hard = np.where(right, np.maximum(seen.hard, wide), np.minimum(seen.hard, narrow))


def something_in_front(seen: Seen) -> None:
    """A third of the box is hidden by a plain board, which depth measures."""
    columns = np.flatnonzero(seen.inside.any(axis=0))
    hidden = np.zeros_like(seen.inside)
    hidden[:, : columns[0] + len(columns) // 3] = True
    seen.rgb = np.where(hidden[..., None], [0.8, 0.7, 0.2], seen.rgb)
    seen.depth = np.where(hidden, 0.35, seen.depth)
    seen.hard = seen.hard * ~hidden


@pytest.fixture(scope="module")
def renderer() -> sl.MeshRenderer:
    return sl.MeshRenderer([printed_box()], buffers="core")


def distance(T, true=TRUE) -> float:
    """ADD, of the corners."""
    moved, true = (CORNERS @ np.asarray(P)[:3, :3].T + np.asarray(P)[:3, 3] for P in (T, true))
    return float(np.linalg.norm(moved - true, axis=1).mean())


@pytest.mark.parametrize("spoil", [side_light, flying_pixels, careless_mask, something_in_front])
@pytest.mark.parametrize("names", [("rgb", "depth", "mask")])
def test_all_images(spoil, names, renderer, unchecked_types):
    check(spoil, names, renderer, 0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (side_light, ("rgb",)),
        (side_light, ("rgb", "mask")),
        (careless_mask, ("rgb", "mask")),
        (something_in_front, ("rgb", "mask")),
    ],
)
def test_some_images(spoil, names, renderer, unchecked_types):
    check(spoil, names, renderer, 0.1)


@pytest.mark.parametrize("names", [("rgb", "depth", "mask"), ("rgb", "depth"), ("rgb", "mask"), ("rgb",)])
def test_a_small_object(names, renderer, unchecked_types):
    """Twenty pixels across."""
    true, start = (T.at[:3, 3].multiply(2.0) for T in (TRUE, START))
    seen = Seen(renderer, true)
    assert 15 < np.ptp(np.flatnonzero(seen.inside.any(axis=0))) < 25
    fit = sl.refine_poses(sl.Scene(start[None], CAMERA), seen.observation(*names), renderer, stages="auto", steps=30)
    assert distance(start, true) > 0.1 * DIAMETER
    assert distance(fit.scene.T_world_object[0], true) < (0.03 if "depth" in names else 0.1) * DIAMETER
    assert fit.status is not sl.Status.LOST


def check(spoil, names, renderer, share):
    seen = Seen(renderer)
    spoil(seen)
    fit = sl.refine_poses(sl.Scene(START[None], CAMERA), seen.observation(*names), renderer, stages="auto", steps=30)
    assert distance(START) > 0.1 * DIAMETER
    assert distance(fit.scene.T_world_object[0]) < share * DIAMETER
