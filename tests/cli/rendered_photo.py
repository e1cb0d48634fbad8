"""A small photo of a lump on a patterned table, rendered, with everything that the command needs to fit it."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import trimesh
from PIL import Image

import sldiff_jax as sl
from sldiff_jax.mesh_renderer import demo_mesh

WIDTH, HEIGHT, FOCAL, CX, CY = 240, 180, 330.0, 124.0, 87.0


def write_photo(folder: pathlib.Path) -> None:
    """mesh.ply, image.png, mask.png, camera.json, true.json, and pose.json: 8 degrees and 5 mm off. Metres."""
    mesh = demo_mesh()
    shape = trimesh.Trimesh(np.asarray(mesh.vertices), np.asarray(mesh.faces), process=False)
    shape.visual.vertex_colors = (127.5 + 127.5 * np.sin(90 * np.asarray(mesh.vertices) + [0, 1, 2])).astype(np.uint8)
    shape.export(folder / "mesh.ply")
    T_true = sl.se3_exp(jnp.array([0.4, -0.7, 0.3, 0, 0, 0])).at[:3, 3].set(jnp.array([0.01, -0.008, 0.4]))
    T_start = T_true @ sl.se3_exp(jnp.array([0.08, -0.08, 0.08, 0.003, -0.003, 0.003]))
    coarse = np.random.default_rng(0).uniform(90, 150, (6, 8)).astype(np.uint8)
    table = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float64)
    table = (table[..., None] * [1.1, 0.9, 0.7]).clip(0, 255).astype(np.uint8)
    camera = sl.Camera.from_intrinsics(FOCAL, FOCAL, CX, CY, width=WIDTH, height=HEIGHT)
    renderer = sl.MeshRenderer([sl.Mesh.load(folder / "mesh.ply")], background=table, supersample=2)
    seen = renderer(sl.Scene(T_true[None], camera))
    Image.fromarray(np.asarray(seen.rgb)[..., :3]).save(folder / "image.png")
    Image.fromarray(np.where(np.asarray(seen.instance_index) > 0, 255, 0).astype(np.uint8)).save(folder / "mask.png")
    intrinsics = {"fx": FOCAL, "fy": FOCAL, "cx": CX - 0.5, "cy": CY - 0.5, "width": WIDTH, "height": HEIGHT}
    for name, document in (("camera", intrinsics), ("pose", T_start.tolist()), ("true", T_true.tolist())):
        (folder / f"{name}.json").write_text(json.dumps(document))


def arguments(folder: pathlib.Path, output: pathlib.Path, **changed) -> list[str]:
    """Those of ``sldiff-jax view``; an option set to None is left out."""
    names = {"mesh": "mesh.ply", "image": "image.png", "mask": "mask.png", "camera": "camera.json", "pose": "pose.json"}
    options = {name: folder / file for name, file in names.items()} | {"output": output, "port": 0} | changed
    given = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    return ["view", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]
