"""Files of weights in all their wrappings; what is refused, and that no code in them is run."""

import argparse
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tensorflow.compat.v1 as tf
import torch
from conftest import save_torch

from mgn.conversion import torchfiles
from mgn.system.errors import CheckError, InputError

ARRAYS = {
    "backone.0.weight": np.random.default_rng(0).standard_normal((4, 3, 7, 7)).astype(np.float32),
    "reduction_0.1.running_var": np.linspace(0.1, 5, 256, dtype=np.float32),
    "fc_id_2048_0.bias": np.array([1e-3, -3.25, 1e8], np.float32),
}
PREFIXES = "module.", "module.model.", "model.module.", "net.", "backbone."


@pytest.mark.parametrize(
    "wrapping",
    [
        "bare",
        "parameters",
        "legacy",
        "counters",
        *("state_dict", "model", "net", "model_state_dict", "model/state_dict"),
        *PREFIXES,
        *("half", "bfloat16"),
        *("safetensors", "safetensors bfloat16", "safetensors module."),
    ],
)
def test_wrappings(tmp_path, wrapping):
    tensors = {k: torch.from_numpy(v.copy()) for k, v in ARRAYS.items()}
    tolerance = {"half": 1e-3, "bfloat16": 1e-2}.get(wrapping.rpartition(" ")[2], 0)
    if tolerance:
        kind = torch.half if wrapping == "half" else torch.bfloat16
        tensors = {k: v.clamp(-1e4, 1e4).to(kind) for k, v in tensors.items()}
    elif wrapping.endswith("."):
        tensors = {wrapping.rpartition(" ")[2] + k: v for k, v in tensors.items()}
    elif wrapping == "parameters":
        tensors = {k: torch.nn.Parameter(v) for k, v in tensors.items()} | {
            3: "an optimiser's number"
        }
    elif wrapping == "counters":
        tensors["backone.1.num_batches_tracked"] = torch.tensor(7)
    elif not wrapping.startswith(("bare", "legacy", "safetensors")):
        for name in reversed(wrapping.split("/")):
            tensors = {name: tensors, "epoch": 3, "optimizer": {"state": {}}}
    if wrapping.startswith("safetensors"):
        safetensors.torch.save_file(tensors, tmp_path / "x")
    else:
        torch.save(tensors, tmp_path / "x", _use_new_zipfile_serialization=wrapping != "legacy")
    got = torchfiles.read(tmp_path / "x")
    assert set(got) - {"backone.1.num_batches_tracked"} == set(ARRAYS)
    for key, value in ARRAYS.items():
        assert got[key].dtype == np.float32
        assert np.allclose(
            got[key], value.clip(-1e4, 1e4) if tolerance else value, rtol=tolerance, atol=0
        )


@pytest.mark.parametrize("prefix", ["", "module."])
def test_mocos_encoder_of_queries_is_taken(tmp_path, prefix):
    """As MoCo and LUPerson save it: two encoders, and a queue of keys."""
    tensors = {"queue": torch.zeros(8, 16), "queue_ptr": torch.zeros(1, dtype=torch.long)}
    for key, value in ARRAYS.items():
        tensors[f"encoder_q.{key}"] = torch.from_numpy(value.copy())
        tensors[f"encoder_k.{key}"] = torch.from_numpy(value + 1)
    tensors = {f"{prefix}{key}": value for key, value in tensors.items()}
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": tensors}, tmp_path / "x")
    got = torchfiles.read(tmp_path / "x")
    beside = {"queue", "queue_ptr", *(f"encoder_k.{key}" for key in ARRAYS)}
    assert set(got) == {*ARRAYS, *beside}
    for key, value in ARRAYS.items():
        np.testing.assert_array_equal(got[key], value)


def test_what_training_programs_leave_beside_weights(tmp_path):
    """torchreid's `.pth.tar` has scores as numpy scalars, others their flags."""
    scores = {
        "rank1": np.float64(0.9),
        "mAP": np.float32(0.5),
        "epoch": np.int64(3),
        "best": np.bool_(True),
    }
    beside = {**scores, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}}
    for legacy in (False, True):
        tensors = {"state_dict": {"module.w": torch.ones(2)}, **beside}
        torch.save(tensors, tmp_path / "x", _use_new_zipfile_serialization=not legacy)
        assert np.array_equal(torchfiles.read(tmp_path / "x")["w"], np.ones(2))


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickled_module_is_refused_and_never_run(tmp_path):
    torch.save({"state_dict": Hostile(tmp_path / "made")}, tmp_path / "hostile.pt")
    torch.save({"w": torch.zeros(1), "x": Hostile(tmp_path / "made")}, tmp_path / "beside.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    hostile = {"w": torch.zeros(1), "x": Hostile(tmp_path / "made")}
    torch.save(hostile, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Hostile(tmp_path / "made")))
    for name in ("hostile.pt", "beside.pt", "module.pt", "legacy.pt", "bare.pt"):
        with pytest.raises(
            InputError, match=r"save it again with torch\.save\(model\.state_dict\(\)"
        ):
            torchfiles.read(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_files_that_hold_no_weights(tmp_path):
    (tmp_path / "text").write_text("hello, world, this is no checkpoint")
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "whole")
    safetensors.torch.save_file({"weight": torch.zeros(1000)}, tmp_path / "safe")
    for name in ("whole", "safe"):
        (tmp_path / f"truncated_{name}").write_bytes((tmp_path / name).read_bytes()[:1500])
    torch.save({}, tmp_path / "empty")
    torch.save({"state_dict": {}, "epoch": 1}, tmp_path / "nothing")
    torch.save([torch.zeros(1)], tmp_path / "list")
    (tmp_path / "letter").write_text("x")
    (tmp_path / "no bytes").touch()
    for name in ("truncated_whole", "truncated_safe"):
        with pytest.raises(
            InputError, match="not a readable PyTorch checkpoint: truncated or damaged"
        ):
            torchfiles.read(tmp_path / name)
    for name in ("text", "letter", "no bytes"):
        with pytest.raises(
            InputError, match="not a readable PyTorch checkpoint, nor anything else that is known"
        ):
            torchfiles.read(tmp_path / name)
    for name, there in (
        ("empty", "nothing"),
        ("nothing", "state_dict, epoch"),
        ("list", "nothing"),
    ):
        with pytest.raises(
            InputError, match=rf"no weights in it, bare or in state_dict.*; it has {there}"
        ):
            torchfiles.read(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        torchfiles.read(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="without a TensorFlow checkpoint"):
        torchfiles.read(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["quantised", "sparse csr", "meta", "complex"])
def test_tensors_that_are_no_plain_arrays_are_named(tmp_path, kind):
    tensor = {
        "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "sparse csr": lambda: torch.eye(2).to_sparse_csr(),
        "meta": lambda: torch.ones(2, device="meta"),
        "complex": lambda: torch.ones(2, dtype=torch.complex64),
    }[kind]()
    torch.save({"w": tensor}, tmp_path / "x")
    with pytest.raises(
        InputError, match=r"x: (w: a tensor that is no plain array|not a readable|holds more)"
    ):
        torchfiles.read(tmp_path / "x")


def test_containers_that_mislead(tmp_path):
    weights = {"w": torch.ones(2)}
    torch.save({"state_dict": {}, "model": weights}, tmp_path / "empty first")
    round_and_round = {"w": torch.ones(2)}
    round_and_round["model"] = round_and_round
    torch.save(round_and_round, tmp_path / "round")
    for name in ("empty first", "round"):
        assert np.array_equal(torchfiles.read(tmp_path / name)["w"], np.ones(2))
    averaged = {"n_averaged": torch.tensor(3), **{f"module.w{i}": torch.ones(2) for i in range(20)}}
    torch.save(averaged, tmp_path / "averaged")
    assert set(torchfiles.read(tmp_path / "averaged")) == {
        "n_averaged",
        *(f"w{i}" for i in range(20)),
    }
    few = {"module.w": torch.ones(2), "other": torch.ones(2)}
    torch.save(few, tmp_path / "few")
    assert set(torchfiles.read(tmp_path / "few")) == set(few)


def test_two_networks_in_one_file_are_refused(tmp_path):
    """Such as a network and its moving average: which one is meant, the file does not say."""
    one, other = ({f"w{i}": torch.full((2,), float(n)) for i in range(6)} for n in (1, 2))
    optimiser = {
        "state": {i: {"exp_avg": torch.ones(2)} for i in range(6)},
        "param_groups": [{"lr": 0.1}],
    }
    for name, held, said in (
        ("both", {"state_dict": one, "model": other}, "state_dict and model"),
        ("average", {"model": one, "ema": {"shadow": other}, "epoch": 1}, "model and ema"),
        (
            "deep",
            {"net": {"state_dict": one, "state_dict_ema": other}},
            "state_dict and state_dict_ema",
        ),
        ("beside", {**one, "model": other}, "model and the file itself"),
    ):
        torch.save({**held, "optimizer": optimiser}, tmp_path / name)
        with pytest.raises(
            InputError, match=rf"holds more than one network, in {said}; save the one"
        ) as told:
            torchfiles.read(tmp_path / name)
        assert told.value.details["networks"] == said.split(" and ")
    few = {"centers": torch.ones(3), "more": torch.ones(1)}  # of a loss, not another network
    torch.save({"model": one, "loss": few, "optimizer": optimiser}, tmp_path / "one")
    assert np.array_equal(torchfiles.read(tmp_path / "one")["w5"], np.ones(2))


def save_variables(prefix, **values):
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.Variable(value, name=name) for name, value in values.items()]
        session.run(tf.global_variables_initializer())
        tf.train.Saver(variables).save(session, str(prefix), write_meta_graph=False)


def test_tensorflow_checkpoints_with_other_variables(tmp_path):
    """Strings and whole numbers are no weights; half precision is."""
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    odd = {"words": ["a", "b"], "counts": [1, 2], "on": [True], "global_step": 3}
    half = {"half": matrix.astype(tf.bfloat16.as_numpy_dtype), "sixteen": matrix.astype(np.float16)}
    save_variables(
        tmp_path / "x.ckpt", matrix=matrix, cube=np.ones((2, 1, 1), np.float32), **odd, **half
    )
    read = torchfiles.read(tmp_path / "x.ckpt")
    assert set(read) == {"matrix", "cube", "half", "sixteen"}
    assert {value.dtype for value in read.values()} == {np.dtype(np.float32)}
    for name in ("matrix", "half", "sixteen"):
        assert np.array_equal(read[name], matrix.T)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("truncated data", "damaged checkpoint"),
        ("no data", "damaged checkpoint|not a readable TensorFlow checkpoint"),
        ("truncated index", "not a readable TensorFlow checkpoint"),
        ("empty index", "not a readable TensorFlow checkpoint"),
    ],
)
def test_damaged_tensorflow_checkpoints(tmp_path, fault, said):
    save_variables(
        tmp_path / "x.ckpt", a=np.ones(1000, np.float32), b=np.ones((20, 20), np.float32)
    )
    index, data = tmp_path / "x.ckpt.index", tmp_path / "x.ckpt.data-00000-of-00001"
    if fault == "no data":
        data.unlink()
    else:
        damaged = data if fault.endswith("data") else index
        damaged.write_bytes(
            damaged.read_bytes()[: 0 if fault.startswith("empty") else damaged.stat().st_size // 2]
        )
    for name in ("x.ckpt", "x.ckpt.index", "."):
        with pytest.raises(InputError, match=said):
            torchfiles.read(tmp_path / name)


def test_a_checkpoint_does_not_hide_a_file_of_its_name(tmp_path):
    save_variables(tmp_path / "x.pt", a=np.ones(3, np.float32))
    torch.save({"w": torch.zeros(2)}, tmp_path / "x.pt")
    assert set(torchfiles.read(tmp_path / "x.pt")) == {"w"}
    assert set(torchfiles.read(tmp_path / "x.pt.index")) == {"a"}


def test_a_checkpoint_of_this_toolkit_is_told_apart(small_checkpoint):
    for name in (small_checkpoint, f"{small_checkpoint}.index"):
        with pytest.raises(InputError, match=r"is a checkpoint of this toolkit; --to_pytorch"):
            torchfiles.read(name)


def test_a_failed_write_is_one_line(tmp_path):
    tensors = {"w": torch.zeros(3)}
    with pytest.raises(CheckError, match=r"x\.pt: could not be written \(.*No such file"):
        torchfiles.write(tmp_path / "none" / "x.pt", tensors)
    for size in (3, 1_000_000):  # in PyTorch's buffer until the end, or not
        with pytest.raises(
            CheckError, match="full: could not be written: the disk is full; free some space"
        ):
            torchfiles.write(Path("/dev/full"), {"w": torch.zeros(size)})
    torchfiles.write(tmp_path / "x.pt", tensors)
    assert np.array_equal(torchfiles.read(tmp_path / "x.pt")["w"], np.zeros(3))
    save_torch(tmp_path / "y.pt", {"w": np.zeros(3, np.float32)})
    assert np.array_equal(torchfiles.read(tmp_path / "y.pt")["w"], np.zeros(3))
