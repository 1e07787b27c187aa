"""One network, found whatever is wrapped around it; several: the user's choice."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from conftest import REFERENCE
from seeded import read_keys

from mgn.conversion.wrappings import unwrap
from mgn.system.errors import InputError
from mgn.weights import families

FILE = Path("x.pt")


def numbered(keys, start=0):
    """{key: a number of its own}."""
    return {key: torch.tensor(float(start + i)) for i, key in enumerate(keys)}


def network(name="seathiefwang", start=0):
    """A published network's keys, each with a number of its own."""
    return numbered([key for key, _ in read_keys(REFERENCE / f"keys_{name}.txt")], start)


def under(beginning, tensors):
    return {f"{beginning}.{key}": value for key, value in tensors.items()}


def same(got, expected):
    return set(got) == set(expected) and all(got[key] is expected[key] for key in expected)


FAMILIES = {
    "seathiefwang": network(),
    "levyfan": {k.replace("backone.", "backbone."): v for k, v in network().items()},
    "gnayuohz": network("gnayuohz"),
    "torchvision": network("torchvision_resnet50"),
    "strong baseline": under("base", network("torchvision_resnet50")),
}
BEGINNINGS = (
    *("module", "_orig_mod", "module._orig_mod", "_orig_mod.module", "ema", "student"),
    *("encoder_q", "module.encoder_q", "model", "net.body", "backbone", "any.other.2"),
)
NAMES = "state_dict", "State_Dict", "params", "ema_state_dict", "model.module", "any name"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_alone_is_bare_again(family):
    tensors = FAMILIES[family]
    optimiser = {"state": {i: {"exp_avg": value} for i, value in enumerate(tensors.values())}}
    beside = {"epoch": 3, "optimizer": optimiser, "history": [0.1, 0.2], "args": {"lr": 0.1}}
    around = [
        tensors,
        [tensors],
        [["mgn", [tensors]]],
        OrderedDict(tensors),
        {3: "an optimiser's", **tensors},
    ]
    around += [under(beginning, tensors) for beginning in BEGINNINGS]
    around += [{name: tensors, **beside} for name in NAMES]
    around.append({"epoch": 3, "model": under("module.encoder_q", tensors)})
    around.append({"runs": [{"net": {"state_dict": under("module.ema", tensors)}}], **beside})
    for loaded in around:
        assert same(unwrap(FILE, loaded), tensors)


@pytest.mark.parametrize("inner", ["_orig_mod", "module"])
def test_a_part_that_was_wrapped_by_itself(inner):
    """torch.compile or DataParallel of the backbone alone."""
    tensors = network()
    wrapped = {}
    for key, value in tensors.items():
        wrapped[key.replace("backone.", f"backone.{inner}.", 1)] = value
    assert wrapped.keys() != tensors.keys()
    for loaded in (wrapped, {"model": under("module", wrapped)}):
        assert same(unwrap(FILE, loaded), tensors)


def test_a_network_in_a_loss_is_not_the_one():
    tensors = network()
    loss = under("criterion.net", network("torchvision_resnet50"))
    got = unwrap(FILE, {"state_dict": {**tensors, **loss}})
    assert set(got) == {*tensors, *loss}


def test_two_ways_to_one_name_are_two_networks():
    with pytest.raises(InputError, match=r"more than one network, a\.b, a\.b'; choose"):
        unwrap(FILE, {"a.b": ONE, "a": {"b": OTHER}})


def test_what_lies_beside_a_network_keeps_a_name():
    """Each is told in the report, or left over: nothing is dropped without a word."""
    tensors = network()
    for beginning, beside, name in (
        ("module", "n_averaged", "n_averaged"),
        ("model", "criterion.centers", "criterion.centers"),
        ("_orig_mod.model", "_orig_mod.classifier.add_block.0.weight", "classifier.add_block.0.we"),
        ("module.encoder_q", "module.queue", "queue"),
        ("model.a", "model.ab.weight", "ab.weight"),
    ):
        odd = torch.tensor(-1.0)
        got = unwrap(FILE, {"state_dict": {beside: odd, **under(beginning, tensors)}})
        (left,) = set(got) - set(tensors)
        assert left.startswith(name) and got.pop(left) is odd
        assert same(got, tensors)
    twice = {"fc_id_2048_0.bias": torch.tensor(-1.0), **under("module", tensors)}
    with pytest.raises(
        InputError, match=r"has fc_id_2048_0\.bias both under module and beside it; --key module"
    ):
        unwrap(FILE, twice)
    assert same(unwrap(FILE, twice, "module"), tensors)


@pytest.mark.parametrize("beginning", ["", "module."])
def test_mocos_network_is_the_one_that_it_trains(beginning):
    trained, following = network(), network(start=1000)
    tensors = numbered([f"{beginning}queue", f"{beginning}queue_ptr"])
    tensors |= under(f"{beginning}encoder_k", following)
    tensors |= under(f"{beginning}encoder_q", trained)
    got = unwrap(FILE, {"epoch": 200, "arch": "mgn", "model": tensors})
    beside = {"queue", "queue_ptr", *under("encoder_k", following)}
    assert set(got) == {*trained, *beside}
    assert all(got[key] is trained[key] for key in trained)
    assert same(unwrap(FILE, {"model": tensors}, "encoder_k"), following)
    assert same(unwrap(FILE, {"model": tensors}, "model"), trained)


def test_a_mapping_that_holds_itself_has_an_end():
    loaded = {"w": torch.ones(2)}
    loaded["model"] = [loaded]
    assert same(unwrap(FILE, loaded), {"w": loaded["w"]})


ONE, OTHER = network(), network(start=1000)


@pytest.mark.parametrize(
    ("loaded", "names"),
    [
        ({"student": ONE, "teacher": OTHER}, ["student", "teacher"]),
        (
            {"module": {}, **under("student", ONE), **under("teacher", OTHER)},
            ["student", "teacher"],
        ),
        ({"model": ONE, "ema_state_dict": OTHER, "epoch": 1}, ["model", "ema_state_dict"]),
        ({"state_dict": ONE, "ema": {"shadow": OTHER}}, ["state_dict", "ema.shadow"]),
        ([ONE, OTHER], ["0", "1"]),
        ({**ONE, "model": OTHER}, [".", "model"]),
        ({**ONE, **under("teacher", OTHER)}, [".", "teacher"]),
        (
            {"model": {**under("module.s.backbone", ONE), **under("module.t.backbone", OTHER)}},
            ["model.module.s.backbone", "model.module.t.backbone"],
        ),
    ],
)
def test_of_several_networks_the_user_chooses(loaded, names):
    with pytest.raises(InputError, match=r"x\.pt: holds more than one network, .*; choose") as told:
        unwrap(FILE, loaded)
    assert told.value.details["networks"] == names
    assert all(name in str(told.value) for name in names)
    for name, chosen in zip(names, (ONE, OTHER), strict=True):
        assert same(unwrap(FILE, loaded, name), chosen)
    with pytest.raises(
        InputError, match=r"--key teach: x\.pt has no such network; it has "
    ) as told:
        unwrap(FILE, loaded, "teach")
    assert all(name in str(told.value) for name in names)


def test_one_network_under_two_names_is_a_choice_too():
    loaded = {"student": ONE, "teacher": ONE}
    with pytest.raises(InputError, match="more than one network, student, teacher; choose"):
        unwrap(FILE, loaded)
    assert same(unwrap(FILE, loaded, "teacher"), ONE)


def test_some_components_of_a_name_are_enough():
    loaded = {"model": {**under("module.s.net", ONE), **under("module.t.net", OTHER)}}
    assert same(unwrap(FILE, loaded, "t"), OTHER)
    assert same(unwrap(FILE, loaded, "model.module.s"), ONE)
    for both in ("module", "net", "model.module"):
        with pytest.raises(InputError, match="more than one network"):
            unwrap(FILE, loaded, both)


def test_networks_that_are_refused_are_told_by_their_differences_in_any_wrapping():
    """One head of fast-reid's on a whole ResNet-50; a stranger stays as it is."""
    single = under("backbone", network("torchvision_resnet50"))
    single |= numbered(["heads.bottleneck.0.weight", "heads.weight", "pixel_mean"])
    for beginning in ("module", "_orig_mod.module", "model"):
        tensors = under(beginning, single)
        bare = unwrap(FILE, {"model": tensors, "optimizer": {"state": {}}})
        with pytest.raises(InputError, match="one head on a whole ResNet-50, as of fast-reid's"):
            families.recognise(bare)
    body = unwrap(FILE, {"model": single}, "backbone")
    assert families.recognise(body).kind == "backbone"
    vgg = numbered(["module.features.0.weight", "module.classifier.0.weight"])
    assert same(unwrap(FILE, {"net": vgg, "loss": numbered(["centers"])}), vgg)
    with pytest.raises(InputError, match=r"--key net: x\.pt has no such network; it has none that"):
        unwrap(FILE, {"net": vgg}, "net")


@pytest.mark.parametrize(
    ("loaded", "there"),
    [
        ({}, "nothing"),
        ({"state_dict": {}, "epoch": 1}, "state_dict, epoch"),
        ([torch.zeros(1)], "nothing"),
        ({"optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}}}, "optimizer"),
        (torch.zeros(1), "nothing"),
    ],
)
def test_files_without_weights(loaded, there):
    with pytest.raises(InputError, match=rf"no weights in it \(it holds {there}\)"):
        unwrap(FILE, loaded)
