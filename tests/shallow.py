"""A network each of whose layers has the first of its blocks only, for tests whose subject is not
the network: a graph of a third of the operations is made and started sooner.

    python tests/shallow.py train.py ARGUMENTS
"""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, str(Path(__file__)), str(ROOT / "train.py")]  # of train.py


def of(layer):
    """`architecture.layer` with one block."""

    def first_block(x, name, blocks, width, stride, mode):
        return layer(x, name, blocks[:1], width, stride, mode)

    return first_block


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from mgn.network import architecture

    architecture.layer = of(architecture.layer)
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
