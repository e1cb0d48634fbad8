"""The boundary on the real stillleben, skipped where it cannot be imported.

Every scenario runs in a process of its own: stillleben has one OpenGL context per process, bound to one thread, and
misuse ends the process. A scenario ends with exit code 0, or with SKIPPED and a reason on its last line.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import torch
from processes import try_python

import sldiff_jax as sl
from interop import diff
from interop.dlpack import shares_memory
from interop.stillleben import result_from_stillleben, scene_from_stillleben

HERE = pathlib.Path(__file__).resolve().parent
RECORDED = "two_bunnies_flat"  # lit by ambient light only: colour depends on the texture alone
SKIPPED = 77
UNIT = np.array([1, 1, 1, 0.1, 0.1, 0.1], np.float32)  # a radian counts as much as 0.1 m


# --- pytest's side ----------------------------------------


@functools.cache
def why_not() -> str | None:
    done = try_python("import torch, stillleben")
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it ended the process"])[-1]


SCENARIOS = [
    "renders_what_was_recorded",
    "buffers_are_shared_where_the_platform_allows_it",
    "gradients_are_those_of_its_own_diff",
    "refines_eagerly_on_this_thread",
    "refines_on_a_thread_of_its_own",
    "other_threads_get_an_error",
    "build_refuses_a_context_of_another_thread",
    "several_renderers_are_released_in_any_order",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_stillleben(scenario, shared_data, tmp_path):
    if why_not():
        pytest.skip(f"stillleben cannot be imported: {why_not()}")
    folder = shared_data / "stillleben_golden"
    # stillleben writes a cache beside a mesh.
    shutil.copytree(folder / "meshes", tmp_path / "meshes")
    code = f"import test_real_stillleben as t; t.run({scenario!r}, {str(folder)!r}, {str(tmp_path)!r})"
    path = [str(HERE.parents[1]), str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


# --- the scenarios' side ----------------------------------------


def run(scenario: str, folder: str, scratch: str) -> None:
    with np.load(pathlib.Path(folder) / f"{RECORDED}.npz") as file:
        data = {key: file[key] for key in file.files}
    globals()[scenario](data, pathlib.Path(scratch))


def skip(reason: str):
    sys.stdout.write(reason + "\n")
    raise SystemExit(SKIPPED)


def init() -> None:
    import stillleben

    stillleben.init_cuda(0) if torch.cuda.is_available() else stillleben.init()


def stage(data, scratch):
    """Scene and render pass as recorded. Call on the thread of the context."""
    import stillleben

    case = json.loads(str(data["case_json"]))
    scene = stillleben.Scene(tuple(case["viewport"]))
    scene.set_camera_projection(torch.from_numpy(data["projection_matrix"]))
    meshes = []
    for name in case["meshes"]:
        mesh = stillleben.Mesh(str(scratch / name), physics=False)
        mesh.center_bbox()
        mesh.scale_to_bbox_diagonal(case["normalize"])
        meshes.append(mesh)
    for pose, mesh_id in zip(data["object_poses"], data["object_mesh_id"]):
        item = stillleben.Object(meshes[mesh_id])
        item.set_pose(torch.from_numpy(pose))
        scene.add_object(item)
    for name in ("ambient_light", "light_directions", "light_colors"):
        if hasattr(scene, name):
            setattr(scene, name, torch.from_numpy(data[name]))
    if hasattr(scene, "manual_exposure"):
        scene.manual_exposure = float(data["manual_exposure"])
    render_pass = stillleben.RenderPass()
    for name in ("ssao_enabled", "shadows_enabled", "shadow_enabled"):
        if hasattr(render_pass, name):
            setattr(render_pass, name, False)
    return scene, render_pass


def moved(scene: sl.Scene) -> sl.Scene:
    delta = jnp.array([[0.03, -0.02, 0.03, 0.004, 0.003, -0.002]] * len(scene.T_world_object))
    return dataclasses.replace(scene, T_world_object=sl.apply_pose_delta(scene.T_world_object, delta))


def five_steps(scene: sl.Scene, renderer, target, compile) -> list[float]:
    """The losses of five steps of normalised gradient descent on the poses."""
    start = moved(scene)

    def loss(delta):
        T = sl.apply_pose_delta(start.T_world_object, delta)
        images = sl.render(dataclasses.replace(start, T_world_object=T), renderer)
        return jnp.mean((images.rgb - target) ** 2)

    step = compile(jax.value_and_grad(loss))
    delta, losses = jnp.zeros((len(scene.T_world_object), 6)), []
    for _ in range(5):
        value, gradient = step(delta)
        losses.append(float(value))
        scaled = gradient * UNIT
        delta -= 0.008 * UNIT * scaled / jnp.linalg.norm(scaled, axis=1, keepdims=True)
    return losses


def assert_falls(losses: list[float]) -> None:
    assert losses[-1] < 0.8 * losses[0] and min(losses) == losses[-1], losses


def outcome_on_another_thread(function, *args):
    outcome = []

    def call():
        try:
            outcome.append(function(*args))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=call, name="another")
    thread.start()
    thread.join(timeout=300)
    assert outcome, "deadlock"
    return outcome[0]


def renders_what_was_recorded(data, scratch) -> None:
    init()
    scene, render_pass = stage(data, scratch)
    result = render_pass.render(scene)
    for key in ("rgb", "coordDepth", "instance_index", "class_index", "normals", "vertex_indices", "cam_coordinates"):
        buffer, recorded = getattr(result, key)(), data[f"buf_{key}"]
        assert tuple(buffer.shape) == recorded.shape and buffer.cpu().numpy().dtype == recorded.dtype, key
    converted = scene_from_stillleben(scene)
    np.testing.assert_allclose(converted.T_world_object, data["object_poses"], atol=1e-6)
    np.testing.assert_allclose(converted.camera.projection, data["projection_matrix"], atol=1e-6)
    np.testing.assert_allclose(converted.camera.T_world_camera, data["camera_pose"], atol=1e-6)
    assert converted.instance_index.tolist() == data["instance_indices"].tolist()
    arrays = result_from_stillleben(result)
    labels = data["buf_instance_index"][..., 0]
    same = np.asarray(arrays.instance_index) == labels
    assert same.mean() > 0.99, same.mean()
    inside = same & (labels != 0)
    error = np.abs(np.asarray(arrays.coord_depth) - data["buf_coordDepth"])[inside]
    assert np.quantile(error, 0.99) < 1e-3, np.quantile(error, 0.99)
    assert (np.asarray(arrays.coord_depth)[same & (labels == 0)] == 3000).all()


def buffers_are_shared_where_the_platform_allows_it(data, scratch) -> None:
    init()
    scene, render_pass = stage(data, scratch)
    result = render_pass.render(scene)
    images = {}

    class Remembering:
        def __getattr__(self, name):
            return lambda: images.setdefault(name, getattr(result, name)())

    arrays = result_from_stillleben(Remembering())
    sliced = ("vertex_indices", "barycentric_coeffs")
    for name, image in images.items():
        array = getattr(arrays, {"coordDepth": "coord_depth"}.get(name, name))
        possible = name not in sliced and (image.is_cuda or image.data_ptr() % 64 == 0)
        assert shares_memory(array, image) == possible, (name, image.device, image.data_ptr() % 64)
        if possible:
            assert array.unsafe_buffer_pointer() == image.data_ptr()
    kept = np.array(arrays.rgb)
    for item in scene.objects:
        pose = item.pose()
        pose[2, 3] += 0.2
        item.set_pose(pose)
    other = result_from_stillleben(render_pass.render(scene))
    assert (np.asarray(other.rgb) != kept).any()
    np.testing.assert_array_equal(arrays.rgb, kept)  # read before the next render


def gradients_are_those_of_its_own_diff(data, scratch) -> None:
    import stillleben

    init()
    scene, render_pass = stage(data, scratch)
    result = render_pass.render(scene)
    device = result.rgb().device
    cotangent = torch.from_numpy(data["grad_image"]).to(device)
    try:
        theirs = stillleben.diff.compute_image_space_gradients(scene, result)
        their_poses = stillleben.diff.backpropagate_gradient_to_poses(scene, result, cotangent).cpu().numpy()
    except (NotImplementedError, NameError) as error:
        skip(f"this build has no stillleben.diff: {error}")
    ours = diff.compute_image_space_gradients(scene, result, channels_first=True)
    assert all(tensor.device == device for tensor in ours)
    valid, their_valid = ours[2].cpu().numpy(), theirs[2].cpu().numpy().astype(bool)
    agree = valid == their_valid
    agree[0] = agree[-1] = agree[:, 0] = agree[:, -1] = False  # the original pads with zeros
    # On a GPU the original reads uninitialised memory where width or height is no multiple of 32.
    assert agree[1:-1, 1:-1].mean() > (0.99 if device.type == "cuda" else 0.999999)
    for mine, other in zip(ours[:2], theirs[:2]):
        np.testing.assert_allclose(mine.cpu().numpy()[:, agree], other.cpu().numpy()[:, agree], rtol=1e-5, atol=1e-4)
    # The original divides by row 2 of the projection.
    P = scene.projection_matrix()
    P[3] = P[2]
    scene.set_camera_projection(P)
    poses = diff.backpropagate_gradient_to_poses(scene, result, cotangent)
    assert poses.device == device
    for mine, other in zip(poses.cpu().numpy(), their_poses):
        tolerance = 3e-2 if device.type == "cuda" else 1e-3
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance * np.abs(other).max())
    delta = torch.tensor([0.02, -0.01, 0.03, 0.004, 0.005, -0.006])
    pose = scene.objects[0].pose()
    for orthonormalize in (True, False):
        mine = diff.apply_pose_delta(pose, delta, orthonormalize)
        other = stillleben.diff.apply_pose_delta(pose, delta, orthonormalize)
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)


def refines_eagerly_on_this_thread(data, scratch) -> None:
    from interop.stillleben import StilllebenRenderer

    init()
    scene, render_pass = stage(data, scratch)
    renderer = StilllebenRenderer(scene, render_pass)
    assert isinstance(renderer, sl.Renderer)
    start = renderer.scene()
    target = sl.render(start, renderer).rgb
    losses = five_steps(start, renderer, target, lambda function: function)
    assert_falls(losses)
    # The scene keeps the poses that it was given last, made rigid.
    renderer(moved(start))
    left = scene_from_stillleben(scene)
    np.testing.assert_allclose(left.T_world_object, moved(start).T_world_object, atol=1e-5)
    skewed = dataclasses.replace(start, T_world_object=start.T_world_object.at[:, :3, 0].multiply(1.05))
    renderer(skewed)
    with pytest.raises(RuntimeError, match="XLA chooses the thread"):
        jax.jit(renderer)(start)


def refines_on_a_thread_of_its_own(data, scratch) -> None:
    from interop.stillleben import StilllebenRenderer

    device = 0 if torch.cuda.is_available() else None
    renderer = StilllebenRenderer.build(lambda: stage(data, scratch), cuda_device=device)
    start = renderer.scene()
    target = sl.render(start, renderer).rgb
    eager = five_steps(start, renderer, target, lambda function: function)
    assert_falls(eager)
    compiled = five_steps(start, renderer, target, jax.jit)
    assert_falls(compiled)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-3)
    np.testing.assert_allclose(
        outcome_on_another_thread(five_steps, start, renderer, target, jax.jit), compiled, rtol=1e-2
    )
    one, batch = renderer(start), jnp.stack([start.T_world_object, moved(start).T_world_object])
    many = jax.vmap(lambda T: renderer(dataclasses.replace(start, T_world_object=T)))(batch)
    np.testing.assert_array_equal(many.coord_depth[0], one.coord_depth)
    assert (np.asarray(many.rgb[0]) != np.asarray(many.rgb[1])).any()
    core = StilllebenRenderer.build(lambda: stage(data, scratch), cuda_device=device, buffers="core")
    np.testing.assert_array_equal(core(start).instance_index, one.instance_index)


def other_threads_get_an_error(data, scratch) -> None:
    from interop.stillleben import StilllebenRenderer

    init()
    scene, render_pass = stage(data, scratch)
    renderer = StilllebenRenderer(scene, render_pass)
    start = renderer.scene()
    error = outcome_on_another_thread(renderer, start)
    assert isinstance(error, RuntimeError) and "StilllebenRenderer.build" in str(error), error
    error = outcome_on_another_thread(StilllebenRenderer, scene, render_pass)
    assert isinstance(error, RuntimeError) and "no OpenGL context" in str(error), error
    assert (renderer(start).instance_index != 0).any()


def build_refuses_a_context_of_another_thread(data, scratch) -> None:
    from interop.stillleben import StilllebenRenderer

    init()
    device = 0 if torch.cuda.is_available() else None
    with pytest.raises(RuntimeError, match="initialised on another thread"):
        StilllebenRenderer.build(lambda: stage(data, scratch), cuda_device=device)


def several_renderers_are_released_in_any_order(data, scratch) -> None:
    import gc

    from interop.stillleben import StilllebenRenderer

    device = 0 if torch.cuda.is_available() else None
    make = functools.partial(StilllebenRenderer.build, lambda: stage(data, scratch), cuda_device=device)
    first, second = make(), outcome_on_another_thread(make)
    start = first.scene()
    kept = first(start)
    del first
    gc.collect()
    np.testing.assert_array_equal(second(start).instance_index, kept.instance_index)
    box = [second]
    del second
    outcome_on_another_thread(box.clear)
    gc.collect()

    def fails():
        held = stage(data, scratch)
        raise KeyError(f"holding {len(held)} objects")

    with pytest.raises(KeyError, match="holding"):
        StilllebenRenderer.build(fails, cuda_device=device)
    third = make()
    assert (third(start).instance_index != 0).any()  # and the process ends with a renderer alive
