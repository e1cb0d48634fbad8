"""Pose deltas, the nearest rotation and the SE(3) exponential, against SciPy and central differences."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from analytic import rigid
from derivatives import assert_derivatives
from hypothesis import example, given

import sldiff_jax as sl

apply_pose_delta = jax.jit(sl.apply_pose_delta, static_argnums=2)
se3_exp, se3_log, nearest_rotation = jax.jit(sl.se3_exp), jax.jit(sl.se3_log), jax.jit(sl.nearest_rotation)
# Functions of one vector, made once: the derivative checks compile each of them once for all points.
derivative_of_exp, derivative_of_nearest = jax.jacfwd(sl.se3_exp), jax.jacfwd(sl.nearest_rotation)
derivative_of_log = jax.jit(jax.jacrev(sl.se3_log))
TWIST = lambda z: sl.apply_twist(z[6:].reshape(4, 4), z[:6])  # noqa: E731
MOVE = {flag: lambda z, flag=flag: sl.apply_pose_delta(z[6:].reshape(4, 4), z[:6], flag) for flag in (True, False)}

GENERIC = np.array([0.3, -0.5, 0.2, 0.1, -0.4, 0.7])
SMALL = [0.0, 1e-300, 1e-12, 1e-8, 1e-6, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0]
AXIS = np.array([0.36, -0.48, 0.8])


def vectors(size: int, bound: float):
    return st.lists(st.floats(-bound, bound, width=32), min_size=size, max_size=size).map(np.array)


def generator(xi) -> np.ndarray:
    """(4, 4): the matrix whose exponential is the transform; first-order part of T(delta) in the design."""
    alpha, beta, gamma, a, b, c = np.asarray(xi, np.float64)
    return np.array([[0, -gamma, beta, a], [gamma, 0, -alpha, b], [-beta, alpha, 0, c], [0, 0, 0, 0]])


def polar(A: np.ndarray) -> np.ndarray:
    """The rotation nearest to A in the Frobenius norm."""
    U, _, Vt = np.linalg.svd(A)
    return U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt


def pose(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rigid(rng, rng.normal(size=3))


# --- apply_pose_delta ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [np.zeros(6), GENERIC])
def test_delta_without_orthonormalisation_is_the_plain_product(x64, delta):
    np.testing.assert_allclose(
        apply_pose_delta(pose(), delta, False), pose() @ (np.eye(4) + generator(delta)), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("delta", [np.zeros(6), GENERIC])
def test_delta_with_orthonormalisation_takes_the_polar_factor(x64, delta):
    product = pose() @ (np.eye(4) + generator(delta))
    expected = product.copy()
    expected[:3, :3] = scipy.linalg.polar(product[:3, :3])[0]
    np.testing.assert_allclose(apply_pose_delta(pose(), delta, True), expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(sl.apply_pose_delta(jnp.asarray(pose()), jnp.asarray(delta)),
                                  sl.apply_pose_delta(jnp.asarray(pose()), jnp.asarray(delta), True))  # fmt: skip


def test_orthonormalisation_mends_a_drifted_pose(x64):
    drifted = pose() + np.pad(np.random.default_rng(0).normal(size=(3, 3)) * 0.01, (0, 1))
    R = np.asarray(apply_pose_delta(drifted, np.zeros(6), True))[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)


@pytest.mark.parametrize("orthonormalize", [True, False])
def test_derivatives_of_apply_pose_delta(x64, orthonormalize):
    assert_derivatives(MOVE[orthonormalize], np.concatenate([GENERIC, pose().ravel()]))
    derivative = assert_derivatives(MOVE[orthonormalize], np.concatenate([np.zeros(6), pose().ravel()]))
    generators = np.stack([pose() @ generator(e) for e in np.eye(6)], axis=-1)
    np.testing.assert_allclose(derivative[..., :6], generators, atol=1e-14)


@given(vectors(6, 0.25))
def test_a_delta_and_its_inverse_cancel_to_first_order(delta):
    with jax.enable_x64(True):
        back = apply_pose_delta(apply_pose_delta(pose(), delta, True), -delta, True)
        assert np.abs(back - pose()).max() <= 2 * np.linalg.norm(delta) ** 2 + 1e-12


def test_batched_equals_single_and_vmap():
    poses = jnp.asarray(np.stack([pose(k) for k in range(4)]), jnp.float32)
    deltas = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6)) * 0.1, jnp.float32)
    for orthonormalize in (True, False):
        batched = apply_pose_delta(poses, deltas, orthonormalize)
        single = jnp.stack([sl.apply_pose_delta(T, d, orthonormalize) for T, d in zip(poses, deltas)])
        mapped = jax.vmap(lambda T, d: sl.apply_pose_delta(T, d, orthonormalize))(poses, deltas)  # noqa: B023
        np.testing.assert_allclose(batched, single, atol=1e-6)
        np.testing.assert_allclose(mapped, single, atol=1e-6)
    assert sl.apply_pose_delta(poses[:0], deltas[:0]).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("poses", "deltas", "match"),
    [
        ((3, 4), (6,), r"pose.*\(3, 4\)"),
        ((4, 4), (7,), r"delta.*\(7,\)"),
        ((2, 3, 4, 4), (2, 3, 6), r"pose.*\(2, 3, 4, 4\)"),
        ((4, 4), (2, 6), r"delta.*\(2, 6\)"),
        ((2, 4, 4), (6,), r"delta.*\(6,\)"),
        ((2, 4, 4), (3, 6), r"delta.*\(3, 6\)"),
    ],
)
def test_apply_pose_delta_refuses(unchecked_types, poses, deltas, match):
    with pytest.raises(ValueError, match=match):
        sl.apply_pose_delta(jnp.zeros(poses), jnp.zeros(deltas))


# --- nearest_rotation ------------------------------------------------------------------------------------------------

POINTS = {
    "identity": np.eye(3),
    "rotation": rigid(np.random.default_rng(1))[:3, :3],
    "scaled rotation": 2.5 * rigid(np.random.default_rng(1))[:3, :3],
    "two equal singular values": rigid(np.random.default_rng(2))[:3, :3] @ np.diag([1.0, 1.0, 0.4]),
    "generic": np.eye(3) + 0.3 * np.random.default_rng(3).normal(size=(3, 3)),
    "negative determinant": rigid(np.random.default_rng(4))[:3, :3] @ np.diag([1.5, -0.3, 0.9]),
}


@pytest.mark.parametrize("name", POINTS)
def test_nearest_rotation_is_the_polar_factor(x64, name):
    R = np.asarray(nearest_rotation(POINTS[name]))
    np.testing.assert_allclose(R, polar(POINTS[name]), atol=1e-13)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-13)
    np.testing.assert_allclose(np.linalg.det(R), 1.0, atol=1e-13)


@pytest.mark.parametrize("name", POINTS)
def test_derivatives_of_nearest_rotation(x64, name):
    assert_derivatives(sl.nearest_rotation, POINTS[name], rtol=1e-6)


@pytest.mark.parametrize("name", ["identity", "scaled rotation", "generic"])
def test_second_derivatives_of_nearest_rotation(x64, name):
    assert_derivatives(derivative_of_nearest, POINTS[name], rtol=1e-6)


def test_derivative_at_the_identity_is_the_skew_part(x64):
    _, moved = jax.jit(lambda dA: jax.jvp(sl.nearest_rotation, (jnp.eye(3),), (dA,)))(POINTS["generic"])
    np.testing.assert_allclose(moved, (POINTS["generic"] - POINTS["generic"].T) / 2, atol=1e-14)


@given(vectors(9, 2.0))
def test_nearest_rotation_is_a_rotation_and_no_sample_is_nearer(entries):
    A = entries.reshape(3, 3)
    with jax.enable_x64(True):
        R = np.asarray(nearest_rotation(A))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(R), 1.0, atol=1e-9)
    assert np.linalg.norm(A - R) <= np.linalg.norm(A - polar(A)) + 1e-9


def test_nearest_rotation_of_single_precision_and_batches():
    A = jnp.asarray(np.stack(list(POINTS.values())), jnp.float32)
    R = jax.vmap(sl.nearest_rotation)(A)
    assert R.dtype == jnp.float32
    np.testing.assert_allclose(R, np.stack([polar(a) for a in POINTS.values()]), atol=2e-6)


@pytest.mark.parametrize("shape", [(4, 4), (3,), (2, 3, 3)])
def test_nearest_rotation_refuses(unchecked_types, shape):
    with pytest.raises(ValueError, match=r"\(3, 3\).*" + str(shape).replace("(", r"\(").replace(")", r"\)")):
        sl.nearest_rotation(jnp.ones(shape))


# --- apply_twist -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.1, 1.0, 5.0])
def test_apply_twist_multiplies_by_the_matrix_exponential(x64, scale):
    T = np.asarray(sl.apply_twist(pose(), scale * GENERIC))
    np.testing.assert_allclose(T, pose() @ scipy.linalg.expm(generator(scale * GENERIC)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-13)


def test_a_twist_is_a_delta_to_first_order(x64):
    gap = [
        np.abs(sl.apply_twist(pose(), h * GENERIC) - apply_pose_delta(pose(), h * GENERIC, True)).max()
        for h in (1e-2, 1e-3)
    ]
    assert 0 < gap[1] < 1.1e-2 * gap[0]


def test_derivatives_of_apply_twist(x64):
    assert_derivatives(TWIST, np.concatenate([GENERIC, pose().ravel()]))
    derivative = assert_derivatives(TWIST, np.concatenate([np.zeros(6), pose().ravel()]))
    np.testing.assert_allclose(
        derivative[..., :6], np.stack([pose() @ generator(e) for e in np.eye(6)], -1), atol=1e-14
    )


def test_apply_twist_in_single_precision_under_jit_and_vmap():
    poses = jnp.asarray(np.stack([pose(k) for k in range(3)]), jnp.float32)
    twists = jnp.asarray(np.random.default_rng(2).normal(size=(3, 6)), jnp.float32)
    mapped = jax.jit(jax.vmap(sl.apply_twist))(poses, twists)
    assert mapped.dtype == jnp.float32
    expected = np.stack([p @ scipy.linalg.expm(generator(xi)) for p, xi in zip(np.asarray(poses), np.asarray(twists))])
    np.testing.assert_allclose(mapped, expected, atol=1e-5)
    np.testing.assert_allclose(mapped[1], sl.apply_twist(poses[1], twists[1]), atol=1e-6)
    np.testing.assert_allclose(sl.apply_twist(poses, twists), mapped, atol=1e-6)
    back = sl.apply_twist(mapped[1], -twists[1])  # of one object, a twist and its inverse cancel exactly
    np.testing.assert_allclose(back, poses[1], atol=1e-5)


@pytest.mark.parametrize(
    ("T", "twist", "match"),
    [
        ((3, 4), (6,), r"apply_twist pose.*\(3, 4\)"),
        ((4, 4), (7,), r"apply_twist twist.*\(7,\)"),
        ((2, 4, 4), (3, 6), r"apply_twist twist.*\(2, 6\), got \(3, 6\)"),
        ((1, 4, 4), (6,), r"apply_twist twist.*array\[None\]"),
    ],
)
def test_apply_twist_refuses(unchecked_types, T, twist, match):
    with pytest.raises(ValueError, match=match):
        sl.apply_twist(jnp.zeros(T), jnp.zeros(twist))


# --- se3_exp and se3_log ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [*SMALL, 2.0, 3.0, np.pi, 4.0, 7.0])
def test_se3_exp_is_the_matrix_exponential(x64, angle):
    xi = np.concatenate([angle * AXIS, GENERIC[3:]])
    np.testing.assert_allclose(se3_exp(xi), scipy.linalg.expm(generator(xi)), rtol=0, atol=2e-14 * max(1, angle**2))


@pytest.mark.parametrize("angle", [*SMALL, 2.0, 3.0])
def test_se3_exp_in_single_precision(angle):
    xi = np.concatenate([angle * AXIS, GENERIC[3:]]).astype(np.float32)
    T = se3_exp(xi)
    assert T.dtype == jnp.float32
    np.testing.assert_allclose(T, scipy.linalg.expm(generator(xi)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0])
def test_derivatives_of_se3_exp(x64, angle):
    assert_derivatives(sl.se3_exp, np.concatenate([angle * AXIS, GENERIC[3:]]))


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0])
def test_second_derivatives_of_se3_exp(x64, angle):
    assert_derivatives(derivative_of_exp, np.concatenate([angle * AXIS, GENERIC[3:]]), rtol=1e-6)


def test_se3_exp_and_a_delta_agree_to_first_order(x64):
    derivative = assert_derivatives(sl.se3_exp, np.zeros(6))
    np.testing.assert_allclose(derivative, np.stack([generator(e) for e in np.eye(6)], axis=-1), atol=1e-14)


@pytest.mark.parametrize("angle", [*SMALL, 2.0, 3.0, 3.14])
def test_se3_log_inverts_se3_exp(x64, angle):
    xi = np.concatenate([angle * AXIS, GENERIC[3:]])
    np.testing.assert_allclose(se3_log(se3_exp(xi)), xi, rtol=1e-11, atol=1e-12)


def log_of_product(z):
    return sl.se3_log(sl.se3_exp(z[:6]) @ sl.se3_exp(z[6:]))


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0, np.pi - 1e-3])
def test_derivatives_of_se3_log_along_the_group(x64, angle):
    """Off the group a logarithm may continue as it likes; along it, exp is the way to move."""
    xi = np.concatenate([angle * AXIS, GENERIC[3:]])
    derivative = assert_derivatives(log_of_product, np.concatenate([xi, np.zeros(6)]), step=1e-6, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(derivative[:, :6], np.eye(6), atol=1e-8)  # log undoes exp
    assert_derivatives(log_of_product, np.concatenate([xi, -1e-3 * GENERIC]), step=1e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], AXIS, -AXIS, [0.6, 0, -0.8]])
@pytest.mark.parametrize("short_of_pi", [0.0, 1e-9, 1e-6, 1e-4])
def test_se3_log_near_half_a_turn(x64, axis, short_of_pi):
    xi = np.concatenate([(np.pi - short_of_pi) * np.asarray(axis, np.float64), GENERIC[3:]])
    T = scipy.linalg.expm(generator(xi))
    back = np.asarray(se3_log(T))
    np.testing.assert_allclose(np.linalg.norm(back[:3]), np.pi - short_of_pi, atol=1e-7)
    np.testing.assert_allclose(scipy.linalg.expm(generator(back)), T, atol=1e-7)
    assert np.isfinite(derivative_of_log(jnp.asarray(T))).all()


@given(vectors(6, 4.0))
@example(np.zeros(6))
@example(np.array([np.pi, 0, 0, 1, 2, 3]))
@example(np.array([0, 0, -3.1415925, 1, 2, 3]))
def test_exp_of_log_is_the_transform(xi):
    for x64, atol in ((True, 1e-7), (False, 5e-5)):
        with jax.enable_x64(x64):
            T = scipy.linalg.expm(generator(xi)).astype(np.float64 if x64 else np.float32)
            log = se3_log(T)
            assert np.linalg.norm(log[:3]) <= np.pi + 1e-5
            np.testing.assert_allclose(se3_exp(log), T, rtol=0, atol=atol)


def test_se3_eager_jit_and_vmap_agree():
    xi = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)), jnp.float32)
    T = jax.jit(jax.vmap(sl.se3_exp))(xi)
    back = jax.jit(jax.vmap(sl.se3_log))(T)
    assert T.dtype == jnp.float32 and back.dtype == jnp.float32
    np.testing.assert_allclose(back, xi, atol=2e-5)
    np.testing.assert_allclose(T[3], sl.se3_exp(xi[3]), atol=1e-6)
    np.testing.assert_allclose(T[3], se3_exp(xi[3]), atol=1e-6)
    np.testing.assert_allclose(back[3], sl.se3_log(T[3]), atol=1e-5)
    np.testing.assert_allclose(back[3], se3_log(T[3]), atol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (2, 6), ()])
def test_se3_exp_refuses(unchecked_types, shape):
    with pytest.raises(ValueError, match=r"\(6,?\)"):
        sl.se3_exp(jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (4,)])
def test_se3_log_refuses(unchecked_types, shape):
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        sl.se3_log(jnp.zeros(shape))
