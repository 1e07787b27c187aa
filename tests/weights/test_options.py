"""Options of other programs' networks: from family, keys and flags; contradictions refused."""

import numpy as np
import pytest

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.system.errors import CheckError, InputError
from mgn.weights import from_pytorch
from mgn.weights.families import recognise
from mgn.weights.options import options_in
from weights.test_families import shaped


def found(keys, **given):
    state_dict = with_pixels(shaped(keys))
    return options_in(state_dict, recognise(state_dict), given)


def with_pixels(state_dict, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)):
    """The same with a mean and deviation that there can be, as float32 like a file's."""
    values = {"pixel_mean": mean, "pixel_std": std}
    given = {
        key: np.float32(values[key]).reshape(1, 3, 1, 1) for key in values if key in state_dict
    }
    return {**state_dict, **given}


@pytest.mark.parametrize(
    ("keys", "variant", "given"),
    [
        ("fastreid_v0.1.1", "fastreid-v0.1", {}),
        ("fastreid_v0.1.1", "fastreid-v0.1", {"stem_padding": 1, "pool": "gem_shared"}),
        ("fastreid_ea06ead", "fastreid-v1.0", {"stem_padding": 0}),
        ("fastreid_ea06ead", "fastreid-v1.0", {"variant": "fastreid-v1.0", "stem_padding": 0}),
        ("fastreid_HEAD", "fastreid", {}),
        ("seathiefwang", "mgn-pytorch", {"pool": "avg"}),
        ("lwplw_prelu", "lwplw", {}),
    ],
)
def test_options_of_each_family(keys, variant, given):
    classes = 0 if keys.startswith("fastreid") else 751
    assert found(keys, **given) == NetworkOptions(classes, **VARIANTS[variant])


def test_lupersons_mean_is_that_of_its_file_as_people_write_it():
    state_dict = with_pixels(
        shaped("fastreid_LUPerson"), (89.896, 79.2, 80.073), (63.872, 64.305, 63.839)
    )
    options = options_in(state_dict, recognise(state_dict), {})
    assert options == NetworkOptions(0, **VARIANTS["luperson"])
    assert np.array_equal(np.float32(options.mean), state_dict["pixel_mean"].ravel())
    bare = {key: value for key, value in state_dict.items() if not key.startswith("pixel_")}
    assert options_in(bare, recognise(bare), {}) == options  # of its configuration


@pytest.mark.parametrize("keys", ["seathiefwang", "fastreid_HEAD", "fastreid_v0.1.1"])
def test_a_mean_in_a_file_counts_whatever_its_family(keys):
    own = np.float32([89.896, 79.2, 80.073]).reshape(1, 3, 1, 1)
    state_dict = {**with_pixels(shaped(keys)), "pixel_mean": own, "pixel_std": own / 2}
    options = options_in(state_dict, recognise(state_dict), {})
    assert options.mean == (89.896, 79.2, 80.073)
    assert options.std == pytest.approx((44.948, 39.6, 40.0365), abs=1e-5)
    del state_dict["pixel_std"]
    with pytest.raises(InputError, match="has only pixel_mean of pixel_mean and pixel_std"):
        options_in(state_dict, recognise(state_dict), {})


def test_the_authors_pool_of_a_family_stays_where_a_variant_is_named():
    state_dict = {k.replace("backone", "backbone"): v for k, v in shaped("seathiefwang").items()}
    family = recognise(state_dict)
    assert family.pool == "max"
    assert options_in(state_dict, family, {}).pool == "max"
    assert options_in(state_dict, family, {"variant": "mgn-pytorch"}).pool == "max"
    assert options_in(state_dict, family, {"pool": "avg"}).pool == "avg"


def test_what_keys_do_not_tell_has_to_be_said():
    for given in ({}, {"variant": "fastreid-v1.0"}):  # whose name stands for both
        with pytest.raises(InputError, match="add --stem_padding 0 or 1"):
            found("fastreid_ea06ead", **given)
    assert found("fastreid_ea06ead", stem_padding=1).stem_padding == 1


def test_what_no_file_tells_is_taken_from_the_command_line():
    untold = {"p1_stride": 1, "reduction": "plain", "mean": (1.0, 2.0, 3.0), "pool": "max"}
    made = found("seathiefwang", **untold)
    assert made == NetworkOptions(751, **untold)
    of_gem = found("fastreid_v0.1.1", p1_stride=2)
    assert (of_gem.p1_stride, of_gem.pool) == (2, "gem_shared")


@pytest.mark.parametrize(
    ("keys", "given", "problem"),
    [
        ("fastreid_v0.1.1", {"stem_padding": 0}, "--stem_padding 0: .* has stem_padding 1"),
        ("fastreid_HEAD", {"stem_padding": 1}, "--stem_padding 1: .* has stem_padding 0"),
        ("fastreid_HEAD", {"pool": "avg"}, "--pool avg: .* has pool gem"),
        ("fastreid_HEAD", {"variant": "luperson"}, "--variant luperson: .* has"),
        (
            "fastreid_ea06ead",
            {"stem_padding": 1, "variant": "fastreid-v0.1"},
            "--variant fastreid-v0.1",
        ),
        ("seathiefwang", {"stem_padding": 0}, "--stem_padding 0: MGN-pytorch has stem_padding 1"),
        ("seathiefwang", {"variant": "lwplw"}, "--variant lwplw: .* has reduction relu"),
        ("seathiefwang", {"pool": "gem"}, "pool gem, but its weights have avg or max"),
    ],
)
def test_flags_that_the_file_contradicts_are_refused(keys, given, problem):
    with pytest.raises(InputError, match=problem):
        found(keys, **given)


def test_without_ibn_fast_reids_network_has_none():
    """Of a configuration with WITH_IBN False."""
    state_dict = {k: v for k, v in shaped("fastreid_HEAD").items() if ".bn1." not in k}
    state_dict |= {k: v for k, v in shaped("fastreid_LUPerson").items() if ".bn1." in k}
    options = options_in(state_dict, recognise(state_dict), {})
    assert not options.ibn and options.pool == "gem"
    assert len(from_pytorch(state_dict)) == 575 - 3 * 4  # as LUPerson's, without extra batch norms


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (
            "b2_head.pool_layer.p",
            np.float32([-1.0]),
            r"b2_head.pool_layer.p \[-1.\], which must be",
        ),
        ("b2_head.pool_layer.p", np.float32([np.nan]), "b2_head.pool_layer.p"),
        (
            "b2_head.pool_layer.p",
            np.float32([2, 2]),
            r"b2_head.pool_layer.p \(2,\) instead of \(1,\)",
        ),
        ("b2_head.pool_layer.p", None, r"1 missing \(b2_head.pool_layer.p\)"),
        ("layer1.2.IN.weight", np.zeros(256, "f"), "IBN-b"),
    ],
)
def test_powers_that_are_none_are_refused(key, value, problem):
    state_dict = {**shaped("fastreid_HEAD"), key: value}
    if value is None:
        del state_dict[key]
    with pytest.raises((CheckError, InputError), match=problem):
        from_pytorch(state_dict)


def test_a_shared_power_is_one():
    state_dict = with_pixels(shaped("fastreid_v0.1.1"))
    with pytest.raises(CheckError, match=r"b31_pool.0.p \[2.\], but b1_pool.0.p \[1.\]"):
        from_pytorch({**state_dict, "b31_pool.0.p": np.float32([2.0])})
    with pytest.raises(CheckError, match=r"1 missing \(b31_pool.0.p\)"):
        from_pytorch({k: v for k, v in state_dict.items() if k != "b31_pool.0.p"})


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("pixel_mean", np.zeros((1, 4, 1, 1), "f"), r"pixel_mean has shape \(1, 4, 1, 1\)"),
        ("pixel_std", np.zeros((1, 3, 1, 1), "f"), "pixel_std 0.0,0.0,0.0: must be above 0"),
        ("pixel_std", np.full((1, 3, 1, 1), 0.5, "f"), "pixel_std 0.5,0.5,0.5: is for images in 0"),
        ("pixel_mean", np.full((1, 3, 1, 1), 0.5, "f"), "pixel_mean 0.5,0.5,0.5: is for images in"),
        ("pixel_mean", np.full((1, 3, 1, 1), -1, "f"), "pixel_mean -1.0,-1.0,-1.0: must be three"),
    ],
)
def test_a_mean_or_deviation_that_is_none_is_refused(key, value, problem):
    state_dict = {**with_pixels(shaped("fastreid_LUPerson")), key: value}
    with pytest.raises(InputError, match=problem):
        options_in(state_dict, recognise(state_dict), {})
