"""Ambient and directional light, as a stillleben scene states it."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ..._scene.transforms import as_floating, is_concrete
from ..._scene.typing import Transform

REFLECTANCE = 0.04
"""Share of the light that a non-metal mirrors at normal incidence; the rest is scattered."""


class Lighting(eqx.Module):
    """Light for Blinn-Phong shading.

    The colour of a point with unit normal n, direction to the camera v and (linear) albedo a is
    ``tone_map(exposure * (ambient * a + sum_l max(n.l, 0) * color_l * (0.96 a / pi + 0.04 s(n.h))))`` with l the
    direction to the light, h the unit vector between l and v, ``s(x) = (shininess + 2) / (8 pi) x^shininess`` and
    ``tone_map`` the ACES curve. No gamma after that. Textures are decoded from sRGB before, all other colours are
    linear, and where a triangle shows its back, n is its normal the other way round: this is what stillleben does,
    except for its microfacet highlights, shadows, ambient occlusion, environment light and automatic exposure.

    Attributes:
        ambient_light: (3,) float.
        light_directions: (L, 3) float, the way the light travels, in the world frame, any length. A zero row is no
            light.
        light_colors: (L, 3) float.
        exposure: () float.
        shininess: () float.
    """

    ambient_light: Float[Array, "3"]
    light_directions: Float[Array, "lights 3"]
    light_colors: Float[Array, "lights 3"]
    exposure: Float[Array, ""]
    shininess: Float[Array, ""]

    def __init__(
        self,
        ambient_light: ArrayLike | None,
        light_directions: ArrayLike | None,
        light_colors: ArrayLike | None,
        exposure: ArrayLike,
        shininess: ArrayLike,
    ):
        if ambient_light is None and light_directions is None:
            raise ValueError('shading="phong" needs light: give ambient_light, or light_directions and light_colors.')
        if (light_directions is None) != (light_colors is None):
            raise ValueError("light_directions and light_colors go together: give both or neither.")
        ambient_light = np.zeros(3) if ambient_light is None else ambient_light
        light_directions = np.zeros((0, 3)) if light_directions is None else light_directions
        light_colors = np.zeros((0, 3)) if light_colors is None else light_colors
        self.ambient_light = as_floating(jnp.asarray(ambient_light), "ambient_light", (3,))
        self.light_directions = as_floating(jnp.asarray(light_directions), "light_directions", (None, 3))
        lights = self.light_directions.shape[0]
        self.light_colors = as_floating(jnp.asarray(light_colors), "light_colors", (lights, 3))
        self.exposure = as_floating(jnp.asarray(exposure), "exposure", ())
        self.shininess = as_floating(jnp.asarray(shininess), "shininess", ())
        for name in ("ambient_light", "light_colors", "exposure", "shininess"):
            value = getattr(self, name)
            if is_concrete(value) and not (np.asarray(value) >= 0).all():
                raise ValueError(f"{name} must not be negative, got {np.asarray(value).tolist()}.")

    def rows(self, T_camera_world: Transform) -> Float[Array, "light_rows 3"]:
        """The light in one table, for one camera.

        Args:
            T_camera_world: (4, 4) float, world frame to camera frame.

        Returns:
            (2 + 2 L, 3) float32: ambient light; shininess (in column 0); unit directions to the lights in the camera
            frame; colours of the lights. Colours include the exposure.
        """
        length = jnp.linalg.norm(self.light_directions, axis=1, keepdims=True)
        to_light = -self.light_directions / jnp.where(length > 0, length, 1.0)
        colors = jnp.where(length > 0, self.light_colors, 0.0)
        rows = [
            (self.exposure * self.ambient_light)[None],
            jnp.zeros((1, 3)).at[0, 0].set(self.shininess),
            (T_camera_world[:3, :3] @ to_light[..., None])[..., 0],
            self.exposure * colors,
        ]
        return jnp.concatenate([row.astype(jnp.float32) for row in rows])
