"""The command `sldiff-jax`."""

from ._main import main as main
