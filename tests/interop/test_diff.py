"""The drop-in for stillleben.diff against recorded output of the original."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import torch

import sldiff_jax as sl
from interop import diff
from interop.stillleben import result_from_stillleben, scene_from_stillleben

SCENES = ["two_bunnies_flat", "bunny_cube", "five"]
CUT_BY_THE_BORDER = {("five", 4)}
DTYPES = [torch.float32, torch.float64]


def doctor(scene) -> None:
    """Makes the original's faults: it divides by row 2 of the projection and ignores the camera's pose."""
    P = scene.projection_matrix()
    P[3] = P[2]
    scene.set_camera_projection(P)
    scene.set_camera_pose(torch.eye(4))


def test_the_signatures_are_those_of_the_original():
    def written(function):
        parameters = inspect.signature(function).parameters.values()
        return [
            p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters if p.kind != p.KEYWORD_ONLY
        ]

    assert written(diff.compute_image_space_gradients) == ["scene", "render_result"]
    assert written(diff.backpropagate_gradient_to_poses) == [
        "scene", "render_result", "grad_objective_wrt_rnd_img", "visualize_grad=False"
    ]  # fmt: skip
    assert written(diff.apply_pose_delta) == ["pose", "delta", "orthonormalize=True"]


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("channels_first", [True, False])
def test_image_space_gradients(recorded, name, channels_first):
    scene, result, data = recorded(name)
    arguments = {"channels_first": True} if channels_first else {}
    grad_x, grad_y, valid = diff.compute_image_space_gradients(scene, result, **arguments)
    inside = oracle.interior(tuple(valid.shape), 1)
    assert valid.dtype == torch.bool and grad_x.dtype == torch.float32 and grad_x.device == result.rgb().device
    np.testing.assert_array_equal(valid.numpy()[inside], data["isg_valid"][inside])
    for got, key in ((grad_x, "isg_grad_x"), (grad_y, "isg_grad_y")):
        got = got if channels_first else got.permute(2, 0, 1)
        assert got.shape == data[key].shape
        np.testing.assert_allclose(got.numpy()[:, inside], data[key][:, inside], rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, torch.float32) for name in SCENES), ("bunny_cube", torch.float64)]
)
def test_pose_gradients(recorded, name, dtype):
    scene, result, data = recorded(name)
    doctor(scene)
    gradient = diff.backpropagate_gradient_to_poses(scene, result, torch.from_numpy(data["grad_image"]).to(dtype))
    assert gradient.dtype == dtype and gradient.device == result.rgb().device
    for k, expected in enumerate(data["pose_grad"]):
        if (name, k) not in CUT_BY_THE_BORDER:
            np.testing.assert_allclose(gradient[k].numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_pose_gradients_with_the_true_projection_are_those_of_the_port(recorded):
    scene, result, data = recorded("two_bunnies_flat")
    gradient = diff.backpropagate_gradient_to_poses(scene, result, torch.from_numpy(data["grad_image"]))
    port = jax.jit(sl.backpropagate_gradient_to_poses)
    converted = scene_from_stillleben(scene), result_from_stillleben(result)
    np.testing.assert_allclose(gradient.numpy(), port(*converted, jnp.asarray(data["grad_image"])), rtol=1e-5)
    assert np.abs(gradient.numpy() - data["pose_grad"]).max() > 1e-2 * np.abs(data["pose_grad"]).max()


def test_float64_is_computed_in_float64(recorded):
    scene, result, data = recorded("bunny_cube")
    cotangent = torch.from_numpy(data["grad_image"]).double() / 3
    found = diff.backpropagate_gradient_to_poses(scene, result, cotangent)
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, scene_from_stillleben(scene)
        )
        port = jax.jit(sl.backpropagate_gradient_to_poses)
        expected = port(wide, result_from_stillleben(result, buffers="core"), jnp.asarray(cotangent.numpy()))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-10 * float(found.abs().max()))
    assert jnp.zeros(1).dtype == jnp.float32  # the global setting is as before


@pytest.mark.parametrize("orthonormalize", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_apply_pose_delta(golden, orthonormalize, dtype):
    data = golden("bunny_cube").data
    poses = torch.from_numpy(data["object_poses"]).to(dtype)
    suffix = f"ortho{int(orthonormalize)}"
    for pose, key in ((poses[0], "single"), (poses, "batched")):
        delta = torch.from_numpy(data[f"apd_delta_{key}"]).to(dtype)
        moved = diff.apply_pose_delta(pose, delta, orthonormalize)
        assert moved.dtype == dtype and moved.shape == pose.shape and moved.device == pose.device
        np.testing.assert_allclose(moved.numpy(), data[f"apd_{key}_{suffix}"], rtol=0, atol=1e-6)


def test_apply_pose_delta_promotes_and_leaves_its_arguments_alone():
    pose, delta = torch.eye(4), torch.full((6,), 0.1, dtype=torch.float64)
    moved = diff.apply_pose_delta(pose, delta)
    assert moved.dtype == torch.float64 and torch.equal(pose, torch.eye(4))
    moved += 1
    assert torch.equal(pose, torch.eye(4)) and (delta == 0.1).all()


@pytest.mark.parametrize("orthonormalize", [True, False])
def test_torch_differentiates_apply_pose_delta(orthonormalize):
    torch.manual_seed(0)
    poses = torch.linalg.qr(torch.randn(2, 4, 4, dtype=torch.float64)).Q.requires_grad_()
    for delta in (torch.zeros(2, 6), 0.2 * torch.randn(2, 6)):
        delta = delta.double().requires_grad_()
        assert torch.autograd.gradcheck(lambda T, d: diff.apply_pose_delta(T, d, orthonormalize), (poses, delta))


def test_a_refinement_loop_of_the_original_runs_with_one_import_changed(boundary):
    """Written as for stillleben.diff: render, loss in torch, backpropagate, apply_pose_delta, set_pose."""
    from fake_stillleben import ray_cast_stage

    boundary.stillleben.init()
    scene, render_pass = ray_cast_stage(boundary.stillleben)
    target = render_pass.render(scene).rgb()[:, :, :3].float() / 255
    for item in scene.objects:
        item.set_pose(diff.apply_pose_delta(item.pose(), torch.tensor([0.05, -0.05, 0.05, 0.01, 0.006, -0.006])))
    values = []
    scale = torch.tensor([1.0, 1, 1, 0.01, 0.01, 0.01])
    for _ in range(40):
        result = render_pass.render(scene)
        image = (result.rgb()[:, :, :3].float() / 255).permute(2, 0, 1).requires_grad_()
        loss = ((image - target.permute(2, 0, 1)) ** 2).mean()
        loss.backward()
        values.append(loss.item())
        gradient = diff.backpropagate_gradient_to_poses(scene, result, image.grad)
        step = gradient * scale
        for item, delta in zip(scene.objects, -0.004 * step / (step / scale.sqrt()).norm(dim=1, keepdim=True)):
            item.set_pose(diff.apply_pose_delta(item.pose(), delta))
    assert min(values) < 0.4 * values[0], values


def test_visualize_grad_shows_figures_and_changes_no_number(recorded):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")
    scene, result, data = recorded("bunny_cube")
    cotangent = torch.from_numpy(data["grad_image"])
    plain = diff.backpropagate_gradient_to_poses(scene, result, cotangent)
    jax.effects_barrier()
    assert pyplot.get_fignums() == []
    shown = diff.backpropagate_gradient_to_poses(scene, result, cotangent, True)
    jax.effects_barrier()
    assert len(pyplot.get_fignums()) == len(scene.objects)
    pyplot.close("all")
    torch.testing.assert_close(shown, plain)


def test_mistakes_are_named(recorded, unchecked_types):
    scene, result, data = recorded("bunny_cube")
    cotangent = torch.from_numpy(data["grad_image"])
    with pytest.raises(ValueError, match="grad_objective_wrt_rnd_img must be float32 or float64, got"):
        diff.backpropagate_gradient_to_poses(scene, result, cotangent.half())
    with pytest.raises(ValueError, match=r"channels first.*\(3, 120, 160\).*\(120, 160, 3\)"):
        diff.backpropagate_gradient_to_poses(scene, result, cotangent.permute(1, 2, 0))
    with pytest.raises(ValueError, match="int64"):
        diff.apply_pose_delta(torch.eye(4, dtype=torch.int64), torch.zeros(6, dtype=torch.int64))
    with pytest.raises(ValueError, match="delta"):
        diff.apply_pose_delta(torch.eye(4), torch.zeros(5))
    with pytest.raises(ValueError, match=r"got a sldiff_jax\.Scene"):
        diff.compute_image_space_gradients(scene_from_stillleben(scene), result)
    with pytest.raises(ValueError, match=r"For stillleben's, use interop\.diff"):
        sl.compute_image_space_gradients(scene, result)
    scene.viewport = (80, 60)
    with pytest.raises(ValueError, match="80"):
        diff.compute_image_space_gradients(scene, result)


@pytest.mark.gpu
def test_results_are_on_the_gpu_of_the_images(gpu, recorded):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    scene, result, data = recorded("bunny_cube")

    class OnGpu:
        def __getattr__(self, name):
            return lambda: getattr(result, name)().cuda()

    doctor(scene)
    gradient = diff.backpropagate_gradient_to_poses(scene, OnGpu(), torch.from_numpy(data["grad_image"]).cuda())
    assert gradient.is_cuda
    np.testing.assert_allclose(
        gradient.cpu().numpy(), data["pose_grad"], rtol=0, atol=1e-3 * np.abs(data["pose_grad"]).max()
    )
    grad_x, _, valid = diff.compute_image_space_gradients(scene, OnGpu())
    assert grad_x.is_cuda and valid.is_cuda
    assert diff.apply_pose_delta(torch.eye(4).cuda(), torch.zeros(6)).is_cuda
