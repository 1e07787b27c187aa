"""Networks that are not this one: what differs in a checkpoint, and what else it may be of."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """Something that this network cannot hold."""

    term: str
    key: str | None  # the weight that shows it; None: known of the program, not of its files


_DEEPER = "a deeper backbone than ResNet-50 (ResNet-101 or ResNet-152)"
_SHOWN = (  # what a key shows, of some MGN or ResNet, and its term
    (r"\.IN\.", "IBN-a (half of each first batch norm is an InstanceNorm)"),
    (r"(_pool\.0|\.pool_layer)\.p$", "GeM pooling with a learned power"),
    (r"\.bnneck\.", "BNNeck, one more batch norm after the reduction"),
    (r"heads_extra_bn", "one more batch norm before the heads (LUPerson)"),
    (r"(^|\.)layer3\.([6-9]|\d\d)\.|^p\d\.0\.([5-9]|\d\d)\.", _DEEPER),
    (r"\.NL_\d\.|non_?local", "non-local blocks"),
    (r"\.(se|se_module)\.fc", "squeeze-and-excitation blocks"),
    (r"^pixel_mean$", "its own mean and deviation, for values from 0 to 255"),
)
FAST_REID = ("b1.", "b1_head.")  # what some of its MGN's keys begin with, and some of LUPerson's
_FAST_REID = (  # known of fast-reid's MGN and LUPerson's
    "cosine classifier (CircleSoftmax)",
    "stem pooling without padding",
    "stride 1 in layer4 of p1",
)
_TRANSFORMER = "a vision transformer (TransReID's, CLIP's, Swin's or SOLIDER's, for example)"
_STRANGERS = (  # what has such keys, below whatever prefix; the first that fits is named
    (r"blocks\.\d+\.attn|cls_token|resblocks\.\d+\.|encoder\.layers?\.\d+\.", _TRANSFORMER),
    (r"conv2\.0\.(0\.)?(conv1\.conv|conv2a|layers)|conv1\.conv\.weight", "an OSNet"),
    (r"features\.\d+\.weight", "a VGG or AlexNet"),
    (r"layer4\.0\.conv3\.weight", "a ResNet with other keys around it"),
    (r"layer\d\.0\.conv2\.weight", "a ResNet-18 or ResNet-34 (blocks of two convolutions)"),
)


def differences(state_dict: Mapping[str, np.ndarray]) -> list[Difference]:
    """What of a state dict this network cannot hold; empty if nothing shows."""
    found = []
    for pattern, term in _SHOWN:
        key = _first(pattern, state_dict)
        if key:
            found.append(Difference(term, key))
    found += _of_other_width(state_dict)
    if any(key.startswith("b1_head.") for key in state_dict):
        found += _of_fast_reid(state_dict)
    return found


def _first(pattern: str, keys: Mapping) -> str | None:
    return next((key for key in keys if re.search(pattern, key)), None)


def _of_other_width(state_dict: Mapping[str, np.ndarray]) -> list[Difference]:
    """Networks with ResNet-50's keys and grouped or wider blocks; one wrong shape is damage."""
    inner = {key: np.shape(v) for key, v in state_dict.items() if key.endswith(".conv2.weight")}
    shapes = [shape for shape in inner.values() if len(shape) == 4]
    grouped = [shape for shape in shapes if shape[1] < shape[0]]
    if len(shapes) > 1 and grouped == shapes:
        return [Difference("grouped convolutions (ResNeXt)", min(inner))]
    first = _first(r"layer1\.0\.conv2\.weight$", inner)
    if first and inner[first] == (128, 128, 3, 3):
        return [Difference("blocks twice as wide (Wide ResNet)", first)]
    return []


def _of_fast_reid(state_dict: Mapping[str, np.ndarray]) -> list[Difference]:
    """What else differs in fast-reid's MGN and LUPerson's, whose heads are b1_head and so on."""
    weight = _first(r"^b1_head\.(classifier\.)?weight$", state_dict)
    bias = _first(r"^b1_head\.(classifier\.)?bias$", state_dict)
    found = [Difference(term, None) for term in _FAST_REID]
    if weight and not bias:
        found.insert(0, Difference("classifiers without bias", weight))
    if "b1_head.bottleneck.0.weight" in state_dict:  # the generations after v0.1.1
        found.append(Difference("no ReLU after the reduction", None))
    if "pixel_mean" not in state_dict:
        found.append(Difference("images from 0 to 255, with a mean and deviation of its own", None))
    return found


def described(found: Sequence[Difference]) -> str:
    """Differences in a line: those read from the file, with their keys, apart from the others."""
    read = [f"{d.term} at {d.key}" for d in found if d.key]
    known = [d.term for d in found if not d.key]
    parts = []
    if read:
        parts.append(f"read from this file: {'; '.join(read)}")
    if known:
        program = "known of fast-reid's MGN, which has such heads (b1_head.*)"
        parts.append(f"{program}, and not to be read from weights: {'; '.join(known)}")
    return "; ".join(parts)


def guess_network(state_dict: Mapping[str, np.ndarray]) -> str:
    """What kind of network has such keys, as well as can be told: "a VGG or AlexNet"."""
    for pattern, kind in _STRANGERS:
        if _first(rf"(^|\.)({pattern})", state_dict):
            return kind
    return "nothing known"
