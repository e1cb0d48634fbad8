"""Warp kernels. Imported through `warp_calls` alone, on first use."""
