"""Names by rule, layouts by rank, strictness."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import REFERENCE, seeded
from seeded import read_keys

from mgn import weights
from mgn.config import NetworkOptions
from mgn.network import mgn
from mgn.system.errors import CheckError, InputError
from mgn.system.session import new_session
from mgn.weights import naming
from mgn.weights.variables import variable_shapes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "mgn_key", "imagenet_key"),
    [
        ("backbone/conv1/weight", "backone.0.weight", "conv1.weight"),
        ("backbone/bn1/running_var", "backone.1.running_var", "bn1.running_var"),
        (
            "backbone/layer1/0/downsample/1/bias",
            "backone.4.0.downsample.1.bias",
            "layer1.0.downsample.1.bias",
        ),
        ("backbone/layer2/3/conv2/weight", "backone.5.3.conv2.weight", "layer2.3.conv2.weight"),
        ("backbone/layer3/0/bn3/weight", "backone.6.bn3.weight", "layer3.0.bn3.weight"),
        ("p1/layer3/1/conv1/weight", "p1.0.0.conv1.weight", "layer3.1.conv1.weight"),
        ("p3/layer3/5/bn2/bias", "p3.0.4.bn2.bias", "layer3.5.bn2.bias"),
        (
            "p2/layer4/0/downsample/0/weight",
            "p2.1.0.downsample.0.weight",
            "layer4.0.downsample.0.weight",
        ),
        ("reduction_3/1/running_mean", "reduction_3.1.running_mean", None),
        ("fc_id_256_1_0/bias", "fc_id_256_1_0.bias", None),
    ],
)
def test_names(name, mgn_key, imagenet_key):
    assert naming.mgn_pytorch_key(name) == mgn_key
    assert naming.imagenet_key(name) == imagenet_key


def test_imagenet_weights_go_into_trunk_and_all_three_branches():
    state_dict = seeded("torchvision_resnet50")
    arrays = weights.from_pytorch(state_dict)
    assert len(arrays) == 515
    for branch in ("p1", "p2", "p3"):
        got = arrays[f"{branch}/layer4/1/conv2/weight"]
        assert np.array_equal(got, state_dict["layer4.1.conv2.weight"].transpose(2, 3, 1, 0))
    used = {naming.imagenet_key(name) for name in arrays}
    counters = {key for key in state_dict if key.endswith("num_batches_tracked")}
    assert set(state_dict) - used - counters == {"fc.weight", "fc.bias"}


def test_missing_left_over_and_wrong_shapes_are_named():
    state_dict = seeded("seathiefwang", 10)
    broken = dict(state_dict)
    broken["surprise.weight"] = broken.pop("p2.0.3.bn2.bias")
    with pytest.raises(
        CheckError, match=r"1 missing \(p2.0.3.bn2.bias\); 1 left over \(surprise.weight\)"
    ):
        weights.from_pytorch(broken)
    narrow = {**state_dict, "p1.1.0.conv1.weight": state_dict["p1.1.0.conv1.weight"][:, :-1]}
    with pytest.raises(CheckError, match=r"p1.1.0.conv1.weight \(512, 1023, 1, 1\)"):
        weights.from_pytorch(narrow)
    flat = {**state_dict, "p1.1.0.conv1.weight": state_dict["p1.1.0.conv1.weight"][..., 0]}
    with pytest.raises(CheckError, match=r"p1.1.0.conv1.weight \(512, 1024, 1\)"):
        weights.from_pytorch(flat)


def test_another_network_is_refused():
    with pytest.raises(InputError, match="not a known MGN or ResNet-50"):
        weights.from_pytorch({"features.0.weight": np.zeros((64, 3, 3, 3))})


def test_key_lists_are_complete():
    """Our rules use every key of the published lists, but counters and ImageNet's classifier."""
    for keys, reduction in (("seathiefwang", "relu"), ("lwplw_prelu", "prelu")):
        listed = {
            k
            for k, _ in read_keys(REFERENCE / f"keys_{keys}.txt")
            if not k.endswith("num_batches_tracked")
        }
        assert {
            naming.mgn_pytorch_key(name)
            for name in variable_shapes(NetworkOptions(751, reduction=reduction))
        } == listed


def test_assign_is_strict(small_arrays):
    mgn(tf.placeholder(tf.float32, [None, 96, 32, 3]), 10, False)
    missing = {k: v for k, v in small_arrays.items() if k != "p1/layer4/0/bn1/bias"}
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        with pytest.raises(CheckError, match="1 variables without a value"):
            weights.assign(session, missing)
        with pytest.raises(CheckError, match="1 values without a variable"):
            weights.assign(session, {**small_arrays, "extra": np.zeros(1)})
        with pytest.raises(CheckError, match="fc_id_2048_0/bias: shape"):
            weights.assign(session, {**small_arrays, "fc_id_2048_0/bias": np.zeros(11, np.float32)})
        weights.assign(session, small_arrays)
        for variable in tf.global_variables()[::50]:
            assert np.array_equal(session.run(variable), small_arrays[variable.op.name])


def test_training_does_not_import_what_knows_other_programs_checkpoints():
    code = (
        "import sys\n"
        "from mgn.training import run\n"
        "from mgn import weights\n"
        "known = [f'mgn.weights.{name}' for name in ('families', 'foreign', 'coverage')]\n"
        "assert not [name for name in known if name in sys.modules]\n"
        "assert callable(weights.from_pytorch) and set(known) <= set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
