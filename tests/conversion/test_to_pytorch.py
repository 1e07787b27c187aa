"""The way back: bit for bit, into MGN-pytorch's own keys, proven before it is in place."""

import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
import torch
from conftest import write_checkpoint

from mgn.config import NetworkOptions
from mgn.conversion import parity, to_pytorch, to_tensorflow
from mgn.system.errors import CheckError, InputError
from mgn.weights import checkpoints, saving
from mgn.weights.families import to_tf_layout

pytestmark = pytest.mark.usefixtures("shallow_twin")  # all kinds of layers


@pytest.fixture(scope="module")
def shallow_twin():
    with shallow.patched_with_torch():
        yield


def test_a_checkpoint_goes_to_pytorch_bit_for_bit(small_checkpoint, small_arrays, tmp_path):
    """And would come back: `test_conversion.py` goes the whole round from the other side."""
    done = to_pytorch.convert(small_checkpoint, tmp_path / "x.pt")
    assert parity.largest(done.differences) <= 1e-5
    again = to_tensorflow.read(tmp_path / "x.pt", height=96, width=32)
    assert again.options == checkpoints.find(small_checkpoint).options
    for name, value in small_arrays.items():
        read = to_tf_layout(again.state_dict[again.coverage.keys[name]])
        assert np.ascontiguousarray(read).tobytes() == np.ascontiguousarray(value).tobytes(), name


def test_without_classifiers(tmp_path, small_arrays):
    kept = {name: value for name, value in small_arrays.items() if not name.startswith("fc_")}
    write_checkpoint(tmp_path / "x", kept, NetworkOptions(0, height=96, width=32))
    done = to_pytorch.convert(tmp_path / "x", tmp_path / "x.pt")
    assert not [
        key for key in torch.load(tmp_path / "x.pt", weights_only=True) if key.startswith("fc_")
    ]
    assert {found.logits for found in done.differences.values()} == {None}


def test_what_is_refused(small_checkpoint, tmp_path):
    (tmp_path / "there.pt").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        to_pytorch.convert(small_checkpoint, tmp_path / "there.pt")
    with pytest.raises(InputError, match="no complete checkpoint"):
        to_pytorch.convert(tmp_path, tmp_path / "x.pt")
    variable = tf.get_variable("backbone/conv1/weight", [7, 7, 3, 64])
    with tf.Session() as session:
        session.run(variable.initializer)
        described = checkpoints.describe(NetworkOptions(0), "backbone")
        saving.save(session, saving.new_saver([variable]), tmp_path / "b", described)
    with pytest.raises(InputError, match="b: holds only a backbone"):
        to_pytorch.convert(tmp_path / "b", tmp_path / "x.pt")
    assert (tmp_path / "there.pt").read_text() == "mine" and not (tmp_path / "x.pt").exists()


def test_a_diverged_training_is_called_that(small_checkpoint, small_arrays, tmp_path, monkeypatch):
    name = "p2/layer4/0/bn1/bias"
    broken = small_arrays[name].copy()
    broken[:2] = np.nan, np.inf
    honest = checkpoints.read
    monkeypatch.setattr(
        checkpoints, "read", lambda prefix, names: honest(prefix, names) | {name: broken}
    )
    said = rf"1 weights hold NaN or infinity: {name} \(2 of {broken.size}\)"
    with pytest.raises(CheckError, match=said):
        to_pytorch.convert(small_checkpoint, tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["bits", "layout"])
def test_a_file_that_does_not_hold_the_weights_is_not_kept(
    small_checkpoint, tmp_path, monkeypatch, fault
):
    if fault == "bits":
        honest = to_pytorch.torchfiles.read
        monkeypatch.setattr(
            to_pytorch.torchfiles,
            "read",
            lambda path: {k: v + np.float32(1e-7) * v for k, v in honest(path).items()},
        )
        expected = "differ when read back"
    else:  # a kernel upside down is still equal bit for bit to what was meant to be written
        monkeypatch.setattr(
            to_pytorch,
            "to_torch_layout",
            lambda value: np.ascontiguousarray(
                value.transpose({4: (3, 2, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim])
            ),
        )
        expected = "differs from PyTorch's"
    with pytest.raises(CheckError, match=expected):
        to_pytorch.convert(small_checkpoint, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []
    assert to_tf_layout(np.zeros((1, 2, 3, 4))).shape == (3, 4, 2, 1)
