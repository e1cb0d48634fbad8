"""A loss in torch as a function of JAX."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import dataclasses

import analytic
import fake_stillleben
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import sldiff_jax as sl
from interop import torch_loss

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(8, 10, 3)), jnp.float32)
Y = jnp.asarray(RNG.normal(size=(8, 10, 3)), jnp.float32)


def squared_in_torch(x, y):
    return ((x - y) ** 2).mean()


def squared(x, y):
    return ((x - y) ** 2).mean()


class Features(torch.nn.Module):
    """A small fixed convolutional network; the loss is the distance between the features of two (H, W, 3) images."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = torch.nn.Conv2d(3, 8, 5, padding=2)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
        for weights in self.parameters():
            weights.data = torch.randn(weights.shape, generator=generator) * 0.2

    def features(self, image):
        shallow = torch.tanh(self.first(image.permute(2, 0, 1)[None]))
        deep = torch.tanh(self.second(torch.nn.functional.avg_pool2d(shallow, 2)))
        return shallow, deep

    def forward(self, image, target):
        return sum(((a - b) ** 2).mean() for a, b in zip(self.features(image), self.features(target)))


loss = torch_loss(squared_in_torch)

TRANSFORMS = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_value_and_gradients_are_those_of_jax(transform):
    np.testing.assert_allclose(transform(loss)(X, Y), squared(X, Y), rtol=1e-6)
    value, gradients = transform(jax.value_and_grad(loss, (0, 1)))(X, Y)
    np.testing.assert_allclose(value, squared(X, Y), rtol=1e-6)
    for got, expected in zip(gradients, jax.grad(squared, (0, 1))(X, Y)):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(jax.grad(transform(loss))(X, Y), gradients[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_vmap(transform):
    batch = jnp.stack([X, 2 * X, -X])
    for function, expected in ((loss, squared), (jax.grad(loss), jax.grad(squared))):
        got = transform(jax.vmap(function, (0, None)))(batch, Y)
        np.testing.assert_allclose(got, jax.vmap(expected, (0, None))(batch, Y), rtol=1e-5, atol=1e-8)


def test_it_composes_with_functions_of_jax():
    def objective(f):
        return lambda s: jnp.exp(f(jnp.sin(s * X), Y)) + f(Y, X * s**2)

    np.testing.assert_allclose(jax.grad(objective(loss))(0.7), jax.grad(objective(squared))(0.7), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(objective(loss)))(0.7), jax.grad(objective(squared))(0.7), rtol=1e-5)


def test_finite_differences_in_float64(x64):
    features = Features().double()
    image, target = (jnp.asarray(RNG.uniform(size=(8, 10, 3))) for _ in range(2))
    function = torch_loss(features)
    assert function(image, target).dtype == jnp.float64
    gradient = jax.grad(function)(image, target)
    direction = jnp.asarray(RNG.normal(size=image.shape))
    step = 1e-5
    difference = function(image + step * direction, target) - function(image - step * direction, target)
    np.testing.assert_allclose(jnp.vdot(gradient, direction), difference / (2 * step), rtol=1e-7)


@pytest.mark.parametrize("differentiate", [False, True])
def test_eagerly_nothing_is_copied(differentiate):
    seen = {}

    def remembering(x, y):
        seen["x"], seen["y"] = x.data_ptr(), y.data_ptr()
        return (x * y).sum()

    function = torch_loss(remembering)
    result = (jax.grad(function) if differentiate else function)(X, Y)
    assert seen["x"] == X.unsafe_buffer_pointer() and seen["y"] == Y.unsafe_buffer_pointer()
    if differentiate:
        np.testing.assert_array_equal(result, Y)


def test_gradients_come_back_without_a_copy():
    found = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, cotangent):
            found.append(torch.full((8, 10, 3), 2.0))
            return found[-1]

    _, pull_back = jax.vjp(torch_loss(Watched.apply), X)
    leaves = [leaf for leaf in jax.tree.leaves(pull_back) if getattr(leaf, "shape", None) == X.shape]
    assert [leaf.unsafe_buffer_pointer() for leaf in leaves] == [found[0].data_ptr()]


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_inputs_that_are_not_floating_and_pytrees(transform):
    def masked_in_torch(images, mask, index):
        return (images["a"] * mask).sum() + 2 * images["b"][index].sum()

    images = {"a": X, "b": Y}
    mask, index = X[..., :1] > 0, jnp.array([0, 2])
    gradient = transform(jax.grad(torch_loss(masked_in_torch)))(images, mask, index)
    np.testing.assert_array_equal(gradient["a"], jnp.broadcast_to(mask, X.shape))
    np.testing.assert_array_equal(gradient["b"], jnp.zeros_like(Y).at[index].set(2))


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_inputs_that_do_not_matter_have_zero_gradients(transform):
    np.testing.assert_array_equal(transform(jax.grad(torch_loss(lambda x, y: x.sum()), 1))(X, Y), 0)
    np.testing.assert_array_equal(transform(jax.grad(torch_loss(lambda x: torch.tensor(1.0))))(X), 0)
    np.testing.assert_array_equal(transform(jax.grad(torch_loss(lambda x: x.detach().sum())))(X), 0)


def test_parameters_get_no_gradient_and_grad_mode_of_the_caller_does_not_matter():
    features = Features()
    with torch.no_grad():
        gradient = jax.grad(torch_loss(features))(X, Y)
        jitted = jax.jit(jax.grad(torch_loss(features)))(X, Y)
    assert jnp.abs(gradient).max() > 0
    np.testing.assert_allclose(gradient, jitted, rtol=1e-5, atol=1e-8)
    assert all(weights.grad is None for weights in features.parameters())


@pytest.mark.parametrize(("dtype", "name"), [(jnp.float16, "float16"), (jnp.bfloat16, "bfloat16")])
def test_the_loss_has_the_dtype_of_its_inputs(dtype, name):
    for transform in (lambda f: f, jax.jit):
        value, gradient = transform(jax.value_and_grad(torch_loss(lambda x: (x.float() ** 2).mean())))(X.astype(dtype))
        assert value.dtype == dtype and gradient.dtype == dtype
    mixed = torch_loss(lambda x, y: (x * y).sum())
    assert mixed(X.astype(dtype), Y).dtype == jnp.float32 == jax.jit(mixed)(X.astype(dtype), Y).dtype


def test_a_loss_with_one_element_of_any_shape_will_do():
    assert torch_loss(lambda x: x.sum().reshape(1, 1))(X).shape == ()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"one element, got shape \(8, 10, 3\).*mean"):
        torch_loss(lambda x: x)(X)
    with pytest.raises(ValueError, match="one element, got float"):
        torch_loss(lambda x: 1.0)(X)
    with pytest.raises(ValueError, match=r"floating input, got \['int32'\]"):
        torch_loss(lambda x: x.sum())(jnp.arange(3))
    with pytest.raises(jax.errors.JaxRuntimeError, match="one element, got shape"):
        jax.block_until_ready(jax.jit(torch_loss(lambda x: x))(X))
    with pytest.raises(ValueError, match="JVP"):
        jax.jit(jax.hessian(lambda x: loss(x, Y[0, 0])))(X[0, 0])


def test_a_feature_loss_in_torch_refines_a_pose_in_jax(boundary):
    """Render and compare with any loss: a convolutional network in torch, the pose in JAX."""
    renderer = boundary.Renderer.build(lambda: fake_stillleben.ray_cast_stage(boundary.stillleben), buffers="core")
    truth = renderer.scene()
    target = sl.render(truth, renderer).rgb
    offset = jnp.array([[0.08, -0.06, 0.1, 0.012, -0.01, 0.01]] * 2)
    start = sl.apply_pose_delta(truth.T_world_object, offset)
    unit = jnp.array([1, 1, 1, 0.1, 0.1, 0.1])
    perceptual = torch_loss(Features())

    def loss(delta):
        T = sl.apply_pose_delta(start, delta * unit)
        image = sl.render(dataclasses.replace(truth, T_world_object=T), renderer).rgb
        return perceptual(image, target)

    step = jax.jit(jax.value_and_grad(loss))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, 40, alpha=0.1))
    delta, values = jnp.zeros((2, 6)), []
    state = optimizer.init(delta)
    for _ in range(40):
        value, gradient = step(delta)
        values.append(float(value))
        update, state = optimizer.update(gradient, state)
        delta += update
    found = sl.apply_pose_delta(start, delta * unit)
    assert min(values) < 0.15 * values[0], values
    assert translation_error(found, truth) < 0.4 * translation_error(start, truth)
    eager_value, eager_gradient = jax.value_and_grad(loss)(jnp.zeros((2, 6)))
    np.testing.assert_allclose(eager_value, values[0], rtol=1e-5)
    np.testing.assert_allclose(eager_gradient, step(jnp.zeros((2, 6)))[1], rtol=1e-3, atol=1e-6)


def translation_error(T, truth) -> float:
    return float(jnp.linalg.norm(T[:, :3, 3] - truth.T_world_object[:, :3, 3], axis=-1).max())


def test_the_renderer_of_the_refinement_really_renders():
    """The refinement above is no artefact of a constant image."""
    fake = fake_stillleben.FakeStillleben()
    fake.init()
    scene, render_pass = fake_stillleben.ray_cast_stage(fake)
    before = render_pass.render(scene).rgb()
    scene.objects[0].set_pose(
        scene.objects[0].pose() @ torch.from_numpy(analytic.rigid(RNG, (0.02, 0, 0), 0.2)).float()
    )
    assert (render_pass.render(scene).rgb() != before).any()


@pytest.mark.gpu
def test_gpu(gpu):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    features = Features().cuda()
    function = torch_loss(features)
    x, y = (jax.device_put(image, gpu) for image in (X, Y))
    expected = jax.grad(torch_loss(Features()))(*(jax.device_put(image, jax.devices("cpu")[0]) for image in (X, Y)))
    for run in (jax.grad(function), jax.jit(jax.grad(function))):
        gradient = run(x, y)
        assert gradient.devices() == {gpu}
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-6)
