"""The task of `peers.py` in Mitsuba 3, for the Python that has it: ``python peer_mitsuba.py TASK.npz``.

Prints one line of JSON: versions, milliseconds, and the gradient, or the reason why there is none. Imports NumPy and
Mitsuba alone.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

SAMPLES = 4
"""Per pixel, for the image, and for the interior and outline terms of the derivative."""


def main(path: str) -> dict[str, object]:
    """Draws, compares and differentiates; times it."""
    try:
        import drjit as dr
        import mitsuba as mi

        mi.set_variant("llvm_ad_rgb")
        dr.eval(mi.Float([1.0, 2.0]) + 1)
    except Exception as error:  # no wheel, no LLVM: whatever it is, it is the reason
        return {"reason": f"{type(error).__name__}: {error}".splitlines()[0]}
    task = np.load(path)
    size = int(task["size"])
    with tempfile.TemporaryDirectory() as folder:
        mesh = mi.Mesh("bunny", len(task["vertices"]), len(task["faces"]))
        parameters = mi.traverse(mesh)
        parameters["vertex_positions"] = task["vertices"].ravel()
        parameters["faces"] = task["faces"].ravel()
        parameters.update()
        file = str(pathlib.Path(folder) / "bunny.ply")
        mesh.write_ply(file)
        radiance = {"type": "mesh_attribute", "name": "vertex_color"}
        scene = mi.load_dict(
            {
                "type": "scene",
                "integrator": {
                    "type": "direct_projective",
                    "sppc": SAMPLES,
                    "sppp": SAMPLES,
                    "sppi": 0,  # nothing casts light on anything
                    "guiding": "none",
                },
                "sensor": {
                    "type": "perspective",
                    "fov": float(np.degrees(task["fov"])),
                    "fov_axis": "x",
                    "near_clip": 0.01,
                    "far_clip": 10.0,
                    "to_world": mi.ScalarTransform4f().look_at([0, 0, 0], [0, 0, 1], [0, -1, 0]),
                    "film": {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}},
                    "sampler": {"type": "independent", "sample_count": SAMPLES},
                },
                "bunny": {"type": "ply", "filename": file, "emitter": {"type": "area", "radiance": radiance}},
            }
        )
    next(iter(scene.shapes())).add_attribute("vertex_color", 3, task["colors"].ravel())
    parameters = mi.traverse(scene)
    points = mi.Point3f(*np.asarray(task["vertices"]).T)
    pose = mi.Matrix4f(task["T_camera_object"].tolist())
    target = mi.TensorXf(task["target"])

    def move(delta) -> None:
        """Rotation vector to first order, then translation, in the object's frame."""
        turn, shift = mi.Vector3f(delta[0], delta[1], delta[2]), mi.Vector3f(delta[3], delta[4], delta[5])
        moved = mi.Transform4f(pose) @ mi.Point3f(points + dr.cross(turn, mi.Vector3f(points)) + shift)
        parameters["bunny.vertex_positions"] = dr.ravel(moved)
        parameters.update()

    def draw(seed: int):
        image = mi.render(scene, spp=SAMPLES, seed=seed)
        dr.eval(image)
        dr.sync_thread()
        return image

    def iteration(seed: int):
        delta = [mi.Float(0.0) for _ in range(6)]
        for component in delta:
            dr.enable_grad(component)
        move(delta)
        image = mi.render(scene, parameters, spp=SAMPLES, seed=seed)
        loss = dr.mean(dr.square(image[:, :, :3] - target), axis=None)
        dr.backward(loss)
        gradient = [dr.grad(component) for component in delta]
        dr.eval(*gradient)
        dr.sync_thread()
        return np.array([component.numpy()[0] for component in gradient])

    move([mi.Float(0.0) for _ in range(6)])
    difference = float(np.abs(np.array(draw(0))[..., :3] - task["image"]).mean())
    gradients = np.stack([iteration(seed) for seed in range(8)])
    times = {}
    for name, function in (("draw", draw), ("iteration", iteration)):
        function(1)
        measured = []
        for seed in range(int(task["rounds"])):
            began = time.perf_counter()
            function(seed)
            measured.append(1e3 * (time.perf_counter() - began))
        times[name] = [statistics.median(measured), min(measured)]
    return {
        "version": f"mitsuba {mi.__version__}, drjit {dr.__version__}",
        "times": times,
        "gradient": gradients.mean(axis=0).tolist(),
        "difference": difference,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
