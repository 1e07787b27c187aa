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
PREFIXES = "module.", "model.module.", "_orig_mod."


@pytest.mark.parametrize(
    "wrapping",
    [
        "bare",
        "parameters",
        "legacy",
        "counters",
        *("state_dict", "State_Dict", "model/state_dict"),
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
        tensors = {"state_dict": {"w": torch.ones(2)}, **beside}
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
    (tmp_path / "binary").write_bytes(b"\x01\x02\x03")
    (tmp_path / "zeros").write_bytes(bytes(100))
    (tmp_path / "latin").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "no bytes").touch()
    for name in ("truncated_whole", "truncated_safe"):
        with pytest.raises(
            InputError, match="not a readable PyTorch checkpoint: truncated or damaged"
        ):
            torchfiles.read(tmp_path / name)
    for name, why in (
        ("text", "; it looks like a text file; name a file of weights"),
        ("letter", "; it looks like a text file; name a file of weights"),
        ("binary", ": of no known format"),
        ("zeros", ": of no known format"),
        ("latin", ": of no known format"),
        ("no bytes", ": of no known format"),
    ):
        with pytest.raises(InputError, match=f"not a readable PyTorch checkpoint{why}"):
            torchfiles.read(tmp_path / name)
    for name, there in (
        ("empty", "nothing"),
        ("nothing", "state_dict, epoch"),
        ("list", "nothing"),
    ):
        with pytest.raises(InputError, match=rf"no weights in it \(it holds {there}\)"):
            torchfiles.read(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        torchfiles.read(tmp_path / "missing")


@pytest.mark.parametrize("kind", ["quantised", "sparse csr", "meta", "complex"])
def test_tensors_that_are_no_plain_arrays_are_named(tmp_path, kind):
    tensor = {
        "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "sparse csr": lambda: torch.eye(2).to_sparse_csr(),
        "meta": lambda: torch.ones(2, device="meta"),
        "complex": lambda: torch.ones(2, dtype=torch.complex64),
    }[kind]()
    torch.save({"w": tensor}, tmp_path / "x")
    with pytest.raises(InputError, match=r"x: (w: not a dense tensor|not a readable|holds more)"):
        torchfiles.read(tmp_path / "x")


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


def test_a_network_is_chosen_by_name(tmp_path):
    bare = {k: torch.from_numpy(v.copy()) for k, v in ARRAYS.items()}
    both = {"student": bare, "teacher": {k: v + 1 for k, v in bare.items()}}
    torch.save(both, tmp_path / "x")
    with pytest.raises(InputError, match="more than one network"):
        torchfiles.read(tmp_path / "x")
    for name, more in (("student", 0), ("teacher", 1)):
        got = torchfiles.read(tmp_path / "x", name)
        assert set(got) == set(ARRAYS)
        assert np.array_equal(got["fc_id_2048_0.bias"], ARRAYS["fc_id_2048_0.bias"] + more)
    save_variables(tmp_path / "x.ckpt", a=np.ones(3, np.float32))
    with pytest.raises(InputError, match=r"--key a: .*x\.ckpt is a checkpoint of one network"):
        torchfiles.read(tmp_path / "x.ckpt", "a")


def test_a_tensorflow_folder_of_another_machine(tmp_path):
    """Its `checkpoint` file names a place that is not here, or is gone too."""
    for step in (10, 20):
        save_variables(tmp_path / f"reid.ckpt-{step}", a=np.full(3, step, np.float32))
    state = tmp_path / "checkpoint"
    for named in ("/home/o/runs/reid.ckpt-10", r"C:\\runs\\reid.ckpt-10", "reid.ckpt-10"):
        state.write_text(f'model_checkpoint_path: "{named}"\n')
        assert torchfiles.read(tmp_path)["a"].tolist() == [10, 10, 10], named
    listed = r"name one of its files: reid\.ckpt-10, reid\.ckpt-20$"
    for content in (b'model_checkpoint_path: "/home/o/reid.ckpt-30"', b"\xff\xfe", b"{"):
        state.write_bytes(content)
        with pytest.raises(InputError, match=listed):
            torchfiles.read(tmp_path)
    state.unlink()
    with pytest.raises(InputError, match=listed):
        torchfiles.read(tmp_path)
    (tmp_path / "reid.ckpt-10.index").unlink()
    assert torchfiles.read(tmp_path)["a"].tolist() == [20, 20, 20]
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"no TensorFlow checkpoint in this folder; .* its files: nothing$"
    ):
        torchfiles.read(tmp_path / "empty")


def test_a_path_that_tensorflow_takes_for_a_pattern_is_called_that(tmp_path):
    save_variables(tmp_path / "plain", a=np.ones(3, np.float32))
    odd = tmp_path / "runs [2]"
    odd.mkdir()
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"plain{suffix}").rename(odd / f"x{suffix}")
    for path in (odd, odd / "x", odd / "x.index"):
        with pytest.raises(InputError, match=r"x: TensorFlow cannot read .* any of \* \? \[ \]"):
            torchfiles.read(path)


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
    with pytest.raises(CheckError, match=r"x\.pt: could not be written: no such file"):
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
