"""How programs with a `StilllebenRenderer` end: with their own exit status, on a stand-in that aborts where the real
library does."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import pathlib
import signal
import textwrap

from processes import python_after, try_python

HERE = pathlib.Path(__file__).resolve().parent
START = f"""
import gc, os, sys, threading, time, atexit
sys.path[:0] = [{str(HERE.parent)!r}, {str(HERE)!r}]
import jax
from aborting_stillleben import install, stage
stillleben, module = install()
build = module.StilllebenRenderer.build
make = lambda: stage(stillleben)
"""


@pytest.fixture(scope="module")
def end_of():
    """Runs code after `START`: exit status and what was printed."""
    with python_after(START) as run:
        yield run


ENDS = {
    "a renderer lives": ("renderer = build(make); renderer(renderer.scene())", 0),
    "no renderer lives any more": ("renderer = build(make); renderer(renderer.scene()); del renderer; gc.collect()", 0),
    "two renderers and their compiled programs live": (
        """
        first, second = build(make), build(lambda: make()[0])
        programs = [jax.jit(first), jax.jit(lambda scene: second(scene))]
        kept = [jax.block_until_ready(program(first.scene())) for program in programs]
        """,
        0,
    ),
    "sys.exit": ("renderer = build(make); sys.exit(3)", 3),
    "sys.exit in the factory": ("build(lambda: (make(), sys.exit(4)))", 4),
    "an exception": ("renderer = build(make); raise KeyError('of the program')", 1),
    "an exception of the factory": ("build(lambda: make()[0].ambient_lihgt)", 1),
    "an exception of the renderer": ("renderer = build(make); renderer(None)", 1),
    "ctrl-c": ("renderer = build(make); raise KeyboardInterrupt", -signal.SIGINT),
    "a jitted render runs": (
        """
        render = stillleben.RenderPass.render
        stillleben.RenderPass.render = lambda *args: (time.sleep(1), render(*args))[1]
        renderer = build(make)
        program = jax.jit(lambda scene: jax.lax.map(lambda _: renderer(scene), jax.numpy.arange(3)))
        scene = renderer.scene()
        compiled = program.lower(scene).compile()
        result = compiled(scene)
        """,
        0,
    ),
    "a jitted render runs whose result nobody has": (
        """
        render = stillleben.RenderPass.render
        stillleben.RenderPass.render = lambda *args: (time.sleep(1), render(*args))[1]
        renderer = build(make)
        jax.jit(renderer).lower(renderer.scene()).compile()(renderer.scene())
        """,
        0,
    ),
    "a daemon renders": (
        """
        renderer = build(make)
        scene = renderer.scene()

        def work():
            while True:
                renderer(scene)

        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        """,
        0,
    ),
    "meshes in a thread_cache": (
        """
        from interop.stillleben import thread_cache

        @thread_cache
        def mesh(seed):
            return stillleben.Mesh((0.1, 0.1, 0.1), seed=seed)

        def factory():
            scene = stillleben.Scene((16, 12))
            for seed in range(2):
                scene.add_object(stillleben.Object(mesh(seed)))
            return scene

        renderers = [build(factory) for _ in range(2)]
        del renderers[0]
        """,
        0,
    ),
    "renders of exit handlers": (
        """
        def late():
            try:
                renderer(scene)
            except RuntimeError as error:
                assert "shutting down" in str(error), error
            else:
                os._exit(7)

        atexit.register(late)  # called after that of the library
        renderer = build(make)
        scene = renderer.scene()
        atexit.register(lambda: renderer(scene))
        """,
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_a_program_ends_with_its_own_exit_status(end_of, case):
    code, expected = ENDS[case]
    status, output = end_of(code)
    assert status == expected, (status, output)
    assert "Fatal" not in output


def test_a_program_that_was_not_forked_does_so_too():
    done = try_python(START + "renderer = build(make)\nrenderer(renderer.scene())\nsys.exit(3)")
    assert done.returncode == 3, done.stderr


CHILDREN = {"exits": ("sys.exit(5)", 5), "exits at once": ("os._exit(5)", 5), "asks": ("renderer.scene()", 1),
            "builds": ("build(make)", 1)}  # fmt: skip


@pytest.mark.parametrize("lives", [True, False], ids=["a renderer lives", "none does"])
@pytest.mark.parametrize("child", CHILDREN)
def test_so_do_forked_processes(end_of, child, lives):
    """Without arrays of JAX: a forked process that had some ends with a segmentation fault, with JAX alone, too."""
    code, expected = CHILDREN[child]
    status, output = end_of(
        f"""
        renderer = build(make)
        if not {lives}:
            renderer._home.release(renderer._number)
            renderer._home.run(lambda: None)
        if os.fork() == 0:
            {code}
            os._exit(9)
        print("child", os.waitstatus_to_exitcode(os.wait()[1]))
        """
    )
    assert status == 0 and f"child {expected}" in output, output
    assert ("this process was forked" in output) == (expected == 1)
    assert "Fatal" not in output


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("scene, _ = make()\nscene.ambient_lihgt = scene.ambient_lihgt", "AttributeError.*ambient_lihgt"),
        ("scene, _ = make()\nme = [scene]\nme.append(me)\ntry:\n  scene.lihgt\nexcept AttributeError as error:\n"
         "  mine = error\n  raise", "AttributeError.*lihgt"),
        ("scene, _ = make()\nraise ValueError('of', scene)", "ValueError.*Scene"),
        ("scene, _ = make()\nerror = ValueError('mine')\nerror.scene = scene\nraise error", "ValueError.*mine"),
        ("scene, _ = make()\nraise ExceptionGroup('many', [KeyError(scene)])", "ExceptionGroup.*many"),
        ("scene, _ = make()\ntry:\n  scene.x\nexcept AttributeError as error:\n  raise KeyError('k') from error",
         "KeyError.*k"),
        ("class Mine(Exception):\n  scene = make()[0]\nraise Mine('local')", "Exception.*local"),
        ("return list(make())", "ValueError.*got list of 2"),
        ("return (*make(), 1)", "ValueError.*got tuple of 3"),
        ("make()", "ValueError.*got NoneType. Is its return statement missing"),
        ("return make()[::-1]", "ValueError.*RenderPass.*Scene"),
        ("return make()[1]", "ValueError.*got .*RenderPass"),
    ],
)  # fmt: skip
def test_what_a_factory_gets_wrong_is_an_error_and_no_more(end_of, factory, message):
    """Exceptions are kept by the main thread, in a cycle or not, and collected there."""
    indented = textwrap.indent(factory, " " * 12)
    status, output = end_of(
        f"""
        import re
        def factory():
{indented}
        renderer = build(make)  # so that the context is there
        kept = []
        for _ in range(2):
            try:
                build(factory)
            except Exception as caught:
                assert re.search({message!r}, repr(caught) + str(caught)), repr(caught)
                assert "in factory" in "".join(caught.__notes__) or "must return" in str(caught)
                kept.append(caught)
                ring = [caught]
                ring.append(ring)
            else:
                os._exit(8)
        del ring
        gc.collect()
        kept.clear()
        gc.collect()
        assert (renderer(renderer.scene()).instance_index != 0).any()
        """
    )
    assert status == 0, output


BITES = {
    "an object is kept by the main thread": "held = []\nrenderer = build(lambda: (held.append(s := make()[0]), s)[1])",
    "it is initialised on a second thread": """
thread = threading.Thread(target=lambda: (stillleben.init(), stage(stillleben)))
thread.start(); thread.join()
""",
    "an object leaves": "build(make)._home.run(make)",
}  # fmt: skip


@pytest.mark.parametrize("case", BITES)
def test_the_stand_in_aborts_where_the_library_does(end_of, case):
    status, output = end_of(BITES[case])
    assert status == -signal.SIGABRT and "no current context" in output, (status, output)
