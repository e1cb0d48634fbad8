"""The public surface: which names there are, and that each says what it takes and gives."""

import inspect
import re
import types

import jaxtyping
import pytest

import sldiff_jax as sl

PUBLIC = {
    "Camera",
    "CameraRefinement",
    "DifferentiableRenderer",
    "Exposure",
    "GaussNewton",
    "GradCheck",
    "LevenbergMarquardt",
    "Loss",
    "Mesh",
    "MeshRenderer",
    "MeshSymmetries",
    "Observation",
    "Refinement",
    "RegionLoss",
    "RenderResult",
    "Renderer",
    "Rendering",
    "ResidualLoss",
    "Residuals",
    "Scene",
    "Stage",
    "Status",
    "apply_pose_delta",
    "apply_twist",
    "backpropagate_gradient_to_poses",
    "blurred",
    "check_grad",
    "compute_image_space_gradients",
    "crop_to_object",
    "default_loss",
    "depth_loss",
    "dice_loss",
    "dilate_silhouettes",
    "edge_loss",
    "even_rotations",
    "find_poses",
    "find_symmetries",
    "exposed",
    "huber_loss",
    "image_change",
    "l1_loss",
    "l2_loss",
    "match_exposure",
    "nearest_rotation",
    "neg_iou_loss",
    "photometric_loss",
    "pose_gradient_maps",
    "pose_jacobian",
    "pyramid",
    "random_starts",
    "refine_camera",
    "refine_poses",
    "region_loss",
    "register_depth",
    "render",
    "render_jvp",
    "residual_loss",
    "se3_exp",
    "se3_log",
    "silhouette_loss",
    "undistort",
    "visible_objects",
    "weighted",
    "zncc_loss",
}

ROOMS = {"bop", "mesh_renderer", "metrics", "visualize"}
"""Modules with public names of their own."""

NAMES = sorted(PUBLIC)
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(sl, name, None))]
LOSSES = [name for name in NAMES if isinstance(getattr(sl, name, None), sl.Loss)]

# These take and give objects and numbers alone; the objects' own docstrings state the shapes.
NO_ARRAYS = {"DifferentiableRenderer", "Loss", "Renderer", "ResidualLoss", "Residuals", "Stage", "Status",
             "GaussNewton", "LevenbergMarquardt", "blurred", "check_grad", "exposed", "pyramid", "render",
             "residual_loss"}  # fmt: skip

# These raise nothing of their own.
NEVER_RAISE = {"default_loss", "exposed", "residual_loss", "weighted"}

# A parenthesised list of sizes: (4, 4), (N, 6), (H, W, 3).
SHAPE = re.compile(r"\((?:[A-Z]|\d+)(?:, (?:[A-Z]|\d+))*,?\)")


def test_the_public_names_are_these():
    assert set(dir(sl)) == set(sl.__all__) == PUBLIC | ROOMS
    assert {name for name in dir(sl) if isinstance(getattr(sl, name), types.ModuleType)} == ROOMS


@pytest.mark.parametrize("name", NAMES)
def test_docstring_mentions_shapes(name):
    documentation = inspect.getdoc(getattr(sl, name)) or ""
    summary = documentation.split("\n")[0]
    assert summary.endswith((".", "?")) and len(summary) > 20
    if name not in NO_ARRAYS:
        assert SHAPE.search(documentation), f"the docstring of {name} names no shape"


@pytest.mark.parametrize("name", [*FUNCTIONS, *LOSSES])
def test_docstring_covers_every_argument(name):
    documented = getattr(sl, name)
    documentation = inspect.getdoc(documented) or ""
    for section in ("Args:", "Returns:", "Raises:")[: 2 if name in NEVER_RAISE else 3]:
        assert section in documentation, f"the docstring of {name} has no section {section}"
    # A loss that is a function with options documents that function.
    function = documented.function if isinstance(documented, sl.ResidualLoss) else documented
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^    {argument}:", documentation, re.MULTILINE), f"{name} does not document {argument}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_is_annotated(name):
    signature = inspect.signature(getattr(sl, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name}({parameter.name})"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("compute_image_space_gradients", "scene render_result"),
        ("backpropagate_gradient_to_poses", "scene render_result grad_objective_wrt_rnd_img visualize_grad=False"),
        ("apply_pose_delta", "pose delta orthonormalize=True"),
    ],
)
def test_the_reference_functions_keep_their_arguments(name, arguments):
    parameters = inspect.signature(getattr(sl, name)).parameters.values()
    written = [p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters]
    assert written == arguments.split()
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)


def test_types_are_checked_while_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError):
        sl.compute_image_space_gradients(1, 2)
