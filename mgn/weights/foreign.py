"""Networks that are not this one: what differs in a checkpoint, and what else it may be of."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """Something that this network cannot hold."""

    term: str
    key: str  # the weight that shows it


_DEEPER = "a deeper backbone than ResNet-50 (ResNet-101 or ResNet-152)"
_SHOWN = (  # what a key shows, of some MGN or ResNet, and its term
    (r"^heads\.", "one head on a whole ResNet-50, as of fast-reid's BoT, SBS and AGW"),
    (r"^heads\.pool_layer\.p$", "GeM pooling in it (of SBS and AGW)"),
    (r"(?<!\.bn1)\.IN\.", "IBN-b (an InstanceNorm behind blocks)"),
    (r"(^|\.)layer3\.([6-9]|\d\d)\.|^[pb]\d\.0\.([5-9]|\d\d)\.", _DEEPER),
    (r"(^|\.)NL_\d\.|non_?local", "non-local blocks (of SBS and AGW)"),
    (r"\.(se|se_module)\.fc", "squeeze-and-excitation blocks"),
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
    return found + _of_other_width(state_dict)


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


def described(found: Sequence[Difference]) -> str:
    """Differences in a line, each with its key."""
    return "; ".join(f"{difference.term} at {difference.key}" for difference in found)


def guess_network(state_dict: Mapping[str, np.ndarray]) -> str:
    """What kind of network has such keys, as well as can be told: "a VGG or AlexNet"."""
    for pattern, kind in _STRANGERS:
        if _first(rf"(^|\.)({pattern})", state_dict):
            return kind
    return "nothing known"
