"""Files of another kind than the one asked for: each is called what it is."""

import zipfile

import numpy as np
import pytest
import safetensors.torch
import tensorflow.compat.v1 as tf
import torch

from mgn.conversion import torchfiles
from mgn.inference import load_embedder
from mgn.system.errors import InputError
from mgn.weights import checkpoints, filekinds


def zipped(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")

    return write


def graph_def(path):
    with tf.Graph().as_default() as graph:
        tf.constant(np.arange(100.0), name="x")
    path.write_bytes(graph.as_graph_def().SerializeToString())


def scripted(path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(path))


def saved_model(path):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None])
        tf.saved_model.simple_save(session, f"{path}.served", {"x": x}, {"y": x + 1})
    (path.parent / f"{path.name}.served" / "saved_model.pb").rename(path)


def content(data):
    return lambda path: path.write_bytes(data)


ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:"  # as PyTorch begins one; others: version, graph


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (content(b"\n<!DOCTYPE html><html>"), "a web page"),
        (content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), "Git LFS"),
        (content(b"\x1f\x8b\x08" + bytes(20)), "an archive; unpack it"),
        (zipped("ReID/model_best.pt"), "an archive; unpack it"),
        (graph_def, "a frozen graph of TensorFlow; .*evaluate.py --model"),
        (saved_model, "SavedModel of TensorFlow; name it saved_model.pb, in a folder"),
        (scripted, "TorchScript"),
        (content(ONNX), "an ONNX model"),
        (content(b"\x08\x0a:\x99\x01\n"), "an ONNX model"),
        (content(b"\x89HDF\r\n\x1a\n"), "a Keras or HDF5 file"),
        (content(b"\x89PNG\r\n\x1a\n" + bytes(20)), "an image; name a file of weights"),
        (content(b"\xff\xd8\xff\xe0\0\x10JFIF"), "an image; name a file of weights"),
        (content(b"MODEL:\n  NAME: mgn\n"), "a text file; name a file of weights"),
        (content(("训练" * 40).encode()), "a text file; name a file of weights"),  # cut in a letter
        (content(b"\nstep 1"), "a text file; name a file of weights"),
        (zipped("metadata.json", "model.weights.h5"), "a Keras or HDF5 file"),
        (zipped("features.npy"), "a file of NumPy arrays"),
        (content(b"\x1c\0\0\0TFL3"), "a TensorFlow Lite model"),
    ],
)
def test_what_a_file_is(tmp_path, write, kind):
    write(tmp_path / "x.pt")
    with pytest.raises(
        InputError, match=rf"x\.pt: not a readable PyTorch checkpoint; it looks like .*{kind}"
    ) as told:
        torchfiles.read(tmp_path / "x.pt")
    assert told.value.details["looks_like"] == filekinds.file_kind(tmp_path / "x.pt").name


def test_a_saved_model_and_its_file(tmp_path):
    (tmp_path / "served").mkdir()
    saved_model(tmp_path / "served" / "saved_model.pb")
    with pytest.raises(
        InputError,
        match=r"served: no TensorFlow checkpoint .*; it looks like a SavedModel .*evaluate",
    ):
        torchfiles.read(tmp_path / "served")
    with pytest.raises(
        InputError,
        match=r"it looks like the file of a SavedModel of .*; name its folder, .*served;",
    ):
        torchfiles.read(tmp_path / "served" / "saved_model.pb")


def test_pytorchs_own_files_need_only_conversion(tmp_path):
    """Whole, cut off, in both formats: what is wrong with those PyTorch says."""
    weights = {"w": torch.zeros(100)}
    for form in ("zip", "legacy", "safetensors"):
        if form == "safetensors":
            safetensors.torch.save_file(weights, tmp_path / "x")
        else:
            torch.save(weights, tmp_path / "x", _use_new_zipfile_serialization=form == "zip")
        told = filekinds.file_kind(tmp_path / "x")
        assert told.to_convert is None and "convert_pytorch_weights.py" in told.to_run
        (tmp_path / "cut").write_bytes((tmp_path / "x").read_bytes()[:300])
        cut = filekinds.file_kind(tmp_path / "cut")
        assert cut is None or cut.to_convert is None


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (graph_def, "link", "a frozen graph of TensorFlow; rename it, or make a link to it, so"),
        (
            graph_def,
            "model.PB",
            "a frozen graph of TensorFlow; rename it, or make a link to it, so",
        ),
        (content(ONNX), "x.onnx", "an ONNX model; not read here"),
        (content(ONNX), "x.pb", "an ONNX model; not read here"),
        (
            saved_model,
            "saved_model.pb",
            "the file of a SavedModel of TensorFlow; name its folder, ",
        ),
        (saved_model, "model.pb", "the file of a SavedModel of TensorFlow; name it saved_model.pb"),
        (content(b"\x89PNG\r\n\x1a\n"), "x.pb", "an image; name a checkpoint or an export"),
        (content(b"hello"), "model.pb", "a text file; name a checkpoint or an export"),
        (content(b"<html>"), "model.pb", "a web page; the download did not give the file"),
        (
            lambda path: torch.save({"w": torch.zeros(1)}, path),
            "model_best.pth",
            "a PyTorch file; convert_pytorch_weights.py makes a checkpoint of it",
        ),
    ],
)
def test_a_model_of_another_kind_is_told_with_what_to_name_instead(tmp_path, write, name, said):
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: not a .*it looks like {said}") as told:
        load_embedder(tmp_path / name)
    if name == "saved_model.pb":
        assert f"name its folder, {tmp_path}" in str(told.value)


def test_a_frozen_graph_is_no_checkpoint(tmp_path):
    graph_def(tmp_path / "mgn.pb")
    with pytest.raises(InputError, match="it is exported already: name the checkpoint that it was"):
        checkpoints.find(tmp_path / "mgn.pb")
