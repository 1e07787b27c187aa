"""Strangers are named, differences too; this network's own checkpoints show none."""

import numpy as np
import pytest
from conftest import REFERENCE
from seeded import read_keys

from mgn.weights import foreign


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("features.0.weight", "classifier.6.weight"), "VGG"),
        (("cls_token", "blocks.0.attn.qkv.weight"), "vision transformer"),
        (
            ("base.patch_embed.proj.weight", "base.blocks.0.attn.qkv.weight", "b1.0.norm1.weight"),
            "TransReID",
        ),
        (("vit.encoder.layer.0.attention.output.dense.weight",), "vision transformer"),
        (("layers.0.blocks.0.attn.qkv.weight",), "Swin"),
        (("base.stages.0.blocks.0.attn.w_msa.qkv.weight",), "SOLIDER"),
        (("image_encoder.transformer.resblocks.0.attn.in_proj_weight",), "CLIP"),
        (("conv1.conv.weight", "conv2.0.conv1.conv.weight"), "OSNet"),
        (("layer1.0.conv1.weight", "layer1.0.conv2.weight", "conv1.weight"), "ResNet-18"),
        (("encoder.layer1.0.conv2.weight", "encoder.conv1.weight"), "ResNet-18"),
        (
            ("encoder.layer4.0.conv2.weight", "encoder.layer4.0.conv3.weight"),
            "a ResNet with other keys",
        ),
        (("something.else",), "nothing known"),
    ],
)
def test_what_a_stranger_looks_like(keys, kind):
    assert kind in foreign.guess_network(dict.fromkeys(keys, np.zeros(1)))


@pytest.mark.parametrize(
    ("key", "term"),
    [
        ("layer1.2.IN.weight", "IBN-b"),
        ("heads.bottleneck.0.weight", "fast-reid's BoT, SBS and AGW"),
        ("layer3.22.conv1.weight", "ResNet-101"),
        ("p1.0.21.conv1.weight", "ResNet-101"),
        ("b1.0.21.conv1.weight", "ResNet-101"),
        ("layer1.0.se.fc1.weight", "squeeze-and-excitation"),
        ("backbone.NL_2.0.theta.weight", "non-local"),
    ],
)
def test_differences_are_named_by_their_terms(key, term):
    (told,) = foreign.differences({key: np.zeros(1)})
    assert term in told.term and told.key == key
    assert foreign.described([told]) == f"{told.term} at {key}"


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_blocks_of_another_width_have_resnet50s_keys(prefix):
    listed = read_keys(REFERENCE / "keys_torchvision_resnet50.txt")
    shapes = {f"{prefix}{key}": shape for key, shape in listed}
    inner = [key for key in shapes if key.endswith(".conv2.weight")]
    assert len(inner) == 16

    def told(changed):
        return foreign.differences(
            {k: np.broadcast_to(np.float32(0), s) for k, s in (shapes | changed).items()}
        )

    assert told({}) == []
    (resnext,) = told({key: (2 * shapes[key][0], shapes[key][0] // 16, 3, 3) for key in inner})
    assert "ResNeXt" in resnext.term and resnext.key in inner
    (wide,) = told({key: (2 * shapes[key][0], 2 * shapes[key][0], 3, 3) for key in inner})
    assert "Wide ResNet" in wide.term and wide.key == f"{prefix}layer1.0.conv2.weight"
    assert told({inner[3]: (64, 4, 3, 3)}) == []  # one is damage, for the table of shapes


@pytest.mark.parametrize(
    "keys",
    [
        *("seathiefwang", "lwplw_prelu", "gnayuohz", "torchvision_resnet50"),
        *("fastreid_v0.1.1", "fastreid_ea06ead", "fastreid_HEAD", "fastreid_LUPerson"),
    ],
)
def test_our_own_families_show_none(keys):
    names = [key for key, _ in read_keys(REFERENCE / f"keys_{keys}.txt")]
    assert foreign.differences(dict.fromkeys(names, np.zeros(1))) == []
