"""StilllebenRenderer on a stand-in that renders, and that knows on which thread its OpenGL context is."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import dataclasses
import functools
import gc
import weakref

import analytic
import fake_stillleben
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from fake_stillleben import ray_cast_stage
from threads import on_another_thread, run_in_two_threads

import sldiff_jax as sl
from interop.dlpack import from_torch, shares_memory
from interop.stillleben import result_from_stillleben, scene_from_stillleben

TILTED = analytic.rigid(np.random.default_rng(5), (0.3, -0.2, 0.1), angle=0.4)
FIELDS = [field.name for field in dataclasses.fields(sl.RenderResult)]

aligned = pytest.mark.parametrize("boundary", [True], indirect=True, ids=["aligned"])


def here(boundary, *, buffers="all", **stage):
    """A renderer for a scene of this thread, and that scene."""
    boundary.stillleben.init()
    scene, render_pass = ray_cast_stage(boundary.stillleben, **stage)
    return boundary.Renderer(scene, render_pass, buffers=buffers), scene


def built(boundary, *, buffers="all", **stage):
    """A renderer on stillleben's own thread."""
    return boundary.Renderer.build(functools.partial(ray_cast_stage, boundary.stillleben, **stage), buffers=buffers)


WAYS = {"this thread": lambda boundary, **stage: here(boundary, **stage)[0], "own thread": built}
both_ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def stage_of(boundary, **stage):
    """Scene like the renderer's, to look at its meshes."""
    if boundary.stillleben.has_current_context():
        return ray_cast_stage(boundary.stillleben, **stage)[0]
    fake = fake_stillleben.FakeStillleben()
    fake.init()
    return ray_cast_stage(fake, **stage)[0]


def moved(scene: sl.Scene, delta) -> sl.Scene:
    deltas = jnp.broadcast_to(jnp.asarray(delta, jnp.float32), (len(scene.T_world_object), 6))
    return dataclasses.replace(scene, T_world_object=sl.apply_pose_delta(scene.T_world_object, deltas))


def expected_result(scene: sl.Scene, stage_scene) -> dict[str, np.ndarray]:
    """What the stand-in renders for these poses, without the renderer under test."""
    solids = [
        analytic.Ellipsoid(int(label), np.asarray(T, float), item.mesh.radii, item.mesh.wave, item.mesh.phase)
        for label, T, item in zip(scene.instance_index, scene.T_world_object, stage_scene.objects)
    ]
    camera = scene.camera
    P, T_world_camera = np.asarray(camera.projection, float), np.asarray(camera.T_world_camera, float)
    buffers = analytic.ray_cast(solids, P, T_world_camera, camera.width, camera.height)
    return {"instance_index": buffers.labels, "coord_depth": buffers.coord_depth.astype(np.float32)}


def assert_same(result: sl.RenderResult, other: sl.RenderResult) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(result, name), getattr(other, name), err_msg=name)


def loss_of(renderer, scene, target):
    def loss(delta):
        deltas = jnp.broadcast_to(delta, (len(scene.T_world_object), 6))
        T = sl.apply_pose_delta(scene.T_world_object, deltas)
        images = sl.render(dataclasses.replace(scene, T_world_object=T), renderer)
        return jnp.mean((images.rgb - target) ** 2)

    return loss


# --- what it renders ----------------------------------------


@both_ways
def test_it_is_a_renderer_of_the_scene_that_it_was_given(boundary, way):
    renderer = way(boundary, camera_pose=TILTED)
    assert isinstance(renderer, sl.Renderer)
    scene = renderer.scene()
    assert scene.instance_index.tolist() == [3, 1]
    result = renderer(scene)
    assert set(np.unique(result.instance_index)) == {0, 1, 3}
    assert all(getattr(result, name) is not None for name in FIELDS)


def test_it_sets_poses_camera_and_projection_and_leaves_them(boundary):
    renderer, stage_scene = here(boundary, camera_pose=TILTED)
    scene = scene_from_stillleben(stage_scene)
    camera = sl.Camera.from_fov(0.9, width=48, height=36, T_world_camera=jnp.asarray(TILTED, jnp.float32))
    other = dataclasses.replace(moved(scene, (0.2, 0.1, 0.3, 0.01, 0.02, 0.03)), camera=camera)
    result = renderer(other)
    expected = expected_result(other, stage_scene)
    assert (np.asarray(result.instance_index) != expected["instance_index"]).mean() < 2e-3  # rays that graze
    same = np.asarray(result.instance_index) == expected["instance_index"]
    np.testing.assert_allclose(np.asarray(result.coord_depth)[same], expected["coord_depth"][same], atol=2e-4)
    assert (np.asarray(result.instance_index) != np.asarray(renderer(scene).instance_index)).mean() > 0.05
    renderer(other)
    left = scene_from_stillleben(stage_scene)
    np.testing.assert_allclose(left.T_world_object, other.T_world_object, atol=1e-6)
    np.testing.assert_allclose(left.camera.T_world_camera, other.camera.T_world_camera, atol=1e-6)
    np.testing.assert_array_equal(left.camera.projection, other.camera.projection)


def test_objects_are_matched_by_label(boundary):
    renderer, stage_scene = here(boundary)
    scene = scene_from_stillleben(stage_scene)
    swapped = sl.Scene(scene.T_world_object[::-1], scene.camera, scene.instance_index[::-1])
    assert_same(renderer(swapped), renderer(scene))


def test_core_buffers_alone(boundary):
    renderer = built(boundary, buffers="core")
    scene = renderer.scene()
    for render in (renderer, jax.jit(renderer)):
        result = render(scene)
        assert result.normals is None and result.cam_coordinates is None
    with pytest.raises(ValueError, match="core"):
        built(boundary, buffers="few")


@pytest.mark.parametrize("build", [False, True])
def test_the_default_render_pass_is_one_of_stillleben(boundary, build):
    if build:
        renderer = boundary.Renderer.build(lambda: ray_cast_stage(boundary.stillleben)[0])
    else:
        boundary.stillleben.init()
        renderer = boundary.Renderer(ray_cast_stage(boundary.stillleben)[0])
    assert (renderer(renderer.scene()).instance_index != 0).any()


def test_a_scene_without_objects(boundary):
    renderer = boundary.Renderer.build(lambda: boundary.stillleben.Scene((6, 4)))
    scene = renderer.scene()
    for render in (renderer, jax.jit(renderer)):
        assert not np.asarray(render(scene).instance_index).any()


# --- transformations ----------------------------------------


def test_jit_and_vmap_render_what_eager_renders(boundary):
    renderer = built(boundary, camera_pose=TILTED)
    scene = renderer.scene()
    scenes = [moved(scene, (0.1 * i, 0, 0.1, 0.01 * i, 0, 0)) for i in range(2)]
    eager = [renderer(s) for s in scenes]
    assert (np.asarray(eager[0].rgb) != np.asarray(eager[1].rgb)).mean() > 0.05
    jitted = jax.jit(renderer)
    for s, result in zip(scenes, eager):
        assert_same(jitted(s), result)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *eager)
    batch = jnp.stack([s.T_world_object for s in scenes])

    def render_poses(T):
        return renderer(dataclasses.replace(scene, T_world_object=T))

    assert_same(jax.vmap(render_poses)(batch), stacked)
    assert_same(jax.jit(jax.vmap(render_poses))(batch), stacked)
    assert_same(jax.jit(lambda b: jax.lax.map(render_poses, b))(batch), stacked)


def test_gradients_agree_under_every_transformation(boundary):
    renderer = built(boundary, camera_pose=TILTED, buffers="core")
    scene = renderer.scene()
    loss = loss_of(renderer, scene, 0.4)
    delta = jnp.array([0.02, 0, 0, 0, 0.002, 0])
    value, gradient = jax.value_and_grad(loss)(delta)
    assert value > 0 and jnp.abs(gradient).min() > 0
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * float(jnp.abs(gradient).max())}
    jax.make_jaxpr(jax.grad(jax.jit(loss)))(delta)  # the callback itself is not differentiated
    batched = jax.jit(jax.vmap(jax.grad(loss)))(jnp.stack([delta, 0.5 * delta]))
    np.testing.assert_allclose(batched[0], gradient, **tolerance)
    np.testing.assert_allclose(batched[1], jax.grad(loss)(0.5 * delta), **tolerance)


def test_float64_scenes_render_too(boundary, x64):
    renderer = built(boundary)
    scene = renderer.scene()
    wide = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, scene)
    result = renderer(wide)
    assert result.coord_depth.dtype == jnp.float32
    assert_same(jax.jit(renderer)(wide), result)


# --- copies ----------------------------------------


@pytest.fixture
def images(boundary, monkeypatch):
    """All images that stillleben handed out, in order."""
    made = []
    make = boundary.stillleben.image
    monkeypatch.setattr(boundary.stillleben, "image", lambda array: made.append(make(array)) or made[-1])
    return made


@aligned
@both_ways
def test_no_buffer_is_copied_eagerly_nor_under_grad(boundary, way, images):
    renderer = way(boundary, buffers="core")
    scene = renderer.scene()
    results = []

    def remembering(scene):
        results.append(renderer(scene))
        return results[-1]

    loss = loss_of(remembering, scene, 0.5)
    for run in (loss, jax.grad(loss), jax.value_and_grad(loss), lambda delta: jax.vjp(loss, delta)[1](1.0)):
        images.clear()
        run(jnp.zeros(6))
        arrays = (results[-1].rgb, results[-1].coord_depth, results[-1].instance_index)
        assert len(images) == 3
        for array, image in zip(arrays, images):
            assert array.unsafe_buffer_pointer() == image.data_ptr() and shares_memory(array, image)


@aligned
def test_inside_jit_buffers_are_copied_into_memory_of_the_program(boundary, images):
    renderer = built(boundary)
    result = jax.jit(renderer)(renderer.scene())
    assert len(images) == 8
    kept = np.array(result.rgb)
    for image in images:
        assert not any(shares_memory(leaf, image) for leaf in jax.tree.leaves(result))
        image.zero_()
    np.testing.assert_array_equal(result.rgb, kept)


# --- refusals ----------------------------------------


@both_ways
def test_odd_widths_are_refused(boundary, way):
    with pytest.raises(ValueError, match="odd"):
        way(boundary, viewport=(15, 10))


@pytest.mark.parametrize("labels", [(4, 4), (1, 32768), (1, -1)])
def test_labels_that_an_image_cannot_hold_are_refused(boundary, labels):
    boundary.stillleben.init()
    scene, render_pass = ray_cast_stage(boundary.stillleben, labels=labels)
    with pytest.raises(ValueError, match="instance_index"):
        boundary.Renderer(scene, render_pass)


def test_labels_changed_since_are_refused(boundary):
    renderer, stage_scene = here(boundary)
    scene = renderer.scene()
    stage_scene.objects[0].instance_index = 1
    with pytest.raises(ValueError, match=r"own instance_index, got \[1, 1\]"):
        renderer(scene)
    stage_scene.objects[0].instance_index = 9
    with pytest.raises(ValueError, match=r"\[9, 1\].*\[3, 1\].*StilllebenRenderer.scene"):
        renderer(scene)


def test_objects_added_or_removed_since_are_refused(boundary):
    renderer, stage_scene = here(boundary)
    scene = renderer.scene()
    item = stage_scene._objects.pop()
    with pytest.raises(ValueError, match="added to stillleben's scene or removed"):
        renderer(scene)
    stage_scene.add_object(boundary.stillleben.Object(item.mesh))  # as many as before
    with pytest.raises(ValueError, match="added to stillleben's scene or removed"):
        renderer(scene)
    stage_scene._objects[-1] = item
    renderer(scene)


def test_a_larger_image_or_another_number_of_objects_is_refused_at_trace_time(boundary):
    renderer = built(boundary)
    scene = renderer.scene()
    fewer = sl.Scene(scene.T_world_object[:1], scene.camera, scene.instance_index[:1])
    for render in (renderer, jax.jit(renderer)):
        for width, height in ((96, 72), (50, 36), (48, 37)):
            large = dataclasses.replace(scene, camera=scene.camera.resized(width, height))
            with pytest.raises(ValueError, match=rf"48 x 36.*{width} x {height}"):
                render(large)
        with pytest.raises(ValueError, match="2 objects, the scene to render 1"):
            render(fewer)


@pytest.mark.parametrize("size", [(24, 18), (13, 9), (48, 12), (1, 1)], ids=str)
@both_ways
def test_a_smaller_image_is_the_image_of_a_scene_of_that_size(boundary, way, size):
    """And the scene is left with the camera that it was given, at its own size."""
    renderer = way(boundary, camera_pose=TILTED)
    scene = renderer.scene()
    camera = sl.Camera.from_intrinsics(40.0, 43.0, 22.0, 19.0, width=48, height=36, T_world_camera=TILTED)
    small = dataclasses.replace(moved(scene, (0.1, 0, 0, 0, 0.01, 0)), camera=camera.resized(*size))
    result = renderer(small)
    assert result.rgb.shape == (size[1], size[0], 4)
    expected = expected_result(small, stage_of(boundary, camera_pose=TILTED))
    same = np.asarray(result.instance_index) == expected["instance_index"]
    assert same.mean() > 0.99
    np.testing.assert_allclose(
        np.asarray(result.coord_depth)[same], expected["coord_depth"][same], rtol=1e-4, atol=2e-4
    )
    if way is built:
        assert_same(jax.jit(renderer)(small), result)
    left = renderer.scene()
    np.testing.assert_allclose(left.camera.projection, small.camera.projection, atol=1e-7)
    assert (left.camera.width, left.camera.height) == (48, 36)
    renderer(scene)


def test_the_gradient_of_a_smaller_image_is_that_of_a_scene_of_its_size(boundary):
    large, small = built(boundary, buffers="core"), built(boundary, buffers="core", viewport=(24, 18))
    scene = small.scene()
    gradients = [jax.grad(loss_of(renderer, scene, 0.4))(jnp.full(6, 0.01)) for renderer in (large, small)]
    assert jnp.abs(gradients[1]).min() > 0
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=0.02, atol=1e-3 * float(jnp.abs(gradients[1]).max()))


@both_ways
def test_a_render_pass_that_drew_another_size_is_refused(boundary, way):
    def used(**stage):
        scene, render_pass = ray_cast_stage(boundary.stillleben, **stage)
        render_pass.render(boundary.stillleben.Scene((24, 18)))
        return scene, render_pass

    if way is built:
        renderer = boundary.Renderer.build(used)
        with pytest.raises(jax.errors.JaxRuntimeError, match="drawn another size before"):
            jax.block_until_ready(jax.jit(renderer)(renderer.scene()))
    else:
        boundary.stillleben.init()
        renderer = boundary.Renderer(*used())
    with pytest.raises(ValueError, match=r"rgb of 24 x 18 pixels for a scene of 48 x 36.*one RenderPass for each"):
        renderer(renderer.scene())


def test_stages_from_coarse_to_fine(boundary):
    renderer = built(boundary, buffers="core")
    scene = renderer.scene()
    images = sl.render(scene, renderer)
    start = moved(scene, (0.05, -0.05, 0.05, 0.006, 0.004, -0.004))
    fit = sl.refine_poses(
        start,
        sl.Observation(images.rgb, images.depth),
        renderer,
        loss=sl.photometric_loss,
        stages=[sl.Stage(15, scale=0.5), sl.Stage(15)],
    )
    second = fit.loss_history[fit.stage_history == 1]
    assert fit.loss < 0.5 * second[0].min() or fit.loss < 0.3 * fit.loss_history[0].min()


WRONG = {
    "nothing": (lambda scene, render_pass: None, "got NoneType. Is its return statement missing"),
    "three": (lambda scene, render_pass: (scene, render_pass, 1), "got tuple of 3"),
    "a list": (lambda scene, render_pass: [scene, render_pass], "got list of 2"),
    "a render pass": (lambda scene, render_pass: render_pass, "got RenderPass"),
    "the wrong order": (lambda scene, render_pass: (render_pass, scene), "RenderPass.* and .*Scene"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_factory_that_returns_something_else_is_told_so(boundary, what):
    make, match = WRONG[what]
    with pytest.raises(ValueError, match=f"factory of StilllebenRenderer.build must return.*{match}"):
        boundary.Renderer.build(lambda: make(*ray_cast_stage(boundary.stillleben)))
    gc.collect()


# --- what compiled programs hold ----------------------------------------


def test_a_compiled_program_does_not_hold_the_renderer(boundary):
    renderer = built(boundary, buffers="core")
    scene = renderer.scene()
    compiled = jax.jit(renderer).lower(scene).compile()
    jax.block_until_ready(compiled(scene))
    reference = weakref.ref(renderer)
    del renderer
    gc.collect()
    assert reference() is None
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"is gone\. Keep a reference to it"):
        jax.block_until_ready(compiled(scene))


@pytest.mark.slow
def test_50_jitted_renderers_leave_nothing(boundary):
    """Each used to leave its scene, which is 55 MB in the real library."""
    for kind in ("Scene", "Object", "Mesh", "RenderPass", "RenderPassResult"):
        setattr(boundary.stillleben, kind, counted(getattr(boundary.stillleben, kind)))
    references = []
    for _ in range(50):
        renderer = built(boundary, buffers="core", viewport=(4, 4), labels=(1,))
        jax.block_until_ready(jax.jit(renderer)(renderer.scene()))
        references.append(weakref.ref(renderer))
        del renderer
    gc.collect()
    boundary.module._stillleben_thread().run(gc.collect)
    assert sum(reference() is not None for reference in references) == 0
    assert ALIVE == []


ALIVE: list[str] = []


def counted(kind: type) -> type:
    class Counted(kind):
        def __new__(cls, *args, **options):
            ALIVE.append(kind.__name__)
            return super().__new__(cls)

        def __del__(self):
            super().__del__()
            ALIVE.remove(kind.__name__)

    return Counted


def test_it_is_a_pytree_that_equals_itself_alone(boundary):
    renderer, other = built(boundary, buffers="core"), built(boundary, buffers="core")
    scene = renderer.scene()
    leaves, structure = jax.tree.flatten(renderer)
    assert leaves == [] and jax.tree.unflatten(structure, []) is renderer
    assert structure == jax.tree.structure(renderer) != jax.tree.structure(other)
    traces = []

    @jax.jit
    def render(renderer, scene):
        traces.append(None)
        return renderer(scene).rgb

    expected = renderer(scene).rgb
    for _ in range(2):
        np.testing.assert_array_equal(render(renderer, scene), expected)
    assert len(traces) == 1
    np.testing.assert_array_equal(render(other, scene), expected)
    reference = weakref.ref(renderer)
    del renderer
    gc.collect()
    assert reference() is None
    with pytest.raises(RuntimeError, match="Keep a reference to it"):
        jax.tree.unflatten(structure, [])


def test_a_second_refinement_with_the_same_renderer_compiles_nothing(boundary):
    renderer = built(boundary, buffers="core", viewport=(8, 6), labels=(1,))
    scene = renderer.scene()
    traces = []

    @sl.residual_loss
    def counted(rendering, observation):
        traces.append(None)
        return sl.Residuals(rendering.depth - observation.depth)

    def refine():
        seen = sl.Observation(depth=renderer(scene).depth.clip(0, 1) + 0.01)
        sl.refine_poses(scene, seen, renderer, loss=counted, optimizer=DESCENT, steps=2)

    refine()
    count = len(traces)
    refine()
    assert len(traces) == count > 0
    reference = weakref.ref(renderer)
    del renderer
    gc.collect()
    assert reference() is None


DESCENT = optax.sgd(1e-3)


# --- poses ----------------------------------------


def test_poses_are_made_rigid_before_rendering(boundary):
    renderer, stage_scene = here(boundary)
    scene = renderer.scene()
    delta = jnp.full((2, 6), 0.1)
    drifted = sl.apply_pose_delta(scene.T_world_object, delta, orthonormalize=False)
    assert jnp.abs(jnp.linalg.det(drifted[:, :3, :3]) - 1).min() > 0.01  # the stand-in would die of this
    renderer(dataclasses.replace(scene, T_world_object=drifted))
    np.testing.assert_allclose(
        scene_from_stillleben(stage_scene).T_world_object, sl.apply_pose_delta(scene.T_world_object, delta), atol=1e-6
    )


BAD_POSES = {
    "not finite": lambda T: T.at[1, 0, 0].set(jnp.nan),
    "rigid": lambda T: T.at[1, :3, 0].multiply(-1),
    "T_world_object\\[1\\] must be a rigid": lambda T: T.at[1, :3, :3].multiply(1000.0),
    "must be a rigid transform": lambda T: T.at[1, 3, 0].set(1.0),
}


@pytest.mark.parametrize("message", BAD_POSES)
def test_poses_far_from_rigid_are_refused(boundary, message):
    renderer = built(boundary)
    scene = renderer.scene()
    bad = dataclasses.replace(scene, T_world_object=BAD_POSES[message](scene.T_world_object))
    with pytest.raises(ValueError, match=message):
        renderer(bad)
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(jax.jit(renderer)(bad))
    camera = dataclasses.replace(scene.camera, T_world_camera=jnp.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"camera\.T_world_camera"):
        renderer(dataclasses.replace(scene, camera=camera))
    assert boundary.stillleben.renders == 0
    renderer(scene)


# --- threads ----------------------------------------


def test_a_scene_of_this_thread_gives_other_threads_an_error(boundary):
    renderer, _ = here(boundary)
    scene = renderer.scene()
    for use in (lambda: renderer(scene), renderer.scene):
        error = on_another_thread(use)
        assert isinstance(error, RuntimeError) and "StilllebenRenderer.build" in str(error), error
        assert "MainThread" in str(error)
    renderer(scene)


def test_a_scene_of_this_thread_refuses_jit_and_vmap_at_trace_time(boundary):
    renderer, _ = here(boundary)
    scene = renderer.scene()
    with pytest.raises(RuntimeError, match=r"XLA chooses the thread.*StilllebenRenderer.build"):
        jax.jit(renderer)(scene)
    with pytest.raises(RuntimeError, match=r"XLA chooses the thread.*StilllebenRenderer.build"):
        jax.vmap(lambda T: renderer(dataclasses.replace(scene, T_world_object=T)))(scene.T_world_object[None])
    assert boundary.stillleben.renders == 0


def test_a_renderer_cannot_be_made_on_a_thread_without_the_context(boundary):
    boundary.stillleben.init()
    scene, render_pass = ray_cast_stage(boundary.stillleben)
    error = on_another_thread(boundary.Renderer, scene, render_pass)
    assert isinstance(error, RuntimeError) and "no OpenGL context" in str(error)


def test_build_refuses_a_context_of_another_thread(boundary):
    boundary.stillleben.init()
    with pytest.raises(RuntimeError, match="initialised on another thread"):
        built(boundary)


def test_everything_of_build_happens_on_one_thread_whoever_asks(boundary):
    renderer = built(boundary)
    assert boundary.stillleben.thread.name == "stillleben"
    scene = renderer.scene()
    expected = renderer(scene)
    assert_same(on_another_thread(renderer, scene), expected)
    assert_same(on_another_thread(jax.jit(renderer), scene), expected)
    second = on_another_thread(built, boundary)
    assert_same(second(scene), expected)
    assert boundary.stillleben.thread.name == "stillleben"


def test_build_passes_the_device_on(boundary, monkeypatch):
    asked = []
    init = boundary.stillleben.init
    monkeypatch.setattr(boundary.stillleben, "init_cuda", lambda index: (asked.append(index), init()))
    boundary.Renderer.build(lambda: ray_cast_stage(boundary.stillleben), cuda_device=1)
    assert asked == [1]


@both_ways
def test_a_renderer_may_be_collected_on_any_thread(boundary, way):
    box = [way(boundary)]
    box[0](box[0].scene())
    on_another_thread(box.clear)
    gc.collect()  # what belongs to this thread is released by the next use on it
    assert boundary.stillleben.deaths == []


def test_objects_of_this_thread_are_released_by_the_next_renderer_of_it(boundary):
    boundary.stillleben.init()
    alive = set()

    class Counted(boundary.stillleben.Scene):
        def __init__(self, *args):
            super().__init__(*args)
            alive.add(id(self))

        def __del__(self):
            super().__del__()
            alive.discard(id(self))

    box = [boundary.Renderer(Counted((4, 4)))]
    on_another_thread(box.clear)
    gc.collect()
    assert len(alive) == 1
    other = boundary.Renderer(boundary.stillleben.Scene((4, 4)))
    gc.collect()
    assert alive == set()
    del other


def test_a_failing_factory_releases_on_its_thread(boundary):
    def fails():
        scene, render_pass = ray_cast_stage(boundary.stillleben)
        try:
            raise KeyError("first")
        except KeyError as error:
            held = (scene, render_pass)
            raise ValueError("my factory") from error
        return held

    with pytest.raises(ValueError, match="my factory") as caught:
        boundary.Renderer.build(fails)
    assert caught.value.__cause__ is None and "KeyError: 'first'" in caught.value.__notes__[0]
    del caught
    gc.collect()
    assert boundary.stillleben.deaths == []


def test_the_stand_in_notices_a_use_on_the_wrong_thread(boundary):
    boundary.stillleben.init()
    scene, render_pass = ray_cast_stage(boundary.stillleben)
    assert isinstance(on_another_thread(render_pass.render, scene), fake_stillleben.ProcessEnded)
    box = [ray_cast_stage(boundary.stillleben)]
    on_another_thread(box.clear)
    assert len(boundary.stillleben.deaths) >= 4  # one render; scene, objects, meshes and render pass released
    boundary.stillleben.deaths.clear()


def test_two_threads_neither_deadlock_nor_mix_buffers(boundary):
    renderer = built(boundary, buffers="core")
    scene = renderer.scene()
    scenes = [moved(scene, (0, 0, 0.4 * i, 0.02 * i, 0, 0)) for i in range(2)]
    expected = [renderer(s) for s in scenes]
    assert (np.asarray(expected[0].rgb) != np.asarray(expected[1].rgb)).any()
    gradient = jax.jit(jax.grad(loss_of(renderer, scene, 0.5)))
    expected_gradient = gradient(jnp.zeros(6))
    jitted = jax.jit(renderer)

    def work(number):
        for i in range(15):
            k = (number + i) % 2
            assert_same((renderer if i % 2 else jitted)(scenes[k]), expected[k])
            if i % 5 == 0:
                np.testing.assert_allclose(gradient(jnp.zeros(6)), expected_gradient, rtol=1e-5)

    run_in_two_threads(work)


# --- refinement ----------------------------------------


UNIT = jnp.array([1, 1, 1, 0.1, 0.1, 0.1])  # a radian counts as much as 0.1 m


@pytest.mark.parametrize(
    ("way", "compile"), [(WAYS["this thread"], lambda f: f), (built, jax.jit)], ids=["eager", "jit"]
)
def test_descending_by_value_and_grad_converges(boundary, way, compile):
    renderer = way(boundary, buffers="core")
    scene = renderer.scene()
    target = sl.render(scene, renderer)
    start = moved(scene, (0.05, -0.05, 0.05, 0.006, 0.004, -0.004))

    def loss(delta):
        T = sl.apply_pose_delta(start.T_world_object, delta * UNIT)
        images = sl.render(dataclasses.replace(start, T_world_object=T), renderer)
        return jnp.mean((images.rgb - target.rgb) ** 2)

    step = compile(jax.value_and_grad(loss))
    optimizer = optax.adam(0.01)
    delta, values = jnp.zeros((2, 6)), []
    state = optimizer.init(delta)
    for _ in range(20):
        value, gradient = step(delta)
        values.append(float(value))
        update, state = optimizer.update(gradient, state)
        delta += update
    assert min(values[-5:]) < 0.25 * values[0], values


def test_refine_poses_converges_from_several_starts(boundary):
    renderer = built(boundary, buffers="core")
    scene = renderer.scene()
    images = sl.render(scene, renderer)
    starts = [moved(scene, (0.05, -0.05, 0.05, 0.006 * i, 0.004, -0.004)).T_world_object for i in (1, 2)]
    starts = jnp.stack(starts)
    fit = sl.refine_poses(
        scene, sl.Observation(images.rgb, images.depth), renderer, loss=sl.photometric_loss, starts=starts, steps=30
    )
    assert fit.loss < 0.4 * fit.loss_history[0].min()


# --- the GPU ----------------------------------------


@pytest.mark.gpu
def test_callbacks_run_on_gpu_buffers(gpu, boundary):
    renderer = built(boundary, buffers="core")
    scene = jax.device_put(renderer.scene(), gpu)
    eager, jitted = renderer(scene), jax.jit(renderer)(scene)
    assert jitted.rgb.devices() == {gpu} == eager.rgb.devices()
    assert_same(jitted, eager)
    loss = loss_of(renderer, scene, 0.5)
    np.testing.assert_allclose(
        jax.jit(jax.grad(loss))(jnp.zeros(6)), jax.grad(loss)(jnp.zeros(6)), rtol=1e-3, atol=1e-6
    )


def test_result_of_the_renderer_equals_the_conversion(boundary):
    renderer, stage_scene = here(boundary)
    scene = renderer.scene()
    result = renderer(scene)
    direct = boundary.stillleben.RenderPass().render(stage_scene)
    assert_same(result_from_stillleben(direct), result)
    np.testing.assert_array_equal(from_torch(direct.coordinates()), result.coordinates)
    np.testing.assert_array_equal(from_torch(direct.depth()), result.depth)
    assert torch.equal(direct.instance_index().squeeze(-1), torch.from_numpy(np.array(result.instance_index)))
