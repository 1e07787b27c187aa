"""Where every weight goes: allowed gaps, what is passed over, and the table of it."""

import numpy as np
import pytest

from mgn.conversion import report
from mgn.system.errors import CheckError
from mgn.weights.coverage import cover
from mgn.weights.families import recognise
from mgn.weights.options import options_in
from mgn.weights.variables import variable_shapes
from weights.test_families import respelled, shaped, under_base


def covered(state_dict, **allowed):
    family = recognise(state_dict)
    return cover(state_dict, family, variable_shapes(options_in(state_dict, family, {})), **allowed)


def test_all_parts_of_a_whole_network():
    groups = report.groups(covered(shaped("lwplw_prelu")))
    counts = {group.name: group.tensors for group in groups}
    assert counts.pop("stem") == 140 and sum(group.values for group in groups) == 70_486_840
    assert all(counts.pop(branch) == 125 for branch in ("p1", "p2", "p3"))
    assert set(counts.values()) == {8} and len(counts) == 8
    (head,) = (group for group in groups if group.name == "f0_p2")
    assert head.sources == ["reduction_3.*", "fc_id_256_1_0.*"]
    assert head.shapes == [(256, 2048, 1, 1), (751, 256)]


def test_the_table_ends_with_its_total():
    lines = report.table(covered(shaped("gnayuohz"))).splitlines()
    assert lines[0].split() == ["part", "tensors", "values", "largest", "from"]
    assert " ".join(lines[13].split()) == "total 571 70,484,792 536 tensors of the file"
    assert lines[14].startswith("passed over, counters of batches: 104 (")


def test_a_resnet_says_what_is_passed_over():
    found = covered(under_base())
    found.check()
    assert report.groups(found)[0].sources[:2] == ["base.conv1.*", "base.bn1.*"]
    found = covered({**shaped("torchvision_resnet50"), "bottleneck.weight": np.ones(2048, "f")})
    found.check()
    assert found.passed_over["a classifier of other classes"] == ["fc.bias", "fc.weight"]
    assert found.passed_over["a neck"] == ["bottleneck.weight"]
    assert [group.name for group in report.groups(found)] == ["stem", "p1", "p2", "p3"]


def test_a_moco_backbone_says_what_is_passed_over():
    """With the projection of MoCo v2, which stands in place of the classifier."""
    bare = {k: v for k, v in shaped("torchvision_resnet50").items() if not k.startswith("fc.")}
    projection = {"fc.0.weight": np.ones((2048, 2048), "f"), "fc.2.bias": np.ones(128, "f")}
    keys = {f"encoder_k.{key}": value for key, value in {**bare, **projection}.items()}
    found = covered({**bare, **projection, **keys, "queue": np.ones((128, 9), "f")})
    found.check()
    assert found.passed_over["a classifier of other classes"] == ["fc.0.weight", "fc.2.bias"]
    named = {key for key in keys if not key.endswith("num_batches_tracked")}
    assert set(found.passed_over["MoCo's encoder of keys and its queue"]) == {*named, "queue"}


def test_what_training_leaves_beside_any_network_is_passed_over():
    beside = {
        "n_averaged": "a counter of averaged weights",
        "criterion.centers": "of a loss",
        "center_loss.centers": "of a loss",
        "encoder_k.backone.0.weight": "MoCo's encoder of keys and its queue",
        "queue_ptr": "MoCo's encoder of keys and its queue",
    }
    for whole in (shaped("seathiefwang"), under_base()):
        found = covered({**whole, **dict.fromkeys(beside, np.zeros(1, "f"))})
        found.check()
        assert len(found.keys) in (515, 571)
        for key, why in beside.items():
            assert key in found.passed_over[why]


def test_what_may_be_missing_and_left_over():
    broken = {
        key: v for key, v in shaped("seathiefwang").items() if not key.startswith("reduction_7.1.")
    }
    broken |= {"ema.decay": np.zeros(1, "f"), "center.weight": np.zeros((2, 2), "f")}
    with pytest.raises(
        CheckError,
        match=r"4 missing \(reduction_7\.1\.bias.*; 2 left over \(center\.weight, ema.*"
        r" anyway, add --allow_missing PATTERN and --allow_extra PATTERN$",
    ):
        covered(broken).check()
    with pytest.raises(
        CheckError,
        match=r"not a complete MGN-pytorch checkpoint: 1 left over \(center\.weight\);"
        r" .*, add --allow_extra PATTERN$",
    ):
        covered(broken, allow_missing=["reduction_7.*"], allow_extra=["ema.*"]).check()
    found = covered(broken, allow_missing=["reduction_7.*"], allow_extra=["ema.*", "center.*"])
    found.check()
    assert found.initial == [
        f"reduction_7/1/{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")
    ]
    text = report.table(found)
    assert "left over, as allowed: 2 (center.weight, ema.decay)" in text
    assert "at initial values, or without classifiers: 4 (reduction_7.1.bias" in text


def test_without_classifiers_only_if_allowed():
    bare = {
        key: value for key, value in shaped("seathiefwang").items() if not key.startswith("fc_")
    }
    with pytest.raises(CheckError, match=r"16 missing \(fc_id_2048_0\.bias"):
        covered(bare).check()
    found = covered(bare, allow_missing=["fc_id_*"])
    found.check()
    assert len(found.keys) == 555 and not found.initial
    assert "without classifiers: 16 (fc_id_2048_0.bias" in report.table(found)
    some = {
        key: value
        for key, value in shaped("seathiefwang").items()
        if not key.startswith("fc_id_256_1")
    }
    found = covered(some, allow_missing=["fc_*"])
    found.check()
    assert len(found.keys) == 567 and len(found.initial) == 4


@pytest.mark.parametrize("make", [respelled, lambda: shaped("gnayuohz")])
def test_classifiers_of_pooled_maps_are_dropped_and_named(make):
    wide = make()
    for i in range(3):
        wide[f"fc_id_2048_{i}.weight"] = np.zeros((751, 2048), "f")
    found = covered(wide)
    found.check()
    assert len(found.keys) == 555
    (why,) = (why for why in found.passed_over if "2048" in why)
    assert len(found.passed_over[why]) == 16


def test_one_wide_classifier_is_a_wrong_shape():
    damaged = {**shaped("seathiefwang"), "fc_id_2048_0.weight": np.zeros((751, 2048), "f")}
    with pytest.raises(
        CheckError, match=r"fc_id_2048_0\.weight \(751, 2048\) instead of \(751, 256\)"
    ):
        covered(damaged).check()


def test_shapes_are_told_with_the_networks():
    odd = {**shaped("seathiefwang"), "p1.1.0.conv1.weight": np.zeros((512, 1000, 1, 1), "f")}
    with pytest.raises(
        CheckError, match=r"p1\.1\.0\.conv1\.weight \(512, 1000, 1, 1\) instead of \(512, 1024"
    ):
        covered(odd).check()
    odd = {**shaped("seathiefwang"), "p1.1.0.bn1.bias": np.zeros(512, np.int8)}
    with pytest.raises(CheckError, match=r"p1\.1\.0\.bn1\.bias int8 instead of float"):
        covered(odd).check()
    with pytest.raises(CheckError, match=r"fc_id_2048_0\.bias \(\) instead of \(751,\)"):
        covered({**shaped("seathiefwang"), "fc_id_2048_0.bias": np.zeros((), "f")}).check()
    other = {**shaped("seathiefwang"), "fc_id_256_2_2.bias": np.zeros(702, "f")}
    with pytest.raises(CheckError, match=r"fc_id_256_2_2\.bias \(702,\) instead of \(751,\)"):
        covered(other).check()


def test_nan_and_infinity_are_named_by_key():
    whole = shaped("seathiefwang")
    keys = "reduction_2.1.bias", "p1.1.2.bn3.weight", "fc_id_2048_0.bias"
    broken = {key: whole[key].copy() for key in keys}
    broken["reduction_2.1.bias"][:] = np.nan
    broken["p1.1.2.bn3.weight"][7] = -np.inf
    counter = {"p1.1.2.bn3.num_batches_tracked": np.array(np.nan)}  # has no place, so does no harm
    found = covered({**whole, **broken, **counter})
    said = ["p1.1.2.bn3.weight (1 of 2048)", "reduction_2.1.bias (256 of 256)"]
    assert sorted(found.not_finite) == said
    with pytest.raises(
        CheckError, match=r"^2 weights hold NaN or infinity: .*; the training diverged: use an"
    ):
        found.check()
    assert "with NaN or infinity: 2 (" in report.table(found)
    covered({**whole, **counter}).check()


def test_totals_are_those_of_the_table():
    found = covered(shaped("gnayuohz"))
    assert report.totals(found) == {
        "tensors": 571,
        "values": 70_484_792,
        "tensors_of_the_file": 536,
    }
