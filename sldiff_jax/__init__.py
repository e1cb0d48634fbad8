"""Differentiable rendering for 6-DoF object poses in JAX."""

import lazy_loader

# The public names are those of __init__.pyi. Each is imported when it is first used, and JAX with the first of them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
