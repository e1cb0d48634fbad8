"""The torch boundary of sldiff_jax: the only place that imports torch or stillleben.

- `interop.dlpack`: torch tensors as JAX arrays and back, without a copy.
- `interop.stillleben`: stillleben's scenes and render results, and stillleben as a renderer.
- `interop.diff`: a drop-in for stillleben.diff.
- `torch_loss`: a loss written in torch, differentiated by JAX.
- `torch_render`: rendering in JAX, differentiated by torch.
- `interop.doctor`: what works on this machine.

This package itself can be imported without torch. The first three modules cannot, and `torch_loss` and `torch_render`
need it when they are called; the ImportError says what to install.
"""

from .torch_loss import torch_loss as torch_loss
from .torch_render import TorchRendering as TorchRendering
from .torch_render import torch_render as torch_render
