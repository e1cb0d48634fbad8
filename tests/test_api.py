"""The public surface: which names there are, and that each says what it takes and gives."""

import inspect
import re
import types

import jaxtyping
import pytest

import sldiff_jax as sl

PUBLIC = {
    "Camera",
    "GradCheck",
    "Loss",
    "Mesh",
    "MeshRenderer",
    "Observation",
    "Refinement",
    "RenderResult",
    "Renderer",
    "Rendering",
    "Scene",
    "apply_pose_delta",
    "backpropagate_gradient_to_poses",
    "check_grad",
    "compute_image_space_gradients",
    "default_loss",
    "depth_loss",
    "dilate_silhouettes",
    "image_change",
    "nearest_rotation",
    "photometric_loss",
    "pose_gradient_maps",
    "pose_jacobian",
    "random_starts",
    "refine_poses",
    "render",
    "se3_exp",
    "se3_log",
    "silhouette_loss",
    "visible_objects",
    "zncc_loss",
}

NAMES = sorted(PUBLIC)
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(sl, name, None))]

# A type alias has no docstring of its own.
DOCUMENTED = [name for name in NAMES if name != "Loss"]

# These take and give objects alone, whose own docstrings state the shapes.
OBJECTS_ONLY = {"Renderer", "check_grad", "render"}

# A parenthesised list of sizes: (4, 4), (N, 6), (H, W, 3).
SHAPE = re.compile(r"\((?:[A-Z]|\d+)(?:, (?:[A-Z]|\d+))*,?\)")


def test_the_public_names_are_these():
    public = {
        name for name, value in vars(sl).items() if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == PUBLIC


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstring_mentions_shapes(name):
    documentation = inspect.getdoc(getattr(sl, name)) or ""
    summary = documentation.split("\n")[0]
    assert summary.endswith((".", "?")) and len(summary) > 20
    if name not in OBJECTS_ONLY:
        assert SHAPE.search(documentation), f"the docstring of {name} names no shape"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_covers_every_argument(name):
    function = getattr(sl, name)
    documentation = inspect.getdoc(function) or ""
    for section in ("Args:", "Returns:", "Raises:"):
        assert section in documentation, f"the docstring of {name} has no section {section}"
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
