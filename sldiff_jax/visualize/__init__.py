"""Pictures of poses, gradients and refinements. Every function returns its picture; none shows or saves it.

Pixel pictures are (H, W, 3) uint8 arrays. Figures are matplotlib's, made without pyplot and at the width of a printed
column or page, so that their letters have the size of the caption: ``figure.savefig("a.png")`` writes one, and a
notebook shows it where ``%matplotlib inline`` was run. Colours can be told apart by colour-blind readers.
"""

from ._animation import animation as animation
from ._animation import video as video
from ._colors import BLUE as BLUE
from ._colors import GREEN as GREEN
from ._colors import GREY as GREY
from ._colors import ORANGE as ORANGE
from ._colors import as_float as as_float
from ._colors import as_uint8 as as_uint8
from ._depth_residual import depth_residual_map as depth_residual_map
from ._frames import refinement_frames as refinement_frames
from ._gradient_maps import gradient_maps as gradient_maps
from ._hypotheses import hypothesis_grid as hypothesis_grid
from ._image_gradients import gradient_arrows as gradient_arrows
from ._image_gradients import gradient_wheel as gradient_wheel
from ._loss_curve import loss_curve as loss_curve
from ._object_axes import draw_object_axes as draw_object_axes
from ._overlay import checkerboard as checkerboard
from ._overlay import overlay as overlay
from ._panels import before_after as before_after
from ._panels import panels as panels
from ._silhouettes import silhouettes as silhouettes
