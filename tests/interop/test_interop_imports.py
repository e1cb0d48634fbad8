"""What can be imported where torch or stillleben is missing, and what the errors say."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'sldiff-jax[torch]'")

from processes import run_python


def test_without_torch():
    run_python(
        """
        import sys
        sys.modules["torch"] = None  # as if it were not installed
        import pytest, jax.numpy as jnp
        import interop, interop.torch_loss, interop.torch_render
        assert callable(interop.torch_loss) and callable(interop.torch_render)
        for name in ("dlpack", "diff", "stillleben", "_stillleben_renderer"):
            with pytest.raises(ImportError, match=r"torch.*pip install 'sldiff-jax\\[torch\\]'"):
                __import__("interop." + name)
        with pytest.raises(ImportError, match="torch.*pip install"):
            interop.torch_loss(lambda x: x.sum())(jnp.ones(3))
        with pytest.raises(ImportError, match="torch.*pip install"):
            interop.torch_render(None, None, None)
        """
    )


def test_without_stillleben_and_without_effects():
    run_python(
        """
        import sys
        sys.modules["stillleben"] = None
        import pytest
        import interop
        assert "torch" not in sys.modules
        from interop.torch_loss import torch_loss
        assert interop.torch_loss is torch_loss and interop.torch_render.__module__ == "interop.torch_render"
        import interop.diff, interop.dlpack, interop.stillleben
        from interop.stillleben import result_from_stillleben, scene_from_stillleben
        with pytest.raises(ImportError, match="StilllebenRenderer needs stillleben.*github.com/AIS-Bonn/stillleben"):
            from interop.stillleben import StilllebenRenderer
        with pytest.raises(AttributeError, match="nothing"):
            interop.stillleben.nothing
        # Only possible while no backend has been initialised.
        import jax
        jax.config.update("jax_num_cpu_devices", 3)
        assert len(jax.devices("cpu")) == 3
        """
    )
