"""What weights tell of a network, for every variant."""

import pytest

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.system.errors import InputError
from mgn.weights import told
from mgn.weights.variables import variable_shapes


@pytest.mark.parametrize("name", VARIANTS)
def test_no_variant_contradicts_its_own_weights(name):
    options = NetworkOptions(6, **VARIANTS[name])
    found = told.possible(variable_shapes(options).get)
    told.check_possible(options, found, "x")
    assert found["num_classes"] == (6,) and found["ibn"] == (options.ibn,)
    assert len(found["pool"]) == 2 - options.pool.startswith("gem")


@pytest.mark.parametrize(
    ("of", "other", "problem"),
    [
        ("fastreid", {"ibn": False}, "x: ibn false, but its weights have true"),
        ("luperson", {"extra_bn": False}, "x: extra_bn false, but its weights have true"),
        ("fastreid", {"pool": "avg"}, "x: pool avg, but its weights have gem"),
        ("fastreid-v0.1", {"pool": "gem"}, "x: pool gem, but its weights have gem_shared"),
        ("fastreid-v0.1", {"reduction": "relu"}, "x: reduction relu, but its weights have neck"),
        ("lwplw", {"reduction": "plain"}, "x: reduction plain, but its weights have prelu"),
        ("mgn-pytorch", {"reduction": "neck"}, "x: reduction neck, but .* have relu or plain"),
        ("mgn-pytorch", {"pool": "gem"}, "x: pool gem, but its weights have avg or max"),
    ],
)
def test_another_variants_options_are_refused(of, other, problem):
    found = told.possible(variable_shapes(NetworkOptions(0, **VARIANTS[of])).get)
    with pytest.raises(InputError, match=problem):
        told.check_possible(NetworkOptions(0, **{**VARIANTS[of], **other}), found, "x")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mgn-pytorch", ""),
        ("lwplw", ""),
        ("fastreid-v0.1", "gem_shared, neck, IBN-a"),
        ("fastreid", "gem, IBN-a"),
        ("luperson", "gem, batch norm before pooling"),
    ],
)
def test_what_shows_a_variant(name, shown):
    shapes = variable_shapes(NetworkOptions(0, **VARIANTS[name]))
    assert told.shown_variant(told.possible(shapes.get)) == shown


def test_cosine_classifiers_have_no_bias():
    options = NetworkOptions(6, classifier="cosine")
    shapes = variable_shapes(options)
    found = told.possible(shapes.get)
    assert found["num_classes"] == (6,) and found["classifier"] == ("cosine",)
    assert len(shapes) == len(variable_shapes(NetworkOptions(6))) - 8
    with pytest.raises(InputError, match="classifier linear, but its weights have cosine"):
        told.check_possible(NetworkOptions(6), found, "x")
    assert len(told.possible(variable_shapes(NetworkOptions(0)).get)["classifier"]) == 2


def test_what_is_given_must_agree():
    options = NetworkOptions(0, **VARIANTS["fastreid"], variant="fastreid")
    told.check_agrees(options, {"variant": "fastreid-v1.0", "pool": "gem"}, "x has")
    for given, problem in (
        ({"pool": "avg"}, "--pool avg: x has pool gem"),
        (
            {"variant": "luperson"},
            "--variant luperson: x has stem_padding 0, not 1; its variant is fastreid",
        ),
        ({"variant": "mgn-pytorch"}, "x has pool gem, not avg; its variant is fastreid"),
    ):
        with pytest.raises(InputError, match=problem):
            told.check_agrees(options, given, "x has")
