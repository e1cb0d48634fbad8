"""Poses without a start: found from a mask or a box, and what is said of those that cannot be."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import sldiff_jax as sl
from sldiff_jax import metrics
from sldiff_jax._refine import search
from sldiff_jax.mesh_renderer import box_mesh, demo_mesh, sphere_mesh

MESH = demo_mesh()
CAMERA = sl.Camera.from_fov(0.7, width=128, height=96, T_world_camera=np.array(
    [[0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 0.5], [0, 0, 0, 1.0]]))  # fmt: skip
FEW = 256


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A search that takes seconds."""
    monkeypatch.setattr(search, "KEPT", (24, 12, 4))


def pose(seed: int) -> np.ndarray:
    """(4, 4) T_world_object in view of the camera."""
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = [0.01, -0.015, 2.6 * MESH.diameter]
    return np.asarray(CAMERA.T_world_camera, np.float64) @ T


def seen(seed: int, *names: str, mesh: sl.Mesh = MESH) -> tuple[sl.Observation, np.ndarray]:
    """Some images of the object at a random pose before another colour, in other light, and the pose."""
    T = pose(seed)
    rng = np.random.default_rng(seed)
    images = sl.render(sl.Scene(T[None], CAMERA), sl.MeshRenderer([mesh], supersample=2))
    rgb = 0.8 * images.rgb * images.mask[..., None] + 0.15 * (1 - images.mask[..., None]) * np.array([1, 2, 1])
    every = {
        "rgb": jnp.clip(rgb + 0.01 * rng.normal(size=rgb.shape), 0, 1),
        "depth": images.depth,
        "mask": images.mask > 0.5,
    }
    return sl.Observation(**{name: every[name] for name in names}), T


def error(found: sl.Refinement, T: np.ndarray, mesh: sl.Mesh = MESH) -> float:
    """ADD in diameters."""
    return float(metrics.add(found.scene.T_world_object[0], T.astype(np.float32), mesh.vertices)) / mesh.diameter


@pytest.mark.slow
@pytest.mark.parametrize("names", [("rgb", "depth", "mask"), ("rgb", "mask"), ("depth", "mask")], ids="+".join)
def test_found_from_a_mask(names):
    observation, T = seen(1, *names)
    rounds = []
    found = sl.find_poses(
        observation, MESH, CAMERA, rotations=FEW, resolution=64, callback=lambda *told: rounds.append(told)
    )
    assert error(found, T) < (0.02 if "depth" in names else 0.03)  # one image hardly tells how far away
    assert found.status.trusted
    assert found.score > 0.8
    assert found.covariance.shape == (1, 6, 6)
    assert [name for name, _ in rounds] == ["score", "outline", "colours", "around", "fine"]
    assert rounds[0][1] == FEW
    assert found.scene.camera is not CAMERA and found.scene.camera.width == CAMERA.width
    again = sl.find_poses(observation, MESH, CAMERA, rotations=FEW, resolution=64)
    np.testing.assert_array_equal(again.T_world_object, found.T_world_object)


@pytest.mark.slow
def test_little_memory_gives_the_same():
    observation, _ = seen(2, "rgb", "depth", "mask")
    found, frugal = (
        sl.find_poses(observation, MESH, CAMERA, rotations=FEW, resolution=64, memory=memory)
        for memory in (2**29, 3 * search.BYTES_PER_PIXEL * 64**2)
    )
    assert error(frugal, np.asarray(found.scene.T_world_object[0])) < 0.005


@pytest.mark.slow
def test_found_from_a_box():
    observation, T = seen(3, "rgb", "depth", "mask")
    rows, columns = np.nonzero(np.asarray(observation.mask))
    box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    for unmasked in (
        sl.Observation(observation.rgb, observation.depth),
        sl.Observation(observation.rgb),
    ):
        found = sl.find_poses(
            unmasked, MESH, CAMERA, box=tuple(float(side) for side in box), rotations=FEW, resolution=64
        )
        assert error(found, T) < 0.1


@pytest.mark.slow
def test_a_given_start_takes_part():
    observation, T = seen(4, "rgb", "mask")
    found = sl.find_poses(observation, MESH, CAMERA, rotations=1, starts=T[None], resolution=64)
    assert error(found, T) < 0.05


@pytest.mark.slow
def test_what_is_not_there_is_lost():
    """The image shows another object of about that size."""
    other = box_mesh((0.12, 0.05, 0.03), seed=5)
    observation, _ = seen(5, "rgb", "depth", "mask", mesh=other)
    found = sl.find_poses(observation, MESH, CAMERA, rotations=FEW, resolution=64)
    assert not found.status.trusted
    assert found.doubts
    assert found.score < 0.6


@pytest.mark.slow
def test_symmetric_poses_are_no_alternatives():
    """A cuboid of one colour has four poses that show the same."""
    box = box_mesh((0.12, 0.08, 0.05))
    plain = sl.Mesh(box.vertices, box.faces)
    observation, T = seen(6, "depth", "mask", mesh=plain)
    symmetries = sl.find_symmetries(plain).transforms()
    assert len(symmetries) == 4
    unknown = sl.find_poses(observation, plain, CAMERA, rotations=FEW, resolution=64)
    known = sl.find_poses(observation, plain, CAMERA, rotations=FEW, resolution=64, symmetries=symmetries)
    for found in (unknown, known):
        assert float(metrics.add(found.scene.T_world_object[0], T, plain.vertices, symmetries=symmetries)) < 0.002
    assert len(unknown.alternatives) > 0
    assert len(known.alternatives) == 0


class TestBadInput:
    def test_nothing_says_where(self):
        observation, _ = seen(1, "rgb", "depth", "mask")
        with pytest.raises(ValueError, match="neither"):
            sl.find_poses(sl.Observation(observation.rgb), MESH, CAMERA)
        with pytest.raises(ValueError, match="both"):
            sl.find_poses(observation, MESH, CAMERA, box=(1, 1, 5, 5))

    @pytest.mark.parametrize(
        ("box", "message"),
        [
            ((200.0, 10.0, 20.0, 20.0), "outside of the image of 128x96"),
            ((-30.0, 10.0, 20.0, 20.0), "outside of the image"),
            ((10.0, 10.0, 0.0, 20.0), "positive sides"),
            ((10.0, 10.0, math.nan, 20.0), "positive sides"),
        ],
    )
    def test_boxes(self, box, message):
        observation, _ = seen(1, "rgb")
        with pytest.raises(ValueError, match=message):
            sl.find_poses(observation, MESH, CAMERA, box=box)

    def test_sizes(self):
        observation, _ = seen(1, "rgb", "mask")
        with pytest.raises(ValueError, match=r"\(96, 128\), the camera's image \(48, 64\)"):
            sl.find_poses(observation, MESH, CAMERA.resized(64, 48))

    def test_empty_mask(self):
        with pytest.raises(ValueError, match="mask"):
            sl.Observation(mask=np.zeros((96, 128), bool))

    @pytest.mark.parametrize("names", [("rgb", "depth", "mask"), ("rgb", "mask")], ids="+".join)
    @pytest.mark.parametrize("factor", [1000.0, 1e-3])
    def test_units(self, names, factor):
        observation, _ = seen(1, *names)
        wrong = MESH.transformed(np.diag([factor, factor, factor, 1.0]))
        with pytest.raises(ValueError, match=r"m across, would be .* m away to look as large.*metres"):
            sl.find_poses(observation, wrong, CAMERA)

    def test_numbers(self):
        observation, _ = seen(1, "mask")
        with pytest.raises(ValueError, match="positive integer"):
            sl.find_poses(observation, MESH, CAMERA, rotations=0)
        for name in ("resolution", "memory"):
            with pytest.raises(ValueError, match=name):
                sl.find_poses(observation, MESH, CAMERA, **{name: 0})

    def test_symmetries_that_the_texture_denies(self):
        observation, _ = seen(1, "rgb", "mask")
        turns = metrics.symmetry_transforms(continuous=[{"axis": [0, 0, 1], "offset": [0, 0, 0]}], max_step=0.2)
        warned = pytest.warns(UserWarning, match="of 15 of 16 the texture tells them apart")
        with warned, pytest.raises(ValueError, match="metres"):
            sl.find_poses(observation, sphere_mesh(500.0), CAMERA, symmetries=turns)
        with pytest.raises(ValueError, match=r"\(S, 4, 4\)"):
            sl.find_poses(observation, MESH, CAMERA, symmetries=np.eye(4))


@pytest.mark.slow
def test_in_the_default_dtype():
    observation, _ = seen(1, "depth", "mask")
    found = sl.find_poses(observation, MESH, CAMERA, rotations=32, resolution=64, key=jax.random.key(3))
    assert found.scene.T_world_object.dtype == jnp.result_type(float)
