"""``python -m sldiff_jax``: the command without its script."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
