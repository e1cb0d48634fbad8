"""RenderResult: the buffer contract."""

import dataclasses

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl

H, W = 3, 5
OPTIONAL = {
    "class_index": np.ones((H, W), np.int16),
    "normals": np.zeros((H, W, 4), np.float32),
    "vertex_indices": np.zeros((H, W, 3), np.int32),
    "barycentric_coeffs": np.zeros((H, W, 3), np.float32),
    "cam_coordinates": np.zeros((H, W, 4), np.float32),
}


def buffers(**changes):
    rng = np.random.default_rng(0)
    return {
        "rgb": rng.integers(0, 256, (H, W, 4), dtype=np.uint8),
        "coord_depth": rng.normal(size=(H, W, 4)).astype(np.float32),
        "instance_index": np.ones((H, W), np.int16),
        **changes,
    }


def test_views_slice_the_buffers():
    given = buffers()
    result = sl.RenderResult(**given)
    np.testing.assert_array_equal(result.coordinates, given["coord_depth"][..., :3])
    np.testing.assert_array_equal(result.depth, given["coord_depth"][..., 3])
    np.testing.assert_allclose(result.color, given["rgb"][..., :3] / 255.0, rtol=1e-6)
    assert result.color.dtype == jnp.float32 and result.instance_index.dtype == jnp.int16
    assert result.rgb.dtype == jnp.uint8
    assert all(getattr(result, name) is None for name in OPTIONAL)


def test_floating_colour_passes_as_it_is():
    rgb = np.random.default_rng(1).random((H, W, 4), dtype=np.float32)
    np.testing.assert_array_equal(sl.RenderResult(**buffers(rgb=rgb)).color, rgb[..., :3])


def test_colour_has_the_dtype_of_the_coordinates(x64):
    result = sl.RenderResult(**buffers(coord_depth=np.zeros((H, W, 4))))
    assert result.color.dtype == jnp.float64
    assert sl.RenderResult(**buffers()).color.dtype == jnp.float32


def test_optional_buffers_are_kept():
    result = sl.RenderResult(**buffers(), **OPTIONAL)
    for name, value in OPTIONAL.items():
        np.testing.assert_array_equal(getattr(result, name), value)
        assert getattr(result, name).dtype == value.dtype


def test_jit_vmap_and_grad():
    result = analytic.random_scene(0)[1]
    batch = jax.tree.map(lambda *x: jnp.stack(x), result, result)
    colors = jax.jit(jax.vmap(lambda r: r.color))(batch)
    np.testing.assert_array_equal(colors[1], result.color)

    def total(coord_depth):
        return dataclasses.replace(result, coord_depth=coord_depth).depth.sum()

    np.testing.assert_array_equal(jax.grad(total)(result.coord_depth)[..., 3], 1)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rgb": np.zeros((H, W, 3), np.uint8)}, r"rgb must have shape \(H, W, 4\), got \(3, 5, 3\)"),
        ({"rgb": np.zeros((H, W, 4), np.int32)}, "rgb must be uint8 or floating.*int32"),
        ({"coord_depth": np.zeros((H, W, 3), np.float32)}, r"coord_depth must have shape \(3, 5, 4\)"),
        ({"coord_depth": np.zeros((W, H, 4), np.float32)}, r"coord_depth must have shape \(3, 5, 4\), got \(5, 3, 4\)"),
        ({"coord_depth": np.zeros((H, W, 4), np.int32)}, "coord_depth must have a dtype of kind floating"),
        ({"instance_index": np.ones((H, W, 1), np.int16)}, r"instance_index must have shape \(3, 5\), got \(3, 5, 1\)"),
        ({"instance_index": np.ones((H, W), np.float32)}, "instance_index must have a dtype of kind integer"),
        ({"class_index": np.ones((H, W, 1), np.int16)}, "class_index must have shape"),
        ({"class_index": np.ones((H, W), bool)}, "class_index must have a dtype of kind integer"),
        ({"normals": np.zeros((H, W, 3), np.float32)}, "normals must have shape"),
        ({"vertex_indices": np.zeros((H, W, 3), np.float32)}, "vertex_indices must have a dtype of kind integer"),
        ({"barycentric_coeffs": np.zeros((H, W, 4), np.float32)}, "barycentric_coeffs must have shape"),
        ({"cam_coordinates": np.zeros((H, W, 3), np.float32)}, "cam_coordinates must have shape"),
    ],
)
def test_constructor_refuses(unchecked_types, changes, match):
    with pytest.raises(ValueError, match=match):
        sl.RenderResult(**buffers(**changes))
