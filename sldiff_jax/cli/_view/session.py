"""One object in one photo, whose pose is sought by hand and by refinement: what the page shows, without the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._refine.refinement import Refinement
from ..._scene.scene import Scene
from .._inputs import Inputs, check_plausible, rendered_depth
from .._output import staged
from .._photo_fit import PhotoFit
from .._pose_files import pose_document
from .._scores import pose_distance, score
from .._verdicts import explained

FILE = "pose.json"

Watch = Callable[[int, float], None]
"""Is told the number of the step and the lowest loss so far."""


Fit = Callable[..., PhotoFit]
"""`fit_photo` of inputs, the rendered depth of their start, and a ``callback``; all its other options are chosen."""


class Session:
    """Holds the pose. All but `stop` and `close` is for one thread."""

    def __init__(self, inputs: Inputs, fit: Fit, output: Path, settings: dict[str, Any]):
        self.inputs = inputs
        self.T_camera_object = inputs.T_camera_object
        self._fit, self._output, self._settings = fit, output, settings
        self._found: Refinement | None = None
        self._loss: dict[str, float] = {}
        self._stopped = self._closed = False

    def move(self, T_camera_object: Float[np.ndarray, "4 4"]) -> None:
        """Puts the object elsewhere, by hand."""
        self.T_camera_object = T_camera_object
        self._found, self._loss = None, {}

    def refine(self, watch: Watch) -> str:
        """Fits the pose from where it is, which `T_camera_object` follows; what came of it, in words.

        Raises:
            InputError: if nothing can be fitted from there. The pose is as it was.
        """
        self._stopped = False
        before = self.T_camera_object
        inputs = self.inputs._replace(T_camera_object=before, found=None)  # what a search left says nothing from here
        start = rendered_depth(inputs, before)
        check_plausible(inputs, start)

        def callback(step: int, best_loss: float, scene: Scene) -> bool:
            self.T_camera_object = np.asarray(scene.T_world_object[0], np.float64)
            watch(step, best_loss)
            return self._stopped or self._closed

        try:
            fitted = self._fit(inputs, start, callback=callback)
        except BaseException:
            self.T_camera_object = before
            raise
        self._found = fitted.refinement
        self.T_camera_object = np.asarray(self._found.scene.T_world_object[0], np.float64)
        self._loss = {"start": fitted.start_loss, "result": self._found.loss}
        said = f"{self._status()} after {len(self._found.loss_history)} steps, loss {fitted.start_loss:.4f} to "
        said += f"{self._found.loss:.4f}"
        return said if self._found.status.trusted else f"{said}: {explained(self._found)}"

    def stop(self) -> None:
        """Ends a refinement after the step at hand. From any thread."""
        self._stopped = True

    def close(self) -> None:
        """Ends this refinement and all later ones. From any thread."""
        self._closed = True

    def save(self) -> Path:
        """Writes pose.json, which ``sldiff-jax refine --pose`` reads, too.

        Raises:
            InputError: if it cannot be written.
        """
        document = self._document()
        with staged(self._output, (FILE,)) as folder:
            (folder / FILE).write_text(json.dumps(document, indent=2) + "\n")
        return self._output / FILE

    def _document(self) -> dict[str, Any]:
        inputs, T = self.inputs, self.T_camera_object
        depths = {"start": rendered_depth(inputs, inputs.T_camera_object), "result": rendered_depth(inputs, T)}
        scores = {name: score(depth, inputs.mask, inputs.depth) for name, depth in depths.items()}
        angle, moved = pose_distance(inputs.T_camera_object, T)
        return {
            **pose_document(T),
            "scores": {
                name: {
                    "loss": self._loss.get(name), "iou": one.iou, "median_abs_depth_residual_m": one.depth_residual,
                }
                for name, one in scores.items()
            },
            "moved": {"rotation_deg": angle, "translation_mm": moved},
            "status": self._status(),
            "doubts": [] if self._found is None else list(self._found.doubts),
            "settings": self._settings | {"metres_per_unit": inputs.scales},
        }  # fmt: skip

    def _status(self) -> str:
        return "by hand" if self._found is None else self._found.status.name.lower().replace("_", " ")
