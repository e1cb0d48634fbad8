"""The embedded renderer: mesh loading, a Warp rasteriser, and shading in JAX."""

from ._mesh import Mesh as Mesh
from ._renderer import MeshRenderer as MeshRenderer
from ._shapes import box_mesh as box_mesh
from ._shapes import demo_mesh as demo_mesh
from ._shapes import sphere_mesh as sphere_mesh
