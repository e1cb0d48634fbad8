"""Forward mode = reverse mode = central differences, on the whole Jacobian."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def central_jacobian(function, x, step: float):
    """Jacobian of ``function`` at ``x`` by central differences, laid out as `jax.jacfwd` does."""
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape) * step
    columns = jax.vmap(lambda e: (function(x + e) - function(x - e)) / (2 * step))(basis)
    return jnp.moveaxis(columns, 0, -1).reshape(*columns.shape[1:], *x.shape)


QUICK_COMPILATION = {"xla_backend_optimization_level": 0}
"""For `jax.jit`, where a function runs only a few times: compiling it is what takes the time."""


@functools.cache
def _jacobians(function):
    """One compiled function for all points at which ``function`` is checked."""

    def jacobians(x, step):
        return jax.jacfwd(function)(x), jax.jacrev(function)(x), central_jacobian(function, x, step)

    return jax.jit(jacobians, compiler_options=QUICK_COMPILATION)


def assert_derivatives(function, x, *, step: float = 1e-5, rtol: float = 1e-7, atol: float = 1e-8) -> np.ndarray:
    """The three Jacobians of ``function`` at ``x`` are finite and agree; returns one. Needs x64."""
    x = jnp.asarray(x, jnp.float64)
    assert x.dtype == jnp.float64, "derivative checks need x64"
    forward, reverse, numerical = (np.asarray(jacobian) for jacobian in _jacobians(function)(x, step))
    assert np.isfinite(forward).all() and np.isfinite(reverse).all()
    scale = max(1.0, float(np.abs(numerical).max(initial=0.0)))
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-10 * scale)
    np.testing.assert_allclose(forward, numerical, rtol=rtol, atol=atol * scale)
    return reverse
