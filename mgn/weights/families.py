"""The published kinds of checkpoints: how to know each, its keys, and its layout."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from mgn.system.errors import InputError
from mgn.weights.foreign import described, differences, guess_network
from mgn.weights.naming import (
    SHARED_POWERS,
    base_key,
    fast_reid_key,
    first_fast_reid_key,
    imagenet_key,
    mgn_pytorch_key,
    mgn_reid_key,
    shared_key,
    spelled_key,
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
    pool: str = "avg"  # what its authors trained with, where weights do not tell
    order: str | None = "pytorch"  # of its reductions; None: there is nothing to order
    unused: tuple[tuple[str, str], ...] = ()  # (pattern of keys without a place, what they are)
    beginning: str = ""  # of all its keys, by itself: not what something was wrapped in
    variant: str = "mgn-pytorch"  # the network that it is of, one of `config.variants.VARIANTS`
    without: tuple[str, ...] = ()  # beginnings of keys that another family has, and this one not
    asks: str | None = None  # an option that its keys do not tell, without a usual value
    copies: tuple[str, ...] = ()  # keys that all have the value of the first
    pixels: bool = False  # whether `pixel_mean` and `pixel_std` are in its files

    def is_of(self, state_dict: Mapping[str, np.ndarray]) -> bool:
        """Whether some key begins with each of the marks, and none as another family's."""
        all_there = all(_begins(mark, state_dict) for mark in self.marks)
        return all_there and not any(_begins(mark, state_dict) for mark in self.without)

    def key(self, variable: str, order: str | None) -> str | None:
        """The key of a variable in a file whose reductions are numbered in `order`."""
        number = re.match(r"reduction_(\d)/", variable)
        if number and order:
            variable = f"reduction_{_NUMBERS[order][int(number[1])]}/{variable[number.end() :]}"
        return self.key_of(variable)


def _begins(mark: str, keys: Iterable[str]) -> bool:
    return any(key.startswith(mark) for key in keys)


_RESNET = ("conv1.", "layer1.0.conv3.", "layer4.0.conv3.")  # marks of a ResNet-50
_BASE = tuple(f"base.{mark}" for mark in _RESNET)
_NOT_BODY = ((r"fc\.|classifier\.", "a classifier of other classes"), (r"bottleneck\.", "a neck"))
_BODY = {"order": None, "unused": _NOT_BODY}  # of a ResNet-50, which has no reductions
_COSINES = "classifiers, which are cosines without a bias, and number identities in their own way"
_COSINE = {"order": None, "unused": ((r"b\d+_head\.classifier\.weight$", _COSINES),)}
PIXELS = ("pixel_mean", "pixel_std")  # RGB, of 0 to 255, in this order: [1, 3, 1, 1] each
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
    Family(
        "fast-reid's MGN up to v0.1.1",
        "mgn",
        first_fast_reid_key,
        ("b1.", "b1_pool.0.p"),
        variant="fastreid-v0.1",
        copies=SHARED_POWERS,
        pixels=True,
        **_COSINE,
    ),
    Family(
        "fast-reid's MGN of v0.2 to v1.0",
        "mgn",
        fast_reid_key,
        ("b1.", "b1_head.bottleneck."),
        variant="fastreid-v1.0",
        without=("b1_head.weight", "heads_extra_bn_"),
        asks="stem_padding",
        pixels=True,
        **_COSINE,
    ),
    Family(
        "fast-reid's MGN since v1.2",
        "mgn",
        fast_reid_key,
        ("b1.", "b1_head.weight"),
        variant="fastreid",
        order=None,
        unused=((r"b\d+_head\.weight$", _COSINES),),
    ),
    Family(
        "LUPerson's MGN",
        "mgn",
        fast_reid_key,
        ("b1.", "heads_extra_bn_b1."),
        variant="luperson",
        pixels=True,
        **_COSINE,
    ),
)


def family_of(variant: str) -> Family:
    """Whose keys a PyTorch file of this variant has."""
    return next((family for family in FAMILIES if family.variant == variant), FAMILIES[0])


def roots(keys: Iterable[str]) -> list[str]:
    """What the keys of each network begin with, "" or "module.student."; empty: none is known.

    Args:
        keys: with dots between their components.
    """
    found, inside = set(), set()
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
        problem = f"of another network than this MGN: {described(different)}; convert another file"
        raise InputError(problem, other_network=[found._asdict() for found in different])
    known = [family for family in FAMILIES if family.is_of(state_dict)]
    if len(known) > 1:
        mixed = " and ".join(f"{family.name} ({family.marks[0]}...)" for family in known)
        problem = f"has keys of two families, {mixed}; save one of them by itself"
        raise InputError(problem, families=[family.name for family in known])
    if not known:
        kind = guess_network(state_dict)
        begin = ", ".join(sorted(state_dict)[:3])
        names = ", ".join(family.name for family in FAMILIES)
        told = f"it looks like {kind}: keys begin {begin}; known are {names}"
        raise InputError(f"not a known MGN or ResNet-50; {told}", looks_like=kind)
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
