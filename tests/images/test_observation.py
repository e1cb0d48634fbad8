"""`Observation`: what it takes, what it refuses with a reason, other sizes and windows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sldiff_jax as sl

pytestmark = pytest.mark.usefixtures("unchecked_types")
RGB = np.full((4, 5, 3), 0.5, np.float32)
ONES = np.ones((4, 5), np.float32)
SHAPE = r"\(height, width\)"


def textured(height=24, width=30) -> sl.Observation:
    """Every pixel is different; the mask is a rectangle in the middle."""
    random = np.random.default_rng(0)
    mask = np.zeros((height, width), np.float32)
    mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
    return sl.Observation(
        random.random((height, width, 3)).astype(np.float32),
        random.uniform(0.5, 1, (height, width)).astype(np.float32),
        mask,
        random.random((height, width)).astype(np.float32),
    )


def assert_same(a: sl.Observation, b: sl.Observation, **tolerances) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert isinstance(x, jax.Array) and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, **({"rtol": 0} | tolerances))


def test_what_it_takes():
    observation = sl.Observation(np.full((4, 5, 3), 51, np.uint8), ONES, np.eye(4, 5) > 0, np.eye(4, 5) > 0)
    np.testing.assert_allclose(observation.rgb, 0.2, atol=1e-6)
    np.testing.assert_array_equal(observation.mask, np.eye(4, 5))
    np.testing.assert_array_equal(observation.weight, np.eye(4, 5))
    assert observation.mask.dtype == observation.weight.dtype == jnp.float32
    assert observation.size == sl.Observation(depth=ONES).size == (4, 5)
    assert sl.Observation(RGB).weight is None
    weighted = dataclasses.replace(observation, weight=3 * ONES)
    np.testing.assert_array_equal(weighted.weight, 3)


@pytest.mark.parametrize("convert", [jnp.asarray, lambda x: x.astype(np.float64), np.ndarray.tolist])
def test_arrays_of_every_kind(convert):
    assert_same(sl.Observation(*(convert(x) for x in (RGB, ONES, ONES, ONES))), sl.Observation(RGB, ONES, ONES, ONES))


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(x) for x in (RGB, ONES, ONES, ONES)]
    observation = sl.Observation(*tensors)
    assert_same(observation, sl.Observation(RGB, ONES, ONES, ONES))
    assert sl.Observation((255 * tensors[0]).to(torch.uint8)).rgb[0, 0, 0] == pytest.approx(127 / 255)
    with pytest.raises(ValueError, match=r"rgb cannot be read as an array: (?s:.*)needs detach\(\)"):
        sl.Observation(tensors[0].requires_grad_())
    assert sl.Observation(tensors[0].detach()).size == (4, 5)
    with pytest.raises(ValueError, match=r"rgb must have shape .* got \(3, 4, 5\).*rgb\.permute\(1, 2, 0\)"):
        sl.Observation(tensors[0].detach().permute(2, 0, 1))


@pytest.mark.gpu
def test_a_tensor_on_the_gpu_is_sent_through_dlpack():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    with pytest.raises(ValueError, match=r"depth cannot be read as an array: (?s:.*)interop\.dlpack\.from_torch"):
        sl.Observation(depth=torch.ones(4, 5, device="cuda"))


def test_arrays_that_numpy_cannot_read_are_sent_through_dlpack():
    class Elsewhere:
        def __array__(self, *_, **__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")

    with pytest.raises(ValueError, match=r"depth cannot be read .*cuda:0(?s:.*)interop\.dlpack\.from_torch brings it"):
        sl.Observation(depth=Elsewhere())


def test_pillow_images():
    rgb = Image.fromarray(np.full((4, 5, 3), 51, np.uint8))
    observation = sl.Observation(rgb, Image.fromarray(ONES), Image.fromarray(np.eye(4, 5, dtype=np.uint8)))
    assert_same(observation, sl.Observation(np.asarray(rgb), ONES, np.eye(4, 5) > 0))
    np.testing.assert_allclose(sl.Observation(rgb.convert("L")).rgb, 0.2, atol=1e-6)
    np.testing.assert_allclose(sl.Observation(rgb.convert("RGBA")).rgb, 0.2, atol=1e-6)
    np.testing.assert_array_equal(sl.Observation(rgb, weight=Image.fromarray(2 * ONES)).weight, 2)


def test_it_is_a_pytree_that_passes_through_jit_and_vmap():
    assert jax.jit(lambda o: o.rgb.sum() + o.mask.sum() + o.weight.sum())(sl.Observation(RGB, None, ONES, ONES)) == 70
    batch = jax.jit(jax.vmap(sl.Observation))(*(np.stack([x, x]) for x in (RGB, ONES, ONES, ONES)))
    assert batch.rgb.shape == (2, 4, 5, 3) and batch.weight.shape == (2, 4, 5)
    sums = jax.vmap(lambda o: (o.weight * o.depth).sum())(batch)
    np.testing.assert_array_equal(sums, [20, 20])
    gradient = jax.grad(lambda rgb: (sl.Observation(rgb).rgb ** 2).sum())(jnp.asarray(RGB))
    np.testing.assert_allclose(gradient, 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "at least one of rgb, depth and mask"),
        ({"weight": ONES}, "at least one of rgb, depth and mask"),
        ({"rgb": RGB[..., 0]}, r"rgb must have shape \(height, width, 3\), got \(4, 5\)"),
        ({"rgb": np.moveaxis(RGB, 2, 0)}, r"got \(3, 4, 5\)\. Channels come last: move the axis with numpy\.moveaxis"),
        ({"rgb": np.ones((4, 5, 4))}, r"got \(4, 5, 4\)\. Drop the alpha channel"),
        ({"rgb": RGB[None]}, r"got \(1, 4, 5, 3\)\. For a batch, use jax\.vmap"),
        ({"rgb": RGB[:0]}, r"must have pixels, got height and width \(0, 5\)"),
        ({"rgb": RGB * 255}, r"rgb must lie in \[0, 1\], got values from 127.5 to 127.5. Divide by 255"),
        ({"rgb": RGB * np.nan}, r"rgb must lie in \[0, 1\], got values from nan"),
        ({"rgb": RGB.astype(np.int32)}, "rgb must be uint8, or floating"),
        ({"rgb": "photo.png"}, r"rgb must hold numbers, .* Files are for Observation\.load"),
        ({"rgb": [[1, 2], [3]]}, "rgb cannot be read as an array"),
        ({"rgb": Image.fromarray(ONES)}, "Observation rgb must have 8 bits per channel, .* of mode F"),
        ({"rgb": Image.fromarray(np.zeros((4, 5, 4), np.uint8))}, "Observation rgb is transparent at 20 of 20 pixels"),
        ({"depth": (ONES * 800).astype(np.uint16)}, "multiply by 1e-3"),
        ({"depth": Image.fromarray((ONES * 800).astype(np.uint16))}, r"got uint16 \(4, 5\).*multiply by 1e-3"),
        ({"depth": Image.fromarray(np.zeros((4, 5, 3), np.uint8))}, "depth must have one channel .* of mode RGB"),
        ({"depth": ONES[None]}, rf"shape {SHAPE} in metres, got float32 \(1, 4, 5\)"),
        ({"depth": -ONES}, "finite and not negative"),
        ({"depth": ONES * np.nan}, r"finite and not negative.*nan_to_num"),
        ({"depth": ONES * np.inf}, "finite and not negative"),
        ({"mask": ONES[None]}, rf"mask must have shape {SHAPE}, got \(1, 4, 5\)"),
        ({"mask": ONES * 255}, r"mask must lie in \[0, 1\], got values from 255 to 255. Use mask > 0"),
        ({"mask": (ONES * 255).astype(np.uint8)}, "mask must be bool, or floating"),
        ({"mask": ONES * 0}, "mask is empty"),
        ({"mask": Image.fromarray(np.uint8(ONES * 0))}, "mask is empty"),
        ({"weight": ONES[None], "rgb": RGB}, rf"weight must have shape {SHAPE}, got \(1, 4, 5\)"),
        ({"weight": ONES.astype(np.uint8), "rgb": RGB}, r"weight must be bool, or floating .*got dtype uint8"),
        ({"weight": -ONES, "rgb": RGB}, "weight must be finite and not negative; 0 leaves a pixel out"),
        ({"weight": ONES * np.nan, "rgb": RGB}, "weight must be finite and not negative"),
        ({"weight": ONES * np.inf, "rgb": RGB}, "weight must be finite and not negative"),
        ({"weight": ONES * 0, "rgb": RGB}, "weight is zero everywhere"),
        ({"rgb": RGB, "mask": np.ones((5, 5), np.float32)}, r"one size .*'rgb': \(4, 5\), 'mask': \(5, 5\)"),
        ({"rgb": RGB, "weight": np.ones((4, 4), np.float32)}, r"one size .*'rgb': \(4, 5\), 'weight': \(4, 4\)"),
    ],
)
def test_what_it_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        sl.Observation(**images)


# --- files


def test_load(tmp_path):
    Image.fromarray(np.full((4, 5, 3), 51, np.uint8)).save(tmp_path / "rgb.png")
    Image.fromarray((ONES * 800).astype(np.uint16)).save(tmp_path / "depth.png")
    Image.fromarray(np.eye(4, 5, dtype=np.uint8)).save(tmp_path / "mask.png")
    paths = [tmp_path / f"{name}.png" for name in ("rgb", "depth", "mask")]
    expected = sl.Observation(np.full((4, 5, 3), 51, np.uint8), np.float32(0.8) * ONES, np.eye(4, 5) > 0)
    assert_same(sl.Observation.load(*paths, depth_scale=1e-3), expected, atol=1e-7)
    assert_same(sl.Observation.load(mask=str(paths[2])), sl.Observation(mask=np.eye(4, 5) > 0))
    with pytest.raises(ValueError, match=r"depth .*depth\.png holds whole numbers .* Pass depth_scale"):
        sl.Observation.load(*paths)
    with pytest.raises(ValueError, match=r"image .*no\.png does not exist"):
        sl.Observation.load(tmp_path / "no.png")
    with pytest.raises(ValueError, match="at least one of rgb, depth and mask"):
        sl.Observation.load()


def test_a_real_photo_is_read(shared_data):
    folder = shared_data / "hope_alphabet_soup"
    if not folder.is_dir():
        pytest.skip(f"no photo: {folder} does not exist")
    observation = sl.Observation.load(folder / "rgb.png", folder / "depth.png", folder / "seg.png", depth_scale=1e-3)
    assert observation.size == (1080, 1920)
    inside = (observation.mask > 0) & (observation.depth > 0)
    assert 0.5 < float(jnp.median(observation.depth[inside])) < 1.5


# --- other sizes and windows


def test_resized():
    observation = textured()
    small = observation.resized(10, 12)  # blocks of 2 x 3
    assert small.size == (12, 10)
    blocks = [np.asarray(x).reshape(12, 2, 10, 3, -1) for x in (observation.rgb, observation.weight)]
    np.testing.assert_allclose(small.rgb, blocks[0].mean((1, 3)), atol=1e-6)
    np.testing.assert_allclose(small.weight, blocks[1].mean((1, 3))[..., 0], atol=1e-6)
    expected = np.zeros((12, 10), np.float32)
    expected[4:8, 3:7] = 1  # columns 10 to 19: the outer blocks are covered by two thirds
    np.testing.assert_array_equal(small.mask, expected)
    assert small.mask.dtype == small.rgb.dtype == jnp.float32
    assert set(np.unique(small.depth)) <= set(np.unique(observation.depth))
    assert_same(observation.resized(30, 24), observation, atol=1e-7)
    assert_same(observation.resized(60, 48).resized(30, 24), observation, atol=1e-6)
    assert sl.Observation(RGB).resized(2, 2).depth is None


def test_resized_keeps_the_dtype(x64):
    observation = sl.Observation(RGB.astype(np.float64), ONES, weight=jnp.ones((4, 5), jnp.float16)).resized(3, 2)
    assert [x.dtype for x in jax.tree.leaves(observation)] == [jnp.float64, jnp.float32, jnp.float16]


def test_resized_refuses():
    observation = textured()
    with pytest.raises(ValueError, match=r"width must be a positive integer .*got 0"):
        observation.resized(0, 4)
    with pytest.raises(ValueError, match=r"height must be a positive integer .*got 1.5"):
        observation.resized(4, 1.5)
    with pytest.raises(ValueError, match=r"mask vanishes at 1x1 pixels.*crop"):
        observation.resized(1, 1)
    with pytest.raises(ValueError, match="Call it before jit"):
        jax.jit(lambda o: o.resized(4, 4))(observation)


def test_cropped_inside():
    observation = textured()
    window = observation.cropped(3, 5, 20, 12)
    assert_same(window, sl.Observation(*(x[5:17, 3:23] for x in jax.tree.leaves(observation))))
    assert sl.Observation(RGB).cropped(0, 0, 2, 3).weight is None


def test_outside_of_the_image_nothing_was_observed():
    observation = textured()
    padded = [np.pad(x, [(50, 50), (50, 50), (0, 0)][: x.ndim]) for x in jax.tree.leaves(observation)]
    expected = sl.Observation(*(x[50 - 4 : 50 - 4 + 40, 50 + 7 : 50 + 7 + 41] for x in padded))
    assert_same(observation.cropped(7, -4, 41, 40), expected)
    window = sl.Observation(RGB).cropped(-1, 2, 4, 5)
    np.testing.assert_array_equal(window.weight, [[0, 1, 1, 1]] * 2 + [[0] * 4] * 3)
    np.testing.assert_array_equal(window.rgb[..., 0], window.weight / 2)


def test_cropped_is_traceable():
    observation = textured()
    for left in (3, -4):
        expected = observation.cropped(left, 5, 20, 12)
        assert_same(jax.jit(lambda o, left=left: o.cropped(left, 5, 20, 12))(observation), expected)
        batch = jax.tree.map(lambda x: jnp.stack([x, x]), observation)
        windows = jax.vmap(lambda o, left=left: o.cropped(left, 5, 20, 12))(batch)
        assert_same(jax.tree.map(lambda x: x[1], windows), expected)


def test_cropped_refuses():
    observation = textured()
    with pytest.raises(ValueError, match=r"left must be an integer .*got 0.5"):
        observation.cropped(0.5, 0, 4, 4)
    with pytest.raises(ValueError, match=r"top must be an integer .*got None"):
        observation.cropped(0, None, 4, 4)
    with pytest.raises(ValueError, match=r"width must be a positive integer .*got 0"):
        observation.cropped(0, 0, 0, 4)
    with pytest.raises(ValueError, match=r"height must be a positive integer .*got -4"):
        observation.cropped(0, 0, 4, -4)
    for left, top in ((30, 0), (-4, 0), (0, 24), (0, -4)):
        with pytest.raises(
            ValueError, match=rf"Nothing of the image of 30x24 pixels .* 4x4 .* column {left}, row {top}"
        ):
            observation.cropped(left, top, 4, 4)
    with pytest.raises(ValueError, match="Nothing of the mask is inside of the window of 4x4 pixels"):
        observation.cropped(0, 0, 4, 4)
    with pytest.raises(ValueError, match="Nothing of the weight is inside of the window"):
        sl.Observation(RGB, weight=np.eye(4, 5)).cropped(4, 0, 1, 4)
