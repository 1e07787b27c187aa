"""A PyTorch file is the network that was meant, or it is refused: every kind of change, by keys."""

import dataclasses

import numpy as np
import pytest
from conftest import write_checkpoint
from seeded import seeded_array

from mgn.config import NetworkOptions
from mgn.config.variants import MEAN, STD, VARIANTS
from mgn.conversion import report, roundtrip, to_pytorch, to_tensorflow
from mgn.system.errors import CheckError, InputError
from mgn.weights import checkpoints
from mgn.weights.families import PIXELS, family_of, to_tf_layout, torch_shape
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.variables import variable_shapes

pytestmark = pytest.mark.usefixtures("shallow_network")  # keys are what counts
OWN_MEAN = (100.5, 90.25, 80.123)


def _shapes(options):
    """Of the variables, which these options do not change: a graph takes a second."""
    usual = {"mean": MEAN, "std": STD, "stem_padding": 1, "p1_stride": 2}
    return variable_shapes(dataclasses.replace(options, **usual, height=384, width=128))


def checked(variant, num_classes=0, **changed):
    """What `check` says of a file of this network, with the keys that its family has for it."""
    values = VARIANTS[variant] | changed
    options = NetworkOptions(num_classes, **values, variant=variant)
    family = family_of(variant)
    keys, shapes, state_dict = {}, {}, {}
    for name, shape in _shapes(options).items():
        key = family.key(name, family.order)
        if key:
            keys[name], shapes[name] = key, shape
            state_dict[key] = np.broadcast_to(np.float32(1), torch_shape(shape))
    for key in family.copies if family.copies and family.copies[0] in state_dict else ():
        state_dict[key] = state_dict[family.copies[0]]
    if family.pixels:
        for key, numbers in zip(PIXELS, (options.mean, options.std), strict=True):
            state_dict[key] = np.float32(numbers).reshape(1, 3, 1, 1)
    return roundtrip.check(state_dict, keys, shapes, options, family)


@pytest.mark.parametrize(
    ("variant", "changed", "flags"),
    [
        ("mgn-pytorch", {"num_classes": 9}, {"pool": "avg"}),
        ("mgn-pytorch", {}, {"pool": "avg", "allow_missing": "fc_id_*"}),
        ("lwplw", {"num_classes": 9, "pool": "max", "height": 96}, {"height": 96, "pool": "max"}),
        ("mgn-pytorch", {"num_classes": 9, "pool": "gem", "ibn": True}, {}),
        ("mgn-pytorch", {"num_classes": 9, "pool": "gem_shared", "reduction": "neck"}, {}),
        ("mgn-pytorch", {"num_classes": 9, "extra_bn": True}, {"pool": "avg"}),
        ("fastreid-v0.1", {"mean": OWN_MEAN, "width": 64}, {"width": 64}),
        ("fastreid-v1.0", {"stem_padding": 1}, {"stem_padding": 1}),
        ("fastreid-v1.0", {"ibn": False}, {"stem_padding": 0}),
        ("fastreid", {}, {"stem_padding": 0}),  # without its classifiers it looks like v1.0
        ("luperson", {"std": OWN_MEAN}, {}),
        ("luperson", {"ibn": True}, {}),
        ("luperson", {"extra_bn": False}, {"stem_padding": 1}),  # looks like v1.0, and is it
    ],
)
def test_what_a_file_holds_comes_back_with_these_flags(variant, changed, flags):
    assert checked(variant, **changed) == flags


@pytest.mark.parametrize(
    ("variant", "changed", "problem"),
    [
        ("fastreid-v1.0", {"reduction": "prelu"}, "reduction prelu would be plain"),
        ("fastreid-v1.0", {"reduction": "relu"}, "reduction relu would be plain"),
        ("fastreid-v0.1", {"reduction": "plain"}, "reduction plain would be neck"),
        ("fastreid-v1.0", {"pool": "gem_shared"}, "pool gem_shared would be gem"),
        ("fastreid", {"pool": "gem_shared"}, "pool gem_shared would be gem"),
        ("fastreid", {"pool": "avg"}, "pool avg would be gem"),
        ("fastreid-v0.1", {"pool": "gem"}, "known"),
        ("fastreid", {"p1_stride": 2}, "p1_stride 2 would be 1"),
        ("fastreid", {"mean": OWN_MEAN}, "mean 100.5,90.25,80.123 would be 123.675,116.28,103.53"),
        ("fastreid", {"extra_bn": True}, "mean 123.675,116.28,103.53 would be 89.896"),
        ("fastreid-v0.1", {"stem_padding": 0}, "stem_padding 0"),
        ("luperson", {"stem_padding": 0}, "stem_padding 0 would be 1"),
        ("mgn-pytorch", {"reduction": "plain"}, "reduction plain would be relu"),
        ("mgn-pytorch", {"stem_padding": 0}, "stem_padding 0 would be 1"),
        ("mgn-pytorch", {"p1_stride": 1}, "p1_stride 1 would be 2"),
        ("mgn-pytorch", {"std": OWN_MEAN}, "std 100.5,90.25,80.123 would be 58.395,57.12,57.375"),
        ("lwplw", {"mean": OWN_MEAN}, "mean 100.5"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_by_name(variant, changed, problem):
    with pytest.raises(InputError, match=f"a file of .* cannot hold this network: .*({problem})"):
        checked(variant, **changed)


def seeded_checkpoint(prefix, options):
    arrays = {}
    for name, shape in variable_shapes(options).items():
        arrays[name] = to_tf_layout(seeded_array(mgn_pytorch_key(name), torch_shape(shape)))
    write_checkpoint(prefix, arrays, options)
    return arrays


@pytest.mark.usefixtures("shallow_conversion")
def test_a_file_that_cannot_hold_the_network_is_not_kept(tmp_path):
    changed = VARIANTS["fastreid-v1.0"] | {"reduction": "prelu", "height": 96, "width": 32}
    seeded_checkpoint(tmp_path / "x", NetworkOptions(5, **changed, variant="fastreid-v1.0"))
    with pytest.raises(InputError, match=r"fast-reid's MGN of v0\.2 to v1\.0 cannot hold"):
        to_pytorch.convert(tmp_path / "x", tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.usefixtures("shallow_conversion")
def test_cosine_classifiers_are_left_out_of_mgn_pytorchs_files(tmp_path):
    """Whose classifiers have a bias; the rest is bit for bit the network, GeM and IBN-a with it."""
    values = {"pool": "gem", "ibn": True, "classifier": "cosine", "height": 96, "width": 32}
    options = NetworkOptions(5, **values)
    arrays = seeded_checkpoint(tmp_path / "x", options)
    written = to_pytorch.convert(tmp_path / "x", tmp_path / "x.pth")
    assert len(written.dropped) == 8 and all("fc_id" in name for name in written.dropped)
    assert "add --height 96 --width 32 --allow_missing 'fc_id_*'" in report.way_back_text(
        written, "x.pth"
    )
    again = to_tensorflow.read(tmp_path / "x.pth", allow_missing=["fc_id_*"], height=96, width=32)
    done = to_tensorflow.convert(again, tmp_path / "again")
    assert again.options == dataclasses.replace(options, num_classes=0, classifier="linear")
    assert max(found.feature for found in done.differences.values()) <= 1e-5
    for name, value in checkpoints.read(tmp_path / "again", list(again.coverage.keys)).items():
        assert np.array_equal(value, arrays[name]), name
    with pytest.raises(CheckError, match="16 missing"):
        to_tensorflow.convert(to_tensorflow.read(tmp_path / "x.pth"), tmp_path / "strict")
