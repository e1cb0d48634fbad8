"""The torch boundary of sldiff_jax: the only place that imports torch or stillleben."""
