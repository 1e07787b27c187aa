"""Files given for a PyTorch checkpoint that are something else: each is called what it is."""

import zipfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import torch

from mgn.conversion import filekinds, torchfiles
from mgn.system.errors import InputError


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


def content(data):
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (content(b"\n<!DOCTYPE html><html>"), "a web page"),
        (content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), "Git LFS"),
        (content(b"\x1f\x8b\x08" + bytes(20)), "an archive: unpack it"),
        (zipped("ReID/model_best.pt"), "an archive: unpack it"),
        (graph_def, "a frozen graph of TensorFlow; .*evaluate.py --model"),
        (scripted, "TorchScript"),
    ],
)
def test_what_a_file_is(tmp_path, write, kind):
    write(tmp_path / "x.pt")
    with pytest.raises(
        InputError, match=rf"x\.pt: not a readable PyTorch checkpoint; it looks like .*{kind}"
    ) as told:
        torchfiles.read(tmp_path / "x.pt")
    assert told.value.details["looks_like"] == filekinds.file_kind(tmp_path / "x.pt")


def test_a_saved_model_and_its_file(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None])
        tf.saved_model.simple_save(session, str(tmp_path / "served"), {"x": x}, {"y": x + 1})
    with pytest.raises(
        InputError, match=r"served: a folder without .*; it looks like a SavedModel .*evaluate"
    ):
        torchfiles.read(tmp_path / "served")
    with pytest.raises(
        InputError, match=r"it looks like a SavedModel of TensorFlow; name its folder"
    ):
        torchfiles.read(tmp_path / "served" / "saved_model.pb")


def test_pytorchs_own_files_are_not_called_something_else(tmp_path):
    """Whole, cut off, in both formats: what is wrong with those PyTorch says."""
    for legacy in (False, True):
        torch.save(
            {"w": torch.zeros(100)}, tmp_path / "x", _use_new_zipfile_serialization=not legacy
        )
        assert filekinds.file_kind(tmp_path / "x") is None
        (tmp_path / "cut").write_bytes((tmp_path / "x").read_bytes()[:300])
        assert filekinds.file_kind(tmp_path / "cut") is None
