"""A colour scale for signed numbers that colour-blind readers and grey prints keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

# Dark blue, grey, pale yellow. Most diverging scales darken to both sides: in grey the sign is lost. This one grows
# lighter all the way, evenly in OKLab, and blue against yellow is what most colour-blind readers see best.
_COLORS = ("#0a145e", "#17308f", "#3961a8", "#7a8dac", "#a9a9a9", "#dab789", "#fdc864", "#ffe66f", "#fffec5")


def diverging_colors() -> Colormap:
    """Negative numbers dark blue, zero grey, positive ones pale yellow, what is not finite white."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("blue_grey_yellow", _COLORS).with_extremes(bad="white")


def symmetric_limit(values: Float[ArrayLike, "..."], percentile: float = 98.0) -> float:
    """End of a scale centred at zero: few pixels of an outline must not leave the others pale.

    Args:
        values: floats of any shape. Zeros and what is not finite do not count.
        percentile: of the absolute values that lies at the end of the scale.

    Returns:
        A positive number; 1 if nothing counts.
    """
    values = np.asarray(values)
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.percentile(sizes, percentile)) if sizes.size else 1.0
