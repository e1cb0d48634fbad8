"""What `refine_poses` compiles: when it serves again, and that it goes with what it was compiled for."""

import functools
import gc
import os
import pathlib
import threading
import weakref

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sldiff_jax as sl
from sldiff_jax._refine import compiled
from sldiff_jax._refine.compiled import kept_program, program

HEIGHT, WIDTH = 3, 4
SCENE = sl.Scene(jnp.eye(4).at[2, 3].set(1.0)[None], sl.Camera.from_fov(0.6, width=WIDTH, height=HEIGHT))
SEEN = sl.Observation(depth=np.full((HEIGHT, WIDTH), 0.9, np.float32))
DESCENT = optax.sgd(0.1)


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(autouse=True)
def none_kept(monkeypatch):
    """Programs of this test alone."""
    monkeypatch.setattr(compiled, "_kept", type(compiled._kept)())
    return compiled._kept


class Holder(eqx.Module):
    """Data that hold a function, an option and an array."""

    function: object
    scale: float
    offset: object
    name: object = eqx.field(static=True, default=None)


def traced(count: list, holder: Holder, x):
    count.append(None)
    return holder.function(x) * holder.scale + holder.offset


def double(x):
    return 2 * x


@pytest.mark.parametrize("make", [program, kept_program])
def test_arrays_are_traced_and_all_else_is_part_of_the_program(make):
    count = []
    run = make(functools.partial(traced, count))
    for x in (1.0, 2.0):
        result = run(Holder(double, 3.0, np.float32(x)), jnp.asarray(x))
        np.testing.assert_allclose(result, 7 * x)
    assert len(count) == 1
    np.testing.assert_allclose(run(Holder(double, 3.0, jnp.ones(2)), jnp.ones(2)), [7, 7])  # another shape
    assert len(count) == 2


def test_a_kept_program_is_found_again_by_value_and_identity():
    count = []
    function = functools.partial(traced, count)

    def run(*args, x=1.0, **options):
        return float(kept_program(function)(Holder(*args, jnp.asarray(0.0), **options), jnp.asarray(x)))

    def triple(x):
        return 3 * x

    assert [run(double, 3.0), run(double, 3.0), len(count)] == [6, 6, 1]
    assert [run(triple, 3.0), run(triple, 3.0), len(count)] == [9, 9, 2]
    assert [run(double, 4.0), len(count)] == [8, 3]
    assert [run(double, 1.0), run(double, 1), run(double, True), len(count)] == [2, 2, 2, 6]  # equal, of other types
    assert [run(double, 1.0, name="b"), run(double, 1.0, name="b"), len(count)] == [2, 2, 7]
    assert [run(double, 1.0, name=(triple, "b")), run(double, 1.0, name=(double, "b")), len(count)] == [2, 2, 9]


@pytest.mark.parametrize("where", ["leaf", "static", "nested in a static field"])
def test_a_program_goes_with_the_function_that_it_was_compiled_for(where, none_kept):
    count = []

    def call():
        def own(x):
            return x + 1

        options = {"static": {"name": own}, "nested in a static field": {"name": {"a": (own, 1)}}}.get(where, {})
        holder = Holder(own if where == "leaf" else double, 1.0, 0.0, **options)
        for _ in range(2):
            kept_program(function)(holder, jnp.ones(()))
        return weakref.ref(own)

    function = functools.partial(traced, count)
    reference = call()
    gc.collect()
    assert reference() is None and len(count) == 1
    assert not none_kept


def test_only_so_many_programs_are_kept(none_kept, monkeypatch):
    monkeypatch.setattr(compiled, "ROOM", 3)
    count = []
    run = kept_program(functools.partial(traced, count))
    for scale in (1.0, 2.0, 3.0, 1.0, 4.0, 1.0):
        run(Holder(double, scale, 0.0), jnp.ones(()))
    assert len(none_kept) == 3 and len(count) == 4  # 1.0 was used last each time
    run(Holder(double, 2.0, 0.0), jnp.ones(()))
    assert len(count) == 5


def test_constants_without_a_hash_are_compiled_for_one_loop(none_kept):
    count = []
    function = functools.partial(traced, count)
    for offset in (1.0, 2.0):
        run = kept_program(function)
        for _ in range(2):
            assert run(Holder(double, 1.0, 0.0, name={offset}), jnp.ones(())) == 2
    assert len(count) == 2 and not none_kept


def test_threads_do_not_mix_their_constants():
    run, start, results = program(lambda f, x: f(x)), threading.Barrier(2), {}

    def work(number):
        start.wait()
        results[number] = [
            float(run(double, jnp.ones(size)).sum()) for size in range(1 + 20 * number, 15 + 20 * number)
        ]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert results == {number: [2.0 * size for size in range(1 + 20 * number, 15 + 20 * number)] for number in range(2)}


# --- in refine_poses --------------------------------------------------------------------------------------------------


class Sheet:
    """Draws the first object as a sheet that fills the image; no data."""

    def __call__(self, scene: sl.Scene) -> sl.RenderResult:
        z = jnp.broadcast_to(scene.T_camera_object[0, 2, 3], (HEIGHT, WIDTH))
        nothing = jnp.zeros_like(z)
        return sl.RenderResult(
            rgb=jnp.zeros((HEIGHT, WIDTH, 4)),
            coord_depth=jnp.stack([nothing, nothing, nothing, z], axis=-1),
            instance_index=jnp.ones((HEIGHT, WIDTH), jnp.int16),
        )


class SheetData(eqx.Module):
    """The same as data."""

    draw: object = eqx.field(static=True)

    def __call__(self, scene: sl.Scene) -> sl.RenderResult:
        return self.draw(scene)


@jax.tree_util.register_pytree_node_class
class Named(Sheet):
    """Data without arrays that equal themselves alone and are held weakly, as interop's StilllebenRenderer."""

    def tree_flatten(self):
        return (), weakref.ref(self)

    @classmethod
    def tree_unflatten(cls, reference, children):
        return reference()


def refine(renderer, loss, **options) -> sl.Refinement:
    options = {"optimizer": DESCENT, "steps": 1, "translation_unit": 1.0} | options
    return sl.refine_poses(SCENE, SEEN, renderer, loss=loss, **options)


def own_function():
    def loss(rendering, observation):
        return jnp.mean((rendering.depth - observation.depth) ** 2)

    return loss, [loss]


def own_loss():
    of_residuals = sl.residual_loss(lambda r, o: sl.Residuals(r.depth - o.depth, 1 / o.depth.size))
    return 2 * of_residuals, [of_residuals, of_residuals.function]


RENDERERS = {
    "plain": lambda: (Sheet(), []),
    "data": lambda: (SheetData(own := Sheet()), [own]),
    "weak": lambda: (Named(), []),
}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("loss", [own_function, own_loss])
@pytest.mark.parametrize("jit", [True, False])
def test_what_it_was_called_with_does_not_stay(renderer, loss, jit, none_kept):
    def call() -> list[weakref.ref]:
        (draw, in_it), (objective, in_objective), method = RENDERERS[renderer](), loss(), optax.sgd(0.1)
        refine(draw, objective, optimizer=method, jit=jit)
        return [weakref.ref(one) for one in (draw, objective, method.update, *in_it, *in_objective)]

    references = call()
    gc.collect()
    assert [reference() for reference in references if reference() is not None] == []
    assert not none_kept


def test_what_a_callback_holds_goes_when_there_is_no_more_room(monkeypatch, none_kept):
    monkeypatch.setattr(compiled, "ROOM", 1)

    class Calls(eqx.Module):
        renderer: object = eqx.field(static=True)

        def __call__(self, scene):
            def ask(z, renderer=self.renderer):
                return z

            result = Sheet()(scene)
            z = result.coord_depth[..., 3]
            return eqx.tree_at(
                lambda r: r.coord_depth,
                result,
                result.coord_depth.at[..., 3].set(jax.pure_callback(ask, z, z, vmap_method="sequential")),
            )

    def call():
        held = Sheet()
        refine(Calls(held), sl.depth_loss)
        return weakref.ref(held)

    references = [call() for _ in range(3)]
    gc.collect()
    assert sum(reference() is not None for reference in references) <= 1


@pytest.mark.parametrize("renderer", ["data", "weak"])
def test_a_second_call_with_the_same_renderer_compiles_nothing(renderer):
    traces = []

    @sl.residual_loss
    def counted(rendering, observation):
        traces.append(None)
        return sl.Residuals(rendering.depth - observation.depth, 1 / rendering.depth.size)

    draw, _ = RENDERERS[renderer]()
    first = refine(draw, counted)
    count = len(traces)
    assert count > 0
    assert refine(draw, counted).loss == first.loss and len(traces) == count
    refine(RENDERERS[renderer]()[0], counted)  # another one
    assert len(traces) == 2 * count


def test_what_a_plain_function_refers_to_may_change():
    target = 0.9

    def loss(rendering, observation):
        return jnp.mean((rendering.depth - target) ** 2)

    assert abs(refine(Sheet(), loss).loss - 0.01) < 1e-5
    target = 0.8
    assert abs(refine(Sheet(), loss).loss - 0.04) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="counts memory mappings in /proc")
def test_80_calls_do_not_grow():
    """Each used to leave 11 to 25 MB and some 400 of the 65,530 memory mappings that Linux allows a process."""
    references = []

    def call():
        def loss(rendering, observation):
            return jnp.sum(observation.depth)  # of the observation alone: there is little to compile

        draw = Sheet()
        refine(draw, loss)
        references.extend(weakref.ref(one) for one in (draw, loss))

    for _ in range(20):
        call()
    gc.collect()
    mappings, resident = memory()
    for _ in range(60):
        call()
    gc.collect()
    assert sum(reference() is not None for reference in references) == 0
    mappings_after, resident_after = memory()
    assert mappings_after - mappings < 400, (mappings, mappings_after)
    assert resident_after - resident < 100e6, (resident, resident_after)


def memory() -> tuple[int, int]:
    """Memory mappings of this process, and its bytes in RAM."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return len(pathlib.Path("/proc/self/maps").read_text().splitlines()), pages * os.sysconf("SC_PAGE_SIZE")
