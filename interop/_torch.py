"""torch, or an error that says how to get it."""

try:
    import torch as torch
except ImportError as error:
    raise ImportError(
        "This part of `interop` needs torch, which is not installed: pip install 'sldiff-jax[torch]'."
    ) from error
