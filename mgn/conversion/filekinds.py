"""What a file is that was given for a PyTorch checkpoint and is none: told from its content."""

import zipfile
from pathlib import Path

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import saved_model_pb2

_EVALUATED = "evaluate.py --model and the exporters take it as it is"
_BEGINNINGS = (  # of files, after white space; the first that fits is named
    (b"<!doctype", "a web page: the download did not give the file"),
    (b"<html", "a web page: the download did not give the file"),
    (b"version https://git-lfs", "a Git LFS pointer: git lfs pull fetches the file itself"),
    (b"\x89hdf\r\n", "an HDF5 file, as Keras writes: no published MGN is in that form"),
    (b"\x93numpy", "a numpy array"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"rar!", "a RAR archive: unpack it first"),
)
_START = 64  # bytes that tell


def folder_kind(path: Path) -> str | None:
    """What a folder is that leads to no TensorFlow checkpoint; None: nothing known."""
    if (path / "saved_model.pb").is_file():
        return f"a SavedModel of TensorFlow; one of this network needs no conversion, {_EVALUATED}"
    return None


def file_kind(path: Path) -> str | None:
    """What a file is that PyTorch cannot read as weights; None: nothing known, or PyTorch's but damaged."""
    with path.open("rb") as stream:
        start = stream.read(_START)
    told = next(
        (kind for begin, kind in _BEGINNINGS if start.lstrip().lower().startswith(begin)), None
    )
    if told or start[4:8] == b"TFL3":
        return told or "a TensorFlow Lite model"
    if start.startswith(b"PK"):
        return _zip_kind(path)
    return _message_kind(path, start)


def _zip_kind(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:  # truncated: the directory is at its end
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return "TorchScript, a program: save its weights, torch.save(torch.jit.load(FILE).state_dict(), ...)"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if {"config.json", "metadata.json"} <= set(names):
        return "a Keras model: no published MGN is in that form"
    return (
        "numpy arrays"
        if all(n.endswith(".npy") for n in names)
        else "a zip archive: unpack it first"
    )


def _message_kind(path: Path, start: bytes) -> str | None:
    """Protocol buffers: a frozen graph, a SavedModel's `saved_model.pb`, ONNX."""
    if start[:1] == b"\n" and _parses(tf.GraphDef(), path, "node"):
        return (
            f"a frozen graph of TensorFlow; one of this network needs no conversion, {_EVALUATED}"
        )
    if start[:1] == b"\x08" and _parses(saved_model_pb2.SavedModel(), path, "meta_graphs"):
        return f"a SavedModel of TensorFlow; name its folder, {_EVALUATED}"
    if start[:1] == b"\x08" and start[2:3] in (
        b"\x12",
        b":",
    ):  # its version, then a producer or the graph
        return "an ONNX graph: convert the PyTorch file that it was made from"
    return None


def _parses(message: object, path: Path, field: str) -> bool:
    try:
        message.ParseFromString(path.read_bytes())
    except Exception:  # protobuf's DecodeError differs between its implementations
        return False
    return bool(getattr(message, field))
