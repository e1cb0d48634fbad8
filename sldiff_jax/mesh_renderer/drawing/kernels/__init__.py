"""Warp kernels. Imported by `launch` alone, on first use."""
