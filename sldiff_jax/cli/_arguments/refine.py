"""What ``sldiff-jax refine`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .choices import OPTIMIZERS_HELP, STEPS_HELP

SUMMARY = "fit the pose of an object in a photo, from a mesh, a camera, and a coarse pose or a mask"
DESCRIPTION = """\
Fits the pose of one object in a photo by rendering its mesh and comparing colour, and depth and silhouette where
given. Writes pose.json, history.json and pictures. Without --pose the pose is looked for where --mask or --box says
that the object is seen. Ends with 0 if the images bear the result out, with 3 if they do not or the object is lost.

--loss     what is compared: zncc (correlation of colours, blind to exposure), edge, l1, l2, huber, photometric
           (colours as they are), region (what looks like the object and what like its surroundings), depth, silhouette,
           dice, neg_iou. "+" adds, "3*depth" weighs, "pyramid:zncc" takes three resolutions at once. The default goes
           by what there is: zncc if the mesh has texture, depth if it is given, and 3*silhouette with a mask, 2*region
           without one; after a first stage in which outline and depth count most.

--mask     white where the object is seen, or transparent where it is not. Mask and depth are worth having: on real
           photos, from 20 degrees and 30 % of its size off, 21 of 21 fits came home with both, 15 of 21 with a mask,
           14 of 24 with depth, 4 of 24 with the photo alone (13 of 24 from 5 degrees and 10 %).
--depth    PNG or TIFF of one channel, an array in .npy or .npz, or EXR. It shows the view of the photo pixel by pixel,
           or has a camera of its own, --depth-camera: as --camera, with "T_camera_depth", the 4x4 matrix that takes
           points of the depth camera to points of the colour camera. Then it is registered.
--camera   JSON or YAML: {"camera": {"fx": 600, "fy": 600, "cx": 320, "cy": 240, "width": 640, "height": 480}}, or the
           inner object alone, or a 3x3 intrinsic matrix, as lists, as text, or under "K"; the files of OpenCV, ROS
           (camera_info), RealSense and BOP (camera.json, scene_camera.json) as they are. Where distortion is not zero
           (OpenCV's k1, k2, p1, p2, k3, k4, k5, k6), photo, mask and depth are undistorted. cx and cy count from the
           centre of the first pixel, as OpenCV does; "pixel_center": 0.5 in the file, or --pixel-center 0.5, says that
           they count from the image's edge.
--pose     JSON or YAML: {"initial_pose": {"rotation_row_major": [9 numbers], "translation": [3 numbers]}}, or the inner
           object alone, or a 4x4 matrix T_camera_object, as lists or text, or a pose.json written by this command, or
           BOP's scene_gt.json (in millimetres). OpenCV camera axes: X right, Y down, Z forward.
BOP        files hold all images and objects of a scene. Which is meant follows from the names of photo and mesh
           (000012.png, obj_000005.ply), or from --image-id, --object-id, --instance.
units      are metres, unless "units": {"mesh": "mm", "depth": "mm", "pose": 0.001} (a number is metres per unit) in
           these files, BOP's "depth_scale", or the flags --mesh-scale, --depth-scale, --pose-scale (metres per unit)
           say otherwise. The flags win.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    files = parser.add_argument_group("input")
    files.add_argument("--mesh", type=Path, required=True, help="glTF, GLB, OBJ, PLY or STL file")
    files.add_argument("--mesh-scale", type=float, metavar="M", help="metres per unit of the mesh file")
    files.add_argument("--image", type=Path, required=True, help="photo")
    files.add_argument("--mask", type=Path, help="image, white where the object is seen")
    files.add_argument("--depth", type=Path, help="depth image or array, 0 where nothing was measured")
    files.add_argument("--depth-scale", type=float, metavar="M", help="metres per unit of the depth image")
    files.add_argument("--depth-camera", type=Path, help="file with the camera of the depth image, if it has its own")
    files.add_argument("--camera", type=Path, required=True, help="file with the camera of the photo")
    files.add_argument("--pixel-center", type=float, choices=(0.0, 0.5), help="see above; default: 0")
    files.add_argument("--pose", type=Path, help="file with the start; default: found from --mask or --box")
    files.add_argument(
        "--box", type=float, nargs=4, metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"),
        help="pixels; where the object is seen, if there is neither --pose nor --mask",
    )  # fmt: skip
    files.add_argument("--pose-scale", type=float, metavar="M", help="metres per unit of the start's translation")
    files.add_argument("--image-id", type=int, metavar="N", help="of the photo in files of BOP")
    files.add_argument("--object-id", type=int, metavar="N", help="of the object in files of BOP")
    files.add_argument("--instance", type=int, metavar="N", help="place of the object in the list of its image, from 0")
    parser.add_argument("--output", type=Path, default=Path("refine_out"), help="folder; default: %(default)s")
    fitting = parser.add_argument_group("refinement")
    fitting.add_argument("--loss", metavar="SUM", help="see above; default: by what there is, mask, depth, texture")
    fitting.add_argument("--steps", type=int, help=STEPS_HELP)
    fitting.add_argument("--optimizer", default="lm", help=OPTIMIZERS_HELP)
    fitting.add_argument("--learning-rate", type=float, metavar="RATE", help="of the first stage, not for lm and gn")
    fitting.add_argument(
        "--resolution", type=int, default=128, metavar="PIXELS",
        help="longer side of the fitted part of the image; coarse stages have half of it; default: 128",
    )  # fmt: skip
    fitting.add_argument("--hypotheses", type=int, default=1, metavar="K", help="number of starts; default: 1")
    fitting.add_argument("--spread-rotation", type=float, default=20.0, metavar="DEG", help="default: 20")
    fitting.add_argument(
        "--spread-translation", type=float, metavar="M", help="of the starts, metres; default: a tenth of the object"
    )
    fitting.add_argument("--seed", type=int, default=0, help="of the starts; default: 0")
