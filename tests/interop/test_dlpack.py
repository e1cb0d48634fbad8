"""Tensors and arrays across the boundary: one test per row of the tables in `interop.dlpack`."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

import contextlib
import gc
import re
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import torch
from processes import run_python

import interop.dlpack
from interop.dlpack import from_torch, shares_memory, to_torch


def tensor_at(remainder: int, size: int = 24) -> torch.Tensor:
    """A float32 tensor whose address has this remainder modulo 64."""
    memory = torch.zeros(size + 32)
    start = (remainder - memory.data_ptr()) % 64 // 4
    tensor = memory[start : start + size]
    assert tensor.data_ptr() % 64 == remainder
    return tensor.copy_(torch.arange(size))


@contextlib.contextmanager
def pinned(monkeypatch, tensor):
    """Only a CUDA build of torch can pin memory."""
    address = tensor.data_ptr()
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "is_pinned", lambda self: self.data_ptr() == address)
        yield


# Row of the table: the tensor.
FROM_TORCH = {
    "contiguous": lambda: torch.randn(4, 6),
    "transposed": lambda: torch.randn(2, 3, 4).permute(2, 0, 1),
    "strided": lambda: torch.randn(4, 6)[:, :3],
    "unaligned": lambda: tensor_at(16),
    "pinned": lambda: torch.randn(4, 6),
    "conjugated": lambda: torch.randn(4, dtype=torch.complex64).conj(),
    "requires_grad": lambda: torch.randn(4, 6, requires_grad=True),
    "float64, x64 off": lambda: torch.randn(3, dtype=torch.float64),
    "float64, x64 on": lambda: torch.randn(3, dtype=torch.float64),
    "bool": lambda: torch.tensor([True, False, True]),
    "0-d": lambda: torch.tensor(2.5),
    "zero-size": lambda: torch.zeros(0, 3),
    "other device": lambda: torch.zeros(3, device="meta"),
    "other layout": lambda: torch.eye(3).to_sparse(),
}


def deleted(array: jax.Array) -> jax.Array:
    array.delete()
    return array


# Row of the table: the array.
TO_TORCH = {
    "array": lambda: jnp.arange(24.0).reshape(4, 6),
    "from_torch": lambda: from_torch(torch.randn(2, 3, 4).permute(2, 0, 1)),
    "bool": lambda: jnp.array([True, False]),
    "0-d": lambda: jnp.float32(2.5),
    "zero-size": lambda: jnp.zeros((0, 3)),
    "sharded": None,  # needs several devices: a test of its own
    "unknown dtype": lambda: jax.random.key(0),
    "tracer": None,  # likewise
    "deleted": lambda: deleted(jnp.ones(3)),
}

# Words that the message must have: the cause, and the remedy.
CAUSES = {
    "strided": ("strides", "contiguous()"),
    "unaligned": ("aligned to 64 bytes", "clone()"),
    "pinned": ("pinned", "clone()"),
    "conjugated": ("conjugate", "resolve_conj()"),
    "requires_grad": ("gradient", "detach()"),
    "float64, x64 off": ("float64 would be narrowed", "enable_x64"),
    "other device": ("meta", "cpu()"),
    "other layout": ("sparse", "to_dense()"),
    "unknown dtype": ("key", "key_data"),
    "deleted": ("deleted, or donated", "donate_argnums"),
}


def table(number: int) -> dict[str, dict[str, str]]:
    """One table of the docstring: row -> column -> cell."""
    blocks = re.findall(r"(?:^\|.*\n)+", interop.dlpack.__doc__, re.MULTILINE)
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in blocks[number].splitlines()]
    header, _, *rows = lines
    return {row[0]: dict(zip(header[2:], row[2:])) for row in rows}


COPY = {"copy=None": None, "copy=False": False, "copy=True": True}


def cells(number: int, makers: dict):
    return [
        pytest.param(row, COPY[column], cell, id=f"{row}-{column}")
        for row, columns in table(number).items()
        for column, cell in columns.items()
        if makers[row] is not None
    ]


def test_every_row_of_the_tables_is_tested():
    assert set(table(0)) == set(FROM_TORCH) and set(table(1)) == set(TO_TORCH)


@pytest.mark.parametrize(("row", "copy", "cell"), cells(0, FROM_TORCH))
def test_from_torch(row, copy, cell, monkeypatch):
    tensor = FROM_TORCH[row]()
    with (
        jax.enable_x64(row.endswith("on")),
        pinned(monkeypatch, tensor) if row == "pinned" else contextlib.nullcontext(),
    ):
        if cell == "error":
            with pytest.raises(ValueError, match=CAUSES[row][0]) as caught:
                from_torch(tensor, copy=copy)
            assert CAUSES[row][1] in str(caught.value)
            return
        array = from_torch(tensor, copy=copy)
    assert array.shape == tuple(tensor.shape) and array.dtype.name == str(tensor.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(array, tensor.detach().resolve_conj().numpy())
    shared = cell == "-" and tensor.numel() > 0
    assert shares_memory(array, tensor) == shared
    if tensor.numel():
        assert (array.unsafe_buffer_pointer() == tensor.data_ptr()) == shared
        assert_aliasing(array, tensor.detach(), shared)


@pytest.mark.parametrize(("row", "copy", "cell"), cells(1, TO_TORCH))
def test_to_torch(row, copy, cell):
    array = TO_TORCH[row]()
    if cell == "error":
        with pytest.raises(ValueError, match=CAUSES[row][0]) as caught:
            to_torch(array, copy=copy)
        assert CAUSES[row][1] in str(caught.value)
        return
    tensor = to_torch(array, copy=copy)
    assert tuple(tensor.shape) == array.shape and str(tensor.dtype).removeprefix("torch.") == array.dtype.name
    assert not tensor.requires_grad
    np.testing.assert_array_equal(tensor.numpy(), np.array(array))
    shared = cell == "-" and array.size > 0
    assert shares_memory(array, tensor) == shared
    if array.size:
        assert (array.unsafe_buffer_pointer() == tensor.data_ptr()) == shared
        assert_aliasing(array, tensor, shared)


def assert_aliasing(array: jax.Array, tensor: torch.Tensor, shared: bool) -> None:
    """Whether a write of torch shows in the array."""
    # Through jnp.copy: JAX keeps what numpy.asarray returned for an array.
    before = np.asarray(jnp.copy(array))
    tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
    after = np.asarray(jnp.copy(array))
    if shared:
        np.testing.assert_array_equal(after, tensor.numpy())
        assert (after != before).all()
    else:
        np.testing.assert_array_equal(after, before)


def test_the_memory_of_a_copy_has_no_other_owner():
    tensor = torch.randn(1000)
    array = from_torch(tensor, copy=True)
    assert not shares_memory(array, tensor)
    back = to_torch(array, copy=True)
    assert not shares_memory(back, array) and not shares_memory(back, tensor)
    kept = weakref.ref(tensor)
    del tensor
    gc.collect()
    assert kept() is None  # the array does not keep it alive


def test_shared_memory_outlives_its_first_owner():
    array = from_torch(torch.full((1000,), 7.0))
    tensor = to_torch(jnp.full(1000, 5.0))
    gc.collect()
    junk = [torch.zeros(1000) for _ in range(50)] + [jnp.zeros(1000) for _ in range(50)]
    assert (np.asarray(array) == 7).all() and (tensor == 5).all()
    del junk


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64, torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("copy", [None, False, True])
def test_no_64_bit_type_is_narrowed(dtype, copy):
    tensor = torch.ones(3, dtype=dtype)
    with pytest.raises(ValueError, match="would be narrowed"):
        from_torch(tensor, copy=copy)
    with jax.enable_x64(True):
        assert from_torch(tensor, copy=copy).dtype.name == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("name", ["float64", "int64", "uint64", "complex128"])
def test_64_bit_arrays_stay_64_bit_tensors(name, x64):
    array = jnp.ones(3, name)
    assert to_torch(array).dtype == getattr(torch, name)
    assert shares_memory(to_torch(array), array)


@pytest.mark.parametrize(
    "name",
    [
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "float16",
        "bfloat16",
        "float32",
        "complex64",
        "float8_e4m3fn",
        "float8_e5m2",
    ],
)
def test_every_common_dtype_crosses_both_ways_without_a_copy(name):
    tensor = torch.ones(16).to(getattr(torch, name))
    array = from_torch(tensor, copy=False)
    back = to_torch(array, copy=False)
    assert array.dtype.name == name and back.dtype == tensor.dtype
    assert shares_memory(tensor, array) and shares_memory(array, back) and shares_memory(tensor, back)


@pytest.mark.parametrize("dtype", [torch.int4, torch.uint2, torch.bits8], ids=str)
def test_dtypes_that_jax_lacks_are_named(dtype):
    with pytest.raises(ValueError, match=re.escape(str(dtype))):
        from_torch(torch.empty(4, dtype=dtype))


def test_arrays_without_a_dtype_in_torch_are_named():
    with pytest.raises(ValueError, match="int4"):
        to_torch(jnp.ones(3, jnp.int4))


@pytest.mark.parametrize("remainder", [4, 16, 32, 48])
def test_cpu_memory_that_is_not_aligned_is_copied_once(remainder):
    tensor = tensor_at(remainder)
    array = from_torch(tensor)
    assert not shares_memory(array, tensor) and array.unsafe_buffer_pointer() % 64 == 0
    np.testing.assert_array_equal(array, tensor.numpy())


def test_a_copy_is_complete_before_the_tensor_changes():
    tensor = tensor_at(16, 4_000_000)
    for value in range(1, 20):
        array = from_torch(tensor.fill_(value))
        owned = from_torch(tensor, copy=True)
        tensor.zero_()  # JAX's own copy would still be under way
        assert (np.asarray(array) == value).all() and (np.asarray(owned) == value).all()


@pytest.mark.parametrize("name", ["bool", "bfloat16", "float8_e4m3fn", "int16", "complex64", "float32"])
def test_strided_copies_of_every_size(name):
    tensor = torch.arange(24).reshape(4, 6).remainder(2).to(getattr(torch, name))
    for view in (tensor[:, 1:4], tensor[1:], tensor.T[:, ::2], tensor[0, 0], tensor[:1, :1].expand(3, 3)):
        array = from_torch(view, copy=True)
        np.testing.assert_array_equal(np.asarray(array, np.complex64), view.to(torch.complex64).numpy())


STRIDED = {
    "slice of the last axis": lambda: torch.randn(4, 6)[..., :3],
    "every other": lambda: torch.randn(32)[::2],
    "expand": lambda: torch.randn(1).expand(5),
    "overlap": lambda: torch.arange(20.0).as_strided((4, 4), (1, 1)),
    "negative": lambda: torch.imag(torch.randn(8, dtype=torch.complex64).conj()),
}


@pytest.mark.parametrize("kind", STRIDED)
def test_views_are_made_compact(kind):
    view = STRIDED[kind]()
    array = from_torch(view)
    np.testing.assert_array_equal(array, view.resolve_neg().numpy())
    assert to_torch(array).is_contiguous() and not shares_memory(array, view)
    with pytest.raises(ValueError, match=r"resolve_neg\(\)" if kind == "negative" else r"strides.*contiguous\(\)"):
        from_torch(view, copy=False)


COMPACT = {
    "channels last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "axes of one with any stride": lambda: torch.randn(16).as_strided((4, 1, 1), (1, 77, 5)),
    "parameter": lambda: torch.nn.Parameter(torch.ones(16)).detach(),
    "offset that stays aligned": lambda: torch.randn(4, 16)[1:],
}


@pytest.mark.parametrize("kind", COMPACT)
def test_compact_views_are_shared(kind):
    tensor = COMPACT[kind]()
    array = from_torch(tensor, copy=False)
    np.testing.assert_array_equal(array, tensor.numpy())
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()


@pytest.mark.parametrize("copy", [None, False, True])
@pytest.mark.parametrize("view", [lambda t: t[:, :0], lambda t: t[:0].T, lambda t: t.reshape(-1)[5:5]])
def test_views_without_elements(view, copy):
    tensor = view(torch.ones(4, 6))
    assert from_torch(tensor, copy=copy).shape == tuple(tensor.shape)


def test_gradients_are_detached():
    weights = torch.randn(3, requires_grad=True)
    array = from_torch(weights * 2)
    np.testing.assert_allclose(array, 2 * weights.detach().numpy())
    assert weights.requires_grad
    assert shares_memory(from_torch(weights), weights)


def test_a_tracer_is_refused_with_a_remedy(unchecked_types):
    for transform in (jax.jit, jax.grad, lambda f: lambda x: jax.vmap(f)(x[None])):
        with pytest.raises(ValueError, match=r"tracer.*torch_loss"):
            transform(lambda x: jnp.sum(x) * float(to_torch(x).sum()))(jnp.ones(3))


def test_a_donated_array_is_refused_with_a_remedy():
    array = jnp.ones(3)
    jax.jit(lambda x: x + 1, donate_argnums=0)(array)
    with pytest.raises(ValueError, match=r"donated.*donate_argnums"):
        to_torch(array)


@pytest.mark.parametrize(("function", "value"), [(from_torch, np.zeros(3)), (to_torch, np.zeros(3)), (to_torch, 1.0)])
def test_other_types_are_refused_with_a_remedy(function, value, unchecked_types):
    with pytest.raises(ValueError, match=type(value).__name__):
        function(value)


def test_a_sharded_array_is_refused():
    run_python(
        """
        import jax, jax.numpy as jnp, pytest
        from interop.dlpack import to_torch, from_torch, shares_memory
        sharding = jax.sharding.NamedSharding(jax.make_mesh((2,), ("x",)), jax.sharding.PartitionSpec("x"))
        array = jax.device_put(jnp.arange(4.0), sharding)
        for copy in (None, False, True):
            with pytest.raises(ValueError, match="one device, got one on 2"):
                to_torch(array, copy=copy)
        second = jax.device_put(jnp.arange(4.0), jax.devices()[1])
        assert shares_memory(to_torch(second), second)
        """,
        JAX_NUM_CPU_DEVICES="2",
    )


def test_waits_for_the_array_to_be_computed():
    x = jnp.ones((400, 400)) / 400

    @jax.jit
    def slow(x):
        return jax.lax.fori_loop(0, 30, lambda _, y: y @ x, x)

    assert torch.allclose(to_torch(slow(x)), torch.full((400, 400), 1 / 400))


def test_shares_memory_by_address():
    tensor = torch.zeros(4, 64)
    assert shares_memory(tensor, tensor[2:]) and shares_memory(tensor[:, :3], tensor)
    assert not shares_memory(tensor[:2], tensor[2:])
    assert not shares_memory(tensor, torch.zeros(4, 64)) and not shares_memory(jnp.zeros(3), jnp.zeros(3))
    assert not shares_memory(tensor[:0], tensor)
    assert shares_memory(from_torch(tensor[1:2]), tensor) and not shares_memory(from_torch(tensor[1:2]), tensor[2:])
    assert shares_memory(tensor.T, tensor) and shares_memory(torch.zeros(1).expand(5), torch.zeros(1)) is False


def test_results_of_shared_memory_survive_transformations():
    tensor = torch.randn(3, 5).T
    array = from_torch(tensor, copy=False)
    expected = tensor.numpy()
    np.testing.assert_allclose(jax.jit(lambda x: 2 * x[:2])(array), 2 * expected[:2])
    np.testing.assert_allclose(jax.vmap(jnp.sum)(array), expected.sum(1), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: (x**2).sum())(array), 2 * expected)


@pytest.mark.gpu
def test_gpu_memory_is_shared_both_ways(gpu):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    tensor = torch.randn(480, 640, 4, device="cuda:0")
    array = from_torch(tensor, copy=False)
    assert array.devices() == {gpu} and array.unsafe_buffer_pointer() == tensor.data_ptr()
    back = to_torch(array, copy=False)
    assert back.device == tensor.device and back.data_ptr() == tensor.data_ptr()
    np.testing.assert_array_equal(array, tensor.cpu().numpy())
    assert not shares_memory(from_torch(tensor, copy=True), tensor)


@pytest.mark.gpu
def test_gpu_streams_are_ordered(gpu):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    x = torch.full((2000, 2000), 1 / 2000, device="cuda:0")
    for _ in range(20):
        with torch.cuda.stream(torch.cuda.Stream()):
            y = x
            for _ in range(10):
                y = y @ x
            array = jax.jit(lambda y: (y @ y).sum(1))(from_torch(y))
            assert torch.allclose(to_torch(array) * 1, torch.ones(2000, device="cuda:0"), rtol=1e-3)


@pytest.mark.gpu
def test_gpu_views_and_cpu_tensors_stay_where_they_are(gpu):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    view = torch.randn(1000, device="cuda:0")[1:]
    array = from_torch(view)
    assert array.devices() == {gpu}
    np.testing.assert_array_equal(array, view.cpu().numpy())
    assert {device.platform for device in from_torch(torch.zeros(3)).devices()} == {"cpu"}
    pinned_tensor = torch.zeros(3).pin_memory()
    assert {device.platform for device in from_torch(pinned_tensor).devices()} == {"cpu"}
    with pytest.raises(ValueError, match="pinned"):
        from_torch(pinned_tensor, copy=False)
