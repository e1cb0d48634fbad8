"""`Mesh.replace` and `MeshRenderer.with_meshes`: shapes, textures and colours inside of traced functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import Mesh, MeshRenderer, sphere_mesh
from sldiff_jax.mesh_renderer.meshes.vertex_normals import differentiable_vertex_normals, vertex_normals

RNG = np.random.default_rng(0)
CORNERS = 0.05 * np.array([[-1, -1, 0], [1, -1, 0.2], [1, 1, 0], [-1, 1, -0.1]])
SQUARE = Mesh(CORNERS, [[0, 2, 1], [0, 3, 2]], uv=[[0, 0], [1, 0], [1, 1], [0, 1]], texture=RNG.random((5, 7, 3)))
SCENE = sl.Scene(jnp.eye(4).at[2, 3].set(0.3)[None], sl.Camera.from_fov(0.6, width=40, height=30))


def test_computed_normals_are_those_of_a_new_mesh():
    ball = sphere_mesh(0.05, rings=6, segments=9)
    computed = Mesh(ball.vertices, ball.faces)
    vertices = np.asarray(ball.vertices) * [1.0, 2.0, 0.5]
    np.testing.assert_allclose(
        computed.replace(vertices=vertices).normals, Mesh(vertices, ball.faces).normals, atol=2e-3
    )
    np.testing.assert_array_equal(ball.replace(vertices=vertices).normals, ball.normals)  # those were given


def test_differentiable_normals_equal_the_others_and_have_finite_derivatives():
    ball = sphere_mesh(0.05, rings=6, segments=9)  # its poles are degenerate triangles
    normals = differentiable_vertex_normals(ball.vertices, ball.faces)
    np.testing.assert_allclose(normals, vertex_normals(np.asarray(ball.vertices), np.asarray(ball.faces)), atol=2e-3)
    assert np.isfinite(jax.jacrev(lambda v: differentiable_vertex_normals(v, ball.faces)[::7])(ball.vertices)).all()

    x, y = np.meshgrid(np.arange(5.0), np.arange(4.0))
    vertices = jnp.asarray(np.stack([x, y, RNG.random(x.shape)], axis=-1).reshape(-1, 3), jnp.float32)
    corner = (np.arange(3)[:, None] * 5 + np.arange(4)).reshape(-1, 1)
    faces = jnp.asarray(np.concatenate([corner + np.array([0, 1, 6]), corner + np.array([0, 6, 5])]))
    weight, direction = (jnp.asarray(RNG.normal(size=vertices.shape), jnp.float32) for _ in range(2))

    def total(vertices):
        return jnp.sum(differentiable_vertex_normals(vertices, faces) * weight)

    numeric = (total(vertices + 1e-2 * direction) - total(vertices - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose(jnp.vdot(jax.grad(total)(vertices), direction), numeric, rtol=1e-2)


def image_of(mesh, renderer):
    return sl.render(SCENE, renderer.with_meshes([mesh])).rgb


def test_a_texture_is_recovered_from_its_image():
    """What the image says of the texels: float textures have the gradient of a bilinear lookup."""
    renderer = MeshRenderer([SQUARE])
    texture = jnp.asarray(RNG.uniform(0.1, 0.9, (5, 7, 3)), jnp.float32)
    weight = jnp.asarray(RNG.uniform(0.5, 1.5, (30, 40, 3)), jnp.float32)

    @jax.jit
    def objective(texture):
        return jnp.sum(image_of(SQUARE.replace(texture=texture), renderer) * weight)

    gradient = jax.grad(objective)(texture)
    direction = jnp.asarray(RNG.normal(size=texture.shape), jnp.float32)
    numeric = (objective(texture + 0.05 * direction) - objective(texture - 0.05 * direction)) / 0.1
    np.testing.assert_allclose(jnp.vdot(gradient, direction), numeric, rtol=1e-3)
    # The light of the whole image comes from texels: their weights add up to what is covered.
    covered = jnp.sum(sl.render(SCENE, renderer).mask[..., None] * weight)
    np.testing.assert_allclose(jnp.sum(gradient), covered, rtol=1e-4)


def test_base_colours_and_vertices_by_one_gradient_under_vmap():
    renderer = MeshRenderer([SQUARE], shading="phong", ambient_light=[0.5] * 3, light_directions=[[0, 0, 1.0]],
                            light_colors=[[2.0] * 3])  # fmt: skip
    plain = Mesh(CORNERS, [[0, 2, 1], [0, 3, 2]])

    def objective(color, vertices):
        return jnp.sum(image_of(plain.replace(base_color=color, vertices=vertices), renderer))

    colors = jnp.asarray(RNG.uniform(0.2, 0.8, (3, 3)), jnp.float32)
    shapes = jnp.asarray(CORNERS * (1 + 0.1 * np.arange(3))[:, None, None], jnp.float32)
    batch = jax.vmap(jax.grad(objective, (0, 1)))(colors, shapes)
    for k in range(3):
        for got, expected in zip(batch, jax.grad(objective, (0, 1))(colors[k], shapes[k])):
            np.testing.assert_allclose(got[k], expected, rtol=1e-3, atol=1e-4 * float(jnp.abs(expected).max()))
    assert (batch[0] > 0).all()  # brighter paint, brighter image


BAD = [
    ({"vertices": CORNERS[:3]}, r"vertices must have shape \(4, 3\), got \(3, 3\)"),
    ({"vertices": np.full((4, 3), np.nan)}, "vertices must be finite, got 12"),
    ({"vertices": np.where(np.eye(4, 3) > 0, np.inf, CORNERS)}, "vertices must be finite, got 3"),
    ({"vertices": np.where(np.eye(4, 3) > 0, 1e300, CORNERS)}, "vertices must be finite, got 3"),
    ({"vertices": np.where(np.eye(4, 3) > 0, np.nan, CORNERS).tolist()}, "vertices must be finite, got 3"),
    ({"vertices": np.zeros((4, 3), int)}, "vertices must be floating, got dtype int"),
    ({"colors": np.full((4, 3), 1.5)}, r"colors must lie in \[0, 1\], got 1.5..1.5"),
    ({"colors": np.full((4, 4), 0.5)}, r"colors must have shape \(4, 3\), got \(4, 4\)"),
    ({"texture": np.zeros((5, 7))}, r"texture must be \(Ht, Wt, 3\)"),
    ({"texture": np.zeros((7, 5, 3))}, r"35 texels in all, got images of \(width, height\) \[\(5, 7\)\]"),
    ({"texture": np.full((5, 7, 3), -0.1)}, r"texture must lie in \[0, 1\], got -0.1"),
    ({"texture": [np.full((5, 7, 3), 127.0)]}, r"texture must lie in \[0, 1\], got 127..127"),
    ({"texture": np.full((5, 7, 3), 127, np.uint8)}, "texture must be floating, got dtype uint8"),
    ({"texture": np.full((5, 7, 3), np.nan)}, "texture must be finite, got 105"),
    ({"base_color": [0.5, 0.5, 2.0]}, r"base_color must lie in \[0, 1\]"),
    ({"base_color": [[0.5, 0.5, np.nan]]}, "base_color must be finite"),
    ({"base_color": [0.5, 0.5]}, r"base_color must have shape \(1, 3\), got \(2,\)"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_it_refuses(unchecked_types, changes, message):
    with pytest.raises(ValueError, match=message):
        SQUARE.replace(**changes)


@pytest.mark.parametrize(("changes", "message"), BAD)
@pytest.mark.parametrize("as_arrays", [False, True], ids=["numpy", "jax"])
def test_known_values_are_refused_while_a_function_is_traced(unchecked_types, changes, message, as_arrays):
    """Constants of a traced function, such as a texture that only its shape is fitted around."""
    if as_arrays:
        with np.errstate(over="ignore"):
            changes = jax.tree.map(jnp.asarray, changes)

    def total(scale):
        mesh = SQUARE.replace(**changes)
        return scale * (jnp.sum(mesh.vertices) + jnp.sum(mesh.materials.texels))

    with pytest.raises(ValueError, match=message):
        jax.jit(total)(1.0)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("vertices", np.full((4, 3), np.nan), "vertices must be finite, got 12"),
    ("texture", np.full((5, 7, 3), 1.2), r"texture must lie in \[0, 1\], got 1.2..1.2"),
    ("base_color", np.full((1, 3), -1.0), r"base_color must lie in \[0, 1\]"),
])  # fmt: skip
def test_values_are_refused_where_eager_code_is_differentiated(unchecked_types, name, value, message):
    def total(value):
        mesh = SQUARE.replace(**{name: value})
        return jnp.sum(mesh.vertices) + jnp.sum(mesh.materials.texels) + jnp.sum(mesh.materials.base_colors)

    with pytest.raises(ValueError, match=message):
        jax.grad(total)(jnp.asarray(value, jnp.float32))


def test_shapes_are_checked_while_tracing(unchecked_types):
    with pytest.raises(ValueError, match=r"vertices must have shape \(4, 3\), got \(5, 3\)"):
        jax.jit(lambda v: SQUARE.replace(vertices=v).vertices)(jnp.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"\[\(7, 4\)\]"):
        jax.jit(lambda t: SQUARE.replace(texture=t).materials.texels)(jnp.zeros((4, 7, 3)))


def test_values_under_trace_are_trusted():
    """An optimiser may leave the range for a moment: what it means there is its own business."""
    replaced = jax.jit(lambda t: SQUARE.replace(texture=t).materials.texels)(jnp.full((5, 7, 3), 1.5))
    assert float(replaced[:, :3].max()) == 1.5


def test_one_colour_serves_all_materials_and_rows_one_each():
    several = Mesh(CORNERS, [[0, 2, 1], [0, 3, 2]], uv=np.zeros((4, 2)), texture=[None, None], face_material=[0, 1])
    one, rows = several.replace(base_color=[0.1, 0.2, 0.3]), several.replace(base_color=[[0.1] * 3, [0.9] * 3])
    np.testing.assert_allclose(one.materials.base_colors, [[0.1, 0.2, 0.3]] * 2)
    np.testing.assert_allclose(rows.materials.base_colors, [[0.1] * 3, [0.9] * 3])


@pytest.mark.parametrize(("meshes", "message"), [
    ([SQUARE, SQUARE], "takes 1 meshes, one per object, got 2"),
    (SQUARE, r"list of sldiff_jax.Mesh, got a single one: pass \[mesh\]"),
    (["square.ply"], "list of sldiff_jax.Mesh, got str in it"),
])  # fmt: skip
def test_renderers_take_one_mesh_per_object(unchecked_types, meshes, message):
    with pytest.raises(ValueError, match=message):
        MeshRenderer([SQUARE]).with_meshes(meshes)


@pytest.mark.parametrize(("where", "rows"), [
    (lambda mesh: mesh.vertices, 3), (lambda mesh: mesh.normals, 5), (lambda mesh: mesh.uv, 1),
    (lambda mesh: mesh.colors, 2),
])  # fmt: skip
def test_arrays_of_another_size_are_not_drawn(unchecked_types, where, rows):
    """However they got there: a kernel that reads past the end of an array does not say so."""
    colored = Mesh(CORNERS, [[0, 2, 1], [0, 3, 2]], colors=np.full((4, 3), 0.5))
    fewer = eqx.tree_at(where, colored, jnp.zeros((rows, where(colored).shape[1])))
    for draw in (lambda r: r(SCENE), lambda r: sl.render(SCENE, r), jax.jit(lambda r: sl.render(SCENE, r).mask)):
        with pytest.raises(ValueError, match=r"arrays of a mesh belong together.*Mesh\.replace"):
            draw(MeshRenderer([fewer]))
    intact = MeshRenderer([colored])
    inside = eqx.tree_at(lambda r: where(r.geometry), intact, where(fewer))
    with pytest.raises(ValueError, match="arrays of a mesh belong together"):
        sl.render(SCENE, inside)


@pytest.mark.parametrize(("name", "value"), [
    ("vertices", CORNERS), ("texture", np.full((5, 7, 3), 0.5)), ("base_color", np.full(3, 0.5)),
    ("colors", np.full((4, 3), 0.5)), ("faces", np.array([[0, 2, 1], [0, 3, 2]])),
])  # fmt: skip
def test_a_mesh_is_not_built_of_traced_arrays(unchecked_types, name, value):
    given = {"vertices": CORNERS, "faces": [[0, 2, 1], [0, 3, 2]], "uv": np.zeros((4, 2))}
    with pytest.raises(ValueError, match=rf"got traced {name}: build the Mesh outside.*Mesh\.replace"):
        jax.jit(lambda value: Mesh(**(given | {name: value})).vertices)(value)
