"""Networks that are not this one: what differs in a checkpoint, and what a stranger's looks like."""

import re
from collections.abc import Mapping

import numpy as np

_DIFFERENCES = (  # of some MGN or ResNet to this one: how a key shows it, and its term
    (r"\.IN\.", "IBN-a (half of each first batch norm is an InstanceNorm)"),
    (r"(_pool\.0|\.pool_layer)\.p$", "GeM pooling with a learned power"),
    (r"\.bnneck\.", "BNNeck, one more batch norm after the reduction"),
    (r"heads_extra_bn", "one more batch norm before the heads (LUPerson)"),
    (
        r"^(base\.)?layer3\.([6-9]|\d\d)\.|^p\d\.0\.([5-9]|\d\d)\.",
        "a deeper backbone than ResNet-50 (ResNet-101 or ResNet-152)",
    ),
    (r"\.NL_\d\.|non_?local", "non-local blocks"),
    (r"\.(se|se_module)\.fc", "squeeze-and-excitation blocks"),
)
_STRANGERS = (  # what has such keys; the first that fits is named
    (r"^(blocks\.\d+\.attn|cls_token|.*\.encoder\.layers?\.\d+\.)", "a vision transformer"),
    (r"^layers\.\d+\.blocks\.\d+\.attn", "a Swin transformer"),
    (r"^conv2\.0\.(0\.)?(conv1\.conv|conv2a|layers)|^conv1\.conv\.weight", "an OSNet"),
    (r"^features\.denseblock\d", "a DenseNet"),
    (r"^features\.\d+\.(conv\.|block\.)|^features\.\d+\.\d+\.", "a MobileNet or EfficientNet"),
    (r"^features\.\d+\.weight", "a VGG or AlexNet"),
    (r"^stages\.\d+\.", "a ConvNeXt or RegNet"),
    (r"^backbone\.layer\d\.", "a detector, a segmenter or another program's ResNet inside a larger network"),
    (r"^layer\d\.0\.conv2\.weight", "a ResNet-18 or ResNet-34 (blocks of two convolutions)"),
    (r"(^|\.)layer4\.0\.conv3\.weight", "a ResNet with other keys around it"),
    (r"^conv\d.*\.weight", "a small convolutional network"),
    (r"lstm|embeddings?\.(word|position)", "a language model"),
)


def differences(state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """What of a state dict this network cannot hold, each by its term; empty if nothing shows."""
    keys = set(state_dict)
    found = [term for pattern, term in _DIFFERENCES if any(re.search(pattern, key) for key in keys)]
    return found + (_fast_reid(keys) if any(key.startswith("b1_head.") for key in keys) else [])


def _fast_reid(keys: set[str]) -> list[str]:
    """What else is different in fast-reid's MGN and LUPerson's, whose heads are called b1_head and so on."""
    found = ["fast-reid's cosine classifier without bias"]
    if "b1_head.bottleneck.0.weight" in keys:
        found.append("no ReLU after the reduction")
    if "pixel_mean" in keys:
        found.append("its own mean and deviation inside the model, for values from 0 to 255")
    return [*found, "stem pooling without padding", "stride 1 in layer4 of p1 (both by fast-reid's code)"]


def looks_like(state_dict: Mapping[str, np.ndarray]) -> str:
    """What kind of network has such keys, as well as can be told: "a VGG or AlexNet"."""
    for pattern, kind in _STRANGERS:
        if any(re.search(pattern, key) for key in state_dict):
            return kind
    return "nothing known"
