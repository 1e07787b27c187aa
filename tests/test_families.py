"""Checkpoint families from their published key lists: what comes in, and what is refused and why."""

import mgn_reid
import numpy as np
import pytest
from conftest import REFERENCE
from seeded import read_keys

from mgn import families, weights
from mgn.errors import InputError
from mgn.network import HEADS


def shaped(keys):
    """A family's state dict of zeros, which take no memory."""
    return {
        key: np.broadcast_to(np.float32(0), shape) for key, shape in read_keys(REFERENCE / f"keys_{keys}.txt")
    }


def respelled():
    """MGN-pytorch's checkpoint with its trunk spelled `backbone`."""
    return {key.replace("backone.", "backbone."): value for key, value in shaped("seathiefwang").items()}


def under_base():
    """A ResNet-50 as reid-strong-baseline saves it, with its neck and classifier."""
    whole = shaped("torchvision_resnet50").items()
    body = {f"base.{key}": value for key, value in whole if not key.startswith("fc.")}
    return body | {"bottleneck.weight": np.ones(2048, "f"), "classifier.weight": np.ones((5, 2048), "f")}


@pytest.mark.parametrize(
    ("make", "name", "kind", "pool"),
    [
        (lambda: shaped("seathiefwang"), "MGN-pytorch", "mgn", "avg"),
        (lambda: shaped("lwplw_prelu"), "MGN-pytorch", "mgn", "avg"),
        (respelled, "MGN in levyfan's layout", "mgn", "max"),
        (lambda: shaped("gnayuohz"), "GNAYUOHZ's ReID-MGN", "mgn", "max"),
        (lambda: shaped("torchvision_resnet50"), "ResNet-50 of torchvision or torchreid", "backbone", "avg"),
        (under_base, "ResNet-50 of reid-strong-baseline", "backbone", "avg"),
    ],
)
def test_a_family_is_known_and_covered(make, name, kind, pool):
    state_dict = make()
    family = families.recognise(state_dict)
    assert (family.name, family.kind, family.pool) == (name, kind, pool)
    arrays = weights.from_pytorch(state_dict)
    assert len(arrays) == (
        515 if kind == "backbone" else 579 if "reduction_0.2.weight" in state_dict else 571
    )


@pytest.mark.parametrize(
    ("keys", "terms", "absent"),
    [
        (
            "fastreid_HEAD",
            ["IBN-a", "GeM", "cosine classifier", "no ReLU", "stem pool", "stride 1"],
            ["BNNeck"],
        ),
        ("fastreid_ea06ead", ["IBN-a", "GeM", "no ReLU", "own mean"], ["BNNeck", "LUPerson"]),
        ("fastreid_v0.1.1", ["IBN-a", "GeM", "BNNeck", "own mean"], ["no ReLU", "LUPerson"]),
        (
            "fastreid_LUPerson",
            ["GeM", "(LUPerson)", "no ReLU", "own mean"],
            ["IBN-a", "BNNeck"],
        ),
    ],
)
def test_fast_reids_networks_are_refused_with_what_differs(keys, terms, absent):
    with pytest.raises(InputError, match=r"^another network than this MGN: ") as refused:
        families.recognise(shaped(keys))
    assert all(term in str(refused.value) for term in terms), refused.value
    assert not any(term in str(refused.value) for term in absent), refused.value


def test_ibn_and_strangers_are_refused():
    with pytest.raises(InputError, match="IBN-a"):
        families.recognise({**shaped("torchvision_resnet50"), "layer1.0.bn1.IN.weight": np.zeros(32)})
    with pytest.raises(InputError, match=r"it looks like a VGG or AlexNet: keys begin features\.0\.weight"):
        families.recognise({"features.0.weight": np.zeros(3)})
    small = {f"layer{i}.0.conv{j}.weight": np.zeros(1) for i in (1, 2, 3, 4) for j in (1, 2)}
    with pytest.raises(InputError, match="it looks like a ResNet-18 or ResNet-34"):
        families.recognise({"conv1.weight": np.zeros(1), **small})


def test_two_families_mixed_are_named():
    for other, name in ((respelled(), "levyfan"), (shaped("torchvision_resnet50"), "torchvision")):
        with pytest.raises(InputError, match=rf"keys of two families mixed, MGN-pytorch \(.*{name}"):
            families.recognise({**shaped("seathiefwang"), **other})


def test_mgn_reids_variables_are_found_by_rule():
    """Against its published names, and the pairs of its name files."""
    (family,) = (f for f in families.FAMILIES if "MGN-ReId" in f.name)
    listed = mgn_reid.variables(751)
    assert len(listed) == 579
    ours = weights.variable_shapes(751, "prelu")
    for order in ("mgn-reid", "pytorch"):
        found = {family.key(name, order): shape for name, shape in ours.items()}
        assert found == listed
    by_number = {family.key(name, "pytorch"): families.mgn_pytorch_key(name) for name in ours}
    pairs = mgn_reid.published_pairs()
    assert {name: by_number[name] for name in pairs} == pairs


def test_the_reproduced_repositorys_numbers_go_to_the_heads_of_its_graph():
    (family,) = (f for f in families.FAMILIES if "MGN-ReId" in f.name)
    heads = {head.classifier: head for head in HEADS}
    for branch, number, classifier in mgn_reid.HEADS:
        head = heads[classifier]
        key = f"{branch}/reduction_{number}/Conv/weights"
        assert family.key(f"{head.reduction}/0/weight", "mgn-reid") == key
        torch_key = families.FAMILIES[0].key(f"{head.reduction}/0/weight", "mgn-reid")
        assert torch_key == f"reduction_{number}.0.weight"
