"""A setting with which XLA compiles programs for a CPU in less time; they run as fast."""

from __future__ import annotations

import os
import sys

from ._versions import installed_version

FLAGS = "XLA_FLAGS"
EMITTERS = "xla_cpu_use_fusion_emitters"
KNOWN = ("0.10.2",)
"""Releases of jaxlib that were seen to take it; 0.12 does not. XLA ends a process whose flags it does not know."""


def compile_quickly() -> None:
    """Chooses the setting in this process and those that it starts, if the user did not.

    Where JAX is there already it would come too late for this process, and make those that it starts compute otherwise.
    """
    flags = os.environ.get(FLAGS, "")
    if "jax" in sys.modules or EMITTERS in flags or installed_version("jaxlib") not in KNOWN:
        return
    os.environ[FLAGS] = f"{flags} --{EMITTERS}=false".strip()
