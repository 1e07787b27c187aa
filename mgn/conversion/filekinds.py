"""What a file is that was given for a PyTorch checkpoint and is none."""

import zipfile
from pathlib import Path

import tensorflow.compat.v1 as tf

_EVALUATED = "evaluate.py --model and the exporters take it as it is"
_ARCHIVE = "an archive: unpack it first"
_TORCHSCRIPT = (
    "TorchScript, a program: save its weights, torch.save(torch.jit.load(FILE).state_dict(), ...)"
)
_BEGINNINGS = (  # of files, after white space; the first that fits is named
    (b"<!doctype", "a web page: the download did not give the file"),
    (b"<html", "a web page: the download did not give the file"),
    (b"version https://git-lfs", "a Git LFS pointer: git lfs pull fetches the file itself"),
    (b"\x1f\x8b", _ARCHIVE),
    (b"7z\xbc\xaf", _ARCHIVE),
    (b"rar!", _ARCHIVE),
)
_START = 64  # bytes that tell


def folder_kind(path: Path) -> str | None:
    """What a folder is that leads to no TensorFlow checkpoint; None: nothing known."""
    if (path / "saved_model.pb").is_file():
        return f"a SavedModel of TensorFlow; one of this network needs no conversion, {_EVALUATED}"
    return None


def file_kind(path: Path) -> str | None:
    """What a file is that PyTorch cannot read; None: nothing known, or PyTorch's but damaged."""
    with path.open("rb") as stream:
        start = stream.read(_START)
    for beginning, kind in _BEGINNINGS:
        if start.lstrip().lower().startswith(beginning):
            return kind
    if start.startswith(b"PK"):
        return _zip_kind(path)
    if path.name == "saved_model.pb":
        return f"a SavedModel of TensorFlow; name its folder, {_EVALUATED}"
    if start[:1] == b"\n" and _is_frozen_graph(path):
        return f"a frozen graph of TensorFlow; of this network it needs no conversion, {_EVALUATED}"
    return None


def _zip_kind(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:  # truncated: the directory is at its end
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return _TORCHSCRIPT
    return None if any(name.endswith("data.pkl") for name in names) else _ARCHIVE


def _is_frozen_graph(path: Path) -> bool:
    graph_def = tf.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
    except Exception:  # protobuf's DecodeError differs between its implementations
        return False
    return bool(graph_def.node)
