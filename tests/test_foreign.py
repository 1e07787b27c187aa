"""Strangers are named, differences too; this network's own checkpoints show none."""

import numpy as np
import pytest
from conftest import REFERENCE
from seeded import read_keys

from mgn import foreign


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("features.0.weight", "classifier.6.weight"), "VGG"),
        (("cls_token", "blocks.0.attn.qkv.weight"), "vision transformer"),
        (("layers.0.blocks.0.attn.qkv.weight",), "Swin"),
        (("conv1.conv.weight", "conv2.0.conv1.conv.weight"), "OSNet"),
        (("features.denseblock1.denselayer1.norm1.weight",), "DenseNet"),
        (("features.1.conv.0.0.weight",), "MobileNet"),
        (("layer1.0.conv1.weight", "layer1.0.conv2.weight", "conv1.weight"), "ResNet-18"),
        (("stages.0.0.gamma",), "ConvNeXt"),
        (("something.else",), "nothing known"),
    ],
)
def test_what_a_stranger_looks_like(keys, kind):
    assert kind in foreign.looks_like(dict.fromkeys(keys, np.zeros(1)))


@pytest.mark.parametrize(
    ("key", "term"),
    [
        ("layer1.0.bn1.IN.weight", "IBN-a"),
        ("b1_pool.0.p", "GeM"),
        ("b2_head.pool_layer.p", "GeM"),
        ("layer3.22.conv1.weight", "ResNet-101"),
        ("p1.0.21.conv1.weight", "ResNet-101"),
        ("layer1.0.se.fc1.weight", "squeeze-and-excitation"),
        ("backbone.NL_2.0.theta.weight", "non-local"),
    ],
)
def test_differences_are_named_by_their_terms(key, term):
    (told,) = foreign.differences({key: np.zeros(1)})
    assert term in told


@pytest.mark.parametrize("keys", ["seathiefwang", "lwplw_prelu", "gnayuohz", "torchvision_resnet50"])
def test_our_own_families_show_none(keys):
    names = [key for key, _ in read_keys(REFERENCE / f"keys_{keys}.txt")]
    assert foreign.differences(dict.fromkeys(names, np.zeros(1))) == []
