"""Compilation in little time, for files of which it takes most."""

import jax
import pytest


@pytest.fixture(scope="module")
def quick_compilation():
    """Programs are not optimised, and none is left to files that come later: they round otherwise."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
