"""Running the steps of `descent`: compiled in one go, step by step for a callback, or around an eager renderer."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._gradients.black_box import BlackBox
from .._gradients.rendering import DifferentiableRenderer, Rendering
from .._losses.comparison import LossFunction
from .._scene.render_result import RenderResult
from .._scene.scene import Scene
from .._scene.transforms import to_jax
from .._scene.typing import Transforms
from .compiled import Program, kept_program, program
from .covariance import gradient_scatter, scatter_of_drawing
from .descent import Method, Problem, Progress, advance, batched, draw, respond, with_poses
from .memory import check_fits

Loop = Callable[[Progress, int], Progress]
"""Goes on until that many steps were made in all, or nothing can improve."""


class Timing(NamedTuple):
    """Wall-clock time of a loop, seconds."""

    seconds: float
    seconds_per_step: float


def first_buffers(
    renderer: DifferentiableRenderer, jit: bool, scene: Scene, T_world_object: Float[Array, "starts objects 4 4"]
) -> RenderResult:
    """The buffers of every start, stacked."""
    if not jit:
        drawings = _draw_one_by_one(renderer, scene, T_world_object)
        return _stack([renderer.buffers(scene, drawing) for drawing in drawings])
    compiled = compiled_for(_buffers, renderer)
    with _says_what_cannot_be_traced():
        _check_fits(compiled, (renderer, scene, T_world_object), renderer, scene, len(T_world_object))
        return compiled(renderer, scene, T_world_object)


def first_look(
    renderer: DifferentiableRenderer, jit: bool, scene: Scene, T_world_object: Transforms
) -> tuple[RenderResult, Rendering]:
    """The buffers and images of one start."""
    with _says_what_cannot_be_traced():
        return (compiled_for(_look, renderer) if jit else _look)(renderer, with_poses(scene, T_world_object))


@contextlib.contextmanager
def _says_what_cannot_be_traced() -> Iterator[None]:
    try:
        yield
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            "This renderer looks at values that are not there while JAX traces it. Leave it out of what is compiled: "
            "refine_poses(..., jit=False)."
        ) from error


def scatter_at(problem: Problem, jit: bool, T_world_object: Transforms) -> Float[Array, "objects 6 6"]:
    """See `gradient_scatter`."""
    renderer = problem.renderer
    if jit:
        return compiled_for(scatter_of_drawing, problem.loss, renderer)(problem, T_world_object)
    drawing = renderer.draw(with_poses(problem.scene, T_world_object))
    rest = dataclasses.replace(problem, renderer=BlackBox(None)) if isinstance(renderer, BlackBox) else problem
    return compiled_for(gradient_scatter, rest.loss, rest.renderer)(rest, T_world_object, drawing)


def _look(renderer: DifferentiableRenderer, scene: Scene) -> tuple[RenderResult, Rendering]:
    drawing = renderer.draw(scene)
    return renderer.buffers(scene, drawing), renderer.images(scene, drawing)


def _buffers(renderer: DifferentiableRenderer, scene: Scene, T: Float[Array, "starts objects 4 4"]) -> RenderResult:
    return batched(lambda drawing: renderer.buffers(scene, drawing), len(T))(draw(renderer, scene, T))


def _draw_one_by_one(
    renderer: DifferentiableRenderer, scene: Scene, T: Float[Array, "starts objects 4 4"]
) -> list[Any]:
    return [renderer.draw(with_poses(scene, T_one)) for T_one in T]


def _stack(drawings: list[Any]) -> Any:
    return jax.tree.map(lambda *x: jnp.stack(x), *drawings)


def _respond_to(problem: Problem, method: Method, progress: Progress, drawings: list[Any]) -> Progress:
    """The drawings are stacked in here, where XLA does it without a copy if there is only one."""
    return respond(problem, method, progress, _stack(drawings))


def compiled_for(function: Callable, *parts: LossFunction | DifferentiableRenderer) -> Program:
    """The function, compiled; kept for the next call if the parts are data.

    Data are pytrees, as `Loss`, `MeshRenderer` and every `equinox.Module`: they do not change. What a plain function
    or object refers to may change between two calls of `refine_poses`, which must then trace it again.
    """
    inside = [part.renderer if isinstance(part, BlackBox) else part for part in parts]
    data = not any(jax.tree_util.all_leaves([part]) for part in inside)
    return kept_program(function) if data else program(function)


def _check_fits(
    compiled: Program, args: tuple[Any, ...], renderer: DifferentiableRenderer, scene: Scene, starts: int
) -> None:
    check_fits(compiled, args, scene, starts, getattr(renderer, "supersample", 1))


_active = jax.jit(Progress.active)


def make_loop(problem: Problem, method: Method, jit: bool) -> Loop:
    """The loop over steps. What is compiled serves again in the next call with the same kind of problem.

    Only where loss and renderer are data is it kept, and no longer than the functions in them live; with plain
    functions and objects, it goes with the loop.
    """
    renderer = problem.renderer
    if jit:
        compiled = compiled_for(advance, problem.loss, renderer)
        checked = False

        def compiled_loop(progress: Progress, until: int) -> Progress:
            nonlocal checked
            args = (problem, method, progress, to_jax(np.asarray(until)))
            if not checked:
                _check_fits(compiled, args, renderer, problem.scene, len(progress.T_world_object))
                checked = True
            return compiled(*args)

        return compiled_loop

    # A black box stays outside of what is compiled.
    rest = dataclasses.replace(problem, renderer=BlackBox(None)) if isinstance(renderer, BlackBox) else problem
    step = compiled_for(_respond_to, rest.loss, rest.renderer)

    def loop(progress: Progress, until: int) -> Progress:
        while progress.step < until and progress.active(rest.tolerance):
            drawings = _draw_one_by_one(renderer, rest.scene, progress.T_world_object)
            progress = step(rest, method, progress, drawings)
        return progress

    return loop


def run(
    loop: Loop, progress: Progress, tolerance: float, report: Callable[[Progress], bool] | None
) -> tuple[Progress, bool, Timing]:
    """Runs a loop to its end, or until `report`, called after every step, returns True.

    Returns:
        The last state, whether `report` stopped it, and the times. The first step is made alone, so that compilation
        stays out of the time per step.
    """
    began = time.perf_counter()
    until = len(progress.losses)
    first, stopped = int(progress.step), False
    after_first = began
    target = first + 1
    while target <= until:
        before = int(progress.step)
        progress = jax.block_until_ready(loop(progress, target))
        if int(progress.step) == before:
            break
        if target == first + 1:
            after_first = time.perf_counter()
        if report is not None and report(progress):
            stopped = True
            break
        if target == until or not bool(_active(progress, tolerance)):
            break
        target = until if report is None else target + 1
    ended = time.perf_counter()
    more = int(progress.step) - first - 1
    per_step = (ended - after_first) / more if more > 0 else ended - began
    return progress, stopped, Timing(ended - began, per_step)
