"""The published kinds of checkpoints: how to know each, its keys, and its layout."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from mgn.config.options import BODIES
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.weights.foreign import FAST_REID, described, differences, guess_network

_CUT = (  # how MGN-pytorch renumbered ResNet's pieces; applied in turn, then "/" to "."
    (r"^backbone/conv1/", "backone.0."),
    (r"^backbone/bn1/", "backone.1."),
    (r"^backbone/layer1/", "backone.4."),
    (r"^backbone/layer2/", "backone.5."),
    (r"^backbone/layer3/0/", "backone.6."),
    (r"^(p\d)/layer3/(\d)/", lambda m: f"{m[1]}.0.{int(m[2]) - 1}."),
    (r"^(p\d)/layer4/", r"\1.1."),
)
_NUMBERS = {  # of the reductions 0 to 7 of `HEADS`, in a file of this order
    "pytorch": "01234567",
    "mgn-reid": "01423567",  # branch by branch: 2 and 3 are p2's stripes, 4 is the whole of p3
}
_TO_TF = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # OIHW -> HWIO, OI -> IO, vectors as they are
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


class Family(NamedTuple):
    """A kind of checkpoint; `kind` is "mgn" (all of it) or "backbone" (a start for training)."""

    name: str
    kind: str
    key_of: Callable[[str], str | None]  # variable name -> key in the file; None: it has none
    marks: tuple[str, ...]  # beginnings of keys by which it is known: some key begins with each
    pool: str = "avg"  # what its authors trained with; weights do not tell
    order: str | None = "pytorch"  # of its reductions; None: there is nothing to order
    unused: tuple[tuple[str, str], ...] = ()  # (pattern of keys without a place, what they are)
    beginning: str = ""  # of all its keys, by itself: not what something was wrapped in

    def is_of(self, state_dict: Mapping[str, np.ndarray]) -> bool:
        """Whether some key begins with each of the marks."""
        return all(_begins(mark, state_dict) for mark in self.marks)

    def key(self, variable: str, order: str | None) -> str | None:
        """The key of a variable in a file whose reductions are numbered in `order`."""
        number = re.match(r"reduction_(\d)/", variable)
        if number and order:
            variable = f"reduction_{_NUMBERS[order][int(number[1])]}/{variable[number.end() :]}"
        return self.key_of(variable)


def _begins(mark: str, keys: Iterable[str]) -> bool:
    return any(key.startswith(mark) for key in keys)


def mgn_pytorch_key(name: str) -> str:
    """`p2/layer4/0/conv1/weight` -> `p2.1.0.conv1.weight`; heads keep their names."""
    for pattern, replacement in _CUT:
        name = re.sub(pattern, replacement, name)
    return name.replace("/", ".")


def spelled_key(name: str) -> str:
    """The same with `backbone` for MGN-pytorch's `backone`."""
    return re.sub(r"^backone\.", "backbone.", mgn_pytorch_key(name))


def shared_key(name: str) -> str:
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


_GRAPH_BRANCHES = ("p1", *["p2"] * 3, *["p3"] * 4)  # where MGN-ReId's reductions 0 to 7 are
_CLASSIFIER_BRANCHES = {head.classifier: head.branch for head in HEADS}
_GRAPH = (  # of MGN-ReId; slim built block1, its own code the rest under automatic names
    (r"^backbone/layer1/", "resnet_v1_50/block1/"),
    (r"^backbone/layer(\d)/", r"resnet_v1_50/sd_block\1/"),
    (r"(block\d)/(\d)/", lambda m: f"{m[1]}/unit_{int(m[2]) + 1}/bottleneck_v1/"),
    (r"^backbone/", "resnet_v1_50/"),
    (r"^(p\d)/layer3/(\d)/", lambda m: f"{m[1]}/block_0/bottleneck_v{int(m[2]) - 1}/"),
    (r"^(p\d)/layer4/", r"\1/block_1/bottleneck_v"),
    (r"^reduction_(\d)/", lambda m: f"{_GRAPH_BRANCHES[int(m[1])]}/reduction_{m[1]}/"),
    (r"^(fc_id_\w+)/weight$", r"\1/kernel"),
    (r"^(fc_id_\w+)/", lambda m: f"{_CLASSIFIER_BRANCHES[m[1]]}/{m[1]}/"),
    (r"(reduction_\d)/2/weight$", r"\1/Prelu_alpha"),
    (r"(reduction_\d)/0/", r"\1/Conv/"),
    (r"(reduction_\d)/1/", r"\1/Conv/BatchNorm/"),
    (r"/downsample/0/", "/downsample/"),
    (r"/downsample/1/", "/downsample/BatchNorm/"),
    (r"/bn(\d)/", r"/conv\1/BatchNorm/"),
    (r"(block1/.*)/downsample/", r"\1/shortcut/"),
    (r"(block[_23].*)/conv1/", r"\1/Conv/"),
    (r"(block[_23].*)/conv2/", r"\1/Conv_1/"),
    (r"(block[_23].*)/conv3/", r"\1/Conv_2/"),
    (r"/BatchNorm/weight$", "/BatchNorm/gamma"),
    (r"/BatchNorm/bias$", "/BatchNorm/beta"),
    (r"/running_mean$", "/moving_mean"),
    (r"/running_var$", "/moving_variance"),
    (r"/weight$", "/weights"),
)


def mgn_reid_key(name: str) -> str:
    """`p2/layer4/0/conv1/weight` -> `p2/block_1/bottleneck_v0/Conv/weights`, of MGN-ReId."""
    for pattern, replacement in _GRAPH:
        name = re.sub(pattern, replacement, name)
    return name


_RESNET = ("conv1.", "layer1.0.conv3.", "layer4.0.conv3.")  # marks of a ResNet-50
_BASE = tuple(f"base.{mark}" for mark in _RESNET)
_NOT_BODY = ((r"fc\.|classifier\.", "a classifier of other classes"), (r"bottleneck\.", "a neck"))
_BODY = {"order": None, "unused": _NOT_BODY}  # of a ResNet-50, which has no reductions
FAMILIES = (
    Family("MGN-pytorch", "mgn", mgn_pytorch_key, ("backone.", "reduction_")),
    Family("MGN in levyfan's layout", "mgn", spelled_key, ("backbone.", "reduction_"), "max"),
    Family("GNAYUOHZ's ReID-MGN", "mgn", shared_key, ("backbone.", "reduction."), "max", None),
    Family(
        "MGN-ReId's TensorFlow checkpoint",
        "mgn",
        mgn_reid_key,
        ("resnet_v1_50/sd_block2/", "p2/reduction_"),
        order="mgn-reid",
        unused=((r"resnet_v1_50/block[234]/", "slim's blocks that its graph never used"),),
    ),
    Family("ResNet-50 of torchvision or torchreid", "backbone", imagenet_key, _RESNET, **_BODY),
    Family(
        "ResNet-50 of reid-strong-baseline", "backbone", base_key, _BASE, **_BODY, beginning="base."
    ),
)


def roots(keys: Iterable[str]) -> list[str]:
    """What the keys of each network begin with, "" or "module.student."; empty: none is known.

    Args:
        keys: with dots between their components.
    """
    found, inside = _before_all(FAST_REID, keys), set()
    for family in FAMILIES:
        here = _before_all(family.marks, keys)
        found |= here
        if family.beginning:
            inside |= {root + family.beginning for root in here}
    return sorted(found - inside)


def _before_all(marks: Iterable[str], keys: Iterable[str]) -> set[str]:
    return set.intersection(*(_before(mark, keys) for mark in marks))


def _before(mark: str, keys: Iterable[str]) -> set[str]:
    """What stands before the mark in keys, where a component begins with it."""
    pattern = re.compile(rf"(?:^|(?<=\.)){re.escape(mark)}")
    return {key[: found.start()] for key in keys for found in pattern.finditer(key)}


def recognise(state_dict: Mapping[str, np.ndarray]) -> Family:
    """Tell the family of a bare state dict from its keys.

    Raises:
        InputError: another network, with what differs; two families mixed; or nothing known, with
            what it looks like. `details` has the same.
    """
    different = differences(state_dict)
    if different:
        problem = f"another network than this MGN; {described(different)}"
        raise InputError(problem, other_network=[found._asdict() for found in different])
    known = [family for family in FAMILIES if family.is_of(state_dict)]
    if len(known) > 1:
        mixed = " and ".join(f"{family.name} ({family.marks[0]}...)" for family in known)
        problem = f"keys of two families mixed, {mixed}: save the one that you mean by itself"
        raise InputError(problem, families=[family.name for family in known])
    if not known:
        kind = guess_network(state_dict)
        begin = ", ".join(sorted(state_dict)[:3])
        names = ", ".join(family.name for family in FAMILIES)
        told = f"it looks like {kind}: keys begin {begin}; known are {names}"
        raise InputError(f"no MGN or ResNet-50 that is known here; {told}", looks_like=kind)
    return known[0]


def to_tf_layout(value: np.ndarray) -> np.ndarray:
    """A PyTorch weight in TensorFlow's layout: float32, a view where it can be."""
    return np.asarray(value.transpose(_TO_TF[value.ndim]), np.float32)


def to_torch_layout(value: np.ndarray) -> np.ndarray:
    """The way back, contiguous."""
    return np.ascontiguousarray(value.transpose(_TO_TORCH[value.ndim]), np.float32)


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch of a variable's shape."""
    return tuple(shape[axis] for axis in _TO_TORCH[len(shape)])
