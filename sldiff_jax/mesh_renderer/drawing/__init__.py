"""Drawing meshes: Warp kernels, their launches, shading, the renderer."""
