"""The way back: bit for bit, into MGN-pytorch's own keys, proven before it is in place."""

import numpy as np
import pytest
import torch
from conftest import save_torch, seeded, write_checkpoint
from seeded import read_keys
from test_families import REFERENCE

from mgn import checkpoints, conversion, parity, to_pytorch, weights
from mgn.config import NetworkOptions
from mgn.errors import CheckError, InputError
from mgn.layouts import to_tf_layout
from mgn.torch_mgn import TorchMGN


@pytest.mark.parametrize(("keys", "reduction"), [("seathiefwang", "relu"), ("lwplw_prelu", "prelu")])
def test_there_and_back_is_bit_exact(tmp_path, keys, reduction):
    arrays = dict(seeded(keys, 10))
    odd = arrays["p2.1.0.bn1.bias"].copy()
    odd[:4] = -0.0, 1e-42, np.float32(1) + np.float32(2**-23), 3e38  # a signed zero, a denormal, a last bit
    arrays["p2.1.0.bn1.bias"] = odd * np.float32([1, 1, 1, 0, *[1] * 508])
    save_torch(tmp_path / "x.pt", arrays)
    conversion.convert(conversion.read(tmp_path / "x.pt", pool="max"), tmp_path / "made")
    done = to_pytorch.convert(tmp_path / "made", tmp_path / "back.pt")
    assert (done.checkpoint.options.reduction, done.tensors) == (reduction, len(arrays))
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert set(back) == set(arrays)
    for key, value in arrays.items():
        assert back[key].numpy().dtype == value.dtype and back[key].numpy().tobytes() == value.tobytes(), key
    listed = [key for key, _ in read_keys(REFERENCE / f"keys_{keys}.txt")]
    assert sorted(back) == sorted(listed)
    TorchMGN(10, "max", reduction).load_state_dict(back, strict=True)
    assert parity.largest(done.differences) <= 1e-5


def test_and_the_other_way_round(small_checkpoint, small_arrays, tmp_path):
    to_pytorch.convert(small_checkpoint, tmp_path / "x.pt")
    again = conversion.read(tmp_path / "x.pt", height=96, width=32)
    conversion.convert(again, tmp_path / "again")
    assert checkpoints.find(tmp_path / "again").options == checkpoints.find(small_checkpoint).options
    read = checkpoints.read(tmp_path / "again", list(small_arrays))
    assert all(read[name].tobytes() == np.ascontiguousarray(v).tobytes() for name, v in small_arrays.items())


def test_without_classifiers(tmp_path, small_arrays):
    kept = {name: value for name, value in small_arrays.items() if not name.startswith("fc_")}
    write_checkpoint(tmp_path / "x", kept, NetworkOptions(0, height=96, width=32))
    done = to_pytorch.convert(tmp_path / "x", tmp_path / "x.pt")
    assert not [key for key in torch.load(tmp_path / "x.pt", weights_only=True) if key.startswith("fc_")]
    assert {found.logits for found in done.differences.values()} == {None}


def test_what_is_refused(small_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "there.pt").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        to_pytorch.convert(small_checkpoint, tmp_path / "there.pt")
    assert (tmp_path / "there.pt").read_text() == "mine"
    with pytest.raises(InputError, match="no complete checkpoint"):
        to_pytorch.convert(tmp_path, tmp_path / "x.pt")
    arrays = weights.from_pytorch(seeded("torchvision_resnet50"))
    backbone = checkpoints.Checkpoint(tmp_path / "b", "backbone", NetworkOptions(0))
    assert len(arrays) == 515
    monkeypatch.setattr(checkpoints, "find", lambda *_, **__: backbone)
    with pytest.raises(InputError, match="holds a backbone only"):
        to_pytorch.convert(tmp_path / "b", tmp_path / "x.pt")


@pytest.mark.parametrize("fault", ["bits", "layout"])
def test_a_file_that_does_not_hold_the_weights_is_not_kept(small_checkpoint, tmp_path, monkeypatch, fault):
    if fault == "bits":
        honest = to_pytorch.torchfiles.read
        monkeypatch.setattr(
            to_pytorch.torchfiles,
            "read",
            lambda path: {k: v + np.float32(1e-7) * v for k, v in honest(path).items()},
        )
        expected = "read back otherwise"
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
