"""Names in fast-reid's files, against its published key lists; the others' are in test_families."""

import pytest
from conftest import REFERENCE
from seeded import read_keys

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.weights.families import family_of, torch_shape
from mgn.weights.naming import fast_reid_key, first_fast_reid_key
from mgn.weights.variables import variable_shapes


@pytest.mark.parametrize(
    ("name", "since", "first"),
    [
        ("backbone/conv1/weight", "backbone.0.weight", "backbone.0.weight"),
        ("backbone/layer2/3/bn1/IN/bias", *["backbone.5.3.bn1.IN.bias"] * 2),
        ("p2/layer3/1/bn1/BN/running_var", *["b2.0.0.bn1.BN.running_var"] * 2),
        ("p3/layer4/0/downsample/0/weight", *["b3.1.0.downsample.0.weight"] * 2),
        ("reduction_3/0/weight", "b21_head.bottleneck.0.weight", "b21_pool.1.weight"),
        ("reduction_7/1/bias", "b33_head.bottleneck.1.bias", "b33_pool.2.bias"),
        ("reduction_2/gem/p", "b3_head.pool_layer.p", None),
        ("reduction_2/neck/weight", None, "b3_head.bnneck.weight"),
        ("reduction_2/2/weight", None, None),  # PReLU
        ("fc_id_2048_0/weight", None, None),
        ("extra_bn_p2/running_mean", *["heads_extra_bn_b2.running_mean"] * 2),
    ],
)
def test_names_by_hand(name, since, first):
    assert fast_reid_key(name) == since
    assert first_fast_reid_key(name) == first


@pytest.mark.parametrize(
    ("keys", "variant"),
    [
        ("v0.1.1", "fastreid-v0.1"),
        ("ea06ead", "fastreid-v1.0"),
        ("HEAD", "fastreid"),
        ("LUPerson", "luperson"),
    ],
)
def test_names_and_shapes_are_the_published_ones(keys, variant):
    family = family_of(variant)
    found = dict.fromkeys(family.copies, (1,))
    for name, shape in variable_shapes(NetworkOptions(0, **VARIANTS[variant])).items():
        found[family.key(name, None)] = torch_shape(shape)
    beside = ("num_batches_tracked", "classifier.weight", "pixel_mean", "pixel_std")
    listed = dict(read_keys(REFERENCE / f"keys_fastreid_{keys}.txt"))
    heads = {key for key in listed if key.endswith("_head.weight")}
    assert found == {k: s for k, s in listed.items() if not k.endswith(beside) and k not in heads}
