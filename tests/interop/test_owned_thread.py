"""The thread that stillleben's objects live on: who may ask, what comes back, and how it ends."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import gc
import pathlib
import threading

from processes import run_python
from threads import on_another_thread, run_in_two_threads

from interop._owned_thread import OwnedThread

TESTS = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def thread():
    thread = OwnedThread("owned")
    yield thread
    thread._close()


class Native:
    """Notes the thread of its end."""

    def __init__(self, ends: list):
        self.ends = ends

    def __del__(self):
        self.ends.append(threading.current_thread().name)


def where() -> str:
    return threading.current_thread().name


def test_whoever_asks_it_runs_there(thread):
    assert thread.run(where) == on_another_thread(thread.run, where) == "owned"
    assert thread.run(lambda: thread.run(lambda: thread.run(where))) == "owned"  # a job may ask too


def test_jobs_of_two_threads_do_not_overlap(thread):
    inside = []

    def job(number):
        inside.append(number)
        assert inside == [number]
        inside.clear()
        return number

    def ask(number):
        assert [thread.run(job, number) for _ in range(200)] == [number] * 200

    run_in_two_threads(ask)


def test_kept_objects_are_made_used_and_released_there(thread):
    ends = []
    number, other = thread.keep(lambda: Native(ends)), thread.keep(lambda: Native(ends))
    assert number != other and thread.use(number, lambda kept: (where(), kept.ends is ends)) == ("owned", True)
    on_another_thread(thread.release, number)
    thread.run(gc.collect)
    assert ends == ["owned"]
    with pytest.raises(KeyError):
        thread.use(number, lambda kept: kept)
    thread.release(number)  # a second time does nothing
    assert thread.use(other, lambda kept: len(kept.ends)) == 1


CHAINS = {
    "alone": "raise ValueError('asked for')",
    "cause": "try:\n  fails(ends)\nexcept KeyError as error:\n  raise ValueError('asked for') from error",
    "context": "try:\n  fails(ends)\nexcept KeyError:\n  raise ValueError('asked for')",
    "context beside a cause": "try:\n  fails(ends)\nexcept KeyError:\n  raise ValueError('asked for') from OSError()",
}


@pytest.mark.parametrize("chain", CHAINS)
def test_an_exception_comes_back_and_what_its_frames_held_is_released_there(thread, chain):
    ends = []

    def fails(ends):
        held = Native(ends)
        raise KeyError(len(held.ends))

    def make():
        held = Native(ends)
        exec(CHAINS[chain], {"fails": fails, "ends": ends})
        return held

    with pytest.raises(ValueError, match="asked for") as caught:
        thread.keep(make)
    del caught
    gc.collect()
    assert ends == ["owned"] * (1 if chain == "alone" else 2)
    assert thread.run(where) == "owned" and not thread._kept


def test_even_an_exit_comes_back(thread):
    with pytest.raises(SystemExit):
        thread.run(exit, 3)
    assert thread.run(where) == "owned"


def test_what_a_factory_leaves_in_a_cycle_is_collected_there(thread):
    ends = []

    def make(fails):
        ring = [Native(ends)]
        ring.append(ring)
        if fails:
            ring.append(error := ValueError("asked for"))
            error.ring = ring
            raise error

    thread.keep(lambda: make(False))
    assert ends == ["owned"]
    with pytest.raises(ValueError, match="asked for") as caught:
        thread.keep(lambda: make(True))
    assert ends == ["owned", "owned"] and not hasattr(caught.value, "ring")
    assert gc.isenabled()


def test_what_is_kept_longest_goes_last():
    thread, order = OwnedThread("owned"), []

    class Noted(Native):
        def __del__(self):
            order.append((self.ends, threading.current_thread().name))

    thread.run(lambda: thread.keep_longest(Noted("longest")))
    thread.keep(lambda: Noted("kept"))
    ring = [None]
    thread.keep(lambda: ring)
    thread.run(lambda: ring.extend([Noted("in a cycle"), ring]))
    del ring
    thread._close()
    assert order == [("kept", "owned"), ("in a cycle", "owned"), ("longest", "owned")]


def test_a_job_that_does_not_end_is_left_with_what_is_kept(monkeypatch):
    monkeypatch.setattr("interop._owned_thread.PATIENCE", 0.1)
    thread, ends, go_on = OwnedThread("owned"), [], threading.Event()
    thread.keep(lambda: Native(ends))
    waiting = threading.Thread(target=thread.run, args=(go_on.wait,), daemon=True)
    waiting.start()
    while not thread._jobs.empty():
        pass
    thread._close()
    assert thread._thread.is_alive() and ends == []
    go_on.set()
    waiting.join(timeout=10)


def test_after_its_end_it_says_so():
    thread, ends = OwnedThread("owned"), []
    number = thread.keep(lambda: Native(ends))
    thread._close()
    assert ends == ["owned"] and not thread._thread.is_alive()
    for use in (lambda: thread.run(where), lambda: thread.keep(object), lambda: thread.use(number, id)):
        with pytest.raises(RuntimeError, match="'owned' has ended: Python is shutting down"):
            use()
    thread.release(number)
    thread._close()


def test_who_asks_while_it_ends_does_not_wait_forever():
    thread, go_on = OwnedThread("owned"), threading.Event()
    first = threading.Thread(target=thread.run, args=(go_on.wait,), daemon=True)
    first.start()
    ending = threading.Thread(target=thread._close, daemon=True)
    ending.start()
    ending.join(timeout=0.2)
    assert ending.is_alive()  # it finishes what it has begun
    late = []

    def ask():
        with pytest.raises(RuntimeError, match="has ended"):
            thread.run(where)
        late.append("told")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout=1)
    go_on.set()
    for one in (first, ending, asking):
        one.join(timeout=10)
        assert not one.is_alive(), "deadlock"
    assert late == ["told"]


def test_python_ends_with_renderers_alive():
    """Everything is released on its thread, before modules go."""
    done = run_python(
        f"""
        import atexit, gc, sys, threading
        sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "interop")!r}]
        import jax
        import fake_stillleben
        made, ends = [], []
        init, end = fake_stillleben.Scene.__init__, fake_stillleben._Native.__del__
        fake_stillleben.Scene.__init__ = lambda self, *args: (made.append(1), init(self, *args))[1]
        fake_stillleben.Scene.__del__ = lambda self: (ends.append(threading.current_thread().name), end(self))[1]
        sys.modules["stillleben"] = fake = fake_stillleben.FakeStillleben()

        def report():  # registered first, so it is called last
            gc.collect()
            sys.stdout.write(f"{{len(made)}} made, {{ends}}, {{fake.deaths}}\\n")

        atexit.register(report)
        import interop._stillleben_renderer as module
        module.has_current_context = fake.has_current_context
        renderers = [module.StilllebenRenderer.build(lambda: fake_stillleben.ray_cast_stage(fake)) for _ in range(2)]
        scene = renderers[0].scene()
        for render in (renderers[0], jax.jit(renderers[1])):
            jax.block_until_ready(render(scene))
        """
    )
    assert done.stdout == "2 made, ['stillleben', 'stillleben'], []\n", done.stdout + done.stderr
