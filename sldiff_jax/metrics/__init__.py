"""How far an estimated pose is from the true one, as the BOP challenge and its predecessors measure it."""

from ._pose_errors import rotation_error as rotation_error
from ._pose_errors import translation_error as translation_error
from ._projection_errors import mspd as mspd
from ._projection_errors import projection_error as projection_error
from ._recall import add_auc as add_auc
from ._recall import add_recall as add_recall
from ._recall import average_recall as average_recall
from ._recall import mspd_recall as mspd_recall
from ._recall import mssd_recall as mssd_recall
from ._recall import vsd_recall as vsd_recall
from ._surface_errors import add as add
from ._surface_errors import add_s as add_s
from ._surface_errors import diameter as diameter
from ._surface_errors import mssd as mssd
from ._symmetries import symmetry_transforms as symmetry_transforms
from ._vsd import vsd as vsd
