"""Pose errors and recalls: closed forms, NumPy loops that share no code, properties, and refused input."""

import functools
import inspect
import re

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analytic import projection, rigid
from derivatives import QUICK_COMPILATION, assert_derivatives
from hypothesis import given
from scipy.spatial.transform import Rotation

import sldiff_jax as sl
from sldiff_jax import metrics

PUBLIC = {
    "add",
    "add_auc",
    "add_recall",
    "add_s",
    "average_recall",
    "diameter",
    "mspd",
    "mspd_recall",
    "mssd",
    "mssd_recall",
    "projection_error",
    "rotation_error",
    "symmetry_transforms",
    "translation_error",
    "vsd",
    "vsd_recall",
}

HEIGHT, WIDTH = 7, 10
Z_AXIS = {"axis": [0, 0, 2], "offset": [0, 0, 0]}
seeds = st.integers(0, 10**6)


def turn(axis, angle: float, translation=(0.0, 0.0, 0.0)) -> np.ndarray:
    """(4, 4): a rotation by an angle in radians, then a translation."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(angle * np.asarray(axis, float) / np.linalg.norm(axis)).as_matrix()
    T[:3, 3] = translation
    return T


def shift(*translation: float) -> np.ndarray:
    return turn((0, 0, 1), 0, translation)


def apply(T, points) -> np.ndarray:
    return points @ T[:3, :3].T + T[:3, 3]


def random_points(seed: int, count: int = 83) -> np.ndarray:
    """(V, 3) float64, metres. The default count is no multiple of what the library compares at a time."""
    return np.random.default_rng(seed).normal(scale=0.05, size=(count, 3))


def random_pair(seed: int, angle: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """An estimate near a true pose, in front of the camera."""
    rng = np.random.default_rng(seed)
    T_true = rigid(rng, rng.normal(scale=0.1, size=3) + np.array([0, 0, 0.8]))
    return T_true @ rigid(rng, rng.normal(scale=0.02, size=3), angle), T_true


def random_symmetries(seed: int, count: int = 37) -> np.ndarray:
    """Any transforms: the metrics do not ask whether the points are symmetric."""
    rng = np.random.default_rng(seed)
    return np.stack([rigid(rng, rng.normal(scale=0.03, size=3)) for _ in range(count)])


def camera(T_world_camera=None, dtype=np.float64) -> sl.Camera:
    return sl.Camera(projection(WIDTH, HEIGHT).astype(dtype), T_world_camera, width=WIDTH, height=HEIGHT)


def ring(count: int = 24, radius: float = 0.05, height: float = 0.1) -> np.ndarray:
    """Vertices of a cylinder about the Z axis that any rotation by 2 pi / count maps onto themselves."""
    angles = 2 * np.pi * np.arange(count) / count
    circle = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    return np.concatenate([np.column_stack([circle, np.full(count, z)]) for z in (-height / 2, height / 2)])


# --- oracles: loops over points and poses, in float64 ----------------------------------------------------------------


def poses_like(T_true, symmetries) -> list[np.ndarray]:
    return [T_true] + [T_true @ S for S in (() if symmetries is None else symmetries)]


def surface_oracle(reduce, T_estimate, T_true, points, symmetries=None) -> float:
    candidates = []
    for T in poses_like(T_true, symmetries):
        distances = [np.linalg.norm((T_estimate @ [*p, 1])[:3] - (T @ [*p, 1])[:3]) for p in points]
        candidates.append(reduce(distances))
    return min(candidates)


def nearest_oracle(T_estimate, T_true, points) -> float:
    estimate = [(T_estimate @ [*p, 1])[:3] for p in points]
    total = 0.0
    for p in points:
        true = (T_true @ [*p, 1])[:3]
        total += min(np.linalg.norm(true - other) for other in estimate)
    return total / len(points)


def pixel_oracle(reduce, T_estimate, T_true, points, view, symmetries=None) -> float:
    fx, fy, cx, cy = np.asarray(view.intrinsics, np.float64)
    T_camera_world = np.linalg.inv(np.asarray(view.T_world_camera, np.float64))

    def pixel(T, p) -> np.ndarray:
        x, y, z, _ = T_camera_world @ T @ [*p, 1]
        return np.array([fx * x / z + cx, fy * y / z + cy])

    return min(
        reduce([np.linalg.norm(pixel(T_estimate, p) - pixel(T, p)) for p in points])
        for T in poses_like(T_true, symmetries)
    )


def vsd_oracle(estimate, true, measured, view, diameter, taus, delta) -> list[float]:
    fx, fy, cx, cy = np.asarray(view.intrinsics, np.float64)
    differences, one_only, union = [], 0, 0
    for j in range(view.height):
        for i in range(view.width):
            ray = np.linalg.norm([(i + 0.5 - cx) / fx, (j + 0.5 - cy) / fy, 1])
            e, t, m = ray * estimate[j, i], ray * true[j, i], ray * measured[j, i]
            in_true = t > 0 and (m == 0 or t <= m + delta)
            in_estimate = e > 0 and (m == 0 or e <= m + delta or in_true)
            union += in_true or in_estimate
            if in_true and in_estimate:
                differences.append(abs(e - t))
            elif in_true or in_estimate:
                one_only += 1
    if union == 0:
        return [1.0] * len(taus)
    return [(sum(d >= tau * diameter for d in differences) + one_only) / union for tau in taus]


SURFACE = {
    "add": (metrics.add, functools.partial(surface_oracle, np.mean)),
    "mssd": (metrics.mssd, functools.partial(surface_oracle, max)),
}
PIXEL = {
    "mspd": (metrics.mspd, functools.partial(pixel_oracle, max)),
    "projection_error": (metrics.projection_error, functools.partial(pixel_oracle, np.mean)),
}


# --- rotation and translation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 1e-3, 0.5, 2.0, np.pi - 1e-3, np.pi - 1e-8, np.pi])
def test_rotation_error_is_the_angle_at_every_angle(x64, angle):
    T_true = rigid(np.random.default_rng(3), (0.1, 0.2, 0.3))
    error = metrics.rotation_error(T_true @ turn((1, -2, 0.5), angle), T_true)
    np.testing.assert_allclose(error, angle, rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [1e-5, 1e-3, np.pi - 1e-4])
def test_rotation_error_keeps_its_digits_in_float32(angle):
    T_true = rigid(np.random.default_rng(3)).astype(np.float32)
    error = metrics.rotation_error(T_true @ turn((1, -2, 0.5), angle).astype(np.float32), T_true)
    np.testing.assert_allclose(error, angle, rtol=0, atol=5e-7)


def test_translation_error_is_the_distance_of_the_origins(x64):
    T_true = rigid(np.random.default_rng(0), (0.4, -0.1, 0.7))
    np.testing.assert_allclose(
        metrics.translation_error(shift(0.03, 0, -0.04) @ T_true @ turn((1, 1, 0), 1), T_true), 0.05
    )


def test_pose_errors_take_the_least_over_the_symmetries(x64):
    T_estimate, T_true = random_pair(1)
    symmetries = random_symmetries(2)
    candidates = poses_like(T_true, symmetries)
    angles = [Rotation.from_matrix(T[:3, :3].T @ T_estimate[:3, :3]).magnitude() for T in candidates]
    distances = [np.linalg.norm(T[:3, 3] - T_estimate[:3, 3]) for T in candidates]
    np.testing.assert_allclose(metrics.rotation_error(T_estimate, T_true, symmetries=symmetries), min(angles))
    np.testing.assert_allclose(metrics.translation_error(T_estimate, T_true, symmetries=symmetries), min(distances))
    T_best = candidates[-1]
    assert metrics.rotation_error(T_best, T_true, symmetries=symmetries) < 1e-14
    assert metrics.translation_error(T_best, T_true, symmetries=symmetries) < 1e-14


def test_rotation_about_the_axis_of_a_cylinder_is_no_error(x64):
    symmetries = metrics.symmetry_transforms(continuous=[Z_AXIS])
    T_true = rigid(np.random.default_rng(5), (0, 0, 0.6))
    assert metrics.rotation_error(T_true @ turn((0, 0, 1), 1.234), T_true, symmetries=symmetries) <= 0.01
    tilted = T_true @ turn((1, 0, 0), 0.3) @ turn((0, 0, 1), 2 * np.pi * 41 / 315)
    np.testing.assert_allclose(metrics.rotation_error(tilted, T_true, symmetries=symmetries), 0.3, rtol=1e-9)


# --- distances of vertices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [metrics.add, metrics.mssd])
def test_pure_translation_gives_its_length(metric):
    T_true = rigid(np.random.default_rng(0), (0.4, -0.1, 0.7))
    error = metric(shift(0.002, -0.01, 0.011) @ T_true, T_true, random_points(0))
    np.testing.assert_allclose(error, 0.015, rtol=1e-5)


def test_rotation_about_an_axis_moves_a_circle_by_its_chord(x64):
    T_true = rigid(np.random.default_rng(1), (0.0, 0.1, 0.5))
    T_estimate = T_true @ turn((0, 0, 1), 0.2)
    for metric in (metrics.add, metrics.mssd):
        np.testing.assert_allclose(metric(T_estimate, T_true, ring(radius=0.05)), 2 * 0.05 * np.sin(0.1))


def test_add_of_a_turned_sphere(x64):
    """Points at height z of a unit sphere move by 2 sin(a / 2) sqrt(1 - z^2), whose mean over z is pi / 4 of that."""
    z = (np.arange(4000) + 0.5) / 2000 - 1
    golden = np.pi * (3 - np.sqrt(5)) * np.arange(4000)
    sphere = np.column_stack([np.sqrt(1 - z**2) * np.cos(golden), np.sqrt(1 - z**2) * np.sin(golden), z])
    error = metrics.add(turn((0, 0, 1), 0.5), np.eye(4), sphere)
    np.testing.assert_allclose(error, np.pi / 4 * 2 * np.sin(0.25), rtol=1e-4)
    assert metrics.add_s(turn((0, 0, 1), 0.5), np.eye(4), sphere) < 0.04  # half the spacing of the points


@pytest.mark.parametrize("name", SURFACE)
@pytest.mark.parametrize("symmetric", [False, True])
def test_surface_errors_against_loops(x64, name, symmetric):
    metric, oracle = SURFACE[name]
    symmetries = random_symmetries(8) if symmetric else None
    arguments = (*random_pair(7, angle=3.0), random_points(9))
    np.testing.assert_allclose(
        metric(*arguments, symmetries=symmetries), oracle(*arguments, symmetries=symmetries), rtol=1e-12
    )


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 32, 75])
def test_add_s_against_loops(x64, count):
    arguments = (*random_pair(7, angle=2.0), random_points(count, count))
    np.testing.assert_allclose(metrics.add_s(*arguments), nearest_oracle(*arguments), rtol=1e-12)


def test_add_s_goes_from_the_true_to_the_estimated_points(x64):
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.11, 0, 0]])
    arguments = (shift(0.1, 0, 0), np.eye(4), points)
    forth, back = nearest_oracle(*arguments), nearest_oracle(arguments[1], arguments[0], points)
    assert abs(forth - back) > 0.01
    np.testing.assert_allclose(metrics.add_s(*arguments), forth)


def test_small_distances_survive_float32_far_from_the_origin():
    """Eight metres away, float32 resolves half a micrometre; the vertices move by less than a tenth of a millimetre."""
    T_true = rigid(np.random.default_rng(0), (8.0, -8.0, 8.0)).astype(np.float32)
    T_estimate = (T_true @ turn((1, 2, 3), 1e-3)).astype(np.float32)
    T_estimate[:3, 3] = T_true[:3, 3]
    points = random_points(3, 50).astype(np.float32)
    exact = [array.astype(np.float64) for array in (T_estimate, T_true, points)]
    np.testing.assert_allclose(metrics.add_s(T_estimate, T_true, points), nearest_oracle(*exact), rtol=3e-4)
    for metric, oracle in SURFACE.values():
        np.testing.assert_allclose(metric(T_estimate, T_true, points), oracle(*exact), rtol=3e-5)


def test_add_s_never_builds_the_matrix_of_distances():
    """Also backward. All distances of 20,000 points are 1.6 GB."""
    points = jax.ShapeDtypeStruct((20_000, 3), jnp.float32)
    pose = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    for function in (metrics.add_s, jax.grad(metrics.add_s)):
        memory = jax.jit(function).lower(pose, pose, points).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 40e6


@given(seeds)
def test_add_is_at_least_add_s(seed):
    T_estimate, T_true = random_pair(seed, angle=2.0)
    arguments = (T_estimate, T_true, random_points(seed))
    smaller, larger, largest = metrics.add_s(*arguments), metrics.add(*arguments), metrics.mssd(*arguments)
    assert 0 < smaller <= larger * (1 + 1e-5)
    assert larger <= largest * (1 + 1e-5)


@given(seeds)
def test_moving_camera_and_world_together_changes_nothing(seed):
    T_estimate, T_true = random_pair(seed)
    points, symmetries = random_points(seed), random_symmetries(seed)
    T_new_world = rigid(np.random.default_rng(seed + 1), (0.3, -0.2, 0.4))
    for metric in (metrics.rotation_error, metrics.translation_error):
        np.testing.assert_allclose(
            metric(T_new_world @ T_estimate, T_new_world @ T_true, symmetries=symmetries),
            metric(T_estimate, T_true, symmetries=symmetries),
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip
    for metric in (metrics.add, metrics.add_s, metrics.mssd):
        np.testing.assert_allclose(
            metric(T_new_world @ T_estimate, T_new_world @ T_true, points), metric(T_estimate, T_true, points),
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip
    for metric in (metrics.mspd, metrics.projection_error):
        np.testing.assert_allclose(
            metric(T_new_world @ T_estimate, T_new_world @ T_true, points, camera(T_new_world), symmetries=symmetries),
            metric(T_estimate, T_true, points, camera(), symmetries=symmetries),
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip


@given(seeds)
def test_a_symmetric_pose_is_no_error(seed):
    """A cylinder, turned by any of its steps and flipped, with its axis off the origin."""
    offset = np.array([0.01, -0.02, 0.0])
    points = ring() + offset
    flip = turn((1, 0, 0), np.pi)
    flip[:3, 3] = offset - flip[:3, :3] @ offset
    symmetries = metrics.symmetry_transforms(
        discrete=[flip], continuous=[{"axis": [0, 0, 1], "offset": offset}], max_step=np.pi / 24, scale=1.0
    )
    rng = np.random.default_rng(seed)
    T_true = rigid(rng, (0, 0, 0.7))
    T_estimate = T_true @ np.asarray(symmetries[rng.integers(len(symmetries))])
    assert metrics.mssd(T_estimate, T_true, points, symmetries=symmetries) < 1e-6
    assert metrics.add(T_estimate, T_true, points, symmetries=symmetries) < 1e-6
    assert metrics.add_s(T_estimate, T_true, points) < 1e-6
    assert metrics.mspd(T_estimate, T_true, points, camera(), symmetries=symmetries) < 1e-4
    assert metrics.projection_error(T_estimate, T_true, points, camera(), symmetries=symmetries) < 1e-4
    assert metrics.rotation_error(T_estimate, T_true, symmetries=symmetries) < 1e-5
    assert metrics.translation_error(T_estimate, T_true, symmetries=symmetries) < 1e-6


def test_the_identity_always_counts():
    T_true = random_pair(0)[1]
    symmetries = turn((1, 0, 0), np.pi)[None]
    assert metrics.mssd(T_true, T_true, random_points(0), symmetries=symmetries) == 0
    assert metrics.mssd(T_true, T_true, random_points(0), symmetries=np.zeros((0, 4, 4))) == 0


# --- diameter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "points",
    [
        random_points(4, 300),
        random_points(4, 300) * [1, 1, 0],  # in a plane: no hull
        random_points(4, 65) * [1, 0, 0],  # on a line
        random_points(4, 3),
        random_points(4, 1),
        ring(),
    ],
)
def test_diameter_against_loops(x64, points):
    expected = max(np.linalg.norm(p - q) for p in points for q in points)
    np.testing.assert_allclose(metrics.diameter(points), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(metrics.diameter)(points), expected, rtol=1e-12)


def test_diameter_of_a_box():
    box = np.array([[x, y, z] for x in (0, 0.3) for y in (0, 0.4) for z in (0, 1.2)])
    np.testing.assert_allclose(metrics.diameter(box + 5), 1.3, rtol=1e-6)


def test_diameter_of_points_that_are_not_finite_is_not_finite():
    assert not np.isfinite(metrics.diameter(np.where(np.arange(30).reshape(10, 3) == 7, np.nan, random_points(0, 10))))


# --- distances in the image ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PIXEL)
@pytest.mark.parametrize("symmetric", [False, True])
def test_pixel_errors_against_loops(x64, name, symmetric):
    metric, oracle = PIXEL[name]
    T_world_camera = rigid(np.random.default_rng(11), (0.02, -0.03, -0.1), angle=0.2)
    symmetries = random_symmetries(8) if symmetric else None
    arguments = (*random_pair(7), random_points(9), camera(T_world_camera))
    np.testing.assert_allclose(
        metric(*arguments, symmetries=symmetries), oracle(*arguments, symmetries=symmetries), rtol=1e-9
    )


@pytest.mark.parametrize("metric", [metrics.mspd, metrics.projection_error])
def test_sideways_motion_of_a_flat_object(metric):
    """f dx / z pixels, whatever the principal point."""
    view = sl.Camera.from_intrinsics(500.0, 400.0, 300.0, 200.0, width=640, height=480)
    flat = random_points(0) * [1, 1, 0]
    error = metric(shift(0.008, -0.0075, 0.5), shift(0, 0, 0.5), flat, view)
    np.testing.assert_allclose(error, np.hypot(8, 6), rtol=1e-4)


@pytest.mark.parametrize("metric", [metrics.mspd, metrics.projection_error])
def test_a_vertex_behind_the_camera_is_infinitely_far(metric):
    front, behind = shift(0, 0, 0.8), shift(0, 0, -0.8)
    assert metric(behind, front, random_points(0), camera()) == np.inf
    assert metric(front, behind, random_points(0), camera()) == np.inf
    assert metric(np.full((4, 4), np.nan), front, random_points(0), camera()) == np.inf


# --- VSD -------------------------------------------------------------------------------------------------------------


def random_depths(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth images with every combination of seen, hidden, and not measured."""
    rng = np.random.default_rng(seed)
    true = 0.6 + 0.02 * rng.random((HEIGHT, WIDTH))
    estimate = true + rng.normal(scale=0.03, size=true.shape)
    measured = true + rng.choice([-0.2, -0.012, 0.0, 0.012, 0.2], size=true.shape)
    return tuple(np.where(rng.random(true.shape) < 0.7, image, 0) for image in (estimate, true, measured))


@given(seeds)
def test_vsd_against_loops(seed):
    depths = random_depths(seed)
    with jax.enable_x64(True):
        errors = metrics.vsd(*depths, camera(), 0.1)
        taus = np.arange(1, 11) / 20
        np.testing.assert_allclose(errors, vsd_oracle(*depths, camera(), 0.1, taus, 0.015), rtol=1e-12)
        errors = metrics.vsd(*depths, camera(), 0.2, taus=[0.07, 0.3], delta=0.19)
        np.testing.assert_allclose(errors, vsd_oracle(*depths, camera(), 0.2, [0.07, 0.3], 0.19), rtol=1e-12)
    assert np.all(np.diff(errors) <= 0)


def flat(depth: float, columns: slice = slice(None)) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH), np.float32)
    image[:, columns] = depth
    return image


def test_vsd_by_hand():
    view = camera()
    nothing = flat(0.0)
    np.testing.assert_array_equal(metrics.vsd(flat(0.5), flat(0.5), flat(0.5), view, 0.1), np.zeros(10))
    np.testing.assert_array_equal(metrics.vsd(nothing, nothing, flat(0.5), view, 0.1), np.ones(10))
    np.testing.assert_array_equal(metrics.vsd(nothing, flat(0.5), flat(0.5), view, 0.1), np.ones(10))
    # Columns 0-3 against 2-5: two agree out of six.
    shifted = metrics.vsd(flat(0.5, slice(0, 4)), flat(0.5, slice(2, 6)), flat(0.5), view, 0.1)
    np.testing.assert_allclose(shifted, np.full(10, 4 / 6), rtol=1e-6)
    # 20 mm of 100 mm diameter: wrong for tau up to 0.15, right from 0.25. (0.2 is near the edge, off the axis beyond.)
    apart = metrics.vsd(flat(0.52), flat(0.5), flat(0.5), view, 0.1)
    np.testing.assert_array_equal(apart[:3], np.ones(3))
    np.testing.assert_array_equal(apart[5:], np.zeros(5))


def test_vsd_does_not_count_what_is_hidden():
    """An occluder in front of the right half, where the estimate is 30 cm off. Not measured means visible."""
    estimate = flat(0.5)
    estimate[:, 5:] = 0.8
    measured = flat(0.5)
    measured[:, 5:] = 0.3
    np.testing.assert_array_equal(metrics.vsd(estimate, flat(0.5), measured, camera(), 0.1), np.zeros(10))
    measured[:, 5:] = 0.0
    np.testing.assert_array_equal(metrics.vsd(estimate, flat(0.5), measured, camera(), 0.1), np.full(10, 0.5))


def test_vsd_takes_both_kinds_of_background():
    estimate, true, measured = (image.astype(np.float32) for image in random_depths(0))
    with_3000 = [np.where(image == 0, np.float32(3000), image) for image in (estimate, true)]
    np.testing.assert_array_equal(
        metrics.vsd(*with_3000, measured, camera(), 0.1), metrics.vsd(estimate, true, measured, camera(), 0.1)
    )


def test_vsd_of_rendered_poses_is_blind_to_symmetry():
    """A textureless sphere, rendered: turning it is no error, moving it sideways is."""
    from sldiff_jax.mesh_renderer import sphere_mesh

    view = sl.Camera.from_intrinsics(60.0, 60.0, 32.0, 24.0, width=64, height=48)
    renderer = sl.MeshRenderer([sphere_mesh(radius=0.05)])

    def depth(T):
        return renderer(sl.Scene(T[None], view)).depth

    T_true = shift(0, 0, 0.3)
    true = depth(T_true)
    turned = metrics.vsd(depth(T_true @ turn((0, 1, 0), 1.0)), true, true, view, 0.1)
    moved = metrics.vsd(depth(shift(0.02, 0, 0.3)), true, true, view, 0.1)
    assert np.all(turned < 0.02)
    assert np.all(moved > 0.2)


# --- symmetries ------------------------------------------------------------------------------------------------------


def test_symmetry_transforms_without_symmetries_is_the_identity():
    np.testing.assert_array_equal(metrics.symmetry_transforms(), np.eye(4)[None])
    np.testing.assert_array_equal(metrics.symmetry_transforms([], []), np.eye(4)[None])


def test_symmetry_transforms_of_models_info(x64):
    """The conventions of BOP's file: row-major lists, millimetres, rotation after the discrete symmetry."""
    flip = turn((0, 1, 0), np.pi, (1.0, 2.0, 3.0))
    continuous = {"axis": [0, 0, 3.0], "offset": [10.0, -20.0, 5.0]}
    symmetries = metrics.symmetry_transforms([flip.reshape(-1).tolist()], [continuous], max_step=0.5, scale=1e-3)
    steps = 7  # ceil(pi / 0.5)
    assert symmetries.shape == (2 * steps, 4, 4)
    expected = []
    for discrete in (np.eye(4), flip):
        for k in range(steps):
            rotation = shift(10, -20, 5) @ turn((0, 0, 1), 2 * np.pi * k / steps) @ shift(-10, 20, -5)
            S = rotation @ discrete
            S[:3, 3] *= 1e-3
            expected.append(S)
    np.testing.assert_allclose(symmetries, expected, atol=1e-14)


def test_the_challenge_takes_315_steps_about_each_axis():
    axes = [Z_AXIS, {"axis": [1, 0, 0], "offset": [0, 0, 0]}]
    symmetries = metrics.symmetry_transforms(continuous=axes)
    assert symmetries.shape == (630, 4, 4) and symmetries.dtype == jnp.float32
    np.testing.assert_array_equal(symmetries[0], np.eye(4))


@pytest.mark.parametrize("max_step", [0.01, 0.037, 1.0])
def test_no_vertex_travels_farther_than_max_step(max_step):
    points = ring(radius=0.5, height=0.0)  # of diameter 1
    symmetries = np.asarray(metrics.symmetry_transforms(continuous=[Z_AXIS], max_step=max_step), np.float64)
    travelled = np.linalg.norm(apply(symmetries[1], points) - apply(symmetries[0], points), axis=1).max()
    assert travelled <= max_step * (1 + 1e-6)


# --- recalls ---------------------------------------------------------------------------------------------------------


def test_average_recall_counts_errors_below_thresholds():
    assert metrics.average_recall([0.0, 1.0, 2.0, np.inf, np.nan], [1.0]) == np.float32(1 / 5)
    np.testing.assert_allclose(metrics.average_recall(np.array([0.5, 1.5]), [1.0, 2.0]), 3 / 4)
    np.testing.assert_allclose(metrics.average_recall(np.array([0.5, 1.5]), [[1.0, 2.0], [1.0, 1.2]]), 2 / 4)


def test_bop_recalls_by_hand():
    # 0.22 of the diameter is below 0.25, 0.3, ..., 0.5: six of ten thresholds.
    np.testing.assert_allclose(metrics.mssd_recall(np.array([0.022]), 0.1), 0.6, rtol=1e-6)
    np.testing.assert_allclose(metrics.mssd_recall(np.array([0.022, 0.022]), np.array([0.1, 0.2])), 0.7, rtol=1e-6)
    # 22 pixels are below 25, 30, ..., 50; at twice the width below 30, 40, ..., 100.
    np.testing.assert_allclose(metrics.mspd_recall(np.array([22.0]), 640), 0.6, rtol=1e-6)
    np.testing.assert_allclose(metrics.mspd_recall(np.array([22.0]), 1280), 0.8, rtol=1e-6)
    np.testing.assert_allclose(metrics.vsd_recall(np.array([[0.22, 0.47], [1.0, 1.0]])), (0.6 + 0.1) / 4, rtol=1e-6)


def test_add_recall_by_hand():
    errors = np.array([0.004, 0.006, 0.012, np.inf])
    assert metrics.add_recall(errors, 0.1) == 0.5
    assert metrics.add_recall(errors, 0.1, fraction=0.05) == 0.25
    assert metrics.add_recall(errors, np.array([0.1, 0.05, 0.2, 0.1])) == 0.5


@given(seeds)
def test_auc_is_the_area_under_the_curve_of_accuracy(seed):
    errors = np.random.default_rng(seed).exponential(0.05, size=40)
    thresholds = (np.arange(100_000) + 0.5) * 1e-6
    area = np.mean(np.searchsorted(np.sort(errors), thresholds) / errors.size)
    np.testing.assert_allclose(metrics.add_auc(errors), area, atol=2e-5)
    # What the script of the data set sums: the rectangle up to each error, as high as the share that it reaches.
    reached = np.sort(errors[errors < 0.1])
    heights = np.append(np.arange(1, reached.size + 1), reached.size) / errors.size
    rectangles = np.sum(np.diff(np.concatenate([[0], reached, [0.1]])) * heights) / 0.1
    assert 0 <= rectangles - metrics.add_auc(errors) <= 1 / errors.size + 1e-6


def test_auc_of_failures_is_zero():
    assert metrics.add_auc([np.inf, np.nan, 0.1, 5.0]) == 0
    assert metrics.add_auc([0.0]) == 1
    np.testing.assert_allclose(metrics.add_auc([0.01, np.inf], limit=0.02), 0.25)


# --- jit, vmap, grad, dtypes -----------------------------------------------------------------------------------------

quick_jit = functools.partial(jax.jit, compiler_options=QUICK_COMPILATION)

POSE_METRICS = {
    "rotation_error": lambda T_e, T_t, p: metrics.rotation_error(T_e, T_t, symmetries=fifteen(T_e.dtype)),
    "translation_error": lambda T_e, T_t, p: metrics.translation_error(T_e, T_t, symmetries=fifteen(T_e.dtype)),
    "add": lambda T_e, T_t, p: metrics.add(T_e, T_t, p, symmetries=fifteen(T_e.dtype)),
    "add_s": metrics.add_s,
    "mssd": lambda T_e, T_t, p: metrics.mssd(T_e, T_t, p, symmetries=fifteen(T_e.dtype)),
    "mspd": lambda T_e, T_t, p: metrics.mspd(T_e, T_t, p, camera(dtype=T_e.dtype), symmetries=fifteen(T_e.dtype)),
    "projection_error": lambda T_e, T_t, p: metrics.projection_error(
        T_e, T_t, p, camera(dtype=T_e.dtype), symmetries=fifteen(T_e.dtype)
    ),
}


def fifteen(dtype) -> np.ndarray:
    """As many symmetries as fill one batch, together with the identity: quick to compile."""
    return random_symmetries(5, 15).astype(dtype)


@pytest.mark.parametrize("name", POSE_METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_jit_and_vmap_equal_the_eager_metric(x64, name, dtype):
    metric = POSE_METRICS[name]
    points = random_points(0, 64).astype(dtype)
    estimates, truths = (np.stack(T).astype(dtype) for T in zip(*[random_pair(seed) for seed in range(3)]))
    eager = np.stack([metric(*pair, points) for pair in zip(estimates, truths)])
    rtol = 1e-4 if dtype == np.float32 else 1e-12
    assert eager.dtype == dtype
    single = quick_jit(metric)(estimates[0], truths[0], points)
    batch = quick_jit(jax.vmap(metric, (0, 0, None)))(estimates, truths, points)
    assert single.dtype == batch.dtype == dtype
    np.testing.assert_allclose(single, eager[0], rtol=rtol)
    np.testing.assert_allclose(batch, eager, rtol=rtol)


def test_nested_vmap():
    points = random_points(0)
    estimates, truths = (np.stack(T) for T in zip(*[random_pair(seed) for seed in range(3)]))
    nested = jax.vmap(jax.vmap(metrics.add_s, (0, None, None)), (None, 0, None))(estimates, truths, points)
    np.testing.assert_allclose(nested[2, 1], metrics.add_s(estimates[1], truths[2], points), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_has_the_dtype_of_the_input(x64, dtype):
    depths = [image.astype(dtype) for image in random_depths(0)]
    results = [
        metrics.vsd(*depths, camera(dtype=dtype), 0.1),
        metrics.diameter(random_points(0, 64).astype(dtype)),
        metrics.add_auc(np.ones(3, dtype)),
        metrics.add_recall(np.ones(3, dtype), 0.1),
        metrics.vsd_recall(np.ones((3, 10), dtype)),
    ]
    assert [result.dtype for result in results] == [dtype] * len(results)


def test_dtypes_may_differ(x64):
    T_estimate, T_true = random_pair(0)
    points = random_points(0).astype(np.float32)
    for metric in (metrics.add, metrics.add_s, metrics.mssd):
        mixed = metric(T_estimate.astype(np.float32), T_true, points)
        np.testing.assert_allclose(mixed, metric(T_estimate, T_true, points.astype(np.float64)), rtol=1e-5)


def test_vsd_and_diameter_under_jit_and_vmap():
    depths = [np.stack(images).astype(np.float32) for images in zip(*[random_depths(seed) for seed in range(3)])]
    eager = [metrics.vsd(*images, camera(), 0.1) for images in zip(*depths)]
    batch = jax.jit(jax.vmap(lambda e, t, m: metrics.vsd(e, t, m, camera(), 0.1)))(*depths)
    np.testing.assert_array_equal(batch, eager)
    points = np.stack([random_points(seed) for seed in range(3)])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(metrics.diameter))(points), [metrics.diameter(p) for p in points], rtol=1e-6
    )


def test_recalls_under_jit_and_vmap():
    errors = np.random.default_rng(0).exponential(0.05, size=(4, 9)).astype(np.float32)
    for recall in (
        lambda e: metrics.average_recall(e, [0.01, 0.1]),
        lambda e: metrics.mssd_recall(e, 0.2),
        lambda e: metrics.mspd_recall(1000 * e, 640),
        lambda e: metrics.vsd_recall(e.reshape(3, 3)),
        lambda e: metrics.add_recall(e, 0.3),
        metrics.add_auc,
    ):
        np.testing.assert_allclose(jax.jit(jax.vmap(recall))(errors), [recall(e) for e in errors], rtol=1e-6)
    inside = jax.jit(lambda: metrics.symmetry_transforms(continuous=[Z_AXIS], max_step=0.5))()
    np.testing.assert_array_equal(inside, metrics.symmetry_transforms(continuous=[Z_AXIS], max_step=0.5))


@functools.cache
def along_the_motion(name: str):
    """The metric as a function of six numbers that move the estimate, so that derivative checks compile it once."""
    T_estimate, T_true = random_pair(3)
    points = random_points(2, 64)
    return lambda delta: POSE_METRICS[name](T_estimate @ sl.se3_exp(delta), T_true, points)


@pytest.mark.parametrize("name", POSE_METRICS)
def test_derivatives_with_respect_to_the_estimate(x64, name):
    jacobian = assert_derivatives(along_the_motion(name), np.zeros(6), step=1e-6, rtol=1e-6, atol=1e-7)
    assert np.abs(jacobian).max() > 1e-3


@pytest.mark.parametrize("name", POSE_METRICS)
def test_the_gradient_of_no_error_is_finite(name):
    T = jnp.asarray(random_pair(0)[1], jnp.float32)
    assert np.isfinite(jax.grad(POSE_METRICS[name])(T, T, random_points(0, 64).astype(np.float32))).all()


# --- refused input ---------------------------------------------------------------------------------------------------

POSE, POINTS, DEPTH = np.eye(4), np.ones((5, 3)), np.full((HEIGHT, WIDTH), 0.5)


@pytest.mark.parametrize(
    "name", ["rotation_error", "translation_error", "add", "add_s", "mssd", "mspd", "projection_error"]
)
def test_pose_metrics_refuse(unchecked_types, name):
    metric = getattr(metrics, name)
    extra = {"points": POINTS, "camera": camera()}
    arguments = {key: extra[key] for key in extra if key in inspect.signature(metric).parameters}
    arguments |= {"T_estimate": POSE, "T_true": POSE}
    metric(**arguments)
    bad = {
        "T_estimate": (np.eye(3), rf"{name} T_estimate must have shape \(4, 4\), got \(3, 3\)"),
        "T_true": (np.ones((2, 4, 4)), rf"{name} T_true must have shape \(4, 4\), got \(2, 4, 4\).*jax.vmap"),
        "points": (np.ones((3, 5)), rf"{name} points must have shape \(any, 3\), got \(3, 5\)"),
        "symmetries": (np.eye(4), rf"{name} symmetries must have shape \(any, 4, 4\), got \(4, 4\)"),
    }
    for key, (value, match) in bad.items():
        if key in inspect.signature(metric).parameters:
            with pytest.raises(ValueError, match=match):
                metric(**arguments | {key: value})
    if "points" in arguments:
        with pytest.raises(ValueError, match=f"{name} needs at least one point"):
            metric(**arguments | {"points": np.ones((0, 3))})


def test_diameter_refuses(unchecked_types):
    with pytest.raises(ValueError, match=r"diameter points must have shape \(any, 3\)"):
        metrics.diameter(np.ones((3, 2)))
    with pytest.raises(ValueError, match="diameter needs at least one point"):
        metrics.diameter(np.ones((0, 3)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"depth_estimate": DEPTH[1:]}, r"depth_estimate must have the camera's .*\(7, 10\), got \(6, 10\)"),
        ({"depth_true": DEPTH.T}, r"depth_true must have the camera's .*\(7, 10\), got \(10, 7\)"),
        ({"depth_measured": np.full((HEIGHT, WIDTH), 500)}, "depth_measured must be floating.*millimetres"),
        ({"depth_measured": -DEPTH}, "depth_measured must be finite and not negative"),
        ({"depth_estimate": DEPTH * np.nan}, "depth_estimate must be finite"),
        ({"camera": camera().resized(20, 14)}, r"the camera's .*\(14, 20\), got \(7, 10\).*camera.resized"),
        ({"diameter": 0.0}, "vsd diameter must be positive, got 0"),
        ({"diameter": np.ones(2)}, r"vsd diameter must have shape \(\)"),
        ({"taus": 0.1}, r"vsd taus must have shape \(any\)"),
        ({"taus": [0.1, -0.1]}, "vsd taus must be positive"),
        ({"delta": 0.0}, "vsd delta must be positive"),
    ],
)
def test_vsd_refuses(unchecked_types, change, match):
    arguments = {"depth_estimate": DEPTH, "depth_true": DEPTH, "depth_measured": DEPTH, "camera": camera()}
    with pytest.raises(ValueError, match=match):
        metrics.vsd(**arguments | {"diameter": 0.1} | change)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"discrete": np.eye(4)}, r"discrete must have shape \(D, 4, 4\) or \(D, 16\), got \(4, 4\)"),
        ({"discrete": [np.diag([1, 1, -1, 1])]}, "discrete must hold rigid transforms"),
        ({"discrete": [2 * np.eye(4)]}, "discrete must hold rigid transforms"),
        ({"discrete": [np.diag([1, 1, 1, 2])]}, "discrete must hold rigid transforms"),
        ({"discrete": [np.full((4, 4), np.nan)]}, "discrete must hold rigid transforms"),
        ({"discrete": [shift(0, 0, np.inf)]}, "discrete must hold rigid transforms"),
        ({"discrete": [shift(1, 2, 3)]}, r"unit must be said: pass scale=1.0 .*metres, scale=1e-3"),
        ({"continuous": [{"axis": [0, 0, 1], "offset": [1, 0, 0]}]}, "unit must be said"),
        ({"continuous": [{"axis": [0, 0, 1]}]}, r"continuous\[0\] needs the entries axis and offset, got \['axis'\]"),
        ({"continuous": [Z_AXIS, {"axis": [0, 0, 0], "offset": [0, 0, 0]}]}, r"continuous\[1\] axis must not be zero"),
        ({"continuous": [{"axis": [0, 1], "offset": [0, 0, 0]}]}, r"continuous\[0\] axis must be three finite numbers"),
        ({"continuous": [{"axis": [0, 0, 1], "offset": [0, 0, np.nan]}]}, "offset must be three finite numbers"),
        ({"max_step": 0.0}, r"max_step must be a fraction of the diameter in \(0, 1\], got 0.0"),
        ({"max_step": 15}, "max_step must be a fraction"),
        ({"scale": 0.0}, "scale must be positive"),
    ],
)
def test_symmetry_transforms_refuses(unchecked_types, arguments, match):
    with pytest.raises(ValueError, match=match):
        metrics.symmetry_transforms(**arguments)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: metrics.average_recall(np.ones((2, 2)), [0.1]), r"average_recall errors must have shape \(any\)"),
        (lambda: metrics.average_recall(np.ones(0), [0.1]), "average_recall needs at least one error"),
        (lambda: metrics.average_recall(np.ones(2), 0.1), r"average_recall thresholds must have shape \(any\)"),
        (lambda: metrics.average_recall(np.ones(2), np.ones((3, 4))), r"thresholds must have shape \(2, any\)"),
        (lambda: metrics.average_recall(np.ones(2), []), "average_recall needs at least one threshold"),
        (lambda: metrics.average_recall(np.ones(2), [0.1, 0.0]), "average_recall thresholds must be positive"),
        (lambda: metrics.vsd_recall(np.ones(2)), r"vsd_recall errors must have shape \(any, any\)"),
        (lambda: metrics.vsd_recall(np.ones((0, 10))), "vsd_recall needs at least one error"),
        (lambda: metrics.mssd_recall(np.ones((2, 2)), 0.1), "mssd_recall errors must have shape"),
        (lambda: metrics.mssd_recall(np.ones(2), np.ones(3)), r"mssd_recall diameter must have shape \(2\)"),
        (lambda: metrics.mssd_recall(np.ones(2), 0.0), "mssd_recall diameter must be positive"),
        (lambda: metrics.mspd_recall(np.ones((2, 2)), 640), "mspd_recall errors must have shape"),
        (lambda: metrics.mspd_recall(np.ones(2), 0), "mspd_recall width must be positive"),
        (lambda: metrics.add_recall(np.ones((2, 2)), 0.1), "add_recall errors must have shape"),
        (lambda: metrics.add_recall(np.ones(2), -0.1), "add_recall diameter must be positive"),
        (lambda: metrics.add_recall(np.ones(2), 0.1, fraction=0.0), "add_recall fraction must be positive"),
        (lambda: metrics.add_auc(np.ones((2, 2))), "add_auc errors must have shape"),
        (lambda: metrics.add_auc(np.ones(2), limit=0.0), "add_auc limit must be positive"),
    ],
)
def test_recalls_refuse(unchecked_types, call, match):
    with pytest.raises(ValueError, match=match):
        call()


# --- the surface of the module ---------------------------------------------------------------------------------------


def test_the_public_names_are_these():
    public = {name for name, value in vars(metrics).items() if not name.startswith("_") and inspect.isroutine(value)}
    assert public == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_docstring_covers_every_argument(name):
    function = getattr(metrics, name)
    documentation = inspect.getdoc(function) or ""
    for section in ("Args:", "Returns:", "Raises:"):
        assert section in documentation
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^    {argument}:", documentation, re.MULTILINE), f"{name} does not document {argument}"
