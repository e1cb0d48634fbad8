"""glTF: what the format allows is read right, and what is not understood is refused by name."""

from __future__ import annotations

import base64
import json

import DracoPy
import numpy as np
import pytest
from gltf_writer import SQUARE_UV, Writer, flipped, square
from looks import CORNERS, FACES, TEXTURE, UV, area, color_at, lookup, quarters

from sldiff_jax.mesh_renderer import Mesh

COLORS = np.array([[1, 0.5, 0.25], [0, 0, 0], [0.2, 0.4, 0.6], [1, 1, 1]])


@pytest.fixture
def load(tmp_path):
    return lambda writer: Mesh.load(writer.glb(tmp_path / "mesh.glb"))


@pytest.mark.parametrize("material", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("kind", "limit"), [("f4", 1), ("u1", 255), ("u2", 65535)])
def test_vertex_colors(load, kind, limit, alpha, material):
    writer = Writer()
    stored = np.column_stack([COLORS, np.full(4, 0.5)]) if alpha else COLORS
    stored = np.rint(stored * limit) if limit > 1 else stored
    colors = writer.array(stored, kind, **({"normalized": True} if limit > 1 else {}))
    extra = {"material": writer.material(pbrMetallicRoughness={})} if material else {}
    writer.primitive({"POSITION": CORNERS, "COLOR_0": colors}, **extra)
    np.testing.assert_allclose(load(writer).colors, COLORS, atol=0.5 / max(limit, 255))


def test_vertex_colors_out_of_range_are_refused(load):
    writer = Writer()
    writer.primitive({"POSITION": CORNERS, "COLOR_0": 255 * COLORS})
    with pytest.raises(ValueError, match=r"mesh\.glb cannot be read: its COLOR_0 lies in 0\.\.255"):
        load(writer)


@pytest.mark.parametrize(
    ("kind", "normalized", "scale"),
    [
        ("i2", True, 32767),
        ("u2", True, 65535),
        ("i1", True, 127),
        ("u1", True, 255),
        ("u2", False, 1),
        ("i1", False, 1),
    ],
)
def test_positions_as_whole_numbers(load, kind, normalized, scale):
    writer = Writer()
    position = writer.array(CORNERS * scale, kind, stride=8, **({"normalized": True} if normalized else {}))
    writer.primitive({"POSITION": position})
    writer.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    writer.document["nodes"] = [{"mesh": 0, "scale": [0.05, 0.05, 0.05]}]
    np.testing.assert_allclose(load(writer).vertices, 0.05 * CORNERS, atol=1e-7)


def test_a_stride_of_zero_is_none(load):
    writer = square()
    writer.document["bufferViews"][0]["byteStride"] = 0
    np.testing.assert_array_equal(load(writer).vertices, CORNERS)


def test_the_least_signed_number_is_minus_one(load):
    writer = Writer()
    corners = np.array([[-32768, -32767, 0], [32767, 0, 0], [0, 32767, 0]])
    writer.primitive({"POSITION": writer.array(corners, "i2", stride=8, normalized=True)}, indices=[0, 1, 2])
    np.testing.assert_allclose(load(writer).vertices, [[-1, -1, 0], [1, 0, 0], [0, 1, 0]], atol=1e-6)


@pytest.mark.parametrize(("kind", "limit"), [("u1", 255), ("u2", 65535)])
def test_texture_coordinates_as_whole_numbers(load, kind, limit):
    writer = Writer()
    uv = writer.array(SQUARE_UV * limit, kind, stride=4, normalized=True)
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": uv}, material=writer.textured())
    np.testing.assert_array_equal(quarters(load(writer)), TEXTURE)


@pytest.mark.parametrize("base", [True, False])
def test_sparse_accessors(load, base):
    writer = Writer()
    position = writer.array(CORNERS * [1, 1, 0] if base else np.zeros((4, 3)), view=base)
    rows = np.array([1, 2, 3]) if not base else np.array([2])
    there = CORNERS[rows] if not base else np.array([[3, 1, 0]])
    writer.document["accessors"][position]["sparse"] = {
        "count": len(rows),
        "indices": {"bufferView": writer.view(rows.astype("<u1").tobytes()), "componentType": 5121},
        "values": {"bufferView": writer.view(there.astype("<f4").tobytes())},
    }
    writer.primitive({"POSITION": position})
    expected = CORNERS.copy()
    expected[rows] = there
    np.testing.assert_array_equal(load(writer).vertices, expected)


def test_strips_and_fans(load):
    zigzag = np.array([[k // 2, k % 2, 0] for k in range(7)], float)
    writer = Writer()
    writer.primitive({"POSITION": zigzag}, indices=None, mode=5)
    mesh = load(writer)
    assert mesh.num_triangles == 5
    assert area(mesh) == pytest.approx(2.5)
    np.testing.assert_array_equal(np.sign(mesh.normals)[:, 2], -np.ones(7))  # all wound alike, as the first: clockwise
    hexagon = np.array([[np.cos(k), np.sin(k), 0] for k in np.arange(6) * np.pi / 3])
    writer = Writer()
    writer.primitive({"POSITION": hexagon}, indices=np.arange(6), mode=6)
    mesh = load(writer)
    assert area(mesh) == pytest.approx(1.5 * np.sqrt(3))
    np.testing.assert_array_equal(np.sign(mesh.normals)[:, 2], np.ones(6))


def test_points_and_lines_are_left_out(load):
    writer = square()
    writer.primitive({"POSITION": CORNERS + 5}, indices=[0, 1, 1, 2], mode=1)
    writer.primitive({"POSITION": CORNERS + 5}, indices=None, mode=0)
    np.testing.assert_array_equal(load(writer).bounds, [[0, 0, 0], [1, 1, 0]])


def test_skins_place_vertices_by_their_joints(load):
    """By hand: two joints; the node of the mesh itself does not count."""
    writer = Writer()
    joints = writer.array([[0, 1, 0, 0]] * 4, "u1")
    weights = writer.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0]])
    writer.primitive({"POSITION": CORNERS, "JOINTS_0": joints, "WEIGHTS_0": weights})
    inverse_bind = np.stack([np.eye(4), np.eye(4)])
    inverse_bind[1, :3, 3] = [0, -1, 0]
    matrices = writer.array(inverse_bind.transpose(0, 2, 1).reshape(2, 16))
    writer.document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": matrices}]
    half = np.sqrt(0.5)
    writer.document["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [5, 0, 0]},
        {"translation": [0.02, 0, 0], "children": [2]},
        {"translation": [0, 1, 0], "rotation": [0, 0, half, half]},  # a quarter turn about z
    ]
    writer.document["scenes"] = [{"nodes": [0, 1]}]
    first = CORNERS + np.array([0.02, 0, 0])
    turned = (CORNERS - [0, 1, 0]) @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + [0.02, 1, 0]
    expected = [first[0], (first[1] + turned[1]) / 2, (first[2] + turned[2]) / 2, turned[3]]
    np.testing.assert_allclose(load(writer).vertices, expected, atol=1e-6)


@pytest.mark.parametrize("where", ["mesh", "node"])
def test_morph_weights_at_rest(load, where):
    writer = Writer()
    change = writer.array([[0, 0, 1]] * 4)
    other = writer.array([[9, 9, 9]] * 4)
    primitive = writer.primitive({"POSITION": CORNERS})
    primitive["targets"] = [{"POSITION": change}, {"POSITION": other}]
    writer.document["meshes"][0]["weights"] = [0.5, 0.0] if where == "mesh" else [7.0, 7.0]
    if where == "node":
        writer.document["nodes"][0]["weights"] = [0.5, 0.0]
    np.testing.assert_allclose(load(writer).vertices, CORNERS + np.array([0, 0, 0.5]))


def test_instances(load):
    writer = square()
    half = np.sqrt(0.5)
    writer.document["nodes"][0]["extensions"] = {
        "EXT_mesh_gpu_instancing": {
            "attributes": {
                "TRANSLATION": writer.array([[0, 0, 0], [5, 0, 0]]),
                "ROTATION": writer.array([[0, 0, 0, 1], [0, 0, half, half]]),
                "SCALE": writer.array([[1, 1, 1], [2, 2, 2]]),
            }
        }
    }
    writer.document["nodes"][0]["translation"] = [0, 0, 1]
    writer.document["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    mesh = load(writer)
    assert mesh.num_triangles == 4
    turned = 2 * CORNERS @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + [5, 0, 0]
    np.testing.assert_allclose(mesh.vertices, np.concatenate([CORNERS, turned]) + np.array([0, 0, 1]), atol=1e-6)


def test_nodes_that_are_not_shown(load):
    writer = square()
    writer.document["nodes"] = [
        {"mesh": 0, "children": [1]},
        {"extensions": {"KHR_node_visibility": {"visible": False}}, "children": [2]},
        {"mesh": 0, "translation": [9, 0, 0]},
        {"mesh": 0, "translation": [0, 9, 0]},
    ]
    np.testing.assert_array_equal(load(writer).bounds, [[0, 0, 0], [1, 1, 0]])


def test_flat_nodes_have_normals(load):
    writer = square()
    writer.document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = writer.array([[0, 0, 1]] * 4)
    writer.document["nodes"][0]["scale"] = [1, 1, 0]
    np.testing.assert_array_equal(load(writer).normals, [[0, 0, 1]] * 4)


@pytest.mark.parametrize("scale", [[1, 1, -1], [-1, 1, 1], [2, 1, 0.5], [-1, -1, -3]])
def test_normals_follow_their_node(load, scale):
    """A plane's normal is perpendicular to it and keeps its side; faces of mirrored nodes are wound the other way."""
    corners = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    writer = Writer()
    writer.primitive({"POSITION": corners, "NORMAL": np.ones((3, 3)) / np.sqrt(3)}, indices=[0, 1, 2])
    writer.document["nodes"][0]["scale"] = scale
    mesh = load(writer)
    expected = 1 / np.array(scale)  # the plane's equation
    np.testing.assert_allclose(mesh.normals, np.tile(expected / np.linalg.norm(expected), (3, 1)), atol=1e-6)
    a, b, c = (corners * scale)[np.asarray(mesh.faces)[0]]
    assert np.cross(b - a, c - a) @ expected > 0


@pytest.mark.parametrize("extension", [False, True])
def test_second_set_of_coordinates(load, extension):
    writer = Writer()
    reference = {"texCoord": 1}
    if extension:
        reference = {"texCoord": 0, "extensions": {"KHR_texture_transform": {"texCoord": 1}}}
    material = writer.textured(reference=reference)
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV[::-1], "TEXCOORD_1": SQUARE_UV}, material=material)
    np.testing.assert_array_equal(quarters(load(writer)), TEXTURE)


def test_texture_transform(load):
    """A quarter of a larger texture; and a turn, counter-clockwise in the image, about its upper left corner."""
    tiles = np.zeros((4, 4, 3), np.uint8)
    tiles[:2, 2:] = TEXTURE
    writer = Writer()
    transform = {"scale": [0.5, 0.5], "offset": [0.5, 0]}
    material = writer.textured(tiles, reference={"extensions": {"KHR_texture_transform": transform}})
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=material)
    writer.document["extensionsRequired"] = ["KHR_texture_transform"]
    np.testing.assert_array_equal(quarters(load(writer)), TEXTURE)

    angle = 0.3
    u, v = 0.8, 0.4  # down from the upper left corner; seen in the image, the point (1, 0) turns up: v falls
    expected = [u * np.cos(angle) + v * np.sin(angle) + 0.1, -u * np.sin(angle) + v * np.cos(angle) + 0.2]
    writer = Writer()
    transform = {"rotation": angle, "offset": [0.1, 0.2]}
    material = writer.textured(reference={"extensions": {"KHR_texture_transform": transform}})
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": np.tile([u, v], (4, 1))}, material=material)
    np.testing.assert_allclose(load(writer).uv, np.tile(flipped(expected), (4, 1)), atol=1e-6)


WRAPS = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


@pytest.mark.parametrize("wrap_t", WRAPS)
@pytest.mark.parametrize("wrap_s", WRAPS)
@pytest.mark.parametrize("uv", [UV, 2.6 * UV - 0.9], ids=["inside", "outside"])
def test_samplers(load, wrap_s, wrap_t, uv):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 5, 3), np.uint8)
    writer = Writer()
    material = writer.textured(image)
    writer.document["samplers"] = [{"wrapS": wrap_s, "wrapT": wrap_t}]
    writer.document["textures"][0]["sampler"] = 0
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": flipped(uv)}, material=material)
    mesh = load(writer)
    for x, y in [*rng.uniform(0, 1, (40, 2)), (0, 0), (1, 1), (0, 1), (1, 0)]:
        u, v = uv[0] + (uv[2] - uv[0]) * [x, y]
        np.testing.assert_allclose(
            color_at(mesh, x, y), lookup(image / 255, u, v, (WRAPS[wrap_s], WRAPS[wrap_t])), atol=2e-5
        )


def test_a_texture_that_does_not_repeat_and_is_shared_is_kept_once(load):
    writer = Writer()
    material = writer.textured(np.zeros((30, 40, 3), np.uint8))
    writer.document["samplers"] = [{"wrapS": 33071, "wrapT": 33071}]
    writer.document["textures"][0]["sampler"] = 0
    for k in range(3):
        writer.primitive({"POSITION": CORNERS + k, "TEXCOORD_0": SQUARE_UV}, material=material)
    mesh = load(writer)
    np.testing.assert_array_equal(mesh.materials.textures, [[0, 42, 32]] * 3)
    assert mesh.materials.texels.shape[0] == 42 * 32


def test_coordinates_far_outside_of_a_clamped_texture_are_refused(load):
    writer = Writer()
    material = writer.textured(np.zeros((64, 64, 3), np.uint8))
    writer.document["samplers"] = [{"wrapS": 33071}]
    writer.document["textures"][0]["sampler"] = 0
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": 1e6 * SQUARE_UV}, material=material)
    with pytest.raises(ValueError, match="wrap mode clamp and repeat"):
        load(writer)


def srgb(linear):
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def test_base_color_is_intensity(load):
    factor = [0.5, 0.002, 1.0, 1.0]
    writer = square(material=0)
    writer.material(pbrMetallicRoughness={"baseColorFactor": factor})
    materials = load(writer).materials
    np.testing.assert_allclose(materials.texels[:, :3] / 255, [[srgb(x) for x in factor[:3]]], atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(materials.base_colors, [[1, 1, 1]])
    writer = Writer()
    grey = np.full((2, 2, 3), 200, np.uint8)
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=writer.textured(grey, factor=factor))
    intensity = ((200 / 255 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(color_at(load(writer), 0.5, 0.4), [srgb(intensity * x) for x in factor[:3]], atol=2e-3)


def test_older_materials(load):
    writer = Writer()
    texture = writer.picture()
    old = {"diffuseTexture": {"index": texture}, "diffuseFactor": [1, 1, 1, 1]}
    material = writer.material(extensions={"KHR_materials_pbrSpecularGlossiness": old})
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=material)
    np.testing.assert_array_equal(quarters(load(writer)), TEXTURE)


def test_transparency_is_warned_of(load):
    pixels = np.dstack([TEXTURE, np.array([[255, 0], [255, 255]], np.uint8)])
    for mode in ("MASK", "BLEND"):
        writer = Writer()
        material = writer.textured(pixels, alphaMode=mode, name="leaf")
        writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=material)
        with pytest.warns(UserWarning, match=rf"mesh\.glb: material 'leaf' has alphaMode {mode}"):
            load(writer)
    for opaque in ({"alphaMode": "OPAQUE"}, {"alphaMode": "MASK", "alphaCutoff": 0.0}):
        writer = Writer()
        material = writer.textured(pixels, **opaque)
        writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=material)
        np.testing.assert_array_equal(quarters(load(writer)), TEXTURE)


def test_what_is_transparent_all_over_is_left_out(load):
    writer = square()
    hidden = writer.material(pbrMetallicRoughness={"baseColorFactor": [1, 1, 1, 0.2]}, alphaMode="MASK")
    writer.primitive({"POSITION": CORNERS + 5}, material=hidden)
    np.testing.assert_array_equal(load(writer).bounds, [[0, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize("kind", ["data", "file"])
def test_buffers_and_images_outside(tmp_path, kind):
    writer = Writer()
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=writer.textured())
    view = writer.document["bufferViews"][writer.document["images"][0]["bufferView"]]
    image = writer.bytes[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    if kind == "file":
        (tmp_path / "some geometry.bin").write_bytes(writer.bytes)
        (tmp_path / "a texture.png").write_bytes(image)
        names = "some%20geometry.bin", "a texture.png"
    else:
        names = [
            f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}" for data in (writer.bytes, image)
        ]
    writer.document["images"] = [{"uri": names[1]}]
    writer.document["buffers"] = [{"byteLength": len(writer.bytes), "uri": names[0]}]
    path = tmp_path / "mesh.gltf"
    path.write_text(json.dumps(writer.document), "utf-8-sig")
    np.testing.assert_array_equal(quarters(Mesh.load(path)), TEXTURE)


def with_(**changes):
    writer = square()
    writer.document |= changes
    return writer


def with_node(**changes):
    return with_(nodes=[{"mesh": 0, **changes}])


def with_accessor(index, **changes):
    writer = square()
    writer.document["accessors"][index] |= changes
    return writer


def with_texture(texture, **reference):
    writer = Writer()
    material = writer.textured(reference=reference)
    writer.document["textures"] = [texture]
    writer.primitive({"POSITION": CORNERS, "TEXCOORD_0": SQUARE_UV}, material=material)
    return writer


def with_sampler(**sampler):
    writer = with_texture({"source": 0, "sampler": 0})
    writer.document["samplers"] = [sampler]
    return writer


def without_data():
    writer = square()
    del writer.document["accessors"][0]["bufferView"]
    return writer


REFUSED = {
    "requires KHR_texture_basisu, SOME_other_thing, which is not supported": with_(
        extensionsRequired=["SOME_other_thing", "KHR_texture_basisu", "KHR_texture_transform"]
    ),
    "POSITION holds no data; it is compressed": without_data(),
    "version 1.0 of glTF": with_(asset={"version": "1.0"}),
    r"takes its texture from gone one\.png": with_(images=[{"uri": "gone%20one.png"}]),
    r"takes its geometry from gone\.bin": with_(buffers=[{"byteLength": 3, "uri": "gone.bin"}]),
    r"buffer 1 holds no data .*EXT_meshopt_compression": with_(
        buffers=[{"byteLength": 1}, {"byteLength": 9, "extensions": {"EXT_meshopt_compression": {}}}],
        bufferViews=[{"buffer": 1, "byteLength": 9}] * 2,
    ),
    "cut off: buffer 0 has 60 of 999 bytes": with_(buffers=[{"byteLength": 999}]),
    "refers to 7 of 1 meshes": with_node(mesh=7),
    "two parents": with_(nodes=[{"children": [1]}, {"children": [2]}, {"children": [1]}]),
    "a rotation of its nodes is zero": with_node(rotation=[0, 0, 0, 0]),
    "a scale of its nodes is not 3 numbers": with_node(scale=[1, 2]),
    "has a skin, but its vertices have no JOINTS_0": with_node(skin=0),
    "5 corners, which is no multiple of three": with_accessor(1, count=5),
    "triangles point to vertex 3; 0..2 are there": with_accessor(0, count=3),
    "POSITION needs 400 rows": with_accessor(0, count=400),
    "POSITION declares -1 rows": with_accessor(0, count=-1),
    "component type 77": with_accessor(0, componentType=77),
    "indices are no whole numbers": with_accessor(1, componentType=5126, count=3),
    "Mesh vertices must be finite in float32": with_node(scale=[1e200, 1, 1]),
    "does not follow its format .*KeyError": with_(meshes=[{}]),
    "1 weights for 0 morph targets": with_node(weights=[1.0]),
    "texture, but its triangles have no TEXCOORD_3": with_texture({"source": 0}, texCoord=3),
    r"no image that can be read .*KHR_texture_basisu": with_texture(
        {"extensions": {"KHR_texture_basisu": {"source": 0}}}
    ),
    "wrap mode 5": with_sampler(wrapS=5),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_by_name(load, message):
    with pytest.raises(ValueError, match=rf"mesh\.glb cannot be read: .*({message})"):
        load(REFUSED[message])


DRACO = "KHR_draco_mesh_compression"


def compressed(rng, *, required=True, data: bytes | None = None):
    """A file with a compressed triangle soup, texture coordinates and colours, and what it holds."""
    vertices, uv = rng.normal(size=(30, 3)).astype(np.float32), rng.uniform(size=(30, 2)).astype(np.float32)
    colors = rng.integers(0, 256, (30, 3), np.uint8)
    faces = rng.permuted(np.arange(30)).reshape(10, 3)
    encoded = DracoPy.encode(
        vertices, faces.astype(np.uint32), quantization_bits=20, tex_coord=uv.astype(float), colors=colors
    )
    kinds = {2: "COLOR_0", 0: "POSITION", 3: "TEXCOORD_0"}
    numbers = {kinds[a["attribute_type"]]: a["unique_id"] for a in DracoPy.decode(encoded).attributes}
    writer = Writer()
    attributes = {
        "POSITION": writer.array(vertices, view=False),
        "TEXCOORD_0": writer.array(uv, view=False),
        "COLOR_0": writer.array(colors, "u1", view=False, normalized=True),
    }
    primitive = writer.primitive(attributes, indices=None, material=writer.textured())
    primitive["indices"] = writer.array(faces.ravel(), "u2", view=False)
    primitive["extensions"] = {
        DRACO: {"bufferView": writer.view(encoded if data is None else data), "attributes": numbers}
    }
    if required:
        writer.document["extensionsRequired"] = [DRACO]
    return writer, np.concatenate([vertices, flipped(uv), colors / 255], axis=1)[faces]


@pytest.mark.parametrize("required", [True, False])
def test_draco(load, required):
    writer, expected = compressed(np.random.default_rng(0), required=required)
    mesh = load(writer)
    found = np.concatenate([np.asarray(array) for array in (mesh.vertices, mesh.uv, mesh.colors)], axis=1)
    found = found[np.asarray(mesh.faces)]

    def in_order(triangles):  # the encoder puts triangles, and the corners of each, in another order
        turned = [np.roll(t, -int(np.argmin(t[:, 0])), axis=0) for t in triangles]
        return np.array(sorted(turned, key=lambda t: t[0, 0]))

    np.testing.assert_allclose(in_order(found), in_order(expected), atol=1e-3)
    np.testing.assert_allclose(in_order(found)[..., :3], in_order(expected)[..., :3], atol=1e-5)


def test_draco_that_is_damaged_or_has_no_decoder(load, monkeypatch):
    writer, _ = compressed(np.random.default_rng(0), data=b"DRACO and then nothing of use")
    with pytest.raises(ValueError, match=rf"its {DRACO} data cannot be decoded"):
        load(writer)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=rf"requires {DRACO}, which is not supported\. pip install 'sldiff-jax\[draco\]'"
    ):
        load(writer)
    with pytest.raises(ValueError, match=rf"needs {DRACO}: pip install"):
        load(compressed(np.random.default_rng(0), required=False)[0])


def test_cut_off(tmp_path):
    data = square().glb(tmp_path / "whole.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"cut\.glb cannot be read: it was cut off"):
        Mesh.load(tmp_path / "cut.glb")


def test_vertices_and_faces_are_as_in_the_file(load):
    mesh = load(square())
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    np.testing.assert_array_equal(mesh.faces, FACES)
