"""Published networks as sets of options: complete, kept short, read back, refused."""

import dataclasses

import pytest

import train
from mgn.config import NetworkOptions, TrainConfig
from mgn.config.settings import new_run
from mgn.config.variants import VARIANTS, described, kept, options_in, with_variant
from mgn.system.errors import InputError


def test_every_variant_says_all_and_they_differ():
    fields = {field.name for field in dataclasses.fields(NetworkOptions)}
    others = {"num_classes", "height", "width", "variant", "classifier"}
    assert all(fields - set(values) == others for values in VARIANTS.values())
    assert VARIANTS["mgn-pytorch"] == {
        name: getattr(NetworkOptions(0), name) for name in VARIANTS["lwplw"]
    }
    made = {NetworkOptions(0, **values) for values in VARIANTS.values()}
    assert len(made) == 5  # fast-reid's v1.0 and its last differ in keys alone


def test_a_plain_network_is_described_as_of_old():
    old = {"num_classes": 5, "pool": "max", "reduction": "prelu", "height": 96, "width": 32}
    assert kept(NetworkOptions(5, "max", "prelu", 96, 32)) == old
    assert options_in(old) == NetworkOptions(5, "max", "prelu", 96, 32)
    with pytest.raises(KeyError, match="height"):
        options_in({name: value for name, value in old.items() if name != "height"})


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_kept_is_read_back(name):
    options = NetworkOptions(0, **VARIANTS[name], variant=name)
    description = kept(options) | {"kind": "mgn"}
    assert options_in(description) == options and options_in(description).variant == name
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in description.items()}
    assert options_in(as_json) == options


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("stem_padding", 2, "--stem_padding 2: choose one of 0, 1"),
        ("p1_stride", 0, "--p1_stride 0: choose one of 1, 2"),
        ("pool", "sum", "--pool sum: choose one of avg, max, gem, gem_shared"),
        ("reduction", "gelu", "--reduction gelu: choose one of relu, prelu, plain, neck"),
        ("mean", (1.0, 2.0), "--mean 1.0,2.0: must be three numbers"),
        ("std", (0.0, 1.0, 1.0), "--std 0.0,1.0,1.0: must be above 0"),
        ("std", (-1.0, 1.0, 1.0), "--std -1.0,1.0,1.0: must be three numbers"),
        (
            "std",
            (0.229, 0.224, 0.225),
            "--std 0.229,0.224,0.225: is for images in 0 to 1; for 0 to 255 give 58.395,57.12,",
        ),
        ("mean", (0.485, 0.456, 0.406), "--mean 0.485,0.456,0.406: is for images in 0 to 1; for 0"),
        ("mean", (1.0, 2.0, float("nan")), "--mean 1.0,2.0,nan: must be three numbers"),
        ("variant", "osnet", "--variant osnet: choose one of mgn-pytorch, lwplw"),
    ],
)
def test_what_no_network_has_is_refused(name, value, problem):
    for make in (TrainConfig, lambda **option: NetworkOptions(0, **option)):
        with pytest.raises(InputError) as refused:
            make(**{name: value})
        assert str(refused.value).startswith(problem)


def test_images_that_are_only_shifted_or_only_divided_are_taken():
    """By Caffe's networks, and by those that want -1 to 1 or 0 to 1."""
    NetworkOptions(0, mean=(103.9, 116.8, 123.7), std=(1.0, 1.0, 1.0))
    NetworkOptions(0, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))


def test_a_variant_sets_its_options_and_single_flags_go_before_it(tmp_path):
    def config_of(*flags):
        common = "--train_dir", str(tmp_path / "run"), "--recipe", "lwplw"
        return new_run(train.parse([*common, *flags]))[0].config

    config = config_of("--variant", "luperson", "--reduction", "relu", "--mean", "1,2,3.5")
    expected = VARIANTS["luperson"] | {"reduction": "relu", "mean": (1.0, 2.0, 3.5)}
    assert config.network_options(7) == NetworkOptions(7, **expected)
    assert config.network_options(7).variant == config.variant == "luperson"
    assert config_of().reduction == "prelu"  # the recipe's
    assert config_of("--variant", "mgn-pytorch").reduction == "relu"
    assert with_variant({"pool": "max"}) == {"pool": "max"}


def test_a_description_for_people():
    options = NetworkOptions(0, **VARIANTS["luperson"], variant="luperson")
    assert described(options) == (
        "luperson (gem pooling, plain heads, stride 1 in p1, batch norm before pooling,"
        " mean 89.896,79.2,80.073, std 63.872,64.305,63.839)"
    )
    assert described(NetworkOptions(0)) == "mgn-pytorch (avg pooling, relu heads)"
