"""Differentiable rendering for 6-DoF object poses in JAX."""

from ._camera import Camera as Camera
from ._image_space import compute_image_space_gradients as compute_image_space_gradients
from ._image_space import dilate_silhouettes as dilate_silhouettes
from ._pose_gradients import backpropagate_gradient_to_poses as backpropagate_gradient_to_poses
from ._pose_gradients import image_change as image_change
from ._pose_gradients import pose_gradient_maps as pose_gradient_maps
from ._pose_gradients import pose_jacobian as pose_jacobian
from ._pose_gradients import visible_objects as visible_objects
from ._poses import apply_pose_delta as apply_pose_delta
from ._poses import nearest_rotation as nearest_rotation
from ._poses import se3_exp as se3_exp
from ._poses import se3_log as se3_log
from ._render_result import RenderResult as RenderResult
from ._scene import Scene as Scene
