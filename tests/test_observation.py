"""`Observation`: what it takes, and what it refuses with a reason."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl

pytestmark = pytest.mark.usefixtures("unchecked_types")
RGB = np.full((4, 5, 3), 0.5, np.float32)
ONES = np.ones((4, 5), np.float32)


def test_what_it_takes():
    observation = sl.Observation(np.full((4, 5, 3), 51, np.uint8), ONES, np.eye(4, 5) > 0)
    np.testing.assert_allclose(observation.rgb, 0.2, atol=1e-6)
    np.testing.assert_array_equal(observation.mask, np.eye(4, 5))
    assert observation.mask.dtype == jnp.float32
    assert observation.size == sl.Observation(depth=ONES).size == (4, 5)


def test_it_is_a_pytree_that_passes_through_jit_and_vmap():
    assert jax.jit(lambda o: o.rgb.sum() + o.mask.sum())(sl.Observation(RGB, mask=ONES)) == 50
    batch = jax.vmap(lambda rgb: sl.Observation(rgb))(np.stack([RGB, RGB]))
    assert batch.rgb.shape == (2, 4, 5, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "at least one of rgb, depth and mask"),
        ({"rgb": RGB[..., 0]}, r"rgb must have shape \(height, width, 3\), got \(4, 5\)"),
        ({"rgb": RGB * 255}, r"rgb must lie in \[0, 1\], got values from 127.5 to 127.5. Divide by 255"),
        ({"rgb": RGB * np.nan}, r"rgb must lie in \[0, 1\], got values from nan"),
        ({"rgb": RGB.astype(np.int32)}, "rgb must be uint8, or floating"),
        ({"depth": (ONES * 800).astype(np.uint16)}, "multiply by 1e-3"),
        ({"depth": ONES[None]}, r"shape \(height, width\) in metres, got float32 \(1, 4, 5\)"),
        ({"depth": -ONES}, "finite and not negative"),
        ({"depth": ONES * np.nan}, "finite and not negative"),
        ({"mask": ONES[None]}, r"mask must have shape \(height, width\), got \(1, 4, 5\)"),
        ({"mask": ONES * 255}, r"mask must lie in \[0, 1\], got values from 255 to 255. Use mask > 0"),
        ({"mask": (ONES * 255).astype(np.uint8)}, "mask must be bool, or floating"),
        ({"mask": ONES * 0}, "mask is empty"),
        ({"rgb": RGB, "mask": np.ones((5, 5), np.float32)}, r"one size .*'rgb': \(4, 5\), 'mask': \(5, 5\)"),
    ],
)
def test_what_it_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        sl.Observation(**images)
