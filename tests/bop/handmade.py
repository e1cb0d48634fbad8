"""A data set written by hand, file by file, with what is rare: see `write`. And the errors of poses, in plain NumPy."""

import json
import math
import pathlib

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

FULL, SMALL = (120, 90), (80, 64)
"""(width, height) of the images of scene 4, and of the last image of scene 12."""

K = np.array([[150.0, 0, 61.3], [0, 148.0, 44.2], [0, 0, 1]])
BOX, CAN = 3, 17
FLIP = np.diag([-1.0, 1, -1, 1])
FLIP[:3, 3] = 4.0, 0, 2.0  # millimetres, about the point (2, *, 1)
AXIS, OFFSET = (0.0, 0.0, 2.0), (2.0, 0.0, 1.0)


def write(folder: pathlib.Path) -> pathlib.Path:
    """Objects 3 (none) and 17 (a half turn and an axis at once), scenes 4 and 12, and in these:

    Scene 4 has colour PNG, depth in steps of 0.1 mm, camera poses and masks. Scene 12 has grey TIFF and JPEG in two
    sizes, depth in whole millimetres, no masks, no camera poses.
    """
    for name in ("models", "models_eval"):
        (folder / name).mkdir(parents=True)
        for object_id in (BOX, CAN):
            (folder / name / f"obj_{object_id:06d}.ply").write_text(_ply(points(object_id)))
        write_json(folder / name / "models_info.json", {
            str(BOX): {"diameter": diameter(BOX)},
            str(CAN): {
                "diameter": diameter(CAN),
                "symmetries_discrete": [FLIP.reshape(-1).tolist()],
                "symmetries_continuous": [{"axis": AXIS, "offset": OFFSET}],
            },
        })  # fmt: skip
    rng = np.random.default_rng(0)
    for scene_id, image_ids in ((4, (0, 7)), (12, (1, 2))):
        scene = folder / "test" / f"{scene_id:06d}"
        cameras, gt, info = {}, {}, {}
        for image_id in image_ids:
            width, height = SMALL if (scene_id, image_id) == (12, 2) else FULL
            kind, ending = ("rgb", "png") if scene_id == 4 else ("gray", "tif" if image_id == 1 else "jpg")
            pixels = rng.integers(0, 256, (height, width, 3) if kind == "rgb" else (height, width), np.uint8)
            save(scene / kind / f"{image_id:06d}.{ending}", pixels)
            save(
                scene / "depth" / f"{image_id:06d}.png",
                np.full((height, width), 5000 if scene_id == 4 else 500, np.uint16),
            )
            cameras[image_id] = {"cam_K": K.reshape(-1).tolist(), "depth_scale": 0.1 if scene_id == 4 else 1.0}
            if scene_id == 4:
                R = Rotation.from_rotvec([0.2, image_id, 0.1]).as_matrix()
                cameras[image_id] |= {"cam_R_w2c": R.reshape(-1).tolist(), "cam_t_w2c": [10.0, 20.0, 30.0 + image_id]}
            gt[image_id], info[image_id] = [], []
            for place, object_id in enumerate((CAN, BOX, CAN)):
                T = pose(rng, place)
                gt[image_id].append(
                    {"cam_R_m2c": T[:3, :3].reshape(-1).tolist(), "cam_t_m2c": T[:3, 3].tolist(), "obj_id": object_id}
                )
                info[image_id].append(
                    {"visib_fract": (0.05, 0.9, 0.7)[place], "bbox_visib": [1, 2, 3, 4] if place else [-1] * 4}
                )
                if scene_id == 4:
                    mask = np.zeros((height, width), np.uint8)
                    mask[10 * place : 10 * place + 5, 4:9] = 255 * (place > 0)
                    save(scene / "mask_visib" / f"{image_id:06d}_{place:06d}.png", mask)
        for name, document in (("scene_camera", cameras), ("scene_gt", gt), ("scene_gt_info", info)):
            write_json(scene / f"{name}.json", document)
    images = [(4, 0), (4, 7), (12, 1), (12, 2)]
    write_json(folder / "test_targets_bop19.json", [
        {"scene_id": s, "im_id": i, "obj_id": o, "inst_count": 1} for s, i in images for o in (BOX, CAN)
    ])  # fmt: skip
    write_json(folder / "test_targets_bop24.json", [{"scene_id": s, "im_id": i} for s, i in images])
    return folder


def write_json(path: pathlib.Path, document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def save(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pose(rng, place: int) -> np.ndarray:
    """(4, 4) in millimetres."""
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix()
    T[:3, 3] = 60 * (place - 1), rng.uniform(-20, 20), rng.uniform(400, 600)
    return T


def points(object_id: int) -> np.ndarray:
    """Eight corners of a box, millimetres; that of the can is centred where its symmetries are."""
    size, centre = ((60, 40, 30), (0, 0, 0)) if object_id == BOX else ((50, 50, 70), (2, 0, 1))
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    return corners * size + centre


def diameter(object_id: int) -> float:
    """Millimetres."""
    return float(max(np.linalg.norm(a - b) for a in points(object_id) for b in points(object_id)))


def symmetries(object_id: int) -> list[np.ndarray]:
    """Every flip followed by every turn, a hundredth of the diameter apart at most, and the identity."""
    if object_id == BOX:
        return [np.eye(4)]
    steps = math.ceil(math.pi / 0.01)
    turns = []
    for k in range(steps):
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec([0, 0, 2 * math.pi * k / steps]).as_matrix()
        turn[:3, 3] = np.array(OFFSET) - turn[:3, :3] @ OFFSET
        turns.append(turn)
    return [turn @ flip for flip in (np.eye(4), FLIP) for turn in turns]


def errors(object_id: int, T_estimate: np.ndarray, T_true: np.ndarray, width: int) -> dict[str, float]:
    """MSSD in diameters and MSPD in pixels of an image 640 wide, both of poses in millimetres."""
    homogeneous = np.c_[points(object_id), np.ones(8)].T
    estimated = (T_estimate @ homogeneous)[:3]
    surface, projection = [], []
    for symmetry in symmetries(object_id):
        true = (T_true @ symmetry @ homogeneous)[:3]
        surface.append(np.linalg.norm(estimated - true, axis=0).max())
        pixels = [(K @ p)[:2] / p[2] for p in (estimated, true)]
        projection.append(np.linalg.norm(pixels[0] - pixels[1], axis=0).max())
    near = np.linalg.norm(T_estimate[:3, 3] - T_true[:3, 3]) < diameter(object_id)
    return {"mssd": min(surface) / diameter(object_id) if near else math.inf, "mspd": min(projection) * 640 / width}


def _ply(vertices: np.ndarray) -> str:
    faces = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6),
             (0, 6, 4), (1, 5, 7), (1, 7, 3)]  # fmt: skip
    header = ["ply", "format ascii 1.0", "element vertex 8", *(f"property float {axis}" for axis in "xyz"),
              "element face 12", "property list uchar int vertex_indices", "end_header"]  # fmt: skip
    lines = [" ".join(f"{x:.4f}" for x in vertex) for vertex in vertices]
    return "\n".join([*header, *lines, *(f"3 {a} {b} {c}" for a, b, c in faces), ""])
