"""Files that were cut off or have wrong bytes: a ValueError, or a mesh, and nothing worse."""

from __future__ import annotations

import copy
import json
import signal
import tracemalloc
import warnings

import numpy as np
import pytest
from gltf_writer import SQUARE_UV, Writer
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import CORNERS, TEXTURE, UV
from PIL import Image
from ply_writer import FORMATS, ply

from sldiff_jax.mesh_renderer import Mesh
from sldiff_jax.mesh_renderer.meshes.load import READERS

SECONDS = 60
"""A file of a few hundred bytes that takes longer hangs, however busy the machine is."""
MEMORY = 64 * 2**20


def glb(folder) -> bytes:
    """Everything at once: strides, sparse rows, a skin, morph targets, instances, a texture with a sampler."""
    writer = Writer()
    material = writer.textured()
    writer.document["samplers"] = [{"wrapS": 33071, "wrapT": 33648}]
    writer.document["textures"][0]["sampler"] = 0
    position = writer.array(CORNERS, stride=16)
    writer.document["accessors"][position]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": writer.view(b"\2"), "componentType": 5121},
        "values": {"bufferView": writer.view(np.ones(3, "<f4").tobytes())},
    }
    primitive = writer.primitive({"POSITION": position, "TEXCOORD_0": SQUARE_UV}, material=material)
    primitive["targets"] = [{"POSITION": writer.array(CORNERS)}]
    writer.document["meshes"][0]["weights"] = [0.5]
    attributes = {"POSITION": CORNERS, "JOINTS_0": writer.array([[0, 0, 0, 0]] * 4, "u1")}
    writer.document["meshes"].append({"primitives": [{**primitive, "mode": 5}]})
    writer.document["meshes"][1]["primitives"][0].pop("targets")
    primitive["attributes"] |= {"JOINTS_0": attributes["JOINTS_0"], "WEIGHTS_0": writer.array([[1, 0, 0, 0]] * 4)}
    writer.document["skins"] = [{"joints": [1]}]
    instances = {"attributes": {"TRANSLATION": writer.array([[0, 0, 0], [1, 0, 0]])}}
    writer.document["nodes"] = [
        {"mesh": 0, "skin": 0, "children": [1]},
        {"mesh": 1, "extensions": {"EXT_mesh_gpu_instancing": instances}, "rotation": [0, 0, 0, 1]},
    ]
    return writer.glb(folder / "whole.glb").read_bytes()


def obj(folder) -> bytes:
    lines = ["mtllib a.mtl", *(f"v {x} {y} {z} 1 0 0" for x, y, z in CORNERS), *(f"vt {u} {v}" for u, v in UV)]
    return "\n".join([*lines, "vn 0 0 1", "usemtl a", "f 1/1/1 2/2/1 3/3/1 4/4/1", "f -4/-4 -2/-2 -1/-1"]).encode()


def ply_of(encoding):
    properties = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    rows = [[*range(4)], [0, 2, 3]]
    faces = [[row, [x for k in row for x in UV[k]], 0] for row in rows]
    return lambda folder: ply(
        {
            "vertex": (properties, [[*p, 1, 2, 3] for p in CORNERS]),
            "face": (["list uchar int vertex_indices", "list uchar float texcoord", "int texnumber"], faces),
        },
        encoding=encoding,
        comments=["TextureFile four.png"],
    )


def stl(folder) -> bytes:
    facets = np.zeros((3, 50), np.uint8)
    facets[:, 12:48] = np.frombuffer(np.eye(3, dtype="<f4").tobytes(), np.uint8)
    return b"\0" * 80 + (3).to_bytes(4, "little") + facets.tobytes()


def stl_ascii(folder) -> bytes:
    corners = "".join(f"vertex {x} {y} {z}\n" for x, y, z in CORNERS[:3])
    return f"solid a\nfacet normal 0 0 1\nouter loop\n{corners}endloop\nendfacet\nendsolid a\n".encode()


FILES = {
    "glb": glb, "obj": obj, "mtl": obj, "png": obj, "stl": stl, "stl_ascii": stl_ascii,
    **{f"ply_{encoding}": ply_of(encoding) for encoding in FORMATS},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    Image.fromarray(TEXTURE).save(folder / "four.png")
    (folder / "a.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd -s 2 1 -clamp on four.png\n")
    return folder


@st.composite
def damage(draw):
    """A change of some bytes, wherever they are: fractions of the file's length."""
    flips = draw(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6))
    cut = draw(st.one_of(st.none(), st.floats(0, 1)))
    doubled = draw(st.one_of(st.none(), st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return flips, cut, doubled


def damaged(data: bytes, change) -> bytes:
    flips, cut, doubled = change
    changed = bytearray(data)
    for place, value in flips:
        changed[int(place * len(data))] = value
    if doubled is not None:
        first, last = sorted(int(place * len(data)) for place in doubled)
        changed[last:last] = changed[first:last]
    return bytes(changed if cut is None else changed[: int(cut * len(changed))])


def hang(*_):
    raise TimeoutError(f"a small file took more than {SECONDS} seconds")


def assert_read_or_refused(path):
    """Whether a file is damaged cannot always be seen; what comes must be a mesh, or one line that names the file."""
    message = None
    signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of transparency
            mesh = Mesh.load(path)
    except ValueError as error:
        message = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        signal.alarm(0)
    if message is None:
        assert np.isfinite(mesh.bounds).all()
    else:
        assert str(path) in message
        assert "\n" not in message
        assert len(message) < 600 + len(str(path))
    assert peak < MEMORY


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=100)
@given(change=damage())
def test_bytes_that_are_wrong(folder, kind, change):
    suffix = kind.partition("_")[0]
    beside = {"mtl": folder / "a.mtl", "png": folder / "four.png"}.get(suffix)
    path = folder / f"damaged.{'obj' if beside else suffix}"
    if beside is None:
        path.write_bytes(damaged(FILES[kind](folder), change))
        assert_read_or_refused(path)
        return
    path.write_bytes(FILES[kind](folder))
    whole = beside.read_bytes()
    try:
        beside.write_bytes(damaged(whole, change))
        assert_read_or_refused(path)
    finally:
        beside.write_bytes(whole)


JUNK = (
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    5121,
    5123,
    5126,
    2**31,
    2**70,
    1e300,
    float("nan"),
    "",
    "POSITION",
    [],
    {},
    [0],
    [[]],
)


def test_a_long_reason_is_cut(folder, monkeypatch):
    """Errors of other libraries can be pages long."""
    monkeypatch.setitem(READERS, ".ply", lambda path: {}["key " * 1000])
    (folder / "long.ply").write_bytes(b"ply")
    with pytest.raises(ValueError, match=r"follow its format \(KeyError: .*\.\.\.\)") as caught:
        Mesh.load(folder / "long.ply")
    assert len(str(caught.value)) < 600 + len(str(folder))


@settings(max_examples=300)
@given(places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=3), values=st.data())
def test_json_that_is_wrong(folder, places, values):
    """A value of the document becomes another, of any kind, or goes."""
    data = glb(folder)
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    for place in places:
        leaves = list(keys_of(document))
        holder, key = leaves[int(place * len(leaves))]
        value = values.draw(st.sampled_from([*JUNK, "gone"]))
        if value == "gone":
            del holder[key]
        else:
            holder[key] = copy.deepcopy(value)
    writer = Writer()
    writer.document, writer.bytes = document, data[20 + length + 8 :]
    assert_read_or_refused(writer.glb(folder / "wrong.glb"))


def keys_of(value):
    """All places of a nested document: what holds it, and its key."""
    for key in value.keys() if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from keys_of(value[key])


@pytest.mark.parametrize("kind", FILES)
def test_the_whole_files_are_right(folder, kind):
    """Otherwise the test above would begin with files that are refused anyway."""
    suffix = {"mtl": "obj", "png": "obj"}.get(kind, kind.partition("_")[0])
    (folder / f"whole_again.{suffix}").write_bytes(FILES[kind](folder))
    assert Mesh.load(folder / f"whole_again.{suffix}").num_triangles >= 1
