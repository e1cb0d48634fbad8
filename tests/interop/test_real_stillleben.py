"""The boundary on the real stillleben, skipped where it cannot be imported.

Every scenario runs in a process of its own: stillleben has one OpenGL context per process, bound to one thread, and
misuse ends the process. A scenario ends with its exit code of `EXIT_CODES`, 0 for most, or with SKIPPED and a reason on
its last line.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from processes import try_python
from threads import on_another_thread

import sldiff_jax as sl
from interop import diff
from interop.dlpack import shares_memory
from interop.stillleben import result_from_stillleben, scene_from_stillleben

HERE = pathlib.Path(__file__).resolve().parent
RECORDED = "two_bunnies_flat"  # lit by ambient light only: colour depends on the texture alone
SKIPPED = 77
UNIT = np.array([1, 1, 1, 0.1, 0.1, 0.1], np.float32)  # a radian counts as much as 0.1 m


# --- pytest's side ----------------------------------------


DEVICES = {"cpu": None, "cuda": 0}


@functools.cache
def why_not(device: str) -> str | None:
    """Why stillleben cannot be tried on this device; None if it can."""
    if importlib.util.find_spec("stillleben") is None:
        return "stillleben is not installed"
    if (reason := complaint_of("import torch, stillleben")) is not None:
        return f"stillleben cannot be imported: {reason}"
    if device == "cuda":
        if not torch.cuda.is_available() or jax.default_backend() != "gpu":
            return "torch or JAX sees no GPU"
        if (reason := complaint_of(RENDER_ON_GPU)) is not None:
            return f"stillleben leaves no images on the GPU: {reason}"
    return None


RENDER_ON_GPU = """
import torch, stillleben
stillleben.init_cuda(0)
assert stillleben.RenderPass().render(stillleben.Scene((64, 48))).rgb().is_cuda, "built without CUDA"
"""


def complaint_of(code: str) -> str | None:
    done = try_python(code)
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
    "ends_with_renderers_and_programs_alive",
    "ends_with_no_renderer_alive",
    "ends_by_an_exception",
    "ends_by_an_exception_of_the_factory",
    "ends_by_sys_exit",
    "ends_while_a_jitted_render_runs",
    "ends_after_a_fork",
    "a_typo_in_a_factory_is_an_error_and_no_more",
    "meshes_are_shared_by_factories",
    "jitted_renderers_leave_nothing",
    "a_smaller_image_is_that_of_a_scene_of_its_size",
    "refines_from_coarse_to_fine",
    "a_render_pass_that_drew_another_size_is_refused",
    "the_doctor_finds_it_well",
]
EXIT_CODES = {"ends_by_an_exception": 1, "ends_by_an_exception_of_the_factory": 1, "ends_by_sys_exit": 3}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_stillleben(scenario, device, shared_data, tmp_path):
    if (reason := why_not(device)) is not None:
        pytest.skip(reason)
    folder = shared_data / "stillleben_golden"
    # stillleben writes a cache beside a mesh.
    shutil.copytree(folder / "meshes", tmp_path / "meshes")
    arguments = scenario, str(folder), str(tmp_path), DEVICES[device]
    code = f"import test_real_stillleben as t; t.run(*{arguments!r})"
    path = [str(HERE.parents[1]), str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    )  # fmt: skip
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == EXIT_CODES.get(scenario, 0), (
        f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )


# --- the scenarios' side ----------------------------------------


class Setting(NamedTuple):
    """What a scenario works with.

    Attributes:
        data: a recorded scene.
        scratch: a folder with the meshes.
        cuda_device: the GPU on which stillleben renders; None for the CPU.
    """

    data: dict[str, np.ndarray]
    scratch: pathlib.Path
    cuda_device: int | None


def run(scenario: str, folder: str, scratch: str, cuda_device: int | None) -> None:
    with np.load(pathlib.Path(folder) / f"{RECORDED}.npz") as file:
        data = {key: file[key] for key in file.files}
    globals()[scenario](Setting(data, pathlib.Path(scratch), cuda_device))


def skip(reason: str):
    sys.stdout.write(reason + "\n")
    raise SystemExit(SKIPPED)


def on_this_thread(setting: Setting):
    """Initialises stillleben; scene and render pass as recorded."""
    import stillleben

    stillleben.init() if setting.cuda_device is None else stillleben.init_cuda(setting.cuda_device)
    return stage(setting)


def build(setting: Setting, factory=None, **options):
    """A renderer on a thread of its own."""
    from interop.stillleben import StilllebenRenderer

    return StilllebenRenderer.build(factory or (lambda: stage(setting)), cuda_device=setting.cuda_device, **options)


def load_mesh(file: str, diagonal: float):
    import stillleben

    mesh = stillleben.Mesh(file, physics=False)
    mesh.center_bbox()
    mesh.scale_to_bbox_diagonal(diagonal)
    return mesh


def stage(setting: Setting, *, viewport: tuple[int, int] | None = None, load=load_mesh):
    """Scene and render pass as recorded. Call on the thread of the context."""
    import stillleben

    data, scratch, _ = setting
    case = json.loads(str(data["case_json"]))
    scene = stillleben.Scene(viewport or tuple(case["viewport"]))
    scene.set_camera_projection(torch.from_numpy(data["projection_matrix"]))
    meshes = [load(str(scratch / name), case["normalize"]) for name in case["meshes"]]
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


def renders_what_was_recorded(setting: Setting) -> None:
    scene, render_pass = on_this_thread(setting)
    result = render_pass.render(scene)
    for key in ("rgb", "coordDepth", "instance_index", "class_index", "normals", "vertex_indices", "cam_coordinates"):
        buffer, recorded = getattr(result, key)(), setting.data[f"buf_{key}"]
        assert tuple(buffer.shape) == recorded.shape and buffer.cpu().numpy().dtype == recorded.dtype, key
    converted = scene_from_stillleben(scene)
    np.testing.assert_allclose(converted.T_world_object, setting.data["object_poses"], atol=1e-6)
    np.testing.assert_allclose(converted.camera.projection, setting.data["projection_matrix"], atol=1e-6)
    np.testing.assert_allclose(converted.camera.T_world_camera, setting.data["camera_pose"], atol=1e-6)
    assert converted.instance_index.tolist() == setting.data["instance_indices"].tolist()
    arrays = result_from_stillleben(result)
    labels = setting.data["buf_instance_index"][..., 0]
    same = np.asarray(arrays.instance_index) == labels
    assert same.mean() > 0.99, same.mean()
    inside = same & (labels != 0)
    error = np.abs(np.asarray(arrays.coord_depth) - setting.data["buf_coordDepth"])[inside]
    assert np.quantile(error, 0.99) < 1e-3, np.quantile(error, 0.99)
    assert (np.asarray(arrays.coord_depth)[same & (labels == 0)] == 3000).all()


def buffers_are_shared_where_the_platform_allows_it(setting: Setting) -> None:
    scene, render_pass = on_this_thread(setting)
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


def gradients_are_those_of_its_own_diff(setting: Setting) -> None:
    import stillleben

    scene, render_pass = on_this_thread(setting)
    result = render_pass.render(scene)
    device = result.rgb().device
    cotangent = torch.from_numpy(setting.data["grad_image"]).to(device)
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


def refines_eagerly_on_this_thread(setting: Setting) -> None:
    from interop.stillleben import StilllebenRenderer

    scene, render_pass = on_this_thread(setting)
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


def refines_on_a_thread_of_its_own(setting: Setting) -> None:
    renderer = build(setting)
    start = renderer.scene()
    target = sl.render(start, renderer).rgb
    eager = five_steps(start, renderer, target, lambda function: function)
    assert_falls(eager)
    compiled = five_steps(start, renderer, target, jax.jit)
    assert_falls(compiled)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-3)
    np.testing.assert_allclose(on_another_thread(five_steps, start, renderer, target, jax.jit), compiled, rtol=1e-2)
    one, batch = renderer(start), jnp.stack([start.T_world_object, moved(start).T_world_object])
    many = jax.vmap(lambda T: renderer(dataclasses.replace(start, T_world_object=T)))(batch)
    np.testing.assert_array_equal(many.coord_depth[0], one.coord_depth)
    assert (np.asarray(many.rgb[0]) != np.asarray(many.rgb[1])).any()
    core = build(setting, buffers="core")
    np.testing.assert_array_equal(core(start).instance_index, one.instance_index)


def other_threads_get_an_error(setting: Setting) -> None:
    from interop.stillleben import StilllebenRenderer

    scene, render_pass = on_this_thread(setting)
    renderer = StilllebenRenderer(scene, render_pass)
    start = renderer.scene()
    error = on_another_thread(renderer, start)
    assert isinstance(error, RuntimeError) and "StilllebenRenderer.build" in str(error), error
    error = on_another_thread(StilllebenRenderer, scene, render_pass)
    assert isinstance(error, RuntimeError) and "no OpenGL context" in str(error), error
    assert (renderer(start).instance_index != 0).any()


def build_refuses_a_context_of_another_thread(setting: Setting) -> None:
    kept = on_this_thread(setting)
    with pytest.raises(RuntimeError, match="initialised on another thread"):
        build(setting)
    del kept


def several_renderers_are_released_in_any_order(setting: Setting) -> None:
    import gc

    from interop.stillleben import StilllebenRenderer

    make = functools.partial(build, setting)
    first, second = make(), on_another_thread(make)
    start = first.scene()
    kept = first(start)
    del first
    gc.collect()
    np.testing.assert_array_equal(second(start).instance_index, kept.instance_index)
    box = [second]
    del second
    on_another_thread(box.clear)
    gc.collect()

    def fails():
        held = stage(setting)
        raise KeyError(f"holding {len(held)} objects")

    with pytest.raises(KeyError, match="holding"):
        StilllebenRenderer.build(fails, cuda_device=setting.cuda_device)
    third = make()
    assert (third(start).instance_index != 0).any()  # and the process ends with a renderer alive


# --- how the program ends, and what stays ----------------------------------------


def ends_with_renderers_and_programs_alive(setting: Setting) -> None:
    first, second = build(setting), build(setting)
    programs = [jax.jit(first), jax.jit(lambda scene: second(scene))]
    # Variables of the module live until the interpreter ends.
    globals()["kept"] = [first, second, programs, [jax.block_until_ready(run(first.scene())) for run in programs]]


def ends_with_no_renderer_alive(setting: Setting) -> None:
    renderer = build(setting)
    renderer(renderer.scene())


def ends_by_an_exception(setting: Setting) -> None:
    globals()["kept"] = build(setting)
    raise KeyError("of the program")


def ends_by_an_exception_of_the_factory(setting: Setting) -> None:
    build(setting, lambda: stage(setting)[0].ambient_lihgt)


def ends_by_sys_exit(setting: Setting) -> None:
    globals()["kept"] = build(setting)
    sys.exit(3)


def ends_while_a_jitted_render_runs(setting: Setting) -> None:
    renderer = build(setting)
    scene = renderer.scene()
    compiled = jax.jit(lambda scene: jax.lax.map(lambda _: renderer(scene), jnp.arange(20))).lower(scene).compile()
    globals()["kept"] = renderer, compiled(scene)


def ends_after_a_fork(setting: Setting) -> None:
    renderer = build(setting)
    # Before JAX makes arrays: a forked process that had some ends with a segmentation fault, without stillleben too.
    for code in (0, 5):
        if (child := os.fork()) == 0:
            sys.exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    renderer(renderer.scene())


def a_typo_in_a_factory_is_an_error_and_no_more(setting: Setting) -> None:
    import gc

    renderer = build(setting)

    def typo():
        scene, _ = stage(setting)
        try:
            return scene.ambient_lihgt
        except AttributeError as error:
            mine = error  # a cycle: the exception, this frame, the exception
            assert mine
            raise

    def nothing():
        stage(setting)

    for factory, kind in (
        (typo, AttributeError),
        (lambda: list(stage(setting)), ValueError),
        (lambda: (*stage(setting), 1), ValueError),
        (nothing, ValueError),
    ):
        with pytest.raises(kind) as caught:
            build(setting, factory)
        ring = [caught.value]
        ring.append(ring)
        del ring, caught
        gc.collect()
    assert (renderer(renderer.scene()).instance_index != 0).any()


def meshes_are_shared_by_factories(setting: Setting) -> None:
    from interop.stillleben import thread_cache

    loaded = []

    @thread_cache
    def load(file, diagonal):
        loaded.append(file)
        return load_mesh(file, diagonal)

    first, second = (build(setting, lambda: stage(setting, load=load)) for _ in range(2))
    assert len(loaded) == len(set(loaded))
    scene = first.scene()
    np.testing.assert_array_equal(first(scene).rgb, second(scene).rgb)
    del first
    load.clear()
    assert (second(scene).instance_index != 0).any()


def jitted_renderers_leave_nothing(setting: Setting) -> None:
    from crossing import resident_bytes

    def once():
        renderer = build(setting)
        jax.block_until_ready(jax.jit(renderer)(renderer.scene()))

    for _ in range(5):
        once()
    before = resident_bytes()
    for _ in range(15):
        once()
    assert resident_bytes() - before < 15 * 10e6  # each left 55 MB


def a_smaller_image_is_that_of_a_scene_of_its_size(setting: Setting) -> None:
    width, height = json.loads(str(setting.data["case_json"]))["viewport"]
    size = (width // 2, height // 2)
    large, small = build(setting), build(setting, lambda: stage(setting, viewport=size))
    scene = small.scene()
    mine, theirs = large(scene), small(scene)
    same = np.asarray(mine.instance_index) == np.asarray(theirs.instance_index)
    assert same.mean() > 0.995, same.mean()
    inside = same & (np.asarray(theirs.instance_index) != 0)
    depth = np.abs(np.asarray(mine.depth) - np.asarray(theirs.depth))[inside]
    assert np.quantile(depth, 0.99) < 1e-3
    color = np.abs(np.asarray(mine.color) - np.asarray(theirs.color))[inside]
    assert np.quantile(color, 0.95) < 0.02, np.quantile(color, 0.95)
    back = large.scene()
    assert (back.camera.width, back.camera.height) == (width, height)
    np.testing.assert_allclose(back.camera.projection, scene.camera.projection, atol=1e-6)


def refines_from_coarse_to_fine(setting: Setting) -> None:
    renderer = build(setting)
    truth = renderer.scene()
    images = sl.render(truth, renderer)
    fit = sl.refine_poses(
        moved(truth),
        sl.Observation(rgb=images.rgb, depth=images.depth, mask=images.mask),
        renderer,
        stages=[sl.Stage(15, scale=0.5), sl.Stage(10, optimizer=sl.LevenbergMarquardt())],
    )
    error = np.linalg.norm(np.asarray(fit.scene.T_world_object - truth.T_world_object)[:, :3, 3], axis=1)
    assert error.max() < 1e-3, error


def a_render_pass_that_drew_another_size_is_refused(setting: Setting) -> None:
    import stillleben

    from interop.stillleben import StilllebenRenderer

    scene, render_pass = on_this_thread(setting)
    if tuple(render_pass.render(stillleben.Scene((64, 48))).rgb().shape[:2]) != (48, 64):
        skip("this build's first image has another size")
    renderer = StilllebenRenderer(scene, render_pass)
    if tuple(render_pass.render(scene).rgb().shape[:2]) == scene.viewport[::-1]:
        skip("this build's render pass follows the size")
    with pytest.raises(ValueError, match="drawn another size before"):
        renderer(renderer.scene())


def the_doctor_finds_it_well(setting: Setting) -> None:
    from interop import doctor

    lines = list(doctor.check_stillleben())
    assert [line.status for line in lines] == [doctor.OK], lines
