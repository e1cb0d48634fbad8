"""Filtered textures: which level a pixel shows, every level's derivative, and the real stillleben's colours."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer
from sldiff_jax.mesh_renderer.meshes.mipmaps import BAND, coarser, coarser_bytes, level_sizes

WIDTH, HEIGHT = 24, 18
CAMERA = sl.Camera.from_intrinsics(30.0, 36.0, 12.5, 8.5, width=WIDTH, height=HEIGHT)
CORNERS = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.1
UV = np.array([[0, 0], [3.0, 0], [3.0, 2.0], [0, 2.0]])
MIPMAP = {"texture_filter": "mipmap"}
ANISOTROPIC = {"texture_filter": "mipmap", "anisotropy": 5}
PHONG = {"shading": "phong", "ambient_light": [0.7, 0.8, 0.9]}


def square(texture, uv=UV, **options):
    """A square in the plane z = 0 on which the texture repeats."""
    return Mesh(CORNERS, [[0, 1, 2], [0, 2, 3]], uv=uv, texture=texture, **options)


def scene_of(turn=(0.5, -0.6, 0.3), depth=0.25):
    return sl.Scene(sl.se3_exp(jnp.array([*turn, 0, 0, 0])).at[2, 3].set(depth)[None], CAMERA)


def covering_mean(image, axis):
    """Halved along an axis: every texel the mean of an equal part of the image, by integrals."""
    size, half = image.shape[axis], max(image.shape[axis] // 2, 1)
    integral = np.insert(np.cumsum(image, axis=axis), 0, 0.0, axis=axis)
    ends = np.linspace(0, size, half + 1)
    at_ends = np.apply_along_axis(lambda line: np.interp(ends, np.arange(size + 1), line), axis, integral)
    return np.diff(at_ends, axis=axis) * half / size


def shown(texture, uv, extent):
    """A texture at (u, v) for a pixel that moves by `extent` (2, 2) in texture coordinates per step along x and y."""
    levels = [np.asarray(texture, np.float64)]
    while max(levels[-1].shape[:2]) > 1:
        levels.append(covering_mean(covering_mean(levels[-1], 0), 1))
    size = np.array(texture.shape[1::-1])
    level = np.clip(np.log2(np.linalg.norm(extent * size, axis=1).max()), 0, len(levels) - 1)

    def bilinear(image):
        height, width = image.shape[:2]
        x, y = uv[0] * width - 0.5, (1 - uv[1]) * height - 0.5
        color = 0
        for row, column in np.ndindex(2, 2):
            i, j = int(np.floor(y)) + row, int(np.floor(x)) + column
            color = color + (1 - abs(y - i)) * (1 - abs(x - j)) * image[i % height, j % width]
        return color

    fine = int(level)
    share = level - fine
    return (1 - share) * bilinear(levels[fine]) + (share * bilinear(levels[fine + 1]) if share else 0)


def texture_coordinates(scene, pixel):
    """Where a line of sight meets the square's plane, in texture coordinates."""
    fx, fy, cx, cy = np.asarray(CAMERA.intrinsics, np.float64)
    T = np.asarray(scene.T_camera_object[0], np.float64)
    ray = T[:3, :3].T @ [(pixel[0] - cx) / fx, (pixel[1] - cy) / fy, 1]
    origin = -T[:3, :3].T @ T[:3, 3]
    point = origin - ray * origin[2] / ray[2]
    return (point[:2] / 0.2 + 0.5) * UV[2]


@pytest.mark.parametrize("size", [(16, 16), (64, 5), (7, 13), (1, 40), (2, 1)])
@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_a_pixel_shows_what_it_covers(size, kind):
    """Against a loop in NumPy: levels by integrals, the level from differences of texture coordinates."""
    texture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    scene = scene_of()
    renderer = MeshRenderer([square(texture if kind == "bytes" else texture / 255.0)], antialias=False, **MIPMAP)
    rendering, labels = sl.render(scene, renderer), renderer(scene).instance_index
    rows, columns = np.nonzero(np.asarray(labels))
    assert len(rows) > 100
    for i, j in list(zip(rows, columns))[::7]:
        centre, step = np.array([j + 0.5, i + 0.5]), 1e-4
        extent = np.stack(
            [
                (texture_coordinates(scene, centre + step * axis) - texture_coordinates(scene, centre - step * axis))
                / (2 * step)
                for axis in np.eye(2)
            ]
        )
        expected = shown(texture / 255, texture_coordinates(scene, centre), extent)
        # Bytes are rounded on every level, of which two are seen.
        np.testing.assert_allclose(rendering.rgb[i, j], expected, atol=3e-3 if kind == "bytes" else 2e-4)


def test_what_is_far_has_the_mean_of_the_texture():
    texture = np.random.default_rng(0).random((32, 48, 3))
    options = {"antialias": False, "background": [0.5, 0.5, 0.5]}
    color = {}
    for texture_filter in ("mipmap", "bilinear"):
        renderer = MeshRenderer([square(texture, uv=7 * UV)], texture_filter=texture_filter, **options)
        rendering = sl.render(scene_of(depth=0.4), renderer)
        color[texture_filter] = np.asarray(rendering.rgb)[np.asarray(rendering.mask) == 1]
    assert np.abs(color["mipmap"] - texture.mean(axis=(0, 1))).max() < 0.06
    assert color["bilinear"].std() > 0.15


def test_close_up_nothing_changes():
    texture = np.random.default_rng(0).random((4, 4, 3))
    uv, scene = UV / 6, scene_of(depth=0.15)
    plain, *filtered = (
        sl.render(scene, MeshRenderer([square(texture, uv=uv)], **options)).rgb for options in ({}, MIPMAP, ANISOTROPIC)
    )
    for image in filtered:
        np.testing.assert_array_equal(image, plain)


def test_samples_of_a_pixel_see_finer_levels():
    texture = np.random.default_rng(0).random((64, 64, 3))
    scene = scene_of()
    fine = MeshRenderer([square(texture)], supersample=4, **MIPMAP)
    large = sl.Scene(scene.T_world_object, CAMERA.resized(4 * WIDTH, 4 * HEIGHT))
    expected = sl.render(large, MeshRenderer([square(texture)], **MIPMAP)).rgb
    expected = np.asarray(expected).reshape(HEIGHT, 4, WIDTH, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(sl.render(scene, fine).rgb, expected, atol=1e-5)


@pytest.mark.parametrize("turn", [(1.2, 0, 0), (0, -1.25, 0), (0.8, -0.8, 0.9)])
def test_anisotropy_keeps_what_is_seen_at_a_grazing_angle_sharp(turn):
    """Nearer to 16 x 16 samples per pixel than one point, which blurs along and across."""
    texture = np.asarray(jax.image.resize(np.random.default_rng(0).random((24, 24, 3)), (96, 96, 3), "linear"))
    scene, plain = scene_of(turn, 0.3), {"antialias": False, "background": [0.5, 0.5, 0.5]}

    def color(**options):
        return np.asarray(sl.render(scene, MeshRenderer([square(texture, uv=UV / 2)], **plain, **options)).rgb)

    inside = np.asarray(sl.render(scene, MeshRenderer([square(texture)], antialias=False, supersample=16)).mask) == 1
    assert inside.sum() > 40
    truth = color(supersample=16)
    errors = [np.sqrt(np.mean((color(**options) - truth)[inside] ** 2)) for options in (MIPMAP, ANISOTROPIC)]
    assert errors[1] < 0.8 * errors[0]
    many, more = (color(**ANISOTROPIC | {"anisotropy": n}) for n in (40, 80))  # no pixel is as slanted as that
    np.testing.assert_array_equal(many, more)


def test_anisotropic_colours_are_continuous():
    """As a square turns away its pixels take ever more taps; none of their colours jumps."""
    texture = np.random.default_rng(0).random((64, 64, 3))
    renderer = MeshRenderer([square(texture)], antialias=False, **ANISOTROPIC)
    image = jax.jit(lambda turn: sl.render(scene_of((0.4, turn, 0.2), 0.3), renderer).rgb)
    colors = np.stack([image(0.9 + 0.001 * k) for k in range(150)])[:, 7:11, 10:14]
    steps = np.abs(np.diff(colors, axis=0)).max(axis=(1, 2, 3))
    assert np.ptp(colors, axis=0).max() > 0.02 and steps.max() < 0.1 * np.ptp(colors, axis=0).max()


def test_buffers_and_images_are_the_same_colours():
    texture, scene = np.random.default_rng(0).random((40, 24, 3)), scene_of()
    renderer = MeshRenderer([square(texture)], antialias=False, **PHONG, **MIPMAP)
    rgb = np.asarray(renderer(scene).rgb)[..., :3] / 255
    np.testing.assert_allclose(sl.render(scene, renderer).rgb, rgb, atol=0.5 / 255 + 1e-5)


@pytest.mark.parametrize("options", [{}, PHONG, {"supersample": 2}], ids=["flat", "lit", "supersampled"])
@pytest.mark.parametrize("filtered", [{}, MIPMAP, ANISOTROPIC], ids=["bilinear", "mipmap", "anisotropic"])
def test_texels_have_their_direct_derivative(options, filtered):
    """Also of a texture whose size is no power of two, and of one of bytes beside one of floats."""
    rng = np.random.default_rng(0)
    floating = square(rng.uniform(0.3, 0.7, (21, 34, 3)))
    bytes_ = square(rng.integers(80, 180, (16, 8, 3), dtype=np.uint8))
    renderer = MeshRenderer([floating, bytes_], **filtered, **options)
    scene = sl.Scene(
        jnp.concatenate([scene_of(depth=0.3).T_world_object, scene_of((0.1, 0.4, 0)).T_world_object]), CAMERA
    )
    weight = jnp.asarray(rng.uniform(0.5, 1.5, (HEIGHT, WIDTH, 3)), jnp.float32)

    def where(renderer):
        return renderer.geometry.texels

    image = eqx.filter_jit(lambda texels: sl.render(scene, eqx.tree_at(where, renderer, texels)).rgb)
    gradient = jax.grad(lambda texels: jnp.sum(image(texels) * weight))(where(renderer))
    direction = jnp.asarray(rng.normal(size=gradient.shape), jnp.float32)
    step = 0.004 if options.get("shading") else 0.05  # linear without light
    ahead, behind = (np.asarray(image(where(renderer) + s * direction), np.float64) for s in (step, -step))
    numeric = np.sum(np.asarray(weight) * (ahead - behind)) / (2 * step)
    size = float(jnp.linalg.norm(gradient))
    assert abs(float(jnp.vdot(gradient, direction)) - numeric) < (1e-3 if options.get("shading") else 1e-4) * size


def test_a_texture_is_found_again():
    """Gradient descent on a texture that is finer than the pixels: through all levels, from several views."""
    rng = np.random.default_rng(0)
    truth = np.clip(np.asarray(jax.image.resize(rng.random((4, 4, 3)), (32, 32, 3), "cubic")), 0, 1)
    mesh, scenes = square(truth), [scene_of((0.3 * k, -0.2 * k, 0.1), 0.3) for k in range(3)]
    renderer = MeshRenderer([mesh], **MIPMAP)
    targets = [sl.render(scene, renderer).rgb for scene in scenes]

    @jax.jit
    def loss(texture):
        changed = renderer.with_meshes([mesh.replace(texture=texture)])
        return sum(jnp.mean((sl.render(s, changed).rgb - t) ** 2) for s, t in zip(scenes, targets))

    texture = jnp.full((32, 32, 3), 0.5)
    before = float(loss(texture))
    slope = jax.jit(jax.grad(loss))
    for _ in range(20):
        texture = jnp.clip(texture - 100.0 * slope(texture), 0, 1)
    assert float(loss(texture)) < 0.2 * before


def test_batches_of_scenes_and_of_renderers():
    rng = np.random.default_rng(0)
    renderer = MeshRenderer([square(rng.random((20, 12, 3)))], **MIPMAP)
    texels = jnp.asarray(rng.random((3, *renderer.geometry.texels.shape)), jnp.float32)
    poses = jnp.stack([scene_of((0.1 * k, 0.2, 0)).T_world_object for k in range(3)])

    def total(texels, T):
        changed = eqx.tree_at(lambda r: r.geometry.texels, renderer, texels)
        return jnp.sum(sl.render(sl.Scene(T, CAMERA), changed).rgb ** 2)

    gradient = jax.grad(total)
    expected = jnp.stack([gradient(texels[0], T) for T in poses])
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient, (None, 0)))(texels[0], poses), expected, atol=1e-4)
    expected = jnp.stack([gradient(t, T) for t, T in zip(texels, poses)])
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient))(texels, poses), expected, atol=1e-4)


def test_levels_of_bytes_and_of_floats():
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (5, 1), (1, 7), (3, 3), (2 * BAND + 3, 6), (4 * BAND, 2 * BAND + 1)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        level, expected = image, image.astype(np.float64)
        for side in level_sizes(width, height):
            level, floats = coarser_bytes(level), coarser(level.astype(np.float32))
            expected = covering_mean(covering_mean(expected, 0), 1)
            assert level.shape[1::-1] == side
            np.testing.assert_allclose(level, floats, atol=0.501)
            np.testing.assert_allclose(level, expected, atol=2.0)  # of all roundings
        assert level.shape == (1, 1, 3)
        np.testing.assert_allclose(level[0, 0], image.mean(axis=(0, 1)), atol=2.0)


def test_what_is_refused(unchecked_types):
    with pytest.raises(ValueError, match='texture_filter must be "mipmap" or "bilinear", got \'nearest\''):
        MeshRenderer([], texture_filter="nearest")  # pyright: ignore[reportArgumentType]
    for anisotropy in (0, True, 2.0):
        with pytest.raises(ValueError, match=f"anisotropy must be a positive integer, got {anisotropy}"):
            MeshRenderer([], texture_filter="mipmap", anisotropy=anisotropy)
    with pytest.raises(ValueError, match='anisotropy=4 needs texture_filter="mipmap"'):
        MeshRenderer([], anisotropy=4)
    mesh = square(np.zeros((4, 4, 3), np.uint8))
    renderer = MeshRenderer([mesh], **MIPMAP)
    floats = eqx.tree_at(lambda r: r.geometry.texels, renderer, jnp.zeros((16, 4)))
    with pytest.raises(ValueError, match=r"cannot be replaced by floats: give the texture as floats"):
        sl.render(scene_of(), floats)


@pytest.mark.parametrize(("name", "distances"), [("two_bunnies_flat", (0.40, 0.56)), ("five_flat", (0.66, 0.73, 0.68))])
def test_the_colours_of_the_real_stillleben(golden, shared_data, name, distances):
    """Flat light on the bunny, whose texture is 12 to 25 times finer than the pixels: mipmaps of the values as stored.

    Without them it is 9 to 12 grey levels too bright, with such of decoded values 4 to 7.
    """
    scene, result, data = golden(name)
    rows = data["object_mesh_id"].tolist()
    folder = shared_data / "stillleben_golden"
    meshes = {k: Mesh.load(folder / str(data[f"mesh{k}_file"])).transformed(data[f"mesh{k}_pretransform"])
              for k in set(rows)}  # fmt: skip
    light = {"shading": "phong", "ambient_light": data["ambient_light"], "exposure": data["manual_exposure"]}
    for texture_filter, bias, correlation in (("mipmap", (-2, 0), 0.999), ("bilinear", (8, 14), 0)):
        renderer = MeshRenderer([meshes[k] for k in rows], texture_filter=texture_filter, **light)
        ours = renderer(scene)
        seen_at = []
        for label, mesh in zip(np.asarray(scene.instance_index), rows):
            if mesh == 0:
                seen = (np.asarray(ours.instance_index) == label) & (np.asarray(result.instance_index) == label)
                rendered, recorded = (np.asarray(r.rgb, float)[seen][:, :3] for r in (ours, result))
                assert bias[0] < (rendered - recorded).mean() < bias[1]
                assert np.corrcoef(rendered.ravel(), recorded.ravel())[0, 1] > correlation
                assert texture_filter == "bilinear" or np.abs(rendered - recorded).mean() < 2.5
                seen_at.append(float(np.asarray(result.depth)[seen].mean()))
        np.testing.assert_allclose(seen_at, distances, atol=0.02)
