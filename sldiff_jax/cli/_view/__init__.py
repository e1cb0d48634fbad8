"""The page of ``sldiff-jax view``."""
