"""Array types of the public signatures.

Axis names are shared by all modules: ``objects`` (rows of the scene), ``height``, ``width``, ``channels``.
Types name kinds, not widths, so that float32 and float64 both pass.
"""

from jaxtyping import Array, Bool, Float, Int, Integer, Real

Transform = Float[Array, "4 4"]
Transforms = Float[Array, "objects 4 4"]
PoseDelta = Float[Array, "6"]
PoseDeltas = Float[Array, "objects 6"]

Image = Float[Array, "height width channels"]
ColorImage = Float[Array, "height width 3"]
ScalarImage = Float[Array, "height width"]
PaddedScalarImage = Float[Array, "padded_height padded_width"]
ImageCotangent = Float[Array, "3 height width"]
Mask = Bool[Array, "height width"]
PaddedMask = Bool[Array, "padded_height padded_width"]
Labels = Integer[Array, "height width"]
RawColor = Real[Array, "height width 4"]
ObjectRows = Int[Array, "height width"]
