"""A network of one block a layer and a quarter of the channels, for tests of other things.

Its graphs are made and started sooner, and its checkpoints are small.

    python tests/shallow.py train.py ARGUMENTS
"""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, str(Path(__file__)), str(ROOT / "train.py")]  # of train.py


def of(layer):
    """`architecture.layer` with one block, and fewer channels."""

    def first_block(x, name, blocks, width, stride, mode):
        return layer(x, name, blocks[:1], width // 4, stride, mode)

    return first_block


def patch(patches):
    """Make the network so; `patches` is a `pytest.MonkeyPatch`."""
    from mgn.network import architecture, layers

    patches.setattr(architecture, "layer", of(architecture.layer))
    patches.setattr(layers, "CHANNELS", layers.CHANNELS // 4)  # with which Winograd's are used


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    patch(pytest.MonkeyPatch())
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
