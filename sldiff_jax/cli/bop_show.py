"""``sldiff-jax bop show``: estimated poses drawn into an image."""

from __future__ import annotations

import argparse

import numpy as np
from jaxtyping import UInt8

from .._scene.scene import Scene
from ..bop import Dataset, Estimate, Frame, read_estimates
from ..mesh_renderer import MeshRenderer
from ..visualize import BLUE, ORANGE, overlay, panels
from ._bop_common import open_dataset, reporting
from ._errors import InputError
from ._output import check_output
from ._pictures import check_matplotlib


def run(options: argparse.Namespace) -> int:
    """Reads, draws and writes."""
    check_output(options.output.parent)
    check_matplotlib()
    with reporting():
        dataset = open_dataset(options.dataset, options.split, options.results)
        results = read_estimates(options.results)
        files = {} if options.before is None else {"before": (read_estimates(options.before), ORANGE)}
        files["result"] = (results, BLUE)
        counts = {ids: sum(e[:2] == ids for e in results) for ids in dict.fromkeys(e[:2] for e in results)}
        ids = max(counts, key=lambda ids: counts[ids]) if options.image is None else tuple(options.image)
        if ids not in dataset:
            raise InputError(f"{options.dataset} has no scene {ids[0]}, image {ids[1]}.")
        frame = dataset.frame(*ids)
        photo = frame.rgb
        if photo is None:
            raise InputError(f"There is no colour image of {frame.name}.")
        drawn = [
            _outlined(photo, frame, dataset, [e for e in estimates if e[:2] == ids], color)
            for estimates, color in files.values()
        ]
    figure = panels(drawn, list(files))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=figure.dpi)
    print(f"{frame.name} is drawn in {options.output}")
    return 0


def _outlined(
    photo: UInt8[np.ndarray, "height width 3"], frame: Frame, dataset: Dataset, estimates: list[Estimate], color
) -> UInt8[np.ndarray, "rows columns 3"]:  # fmt: skip
    camera = frame.camera_at_origin
    camera = camera.resized(2 * camera.width, 2 * camera.height)  # outlines finer than pixels
    for estimate in estimates:
        renderer = MeshRenderer([dataset.models.mesh(estimate.object_id)], buffers="core")
        scene = Scene(estimate.T_camera_object[None].astype(np.float32), camera)
        photo = overlay(photo, np.asarray(renderer(scene).instance_index) > 0, color=color, line_width=2)
    return photo
