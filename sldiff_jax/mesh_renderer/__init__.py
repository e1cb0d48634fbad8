"""The embedded renderer: mesh loading, a Warp rasteriser, and shading in JAX."""

from .drawing.renderer import MeshRenderer as MeshRenderer
from .meshes.mesh import Mesh as Mesh
from .meshes.shapes import box_mesh as box_mesh
from .meshes.shapes import demo_mesh as demo_mesh
from .meshes.shapes import sphere_mesh as sphere_mesh
