"""The published kinds of PyTorch checkpoints: how to know each, and where in it a variable's value is."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mgn.errors import InputError
from mgn.network import BRANCHES, HEADS

BODIES = ("backbone", *(branch.name for branch in BRANCHES))
_CUT = (  # how MGN-pytorch renumbered the pieces when it cut ResNet; applied in turn, then "/" to "."
    (r"^backbone/conv1/", "backone.0."),
    (r"^backbone/bn1/", "backone.1."),
    (r"^backbone/layer1/", "backone.4."),
    (r"^backbone/layer2/", "backone.5."),
    (r"^backbone/layer3/0/", "backone.6."),
    (r"^(p\d)/layer3/(\d)/", lambda m: f"{m[1]}.0.{int(m[2]) - 1}."),
    (r"^(p\d)/layer4/", r"\1.1."),
)


class Family(NamedTuple):
    """A kind of checkpoint; `kind` is "mgn" (the whole network) or "backbone" (a start for training)."""

    name: str
    kind: str
    key_of: Callable[[str], str | None]  # variable name -> PyTorch key; None: not in this family
    marks: tuple[str, ...]  # keys by which it is known
    pool: str = "avg"  # what its authors trained with; weights do not tell
    unused: tuple[str, ...] = ()  # beginnings of keys that this network has no place for


def mgn_pytorch_key(name: str) -> str:
    """`p2/layer4/0/conv1/weight` -> `p2.1.0.conv1.weight`; heads keep their names."""
    for pattern, replacement in _CUT:
        name = re.sub(pattern, replacement, name)
    return name.replace("/", ".")


def spelled_key(name: str) -> str:
    """The same with `backbone` for MGN-pytorch's `backone`."""
    return re.sub(r"^backone\.", "backbone.", mgn_pytorch_key(name))


def shared_reduction_key(name: str) -> str:
    """The same with one reduction for all heads."""
    return re.sub(r"^reduction_\d\.", "reduction.", spelled_key(name))


def imagenet_key(name: str) -> str | None:
    """`p2/layer4/0/conv1/weight` -> `layer4.0.conv1.weight`; None for the heads."""
    scope, rest = name.split("/", 1)
    return rest.replace("/", ".") if scope in BODIES else None


def base_key(name: str) -> str | None:
    """The same under `base.`."""
    key = imagenet_key(name)
    return key and f"base.{key}"


_HEADS_OF_OTHERS = ("fc.", "classifier.", "bottleneck.")
FAMILIES = (  # the first whose marks are all there
    Family("MGN-pytorch", "mgn", mgn_pytorch_key, ("backone.0.weight", "reduction_0.0.weight")),
    Family(
        "MGN in levyfan's layout", "mgn", spelled_key, ("backbone.0.weight", "reduction_0.0.weight"), "max"
    ),
    Family(
        "GNAYUOHZ's ReID-MGN", "mgn", shared_reduction_key, ("backbone.0.weight", "reduction.0.weight"), "max"
    ),
    Family(
        "ResNet-50 of torchvision or torchreid",
        "backbone",
        imagenet_key,
        ("conv1.weight", "layer1.0.conv1.weight"),
        unused=_HEADS_OF_OTHERS,
    ),
    Family(
        "ResNet-50 of reid-strong-baseline",
        "backbone",
        base_key,
        ("base.conv1.weight", "base.layer1.0.conv1.weight"),
        unused=_HEADS_OF_OTHERS,
    ),
)


def recognise(state_dict: Mapping[str, np.ndarray]) -> Family:
    """Tell the family of a bare state dict from its keys and shapes.

    Raises:
        InputError: a network that is not this one, with the reasons, or one that this project does not know.
    """
    if differences := _differences(state_dict):
        raise InputError(f"another network than this MGN: {'; '.join(differences)}")
    for family in FAMILIES:
        if all(mark in state_dict for mark in family.marks):
            return family
    raise InputError(
        f"no MGN or ResNet-50 that is known here: keys begin {', '.join(sorted(state_dict)[:3])};"
        f" known are {', '.join(family.name for family in FAMILIES)}"
    )


def _differences(state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """What of a state dict this network cannot hold, each by its term; empty if nothing shows."""
    keys = set(state_dict)
    found = {
        "IBN-a (half of each first batch norm is an InstanceNorm)": any(".IN." in key for key in keys),
        "GeM pooling with a learned power": any(
            re.search(r"(_pool\.0|\.pool_layer)\.p$", key) for key in keys
        ),
        "BNNeck, one more batch norm after the reduction": any(".bnneck." in key for key in keys),
        "one more batch norm before the heads (LUPerson)": any("heads_extra_bn" in key for key in keys),
    }
    differences = [term for term, there in found.items() if there]
    if any(key.startswith("b1_head.") for key in keys):
        differences += _fast_reid(keys)
    classifier = state_dict.get(f"{HEADS[0].classifier}.weight")
    if classifier is not None and np.ndim(classifier) == 2 and np.shape(classifier)[1] == 2048:
        differences.append("the classifiers of whole maps take the pooled 2048 numbers, not the reduced 256")
    return differences


def _fast_reid(keys: set[str]) -> list[str]:
    """What else is different in fast-reid's MGN and LUPerson's, whose heads are called b1_head and so on."""
    differences = ["fast-reid's cosine classifier without bias"]
    if "b1_head.bottleneck.0.weight" in keys:
        differences.append("no ReLU after the reduction")
    if "pixel_mean" in keys:
        differences.append("its own mean and deviation inside the model, for values from 0 to 255")
    return [
        *differences,
        "stem pooling without padding",
        "stride 1 in layer4 of p1 (both by fast-reid's code)",
    ]
