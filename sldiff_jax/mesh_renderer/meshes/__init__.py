"""Meshes: files, materials, normals, shapes. Needs no renderer."""
