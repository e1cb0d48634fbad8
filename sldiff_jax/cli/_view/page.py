"""The page in the browser, by viser: the photo, the object with a gizmo, and the buttons.

viser's world is the frame of the photo's camera. The photo stands in it as a picture behind the object, so large that
it fills the view from the camera, and still makes sense from elsewhere.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .._errors import InputError
from .backdrop import OUTLINE, STYLES, Backdrop, field_of_view, plane_at, pyramid
from .session import Session
from .worker import Worker

if TYPE_CHECKING:
    import viser

PAUSE = 0.1
"""Seconds between two drawn iterates at least: the fit shall not wait for its pictures."""
TINT, OPACITY = (86, 180, 233), 0.3
INTRODUCTION = "Drag the arrows, squares and arcs of the object."


class Page:
    """Ties a session to a server. What takes time is done by a worker; what the browser tells only gives it jobs."""

    def __init__(self, server: viser.ViserServer, session: Session):
        self._server, self._session = server, session
        self._backdrop = Backdrop(session.inputs)
        # A mesh may be far from its origin, and is turned about its middle by hand.
        self._center = np.asarray(session.inputs.mesh.bounds.mean(axis=0), np.float64)
        self._shown_at = 0.0
        self._refining = False
        self._worker = Worker(self._failed)
        self._add_scene()
        self._add_controls()

    def close(self, patience: float | None = None) -> bool:
        """Ends a running refinement; whether, within that many seconds, nothing is computed any more."""
        self._session.close()
        return self._worker.close(patience)

    def _add_scene(self) -> None:
        scene, inputs = self._server.scene, self._session.inputs
        T, mesh = inputs.T_camera_object, inputs.mesh
        distance = max(float(np.linalg.norm(T[:3, 3])), mesh.diameter)
        scene.set_up_direction("-y")
        plane = plane_at(inputs.camera, self._depth(T))
        picture = self._backdrop.picture(T, OUTLINE)
        self._photo = scene.add_image(
            "/photo", picture, plane.width, plane.height, jpeg_quality=90, cast_shadow=False, receive_shadow=False,
            position=plane.center,
        )  # fmt: skip
        scene.add_line_segments(
            "/camera", pyramid(inputs.camera, 0.08 * distance), (20, 20, 20), thickness=1.5, thickness_units="screen"
        )
        self._gizmo = scene.add_transform_controls("/object", scale=0.75 * mesh.diameter, depth_test=False)
        self._mesh = scene.add_mesh_simple(
            "/object/mesh", np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.uint32), color=TINT,
            opacity=OPACITY, side="double", cast_shadow=False, receive_shadow=False, position=-self._center,
        )  # fmt: skip
        self._place_gizmo()
        self._gizmo.on_update(lambda _: self._dragged())

        camera = self._server.initial_camera
        camera.position, camera.look_at, camera.up = (0.0, 0.0, 0.0), (0.0, 0.0, distance), (0.0, -1.0, 0.0)
        camera.fov = field_of_view(inputs.camera, 16 / 9)
        # Nearer than that there is nothing but the drawn camera, which is not to be seen from within.
        camera.near, camera.far = 0.1 * distance, 50 * distance
        self._distance = distance
        self._server.on_client_connect(self._welcome)

    def _add_controls(self) -> None:
        gui = self._server.gui
        gui.set_panel_label("sldiff-jax view")
        gui.configure_theme(control_width="small", show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        self._text = gui.add_markdown(INTRODUCTION)
        self._refine = gui.add_button("Refine", hint="Fit the pose from here")
        self._stop = gui.add_button("Stop", hint="Stop the fit, keep its best pose", disabled=True)
        self._save = gui.add_button("Save", hint="Write pose.json")
        self._start = gui.add_button("Back to the start")
        through = gui.add_button("Through the camera", hint="Look from where the photo was taken")
        self._style = gui.add_dropdown("Photo", options=STYLES, initial_value=OUTLINE)
        opacity = gui.add_slider(
            "Object", min=0.0, max=1.0, step=0.05, initial_value=OPACITY, hint="Opacity of the object in space"
        )

        self._refine.on_click(lambda _: self._worker.do("refine", self._run))
        self._stop.on_click(lambda _: self._session.stop())
        self._save.on_click(lambda _: self._worker.do("save", self._write))
        self._start.on_click(lambda _: self._worker.do("start", self._restart))
        through.on_click(lambda event: event.client and self._look_through_camera(event.client))
        self._style.on_update(lambda _: self._worker.do("style", self._draw))

        @opacity.on_update
        def _(_) -> None:
            self._mesh.opacity, self._mesh.visible = opacity.value, opacity.value > 0

    def _welcome(self, client: viser.ClientHandle) -> None:
        """Shows a browser the photo, all of it in any shape of window."""
        self._look_through_camera(client)
        fitted = client.camera.aspect

        @client.camera.on_update
        def _(camera: viser.CameraHandle) -> None:
            nonlocal fitted
            if camera.aspect != fitted:
                fitted = camera.aspect
                camera.fov = field_of_view(self._session.inputs.camera, fitted)

    def _look_through_camera(self, client: viser.ClientHandle) -> None:
        with client.atomic():
            client.camera.up_direction = (0.0, -1.0, 0.0)
            client.camera.position = (0.0, 0.0, 0.0)
            client.camera.look_at = (0.0, 0.0, self._distance)
            client.camera.fov = field_of_view(self._session.inputs.camera, client.camera.aspect)

    def _dragged(self) -> None:
        if not self._refining:
            self._worker.do("drag", self._take_over)

    # --- jobs of the worker

    def _take_over(self) -> None:
        """The pose that the gizmo has by now."""
        T = np.eye(4)
        T[:3, :3] = _rotation(self._gizmo)
        T[:3, 3] = self._gizmo.position - T[:3, :3] @ self._center
        if not np.allclose(T, self._session.T_camera_object, rtol=0, atol=1e-7):
            self._session.move(T)
            self._text.content = INTRODUCTION
            self._draw()

    def _draw(self) -> None:
        T = self._session.T_camera_object
        plane = plane_at(self._session.inputs.camera, self._depth(T))
        picture = self._backdrop.picture(T, self._style.value)
        with self._server.atomic():
            self._photo.image = picture
            self._photo.render_width, self._photo.render_height = plane.width, plane.height
            self._photo.position = plane.center
        self._shown_at = time.monotonic()

    def _put(self) -> None:
        """The object where the session has it."""
        self._place_gizmo()
        self._draw()

    def _place_gizmo(self) -> None:
        T = self._session.T_camera_object
        with self._server.atomic():
            self._gizmo.wxyz = _wxyz(T)
            self._gizmo.position = T[:3, :3] @ self._center + T[:3, 3]

    def _restart(self) -> None:
        self._session.move(self._session.inputs.T_camera_object)
        self._text.content = INTRODUCTION
        self._put()

    def _write(self) -> None:
        path = self._session.save()
        print(f"sldiff-jax: wrote {path}", flush=True)
        self._text.content = f"Saved {path.name} in {path.parent.name}."

    def _run(self) -> None:
        def watch(step: int, best_loss: float) -> None:
            if time.monotonic() - self._shown_at > PAUSE:
                self._text.content = f"Refining: step {step + 1}, loss {best_loss:.4f}."
                self._put()

        with self._busy():
            self._text.content = "Refining. The first time, this takes a while to begin."
            said = self._session.refine(watch)
            self._text.content = f"{said[0].upper()}{said[1:].rstrip('.')}."

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        """While a fit runs, the object is its alone."""
        others = (self._refine, self._save, self._start)
        self._refining = True
        try:
            with self._server.atomic():
                self._gizmo.opacity, self._gizmo.disable_axes, self._gizmo.disable_sliders = 0.0, True, True
                self._gizmo.disable_rotations = True
                self._stop.disabled = False
                for button in others:
                    button.disabled = True
            yield
        finally:
            self._refining = False
            self._put()
            with self._server.atomic():
                self._gizmo.opacity, self._gizmo.disable_axes, self._gizmo.disable_sliders = 1.0, False, False
                self._gizmo.disable_rotations = False
                self._stop.disabled = True
                for button in others:
                    button.disabled = False

    def _failed(self, error: Exception) -> None:
        if isinstance(error, InputError):
            self._text.content = f"**Not possible.** {error}"
        else:  # a fault of ours
            traceback.print_exception(error)
            self._text.content = "**Something failed.** The terminal says more."

    def _depth(self, T: Float[np.ndarray, "4 4"]) -> float:
        """Behind the object, metres."""
        middle = float(T[2, :3] @ self._center + T[2, 3])
        return 1.2 * (max(middle, 0.0) + self._session.inputs.mesh.diameter)


def _wxyz(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4"]:
    """The rotation as a quaternion, in viser's order."""
    from viser import transforms

    return transforms.SO3.from_matrix(T[:3, :3]).wxyz


def _rotation(gizmo: viser.TransformControlsHandle) -> Float[np.ndarray, "3 3"]:
    from viser import transforms

    return transforms.SO3(np.asarray(gizmo.wxyz)).normalize().as_matrix()
