"""Refining poses together with the camera that saw them: `refine_camera`."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float

from .._gradients.black_box import BlackBox, differentiable
from .._gradients.pose_gradients import visible_objects
from .._gradients.rendering import DifferentiableRenderer, Renderer
from .._images.observation import Observation
from .._losses.comparison import LossFunction
from .._losses.default import default_loss
from .._losses.loss import Loss
from .._scene.poses import apply_twist
from .._scene.scene import Scene
from .._scene.transforms import in_default_dtype, is_concrete
from .._scene.typing import Transforms
from .descent import Method, Retraction
from .free_camera import (
    COUNTS,
    POWERS,
    Freed,
    JointEquations,
    JointProblem,
    checked_free,
    joint_equations,
    joint_gradient,
)
from .least_squares import GaussNewton, LevenbergMarquardt, damped_step
from .loop import compiled_for, first_buffers, first_look
from .record import distances
from .refinement import End, Status, judge_start
from .starts import check_comparable, check_visible, visible_diameters

Callback = Callable[[int, float, Scene], bool | None]


class CameraRefinement(eqx.Module):
    """The outcome of `refine_camera`: S evaluated steps, N objects.

    Attributes:
        scene: the scene with the best poses, and the camera that goes with them.
        loss: the loss there.
        status: how it ended.
        best_step: the step at which they were found.
        loss_history: (S,) float.
        T_world_object_history: (S, N, 4, 4) float, metres.
        intrinsics_history: (S, 4) float: fx, fy, cx, cy, pixels.
        distortion: (5,) float, the lens that goes with them, for `undistort`; None if there was none.
        distortion_history: (S, 5) float, likewise.
        seconds: wall-clock time, compilation included.
    """

    scene: Scene
    loss: float
    status: Status
    best_step: int
    loss_history: np.ndarray
    T_world_object_history: np.ndarray
    intrinsics_history: np.ndarray
    distortion: np.ndarray | None
    distortion_history: np.ndarray | None
    seconds: float


def refine_camera(
    scene: Scene,
    observation: Observation,
    renderer: Renderer | DifferentiableRenderer,
    *,
    free: str | Sequence[str] = "focal_length",
    distortion: ArrayLike | None = None,
    loss: LossFunction = default_loss,
    optimizer: Method | None = None,
    steps: int = 50,
    retraction: Retraction = apply_twist,
    rotation_unit: float = 1.0,
    translation_unit: ArrayLike | None = None,
    tolerance: float = 1e-5,
    callback: Callback | None = None,
    jit: bool = True,
) -> CameraRefinement:
    """Moves the objects of a scene and changes its camera's intrinsics until the rendering resembles an observation.

    For photos whose calibration is not known: from the web, zoomed, cropped. It goes on from a pose that is about
    right, such as `refine_poses` finds with the camera as it was guessed.

    One image of one object tells focal length and distance apart by perspective alone: by how much larger its near
    parts are. An object that is flat, or small against its distance, does not tell: then the loss has a long valley,
    along which the size in the image stays, and where in it a fit ends means little. Principal point and a sideways
    move that turns the object are harder still to tell apart: free it where there is depth. Objects at several
    distances help; so ask for no more than is needed.

    Args:
        scene: the scene; its poses and its camera are the start. N objects. All are moved jointly.
        observation: the images to explain, of the size of the camera.
        renderer: as for `refine_poses`. Least squares with a `DifferentiableRenderer` of one's own need a ``change``
            that takes a ``projection``.
        free: one or several of "focal_length" (one factor for fx and fy), "aspect" (a further factor for fy),
            "principal_point", and of a lens "k1", "k2", "p1", "p2", "k3" (see `undistort`). Factors are positive
            throughout: their logarithm is what is sought.
        distortion: (4,) or (5,) k1, k2, p1, p2, k3 of the lens through which the observation was seen, to begin with.
            Default: zeros if one of them is free, else none. What is compared is the observation as the pinhole camera
            would have seen it, sampled anew in every step.
        loss: as for `refine_poses`. Unknown exposure: `exposed`, or a loss that is blind to it, as the default is.
        optimizer: `LevenbergMarquardt` (default) or `GaussNewton`, with poses and camera coupled, or an optimiser of
            optax for all unknowns in one (M,) vector, each of the order of an angle.
        steps: how many iterates are evaluated at most.
        retraction: as for `refine_poses`.
        rotation_unit: as for `refine_poses`.
        translation_unit: as for `refine_poses`.
        tolerance: it has converged when a step is shorter: the angle, the way in units, the change of the focal
            length's logarithm, the shift of the principal point in focal lengths, all together.
        callback: called after every step with its number, the best loss so far, and the scene of this step, camera
            included. Returning True stops.
        jit: as for `refine_poses`.

    Returns:
        The `CameraRefinement`. The camera of a window (`crop_to_object`) is brought back to the whole image by
        ``camera.cropped(-left, -top, width, height)``.

    Raises:
        ValueError: if sizes or shapes do not fit, ``free`` or an option is not as described, an object is not visible
            at the start, or this is called under `jit`, `vmap` or `grad`.
    """
    began = time.perf_counter()
    scene, observation = in_default_dtype((scene, observation))
    free, method = checked_free(free), optimizer or LevenbergMarquardt()
    lens = _checked_lens(distortion, free)
    if lens is not None and observation.weight is None:
        observation = dataclasses.replace(observation, weight=jnp.ones(observation.size))
    drawn_with = differentiable(renderer)
    _check(scene, observation, drawn_with, loss, method, steps)
    T = scene.T_world_object
    results = first_buffers(drawn_with, jit, scene, T[None])
    check_visible(scene, results)
    check_comparable(observation, results)
    metres = visible_diameters(scene, results) if translation_unit is None else jnp.asarray(translation_unit, T.dtype)
    if not (rotation_unit > 0 and bool(jnp.all(metres > 0))):
        raise ValueError(f"Units must be positive, got rotation_unit={rotation_unit}, translation_unit={metres}.")
    columns = [jnp.full(len(T), rotation_unit, T.dtype)] * 3 + [jnp.broadcast_to(metres, len(T)).astype(T.dtype)] * 3
    if isinstance(loss, Loss) and loss.learns:
        _, look = first_look(drawn_with, jit, scene, T)
        loss = loss.prepared(look, observation)
    problem = JointProblem(scene, observation, drawn_with, loss, retraction, jnp.stack(columns, axis=-1), free, lens)
    step = _make_step(problem, method, jit)
    state = _begin(problem, method)
    history: list[_State] = []
    stopped = False
    for number in range(steps):
        state = jax.block_until_ready(step(state))
        history.append(state)
        best = min(float(one.evaluated.equations.loss) for one in history)
        if callback is not None:
            stopped = bool(callback(number, best, problem.at(state.evaluated.T_world_object, state.evaluated.freed)))
        if stopped or not float(state.length) >= tolerance or not bool(state.kept.visible):
            break
    return _outcome(problem, history, tolerance, stopped, time.perf_counter() - began)


def _checked_lens(distortion: ArrayLike | None, free: tuple[str, ...]) -> Float[Array, "5"] | None:
    """All five coefficients; None for no lens."""
    if distortion is None:
        return jnp.zeros(5) if set(free) & set(POWERS) else None
    values = np.asarray(distortion, float)
    if values.shape not in ((4,), (5,)) or not np.isfinite(values).all():
        raise ValueError(f"distortion must be (4,) or (5,) finite k1, k2, p1, p2, k3, got {values.tolist()}.")
    return jnp.asarray(np.pad(values, (0, 5 - len(values))), jnp.result_type(float))


def _check(
    scene: Scene,
    observation: Observation,
    renderer: DifferentiableRenderer,
    loss: LossFunction,
    method: Method,
    steps: int,
) -> None:
    if not is_concrete(*filter(eqx.is_array, jax.tree.leaves((scene, observation, renderer, loss)))):
        raise ValueError(
            "refine_camera compiles its own steps and looks at its numbers: call it outside of jit, vmap and grad. "
            "Within them, differentiate render."
        )
    size = (scene.camera.height, scene.camera.width)
    if observation.size != size:
        raise ValueError(
            f"The observation is (height, width) = {observation.size}, the camera's image {size}. Resize the "
            "observation, or use camera.resized(width, height)."
        )
    if not (isinstance(steps, int) and steps > 0):
        raise ValueError(f"steps must be a positive integer, got {steps!r}.")
    least_squares = isinstance(method, GaussNewton | LevenbergMarquardt)
    if not (least_squares or isinstance(method, optax.GradientTransformation)):
        raise ValueError(
            "The optimizer must be GaussNewton(), LevenbergMarquardt() or one of optax's, such as optax.adam(0.02), "
            f"got {method!r}."
        )
    if least_squares and not isinstance(loss, Loss):
        raise ValueError(
            f"{type(method).__name__} needs a Loss, which has residuals, got {loss!r}. Compose one from the losses of "
            "this package, or make one with residual_loss; or use an optax optimiser."
        )
    if least_squares and "projection" not in inspect.signature(renderer.change).parameters:
        raise ValueError(
            f"The method change of {type(renderer).__name__} takes no projection, of which least squares need the "
            "change of the images. Give it that keyword (see DifferentiableRenderer), or use an optimiser of optax."
        )


class _Point(NamedTuple):
    """Poses and camera, and the loss near them."""

    T_world_object: Transforms
    freed: Freed
    equations: JointEquations
    visible: Bool[Array, ""]


class _State(NamedTuple):
    """Where the loop is: what was evaluated, what of that is the best, and what comes next."""

    evaluated: _Point
    kept: _Point
    T_world_object: Transforms
    freed: Freed
    memory: Any
    length: Float[Array, ""]


def _begin(problem: JointProblem, method: Method) -> _State:
    T = problem.scene.T_world_object
    freed = jnp.zeros(sum(COUNTS[name] for name in problem.free), T.dtype)
    size = problem.unit.size + freed.size
    nothing = JointEquations(jnp.asarray(jnp.inf, T.dtype), jnp.zeros(size, T.dtype), jnp.zeros((size, size), T.dtype))
    point = _Point(T, freed, nothing, jnp.zeros((), bool))
    if isinstance(method, LevenbergMarquardt):
        memory = jnp.asarray(method.damping / method.decrease, T.dtype)  # the first evaluation counts as a success
    else:
        memory = None if isinstance(method, GaussNewton) else method.init(jnp.zeros(size, T.dtype))
    return _State(point, point, T, freed, memory, jnp.asarray(jnp.inf, T.dtype))


def _respond(problem: JointProblem, method: Method, state: _State, drawing: Any) -> _State:
    """One step, given what the renderer made of the next poses and camera."""
    T, freed = state.T_world_object, state.freed
    visible = jnp.all(visible_objects(problem.at(T, freed), problem.renderer.buffers(problem.at(T, freed), drawing)))
    model = joint_equations if isinstance(method, GaussNewton | LevenbergMarquardt) else joint_gradient
    equations = jax.tree.map(lambda x: x.astype(T.dtype), model(problem, T, freed, drawing))
    evaluated = kept = _Point(T, freed, equations, visible)
    memory = state.memory
    if isinstance(method, GaussNewton):
        step = damped_step(equations.gradient, equations.curvature, 0.0, method.max_step)
    elif isinstance(method, LevenbergMarquardt):
        better = (equations.loss < state.kept.equations.loss) & (visible | ~state.kept.visible)
        memory = jnp.maximum(memory * jnp.where(better, method.decrease, method.increase), 1e-7)
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), evaluated, state.kept)
        step = damped_step(kept.equations.gradient, kept.equations.curvature, memory, method.max_step)
    else:
        optimizer = optax.with_extra_args_support(method)
        step, memory = optimizer.update(equations.gradient, memory, jnp.zeros_like(equations.gradient))
        step = jnp.asarray(step)
    length = jnp.linalg.norm(step)
    # An optimiser whose schedule warms up has not converged by resting.
    length = jnp.where((length == 0) & jnp.any(equations.gradient != 0), jnp.inf, length)
    return _State(evaluated, kept, *problem.moved(kept.T_world_object, kept.freed, step), memory, length)


def _advance(problem: JointProblem, method: Method, state: _State) -> _State:
    return _respond(problem, method, state, problem.renderer.draw(problem.at(state.T_world_object, state.freed)))


def _make_step(problem: JointProblem, method: Method, jit: bool) -> Callable[[_State], _State]:
    """One step, compiled; with the renderer left out if it cannot be."""
    if jit:
        advance = compiled_for(_advance, problem.loss, problem.renderer)
        return lambda state: advance(problem, method, state)
    renderer = problem.renderer
    rest = dataclasses.replace(problem, renderer=BlackBox(None)) if isinstance(renderer, BlackBox) else problem
    respond = compiled_for(_respond, rest.loss, rest.renderer)
    return lambda state: respond(
        rest, method, state, renderer.draw(rest.at(state.T_world_object, state.freed))
    )  # fmt: skip


def _outcome(
    problem: JointProblem, history: list[_State], tolerance: float, stopped: bool, seconds: float
) -> CameraRefinement:
    points = [state.evaluated for state in history]
    losses = np.array([float(point.equations.loss) for point in points])
    ranks = np.where([bool(point.visible) for point in points], np.nan_to_num(losses, nan=np.inf), np.inf)
    best = int(np.argmin(ranks))
    scenes = [problem.at(point.T_world_object, point.freed) for point in points]
    lenses = None
    if problem.distortion is not None:
        lenses = np.stack([np.asarray(problem.lens(point.freed)) for point in points])
    last, first = history[-1], points[0]
    model = last.kept.equations
    newton = np.inf
    if np.any(model.curvature):
        newton = float(jnp.linalg.norm(damped_step(model.gradient, model.curvature, 0.0, np.inf)))
    moved = distances(
        *(np.asarray(x) for x in (first.T_world_object[None], last.kept.T_world_object[None], problem.unit))
    )
    end = End(
        start_loss=losses[0], last=float(last.kept.equations.loss), visible=bool(last.kept.visible),
        length=float(last.length), longest=np.inf, newton=newton, pull=float(jnp.linalg.norm(model.gradient)),
        moved=max(float(moved[0]), float(jnp.max(jnp.abs(last.kept.freed)))),
    )  # fmt: skip
    return CameraRefinement(
        scene=scenes[best],
        loss=float(losses[best]),
        status=judge_start(losses, end, tolerance=tolerance, stopped=stopped),
        best_step=best,
        loss_history=losses,
        T_world_object_history=np.stack([np.asarray(point.T_world_object) for point in points]),
        intrinsics_history=np.stack([np.asarray(one.camera.intrinsics) for one in scenes]),
        distortion=None if lenses is None else lenses[best],
        distortion_history=lenses,
        seconds=seconds,
    )
