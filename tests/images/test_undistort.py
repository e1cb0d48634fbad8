"""Photos through a lens, made through one that is written down here independently."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.optimize import fsolve

import sldiff_jax as sl
from sldiff_jax._images.undistort import undistortion

WIDTH, HEIGHT = 96, 72
FX, FY, CX, CY = 75.0, 72.0, 46.5, 35.4
CAMERA = sl.Camera.from_intrinsics(FX, FY, CX, CY, width=WIDTH, height=HEIGHT)
LENSES = {
    "barrel": (-0.2, 0.05, 0.001, -0.002),
    "pincushion": (0.25, -0.1, 0.002, 0.001, 0.03),
    "rational": (0.3, -0.2, 0.001, -0.001, 0.05, 0.6, -0.1, 0.02),
}


def through_lens(x, y, k1, k2, p1, p2, k3=0.0, k4=0.0, k5=0.0, k6=0.0):
    """OpenCV's formula, for one ray."""
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def rays(distortion=None):
    """The ray (x, y, 1) of each pixel: of a pinhole camera, or solved for, one by one, behind a lens."""
    found = np.empty((HEIGHT, WIDTH, 2))
    for i in range(HEIGHT):
        for j in range(WIDTH):
            ray = np.array([(j + 0.5 - CX) / FX, (i + 0.5 - CY) / FY])
            if distortion is not None:
                ray = fsolve(lambda r, seen=ray: np.subtract(through_lens(*r, *distortion), seen), ray)
            found[i, j] = ray
    return found


def photo(ray) -> dict[str, np.ndarray]:
    """What is painted on a wall, how far it is away, and what of it belongs to an object."""
    x, y = ray[..., 0], ray[..., 1]
    rgb = 0.5 + 0.5 * np.stack([np.sin(9 * x + 2), np.cos(7 * y), np.sin(6 * (x + y))], axis=-1)
    mask = (x - 0.1) ** 2 + (y + 0.05) ** 2 < 0.04
    return {"rgb": rgb, "depth": np.where(mask, 0.8, 2 + 0.5 * x), "mask": mask}


@pytest.mark.parametrize("name", LENSES)
def test_what_a_lens_bent_is_straight_again(name):
    distortion = LENSES[name]
    expected, taken = photo(rays()), photo(rays(distortion))
    assert np.abs(taken["rgb"] - expected["rgb"]).max() > 0.2
    made = sl.undistort(sl.Observation(**taken), CAMERA, distortion)
    seen = np.ones((HEIGHT, WIDTH), bool) if made.weight is None else np.asarray(made.weight) > 0
    assert (name == "pincushion") == (not seen.all()) and seen.mean() > 0.8
    errors = np.abs(np.asarray(made.rgb) - expected["rgb"])[seen]
    assert errors.mean() < 2e-3 and errors.max() < 0.03  # at the border of the photo there is no pixel on one side
    assert (np.asarray(made.mask)[seen] != expected["mask"][seen]).mean() < 0.005
    depth = np.asarray(made.depth)[seen]
    assert (np.abs(depth - expected["depth"][seen]) > 0.01).mean() < 0.02
    assert ((depth > 0.81) & (depth < expected["depth"][~expected["mask"]].min() - 0.01)).sum() == 0
    for image in (made.rgb, made.depth, made.mask):
        assert not np.asarray(image)[~seen].any()


@pytest.mark.parametrize(
    ("distortion", "places"),
    [  # of (row, column), as cv2.initUndistortRectifyMap 4.13 gives them
        (LENSES["barrel"], {(0, 0): (15.827, 12.437), (0, 319): (299.732, 13.783), (239, 300): (284.916, 226.801)}),
        (
            LENSES["pincushion"],
            {(0, 0): (-18.674, -14.035), (120, 10): (-0.474, 120.307), (60, 200): (200.981, 58.809)},
        ),
        (LENSES["rational"], {(0, 0): (25.188, 19.445), (120, 10): (23.27, 119.897), (239, 300): (277.277, 220.303)}),
    ],
)
def test_the_model_is_that_of_opencv(distortion, places):
    lens = undistortion(250.0, 240.0, 155.5, 118.5, 320, 240, np.array(distortion))
    for pixel, (column, row) in places.items():
        assert (lens.columns[pixel], lens.rows[pixel]) == pytest.approx((column, row), abs=1e-3)


def test_a_lens_without_distortion_changes_nothing():
    observation = sl.Observation(**photo(rays()))
    made = sl.undistort(observation, CAMERA, np.zeros(5))
    assert made.weight is None
    for name in ("rgb", "depth", "mask"):
        np.testing.assert_allclose(getattr(made, name), getattr(observation, name), atol=1e-5)
    only_depth = sl.undistort(sl.Observation(depth=observation.depth), CAMERA, np.zeros(4, int))
    assert only_depth.rgb is None and only_depth.mask is None


def test_the_weight_moves_along_and_is_zero_where_nothing_was_seen():
    distortion = LENSES["pincushion"]
    observation = sl.Observation(rgb=np.full((HEIGHT, WIDTH, 3), 0.5), weight=np.full((HEIGHT, WIDTH), 3.0))
    made = sl.undistort(observation, CAMERA, distortion)
    x, y = np.moveaxis(rays(), 2, 0)
    u, v = through_lens(x, y, *distortion)
    inside = (np.abs(FX * u + CX - WIDTH / 2) < WIDTH / 2) & (np.abs(FY * v + CY - HEIGHT / 2) < HEIGHT / 2)
    assert 0.5 < inside.mean() < 1
    np.testing.assert_allclose(made.weight, 3.0 * inside, atol=1e-5)


def test_beyond_the_fold_of_a_lens_nothing_was_seen():
    # r (1 - r^2 / 3) grows up to r = 1 and then comes back: rays farther out would repeat what is seen further in.
    wide = sl.Camera.from_intrinsics(24.0, 24.0, 48, 36, width=WIDTH, height=HEIGHT)
    observation = sl.Observation(rgb=np.full((HEIGHT, WIDTH, 3), 0.5))
    made = sl.undistort(observation, wide, (-1 / 3, 0, 0, 0))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    np.testing.assert_array_equal(made.weight, np.hypot(columns - 48, rows - 36) < 24)


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_refused():
    observation = sl.Observation(**photo(rays()))
    for distortion in (np.zeros(3), np.zeros(14), np.zeros((5, 1)), 0.1, ["a"] * 4):
        with pytest.raises(ValueError, match=r"must be the first 4, 5 or 8 of OpenCV's coefficients k1, k2, p1"):
            sl.undistort(observation, CAMERA, distortion)
    with pytest.raises(ValueError, match=r"must be finite, got .*nan"):
        sl.undistort(observation, CAMERA, [0, 0, 0, np.nan])
    with pytest.raises(ValueError, match=r"one size .* got \(72, 96\) and \(72, 48\)"):
        sl.undistort(observation, dataclasses.replace(CAMERA, width=48), np.zeros(4))
    with pytest.raises(ValueError, match="works on the host"):
        jax.jit(lambda o: sl.undistort(o, CAMERA, np.zeros(4)))(observation)
