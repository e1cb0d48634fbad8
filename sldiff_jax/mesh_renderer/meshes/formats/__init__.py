"""Readers of mesh files, one per format, and what they share. They need NumPy and Pillow alone."""
