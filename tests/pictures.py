"""Figures as the pixels that a reader sees."""

import io

import numpy as np
from PIL import Image


def pixels_of(figure) -> np.ndarray:
    """(H, W, 3) uint8."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi)
    return np.asarray(Image.open(file).convert("RGB"))
