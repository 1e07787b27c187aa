"""Checkpoint families from their published key lists: what comes in, what is refused, and why."""

import mgn_reid
import numpy as np
import published_names
import pytest
import tensorflow.compat.v1 as tf
import torch
from conftest import REFERENCE, relative, seeded
from seeded import read_keys
from torch.nn import functional

from mgn import weights
from mgn.config import NetworkOptions
from mgn.network import HEADS, mgn
from mgn.system.errors import InputError
from mgn.system.session import new_session
from mgn.weights import families
from mgn.weights.families import to_tf_layout, to_torch_layout, torch_shape
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.variables import assign_some, model_variables, variable_shapes


def shaped(keys):
    """A family's state dict of zeros, which take no memory; powers are 1."""
    return {
        key: np.broadcast_to(np.float32(key.endswith(".p")), shape)
        for key, shape in read_keys(REFERENCE / f"keys_{keys}.txt")
    }


def respelled():
    """MGN-pytorch's checkpoint with its trunk spelled `backbone`."""
    return {
        key.replace("backone.", "backbone."): value for key, value in shaped("seathiefwang").items()
    }


def under_base():
    """A ResNet-50 as reid-strong-baseline saves it, with its neck and classifier."""
    whole = shaped("torchvision_resnet50").items()
    body = {f"base.{key}": value for key, value in whole if not key.startswith("fc.")}
    return body | {
        "bottleneck.weight": np.ones(2048, "f"),
        "classifier.weight": np.ones((5, 2048), "f"),
    }


@pytest.mark.parametrize(
    ("make", "name", "kind", "pool"),
    [
        (lambda: shaped("seathiefwang"), "MGN-pytorch", "mgn", "avg"),
        (lambda: shaped("lwplw_prelu"), "MGN-pytorch", "mgn", "avg"),
        (respelled, "MGN in levyfan's layout", "mgn", "max"),
        (lambda: shaped("gnayuohz"), "GNAYUOHZ's ReID-MGN", "mgn", "max"),
        (
            lambda: shaped("torchvision_resnet50"),
            "ResNet-50 of torchvision or torchreid",
            "backbone",
            "avg",
        ),
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
    ("keys", "variant", "passed_over"),
    [  # passed over: copies of a power, classifiers, mean and deviation; counters besides
        ("fastreid_v0.1.1", "fastreid-v0.1", 7 + 8 + 2),
        ("fastreid_ea06ead", "fastreid-v1.0", 8 + 2),
        ("fastreid_HEAD", "fastreid", 8),
        ("fastreid_LUPerson", "luperson", 8 + 2),
    ],
)
def test_every_key_of_fast_reids_families_has_its_place(keys, variant, passed_over):
    state_dict = shaped(keys)
    state_dict |= {key: np.ones(3) for key in ("pixel_mean", "pixel_std") if key in state_dict}
    family = families.recognise(state_dict)
    arrays = weights.from_pytorch(state_dict)
    counted = [key for key in state_dict if not key.endswith("num_batches_tracked")]
    assert family.variant == variant and len(arrays) == len(counted) - passed_over


def test_strangers_are_refused():
    with pytest.raises(
        InputError, match=r"it looks like a VGG or AlexNet: keys begin features\.0\.weight"
    ):
        families.recognise({"features.0.weight": np.zeros(3)})
    small = {f"layer{i}.0.conv{j}.weight": np.zeros(1) for i in (1, 2, 3, 4) for j in (1, 2)}
    with pytest.raises(InputError, match="it looks like a ResNet-18 or ResNet-34"):
        families.recognise({"conv1.weight": np.zeros(1), **small})


@pytest.mark.parametrize("other", ["fastreid_ea06ead", "fastreid_HEAD", "fastreid_LUPerson"])
def test_keys_of_two_variants_mixed_are_named(other):
    with pytest.raises(InputError, match=r"has keys of two families, .* up to v0\.1\.1 .* and "):
        families.recognise({**shaped("fastreid_v0.1.1"), **shaped(other)})


def test_two_families_mixed_are_named():
    for other, name in ((respelled(), "levyfan"), (shaped("torchvision_resnet50"), "torchvision")):
        with pytest.raises(InputError, match=rf"has keys of two families, MGN-pytorch \(.*{name}"):
            families.recognise({**shaped("seathiefwang"), **other})


def test_mgn_reids_variables_are_found_by_rule():
    """Against its published names, and the pairs of its name files."""
    (family,) = (f for f in families.FAMILIES if "MGN-ReId" in f.name)
    listed = mgn_reid.variables(751)
    assert len(listed) == 579
    ours = variable_shapes(NetworkOptions(751, reduction="prelu"))
    for order in ("mgn-reid", "pytorch"):
        found = {family.key(name, order): shape for name, shape in ours.items()}
        assert found == listed
    by_number = {family.key(name, "pytorch"): mgn_pytorch_key(name) for name in ours}
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


@pytest.mark.parametrize(
    ("family", "make", "tensors"),
    [
        ("torchvision", lambda: shaped("torchvision_resnet50"), 265),
        ("base", under_base, 265),
        ("levyfan", respelled, 571),
        ("gnayuohz", lambda: shaped("gnayuohz"), 536),
    ],
)
def test_each_variable_takes_the_weight_of_its_place(family, make, tensors):
    """All, by name: each key's weight is a number of its own, so exchanged blocks would show."""
    listed = make()
    numbers = {key: float(i) for i, key in enumerate(listed)}
    arrays = weights.from_pytorch(
        {key: np.broadcast_to(np.float32(numbers[key]), v.shape) for key, v in listed.items()}
    )
    expected = published_names.whole(family)
    assert set(expected.values()) <= set(listed) and len(set(expected.values())) == tensors
    assert {name: value.flat[0] for name, value in arrays.items()} == {
        name: numbers[key] for name, key in expected.items()
    }


def resnet50(state_dict, images):
    """torchvision's ResNet-50 up to its last map, by its own key names: [N, 2048, h, w]."""
    weights_of = {key: torch.from_numpy(np.array(value)) for key, value in state_dict.items()}

    def convolved(x, convolution, norm, **how):
        x = functional.conv2d(x, weights_of[f"{convolution}.weight"], **how)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(weights_of[f"{norm}.{leaf}"] for leaf in leaves))

    x = convolved(torch.from_numpy(images), "conv1", "bn1", stride=2, padding=3).relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    for layer, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for i in range(blocks):
            name, stride = f"layer{layer}.{i}", 2 if layer > 1 and i == 0 else 1
            inner = convolved(x, f"{name}.conv1", f"{name}.bn1").relu()
            inner = convolved(
                inner, f"{name}.conv2", f"{name}.bn2", stride=stride, padding=1
            ).relu()
            inner = convolved(inner, f"{name}.conv3", f"{name}.bn3")
            if i == 0:
                x = convolved(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
            x = (inner + x).relu()
    return x.numpy()


def test_a_resnet_gives_p1_the_map_that_it_gives_by_itself():
    """p1 alone keeps all of ResNet-50's strides; neither side knows of the other's names."""
    state_dict = seeded("torchvision_resnet50")
    images = np.random.default_rng(0).standard_normal((2, 3, 96, 64)).astype(np.float32)
    given = tf.placeholder(tf.float32, [None, 96, 64, 3])
    mgn(given, 0, False)
    variables = model_variables()
    maps = tf.get_default_graph().get_tensor_by_name("p1/layer4/2/Relu_2:0")
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        arrays = weights.from_pytorch(state_dict)
        assign_some(session, [v for v in variables if v.op.name in arrays], arrays)
        got = session.run(maps, {given: images.transpose(0, 2, 3, 1)})
    assert relative(got.transpose(0, 3, 1, 2), resnet50(state_dict, images)) <= 1e-5


def test_layouts():
    convolution, matrix = np.arange(24.0).reshape(4, 3, 2, 1), np.arange(6.0).reshape(3, 2)
    assert to_tf_layout(convolution)[1, 0, 2, 3] == convolution[3, 2, 1, 0]
    assert to_tf_layout(matrix)[1, 2] == matrix[2, 1]
    assert to_tf_layout(convolution).dtype == np.float32
    assert np.array_equal(to_torch_layout(to_tf_layout(convolution)), convolution)
    assert to_torch_layout(to_tf_layout(convolution)).flags.c_contiguous
    assert torch_shape((7, 7, 3, 64)) == (64, 3, 7, 7)
