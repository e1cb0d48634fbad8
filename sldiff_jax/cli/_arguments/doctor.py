"""What ``sldiff-jax doctor`` takes."""

from __future__ import annotations

import argparse

SUMMARY = "report what is installed, which devices JAX sees, and whether buffers cross to torch without a copy"
DESCRIPTION = "Reports versions and devices, and checks the boundary between torch and JAX."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares no options: there are none."""
