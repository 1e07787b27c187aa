"""What a file is that is not of the kind asked for, and what to do about it."""

import codecs
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.system.numbers import is_digits

_START = 64  # bytes that tell
_ONNX_START = re.compile(rb"\x08[\x02-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]")  # version, next field
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EVALUATED = "evaluate.py --model and the exporters take it as it is"
_NOT_READ = "not read here: use the weights that it was made of"


class Kind(NamedTuple):
    """A kind of file, with what to do."""

    name: str
    to_convert: str | None  # where weights to convert are wanted; None: these are such
    to_run: str  # where a checkpoint or an export of this toolkit is wanted


def _useless(name: str, advice: str) -> Kind:
    return Kind(name, advice, advice)


_WEB_PAGE = _useless("a web page", "the download did not give the file")
_ARCHIVE = _useless("an archive", "unpack it first")
_KERAS = _useless("a Keras or HDF5 file", _NOT_READ)
_DEPLOYED = f"{_NOT_READ} (python -m mgn.deploy --describe FILE says which, if it is made here)"
_ONNX = _useless("an ONNX model", _DEPLOYED)
_NO_MODEL = "name a file of weights", "name a checkpoint or an export"
_IMAGE = Kind("an image", *_NO_MODEL)
_TEXT = Kind("a text file", *_NO_MODEL)
_TORCH = Kind("a PyTorch file", None, "convert_pytorch_weights.py makes a checkpoint of it")
_TORCHSCRIPT = _useless(
    "TorchScript, a program",
    "save its weights, torch.save(torch.jit.load(FILE).state_dict(), ...), and convert these",
)
_BEGINNINGS = (  # of files, after white space and in small letters; the first that fits is named
    (b"<!doctype", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (
        b"version https://git-lfs",
        _useless("a Git LFS pointer", "git lfs pull fetches the file itself"),
    ),
    (b"\x1f\x8b", _ARCHIVE),
    (b"7z\xbc\xaf", _ARCHIVE),
    (b"rar!", _ARCHIVE),
    (b"\x89hdf", _KERAS),
    (b"\x89png", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),  # JPEG
    (b"\x80", _TORCH),  # a pickle
)
_IN_ZIP = (  # ends of names in it; the first that is there decides
    ("/constants.pkl", _TORCHSCRIPT),
    ("data.pkl", _TORCH),
    (".weights.h5", _KERAS),
    (".npy", _useless("a file of NumPy arrays", _NOT_READ)),
)


def folder_kind(path: Path) -> Kind | None:
    """What a folder is that leads to no TensorFlow checkpoint; None: nothing known."""
    versions = (file.parent.name for file in path.glob("*/saved_model.pb"))
    if not ((path / "saved_model.pb").is_file() or any(map(is_digits, versions))):
        return None
    advice = f"one of this network needs no conversion, {_EVALUATED}"
    return Kind("a SavedModel of TensorFlow", advice, "it is exported already")


def file_kind(path: Path) -> Kind | None:
    """What a file is; None: nothing known, or damaged."""
    path = Path(path)
    with path.open("rb") as stream:
        start = stream.read(_START)
    for beginning, kind in _BEGINNINGS:
        if start.lstrip().lower().startswith(beginning):
            return kind
    if start.startswith(b"PK"):
        return _zip_kind(path)
    if start[6:9] == b"\0\0{":  # safetensors: a header in JSON, after its length
        return _TORCH
    if start[4:8] == b"TFL3":
        return _useless("a TensorFlow Lite model", _DEPLOYED)
    if path.name == "saved_model.pb" or start.startswith(b"\x08\x01\x12"):
        return _saved_model_file(path)
    if _ONNX_START.match(start) or path.suffix.lower() == ".onnx":
        return _ONNX
    if start[:1] == b"\n" and (graph := _frozen_graph(path)):
        return graph
    return _TEXT if start and _is_text(start) else None


def _is_text(start: bytes) -> bool:
    """Whether bytes are the beginning of UTF-8; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(text) is None


def _zip_kind(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:  # truncated: the directory is at its end
        return None
    for end, kind in _IN_ZIP:
        if any(name.endswith(end) for name in names):
            return kind
    return _ARCHIVE


def _saved_model_file(path: Path) -> Kind:
    folder = f"name its folder, {path.parent}"
    if path.name != "saved_model.pb":
        folder = "name it saved_model.pb, in a folder of its own, and give that folder"
    advice = f"{folder}; one of this network needs no conversion, {_EVALUATED}"
    return Kind("the file of a SavedModel of TensorFlow", advice, folder)


def _frozen_graph(path: Path) -> Kind | None:
    graph_def = tf.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
    except Exception:  # protobuf's DecodeError differs between its implementations
        return None
    if not graph_def.node:
        return None
    advice = f"of this network it needs no conversion, {_EVALUATED}"
    exported = "it is exported already: name the checkpoint that it was made of"
    renamed = "rename it, or make a link to it, so that the name ends in .pb"
    to_run = exported if path.suffix == ".pb" else renamed
    return Kind("a frozen graph of TensorFlow", advice, to_run)
