"""A variable's name in the files of other programs, by rule."""

import re

from mgn.config.options import BODIES
from mgn.network import HEADS

_CUT = (  # how MGN-pytorch renumbered ResNet's pieces; applied in turn, then "/" to "."
    (r"^backbone/conv1/", "backone.0."),
    (r"^backbone/bn1/", "backone.1."),
    (r"^backbone/layer1/", "backone.4."),
    (r"^backbone/layer2/", "backone.5."),
    (r"^backbone/layer3/0/", "backone.6."),
    (r"^(p\d)/layer3/(\d)/", lambda m: f"{m[1]}.0.{int(m[2]) - 1}."),
    (r"^(p\d)/layer4/", r"\1.1."),
)


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


# fast-reid's heads in the order of HEADS, and its names for what each has
_FAST_REID_HEADS = ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33")
_FAST_REID_BODY = (
    (r"^backone\.", "backbone."),
    (r"^p(\d)\.", r"b\1."),
    (r"^extra_bn_p(\d)\.", r"heads_extra_bn_b\1."),
)
_FAST_REID_PARTS = {  # of a head, since v0.2
    "gem.p": "head.pool_layer.p",
    "0": "head.bottleneck.0",
    "1": "head.bottleneck.1",
}
_FAST_REID_FIRST = {"0": "pool.1", "1": "pool.2", "neck": "head.bnneck"}  # of a head, up to v0.1.1
SHARED_POWERS = tuple(f"{head}_pool.0.p" for head in _FAST_REID_HEADS)  # one value, eight times


def fast_reid_key(name: str) -> str | None:
    """`reduction_3/0/weight` -> `b21_head.bottleneck.0.weight`, of fast-reid and LUPerson.

    None for classifiers: theirs are cosines without a bias.
    """
    return _fast_reid_key(name, _FAST_REID_PARTS)


def first_fast_reid_key(name: str) -> str | None:
    """The same of fast-reid's first versions: `b21_pool.1.weight`; `gem/p` is `b1_pool.0.p`."""
    return SHARED_POWERS[0] if name == "gem/p" else _fast_reid_key(name, _FAST_REID_FIRST)


def _fast_reid_key(name: str, parts: dict[str, str]) -> str | None:
    scope, rest = name.split("/", 1)
    number = re.fullmatch(r"reduction_(\d)", scope)
    if number:
        key = rest.replace("/", ".")
        for ours, theirs in parts.items():
            if key == ours or key.startswith(f"{ours}."):
                return f"{_FAST_REID_HEADS[int(number[1])]}_{theirs}{key.removeprefix(ours)}"
        return None
    key = mgn_pytorch_key(name)
    for pattern, replacement in _FAST_REID_BODY:
        key = re.sub(pattern, replacement, key)
    return None if key.startswith("fc_id_") else key
