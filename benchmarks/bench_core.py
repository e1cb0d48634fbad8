"""Image-space gradients and backpropagation at 640x480, beside the same mathematics in torch."""

from __future__ import annotations

import comparison
import jax
import pytest
import rendering

SIDES = ("ours", "in_torch")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("count", comparison.OBJECTS)
def test_image_space_gradients(benchmark, count, side):
    """compute_image_space_gradients; both sides give the same numbers."""
    benchmark.group = f"image-space gradients, {count} objects"
    _measure(benchmark, getattr(comparison.image_space_gradients(count), side))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("count", comparison.OBJECTS)
def test_backpropagation(benchmark, count, side):
    """backpropagate_gradient_to_poses; both sides give the same numbers."""
    benchmark.group = f"backpropagation to poses, {count} objects"
    _measure(benchmark, getattr(comparison.backpropagation(count), side))


@pytest.mark.parametrize("count", comparison.OBJECTS)
def test_value_and_grad_of_render(benchmark, count):
    """Photometric loss of `render` and its gradient, with buffers rendered beforehand."""
    benchmark.group = "value and gradient of a photometric loss, rendering not counted"
    _measure(benchmark, rendering.differentiate_rendered(count))


def _measure(benchmark, function) -> None:
    benchmark.pedantic(lambda: jax.block_until_ready(function()), rounds=30, warmup_rounds=3)
