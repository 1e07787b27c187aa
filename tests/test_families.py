"""Checkpoint families from their published key lists: what comes in, and what is refused and why."""

import re

import numpy as np
import pytest
from conftest import REFERENCE, save_torch, seeded
from seeded import read_keys

from mgn import checkpoints, conversion, families, weights
from mgn.errors import CheckError, InputError
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


def test_one_shared_reduction_reaches_all_heads_and_the_proof_holds(tmp_path):
    arrays = {k: v for k, v in seeded("gnayuohz", 10).items() if not k.endswith("num_batches_tracked")}
    save_torch(tmp_path / "x.pt", arrays)
    done = conversion.convert(tmp_path / "x.pt", tmp_path / "made")
    assert done.difference <= 1e-5
    assert checkpoints.find(tmp_path / "made").options.pool == "max"  # its authors'
    assert conversion.convert(tmp_path / "x.pt", tmp_path / "other", pool="avg").options.pool == "avg"
    variables = weights.from_pytorch(arrays)
    for head in HEADS:
        got = variables[f"{head.reduction}/0/weight"]
        assert np.array_equal(got[0, 0].T, arrays["reduction.0.weight"][:, :, 0, 0])


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


def test_wide_classifiers_ibn_and_strangers_are_refused():
    wide = respelled()
    for i in range(3):
        wide[f"fc_id_2048_{i}.weight"] = np.zeros((10, 2048), "f")
    with pytest.raises(InputError, match="take the pooled 2048 numbers"):
        families.recognise(wide)
    with pytest.raises(InputError, match="IBN-a"):
        families.recognise({**shaped("torchvision_resnet50"), "layer1.0.bn1.IN.weight": np.zeros(32)})
    with pytest.raises(InputError, match=re.escape("keys begin features.0.weight")):
        families.recognise({"features.0.weight": np.zeros(3)})


def test_two_families_mixed_are_named_key_by_key():
    mixed = {**shaped("seathiefwang"), "layer4.0.conv1.weight": np.zeros((512, 1024, 1, 1), "f")}
    with pytest.raises(CheckError, match=r"1 left over \(layer4\.0\.conv1\.weight\)"):
        weights.from_pytorch(mixed)
