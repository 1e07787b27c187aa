"""PyTorch files in all their wrappings; what is refused, and that nothing is written then."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import torch
from conftest import REFERENCE, relative, save_torch, seeded

from mgn import checkpoints, conversion, inference, weights
from mgn.errors import CheckError, InputError
from mgn.network import HEADS
from mgn.torch_mgn import TorchMGN


def bare(state_dict):
    """Without counters, as PyTorch 0.4.0 wrote them; a new dictionary."""
    return {k: v for k, v in state_dict.items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_our_pytorch_network_is_mgn_pytorchs(state_dict, pool):
    network = TorchMGN(751, pool).eval()
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state_dict.items()}, strict=True)
    pictures = torch.from_numpy(np.random.RandomState(7).standard_normal((2, 3, 384, 128)).astype(np.float32))
    with torch.no_grad():
        embedding, _, logits = network(pictures)
    stored = np.load(REFERENCE / f"forward_seathiefwang_{pool}.npz")
    assert relative(embedding, stored["embedding"]) <= 1e-5
    assert relative(torch.stack(logits), stored["logits"]) <= 1e-5


@pytest.mark.parametrize(
    "wrapping", ["bare", "state_dict", "model", "module.", "module.model.", "legacy", "half"]
)
def test_wrappings(tmp_path, state_dict, wrapping):
    arrays = {k: v for k, v in bare(state_dict).items() if k.startswith(("backone.1", "reduction_0"))}
    tensors = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}
    options = {}
    if wrapping in ("state_dict", "model"):
        tensors = {wrapping: tensors, "epoch": 3, "optimizer": {"state": {}}}
    elif wrapping.endswith("."):
        tensors = {wrapping + k: v for k, v in tensors.items()}
    elif wrapping == "half":
        tensors = {k: v.half() for k, v in tensors.items()}
    elif wrapping == "parameters":
        tensors = {k: torch.nn.Parameter(v) for k, v in tensors.items()} | {3: "an optimiser's number"}
    elif wrapping == "legacy":
        options = {"_use_new_zipfile_serialization": False}
    torch.save(tensors, tmp_path / "x.pt", **options)
    got = conversion.read_state_dict(tmp_path / "x.pt")
    assert set(got) == set(arrays)
    for key, value in got.items():
        assert value.dtype == np.float32
        assert np.allclose(value, arrays[key], rtol=1e-3 if wrapping == "half" else 0, atol=1e-6)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickled_module_is_refused_and_never_run(tmp_path):
    torch.save({"state_dict": Hostile(tmp_path / "made")}, tmp_path / "hostile.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    for name in ("hostile.pt", "module.pt"):
        with pytest.raises(InputError, match=r"save it again with torch\.save\(model\.state_dict\(\)"):
            conversion.read_state_dict(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_files_that_hold_no_weights(tmp_path):
    (tmp_path / "text.pt").write_text("hello, world, this is no checkpoint")
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "whole.pt")
    (tmp_path / "truncated.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:2000])
    torch.save({}, tmp_path / "empty.pt")
    torch.save({"state_dict": {}, "epoch": 1}, tmp_path / "nothing.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    (tmp_path / "letter.pt").write_text("x")
    for name in ("text", "truncated", "letter"):
        with pytest.raises(InputError, match="not a readable PyTorch checkpoint"):
            conversion.read_state_dict(tmp_path / f"{name}.pt")
    for name in ("empty", "nothing", "list"):
        with pytest.raises(InputError, match="no weights in it"):
            conversion.read_state_dict(tmp_path / f"{name}.pt")
    with pytest.raises(InputError, match="cannot be read"):
        conversion.read_state_dict(tmp_path / "missing.pt")


@pytest.mark.parametrize(("keys", "reduction"), [("seathiefwang", "relu"), ("lwplw_prelu", "prelu")])
def test_an_mgn_checkpoint_converts(tmp_path, keys, reduction):
    save_torch(tmp_path / "x.pt", bare(seeded(keys, 10)))
    done = conversion.convert(tmp_path / "x.pt", tmp_path / "made", pool="max")
    print(f"{keys}: largest difference {done.difference:.1e}")
    assert done.difference <= 1e-5
    found = checkpoints.find(tmp_path / "made")
    assert (found.kind, found.options.pool, found.options.reduction) == ("mgn", "max", reduction)
    assert found.options.num_classes == 10
    stored = json.loads((tmp_path / "made.json").read_text())
    assert stored["source"]["file"] == "x.pt" and re.fullmatch("[0-9a-f]{64}", stored["source"]["sha256"])
    assert stored["embedding_order"] == [head.name for head in HEADS]
    total = conversion.coverage_table(done).splitlines()[-1].split()
    assert total[1] == {"relu": "571", "prelu": "579"}[reduction]
    with pytest.raises(InputError, match="exists"):
        conversion.convert(tmp_path / "x.pt", tmp_path / "made")


def test_imagenet_weights_convert_to_a_backbone(tmp_path):
    state_dict = seeded("torchvision_resnet50")
    save_torch(tmp_path / "resnet50.pth", state_dict)
    done = conversion.convert(tmp_path / "resnet50.pth", tmp_path / "made")
    assert done.kind == "backbone" and done.difference <= 1e-5
    reader = tf.train.load_checkpoint(str(tmp_path / "made"))
    assert len(reader.get_variable_to_shape_map()) == 515
    assert np.array_equal(reader.get_tensor("p3/layer4/0/bn1/bias"), state_dict["layer4.0.bn1.bias"])
    with pytest.raises(InputError, match="holds a backbone only"):
        inference.load_embedder(tmp_path / "made")


@pytest.mark.parametrize("fault", ["missing", "nan"])
def test_a_failed_check_writes_nothing(tmp_path, fault):
    arrays = bare(seeded("seathiefwang", 10))
    if fault == "missing":
        del arrays["fc_id_2048_0.weight"]
    else:
        arrays["reduction_2.0.weight"] = arrays["reduction_2.0.weight"] * np.float32(np.nan)
    save_torch(tmp_path / "x.pt", arrays)
    with pytest.raises(
        CheckError, match=r"fc_id_2048_0\.weight" if fault == "missing" else "fg_p3:0 differs"
    ):
        conversion.convert(tmp_path / "x.pt", tmp_path / "made")
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_a_swapped_head_would_be_noticed(tmp_path, monkeypatch):
    """The proof looks at each head: with two reductions exchanged it must fail."""
    honest = weights.from_pytorch

    def swapped(state_dict):
        arrays = honest(state_dict)
        for leaf in ("0/weight", "1/running_mean"):
            a, b = f"reduction_2/{leaf}", f"reduction_3/{leaf}"
            arrays[a], arrays[b] = arrays[b], arrays[a]
        return arrays

    monkeypatch.setattr(weights, "from_pytorch", swapped)
    save_torch(tmp_path / "x.pt", seeded("seathiefwang", 10))
    with pytest.raises(CheckError, match="differs from PyTorch's"):
        conversion.convert(tmp_path / "x.pt", tmp_path / "made")
