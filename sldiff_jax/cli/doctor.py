"""``sldiff-jax doctor``: what is installed and what works."""

from __future__ import annotations

import argparse
import importlib
import platform

from ._compilation_cache import cache_state
from ._versions import installed_version


def run(options: argparse.Namespace) -> int:
    """Runs the checks of the torch boundary, which sldiff_jax itself must not import.

    Returns:
        The exit code of those checks; 1 if they cannot be loaded.
    """
    print(compiled_programs())
    try:
        doctor = importlib.import_module("interop.doctor")
    except ImportError as error:
        _report_without_torch(error)
        return 1
    return doctor.main()


def compiled_programs() -> str:
    """A line about the compilation cache."""
    state = cache_state()
    text = f"not kept, for {state.reason}" if state.folder is None else f"{state.folder}, {1e-6 * state.bytes:.1f} MB"
    return f"{'note' if state.folder is None else 'ok':7}compiled programs: {text}"


def _report_without_torch(error: ImportError) -> None:
    import jax

    print(f"Python {platform.python_version()} on {platform.platform()}")
    for package in ("sldiff-jax", "jax", "jaxlib", "warp-lang", "optax", "equinox", "torch"):
        print(f"{package}: {installed_version(package)}")
    print(f"JAX devices: {', '.join(str(device) for device in jax.devices())}")
    print(f"The torch boundary was not checked, for it cannot be loaded: {error}")
    print("If torch is missing: pip install 'sldiff-jax[torch]'. The core works without it.")
