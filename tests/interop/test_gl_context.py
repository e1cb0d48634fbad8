"""Which thread has an OpenGL context, with a real one where EGL can make it."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import ctypes.util

from processes import try_python

from interop._gl_context import has_current_context

MAKE_CONTEXT = """
import ctypes, threading
from interop._gl_context import has_current_context

assert has_current_context() is None  # no EGL yet
egl = ctypes.CDLL("libEGL.so.1")
assert has_current_context() is False
SURFACELESS, OPENGL, RENDERABLE_TYPE, OPENGL_BIT, END = 0x31DD, 0x30A2, 0x3040, 8, 0x3038
for name in ("eglGetPlatformDisplay", "eglCreateContext"):
    getattr(egl, name).restype = ctypes.c_void_p
display = ctypes.c_void_p(egl.eglGetPlatformDisplay(SURFACELESS, None, None))
if not (egl.eglInitialize(display, None, None) and egl.eglBindAPI(OPENGL)):
    raise SystemExit("no surfaceless EGL display")
config, count = ctypes.c_void_p(), ctypes.c_int()
attributes = (ctypes.c_int * 3)(RENDERABLE_TYPE, OPENGL_BIT, END)
egl.eglChooseConfig(display, attributes, ctypes.byref(config), 1, ctypes.byref(count))
context = ctypes.c_void_p(egl.eglCreateContext(display, config, None, None))
if not egl.eglMakeCurrent(display, None, None, context):
    raise SystemExit("no surfaceless EGL display")
"""


@pytest.mark.skipif(ctypes.util.find_library("EGL") is None, reason="libEGL is not installed")
def test_a_real_context_is_seen_on_its_thread_only():
    done = try_python(
        MAKE_CONTEXT
        + """
assert has_current_context() is True
answers = []
thread = threading.Thread(target=lambda: answers.append(has_current_context()))
thread.start()
thread.join()
assert answers == [False]
"""
    )
    if "no surfaceless EGL display" in done.stderr:
        pytest.skip("EGL has no surfaceless display here")
    assert done.returncode == 0, done.stderr


def test_it_cannot_be_told_without_proc(monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: (_ for _ in ()).throw(OSError()))
    assert has_current_context() is None
