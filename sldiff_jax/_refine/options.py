"""What `refine_poses` is asked for: its options in one object, checked once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._gradients.rendering import DifferentiableRenderer
from .._images.observation import Observation
from .._losses.comparison import LossFunction
from .._losses.loss import Loss
from .._losses.pyramid import blurred
from .._scene.scene import Scene
from .._scene.transforms import is_concrete, to_jax
from .._scene.typing import PoseDeltas
from .descent import Method, Problem, Retraction
from .devices import Device, checked_devices
from .distinct import Symmetries
from .least_squares import GaussNewton, LevenbergMarquardt
from .refinement import Refinement, Stage

Callback = Callable[[int, float, Scene], bool | None]


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of `refine_poses`, which describes them, and starts beside those that were asked for.

    Raises:
        ValueError: if they contradict each other or what they are about.
    """

    scene: Scene
    observation: Observation
    renderer: DifferentiableRenderer
    loss: LossFunction
    optimizer: Method | None
    steps: int
    stages: Iterable[Stage] | None
    hypotheses: int
    spread: tuple[float, float]
    key: PRNGKeyArray | None
    starts: Float[ArrayLike, "starts objects 4 4"] | None
    retraction: Retraction
    rotation_unit: float
    translation_unit: ArrayLike | None
    tolerance: float
    callback: Callback | None
    resume: Refinement | None
    jit: bool
    devices: Sequence[Device] | None = None
    symmetries: Symmetries | None = None
    more_starts: Float[Array, "starts objects 4 4"] | None = None

    def __post_init__(self):
        object.__setattr__(self, "devices", checked_devices(self.devices, jit=self.jit))
        inputs = (self.scene, self.observation, self.renderer, self.loss, self.starts, self.translation_unit)
        if not is_concrete(*filter(eqx.is_array, jax.tree.leaves(inputs))):
            raise ValueError(
                "refine_poses compiles its own loop and looks at its numbers: call it outside of jit, vmap and grad. "
                "Within them, differentiate render."
            )
        if self.resume is not None and (self.stages is not None or self.starts is not None or self.hypotheses != 1):
            raise ValueError("resume goes on from where a refinement ended: leave out stages, starts and hypotheses.")
        if not self.plan:
            raise ValueError("stages must hold at least one Stage, got none.")
        for stage in self.plan:
            _check_stage(stage, self.loss_of(stage), stage.optimizer or self.optimizer)
        size = (self.scene.camera.height, self.scene.camera.width)
        if self.observation.size != size:
            raise ValueError(
                f"The observation is (height, width) = {self.observation.size}, the camera's image {size}. Resize the "
                "observation, or use camera.resized(width, height)."
            )
        if not (isinstance(self.hypotheses, int) and self.hypotheses > 0):
            raise ValueError(f"hypotheses must be a positive integer, got {self.hypotheses!r}.")
        if self.starts is not None and self.hypotheses != 1:
            raise ValueError("Give starts or hypotheses, not both: hypotheses draws starts around the scene's poses.")

        _check_symmetries(self.symmetries, len(self.scene.T_world_object))

    @property
    def plan(self) -> tuple[Stage, ...]:
        """The stages to run: for a refinement that is resumed, more of its last one and those not reached."""
        if self.resume is not None:
            state = self.resume.state
            return (dataclasses.replace(state.stage, steps=self.steps), *state.remaining)
        return (Stage(self.steps),) if self.stages is None else tuple(self.stages)

    def loss_of(self, stage: Stage) -> LossFunction:
        """What a stage minimises, but for its blur."""
        return self.loss if stage.loss is None else stage.loss

    def method_of(self, stage: Stage, number: int) -> Method:
        """How the stage of that number minimises it."""
        return stage.optimizer or self.optimizer or _default_optimizer(0.02 / 2**number, stage.steps)

    def problem_of(self, stage: Stage, unit: PoseDeltas) -> Problem:
        """What a stage minimises, with images of its size."""
        scene, observation = at_scale(self.scene, self.observation, stage.scale)
        loss = self.loss_of(stage)
        return Problem(
            scene=scene,
            observation=observation,
            renderer=self.renderer,
            loss=blurred(loss, stage.blur) if isinstance(loss, Loss) else loss,
            retraction=self.retraction,
            unit=unit,
            tolerance=self.tolerance,
            hold=to_jax(np.asarray(stage.hold), unit.dtype),
            devices=tuple(self.devices or ()),
        )


def _check_symmetries(symmetries: Symmetries | None, objects: int) -> None:
    if symmetries is None:
        return
    shapes = [None if turns is None else np.shape(turns) for turns in symmetries]
    if len(shapes) != objects or any(shape is not None and shape[1:] != (4, 4) for shape in shapes):
        raise ValueError(
            f"symmetries must hold, for each of the {objects} objects, an array (S, 4, 4) or None, got {shapes}."
        )


def _check_stage(stage: Stage, loss: LossFunction, method: Method | None) -> None:
    """Whether the parts fit together; no method stands for the default."""
    least_squares = isinstance(method, GaussNewton | LevenbergMarquardt)
    if not (method is None or least_squares or (hasattr(method, "init") and hasattr(method, "update"))):
        raise ValueError(
            "The optimizer must be GaussNewton(), LevenbergMarquardt() or one of optax's, such as optax.adam(0.02), "
            f"got {method!r}."
        )
    if (least_squares or stage.blur) and not isinstance(loss, Loss):
        what = type(method).__name__ if least_squares else "A stage with blur"
        raise ValueError(
            f"{what} needs a Loss, which has residuals, got {loss!r}. Compose one from the losses of this package, or "
            "make one with residual_loss; or use an optax optimiser without blur."
        )


def at_scale(scene: Scene, observation: Observation, scale: float) -> tuple[Scene, Observation]:
    """Both at another resolution, in units of the present one."""
    if scale == 1:
        return scene, observation
    camera = scene.camera
    width, height = max(1, round(scale * camera.width)), max(1, round(scale * camera.height))
    return dataclasses.replace(scene, camera=camera.resized(width, height)), observation.resized(width, height)


@functools.lru_cache(maxsize=64)
def _default_optimizer(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.05))
