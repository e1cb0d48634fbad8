"""Losses by name, as ``--loss`` takes them."""

from __future__ import annotations

import math
import re

from .._losses.colour import edge_loss, huber_loss, l1_loss, l2_loss, photometric_loss, zncc_loss
from .._losses.depth import depth_loss
from .._losses.loss import Loss
from .._losses.pyramid import pyramid
from .._losses.region import region_loss
from .._losses.silhouette import dice_loss, neg_iou_loss, silhouette_loss
from ._errors import InputError

LOSSES: dict[str, Loss] = {
    "l1": l1_loss,
    "l2": l2_loss,
    "huber": huber_loss,
    "photometric": photometric_loss,
    "zncc": zncc_loss,
    "edge": edge_loss,
    "region": region_loss,
    "depth": depth_loss,
    "silhouette": silhouette_loss,
    "dice": dice_loss,
    "neg_iou": neg_iou_loss,
}

PYRAMID_LEVELS = 3

TERM = re.compile(r"(?:(?P<factor>[^*]+)\*)?(?P<pyramid>pyramid:)?(?P<name>\w+)")


def parse_loss(text: str) -> Loss:
    """A weighted sum of losses and of their pyramids.

    Args:
        text: names of `LOSSES`, each perhaps with ``pyramid:`` in front, perhaps with a factor and ``*`` in front of
            that, joined by ``+``: ``"zncc+depth+3*silhouette"``, ``"pyramid:l1+silhouette"``.

    Returns:
        The loss. Pyramids have `PYRAMID_LEVELS` levels.

    Raises:
        InputError: if a term is not of this form, a name is unknown, or a factor is not a positive number.
    """
    first, *others = (_term(term.strip(), text) for term in text.split("+"))
    for other in others:
        first = first + other
    return first


def _term(term: str, text: str) -> Loss:
    match = TERM.fullmatch(term)
    if match is None or match["name"] not in LOSSES:
        raise InputError(
            f'--loss {text}: each term must be one of {", ".join(LOSSES)}, perhaps as "pyramid:zncc" or "3*depth", got '
            f'"{term}".'
        )
    loss = LOSSES[match["name"]]
    if match["pyramid"]:
        loss = pyramid(loss, PYRAMID_LEVELS)
    if match["factor"] is None:
        return loss
    try:
        factor = float(match["factor"])
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise InputError(f'--loss {text}: factors must be positive numbers, got "{match["factor"]}".')
    return factor * loss
