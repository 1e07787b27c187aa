"""A network of one block a layer and a quarter of the channels, for tests of other things.

Its graphs are made and started sooner, and its checkpoints are small. Its twin in PyTorch too.
With WHOLE_NETWORK=1 in the environment, exports and conversions are of the whole network instead:
for the figures of doc/.

    python tests/shallow.py train.py ARGUMENTS
"""

import contextlib
import os
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, str(Path(__file__)), str(ROOT / "train.py")]  # of train.py
WHOLE = os.environ.get("WHOLE_NETWORK") == "1"
BLOCK = re.compile(r"(backb?one\.[45]\.\d|backb?one\.6|[pb]\d\.[01]\.\d|layer\d\.\d)\.")
FIRST = ("backone.4.0.", "backbone.4.0.", "layer1.0.")  # without a downsample
BLOCKS = {*FIRST, "layer2.0.", "layer3.0.", "layer3.1.", "layer4.0."}
for _backbone in ("backone", "backbone"):
    BLOCKS |= {f"{_backbone}.5.0.", f"{_backbone}.6."}
for _branch in ("p1", "p2", "p3", "b1", "b2", "b3"):
    BLOCKS |= {f"{_branch}.0.0.", f"{_branch}.1.0."}
STEM, MAPS = 64, 512  # channels behind the first convolution, and of the last maps


def of(layer):
    """`architecture.layer` with one block, and fewer channels."""

    def first_block(x, name, blocks, width, stride, mode):
        return layer(x, name, blocks[:1], width // 4, stride, mode)

    return first_block


def patch(patches):
    """Make the network so; `patches` is a `pytest.MonkeyPatch`."""
    from mgn.export import folding
    from mgn.network import architecture, layers

    patches.setattr(architecture, "layer", of(architecture.layer))
    for module in (layers, folding):  # with how many Winograd's are used
        patches.setattr(module, "CHANNELS", module.CHANNELS // 4)


def is_patched():
    """Whether the network is so now."""
    from mgn.network import layers, winograd

    return layers.CHANNELS != winograd.CHANNELS


def patch_torch(patches):
    """Make `TorchMGN` so."""
    from torch import nn

    from mgn.conversion import torch_mgn

    block, head = torch_mgn.Bottleneck, torch_mgn._head

    def narrow(inputs, width, stride, ibn):
        return block(inputs if inputs == STEM else inputs // 4, width // 4, stride, ibn)

    def one_block(inputs, width, _blocks, stride, ibn):
        return nn.Sequential(narrow(inputs, width, stride, ibn))

    def narrow_head(reduction):
        parts = head(reduction)
        parts[0] = nn.Conv2d(MAPS, 256, 1, bias=False)
        return parts

    def batch_norm(channels):
        return nn.BatchNorm2d(MAPS if channels == 4 * MAPS else channels)

    patches.setattr(torch_mgn, "Bottleneck", narrow)
    patches.setattr(torch_mgn, "_layer", one_block)
    patches.setattr(torch_mgn, "_head", narrow_head)
    wrapped = SimpleNamespace(**{**vars(nn), "BatchNorm2d": batch_norm})
    patches.setattr(torch_mgn, "nn", wrapped)


def rows(listed):
    """Those [(key, shape)] of a published network that the network has now, with its shapes."""
    if not is_patched():
        return listed
    kept = []
    for key, shape in listed:
        block = BLOCK.match(key)
        if not block:
            kept.append((key, tuple(MAPS if n == 4 * MAPS else n for n in shape)))
        elif block[0] in BLOCKS and not (block[0] in FIRST and "downsample" in key):
            small = [n // 4 for n in shape[:2]]
            if block[0] in FIRST and key.endswith("conv1.weight"):
                small[1] = STEM
            kept.append((key, (*small, *shape[2:])))
    return kept


@contextlib.contextmanager
def patched():
    """The network is so meanwhile, if it is not already."""
    from mgn.weights.variables import variable_shapes

    if is_patched() or WHOLE:
        yield
        return
    with pytest.MonkeyPatch.context() as patches:
        patch(patches)
        variable_shapes.cache_clear()
        yield
    variable_shapes.cache_clear()


@contextlib.contextmanager
def patched_with_torch():
    """`TorchMGN` too."""
    with patched(), pytest.MonkeyPatch.context() as patches:
        if not WHOLE:
            patch_torch(patches)
        yield


def arrays(options):
    """Seeded variables {name: array} of the network as it is now."""
    from seeded import seeded_array

    from mgn.weights.families import to_tf_layout, torch_shape
    from mgn.weights.naming import mgn_pytorch_key
    from mgn.weights.variables import variable_shapes

    made = {}
    for name, shape in variable_shapes(options).items():
        value = seeded_array(mgn_pytorch_key(name), torch_shape(shape))
        made[name] = np.full(shape, 2.6, "f") if name.endswith("/p") else to_tf_layout(value)
    return made


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    patch(pytest.MonkeyPatch())
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
