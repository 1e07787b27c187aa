"""Files of weights, in and out: PyTorch's, safetensors, TensorFlow checkpoints; runs no code."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import tensorflow.compat.v1 as tf
import torch

from mgn.conversion.wrappings import unwrap
from mgn.system.errors import InputError
from mgn.system.files import not_written
from mgn.weights import checkpoints
from mgn.weights.families import to_torch_layout
from mgn.weights.filekinds import file_kind, folder_kind

_SHOWN = 10  # names in an error
_SCALAR = np._core.multiarray.scalar
_HARMLESS = [  # what training programs leave beside weights, torchreid for one: data, no code
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2
    _SCALAR,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    argparse.Namespace,
]


def read(path: Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Read weights to a bare {key: array}, in PyTorch's layout.

    State dicts may be wrapped in any way that `wrappings.unwrap` knows. float16 and bfloat16 become
    float32.

    Args:
        path: of a PyTorch file in either of its formats, a safetensors file, or a TensorFlow
            checkpoint (prefix, one of its files, or a folder that leads to one). Of the last the
            optimiser's slots and scalars are not read.
        key: which network of the file, where it holds more than one.

    Raises:
        InputError: none of these (with what it is, if that can be told), truncated, a pickled
            module, no tensors in it, or more than one network.
    """
    prefix = checkpoint_at(path)
    if not prefix:
        bare = unwrap(path, _load(Path(path)), key)
        return {name: _to_numpy(f"{path}: {name}", value) for name, value in bare.items()}
    if key:
        raise InputError(f"--key {key}: {prefix} is a checkpoint of one network; leave it out")
    return _read_checkpoint(prefix)


def _load(path: Path) -> object:
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the name"
        ) from None
    pickled = start.startswith((b"PK", b"\x80"))  # of torch.save: a zip of pickles, or a pickle
    safe = start[8:] == b"{" and not pickled  # a safetensors header, after its length
    unreadable = f"{path}: not a readable PyTorch checkpoint"
    try:
        if safe:
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, runtime and safetensors errors alike
        kind = file_kind(path)
        if kind and kind.to_convert:
            problem = f"{unreadable}; it looks like {kind.name}; {kind.to_convert}"
            raise InputError(problem, looks_like=kind.name) from None
        if pickled and ("weights_only" in str(error) or "Unsupported" in str(error)):
            problem = "holds more than weights (a pickled module?), which could run code"
            advice = "at its origin, save it again with torch.save(model.state_dict(), ...)"
            raise InputError(f"{path}: {problem}; {advice}") from None
        damaged = pickled or safe
        why = "truncated or damaged" if damaged else "of no known format"
        advice = "get the file again, or name another"
        raise InputError(f"{unreadable}: {why} ({type(error).__name__}); {advice}") from None


def _to_numpy(where: str, value: torch.Tensor) -> np.ndarray:
    try:
        value = value.detach().to_dense() if value.is_sparse else value.detach()
        if value.is_complex():
            raise TypeError("complex")
        return value.float().numpy() if value.is_floating_point() else value.numpy()
    except (RuntimeError, TypeError, NotImplementedError, AttributeError):
        kind = f"{value.dtype}, {value.layout}, on {value.device}"
        problem = f"not a dense tensor of real numbers ({kind})"
        raise InputError(f"{where}: {problem}; save it as one") from None


def checkpoint_at(path: Path) -> Path | None:
    """Prefix of the TensorFlow checkpoint that `path` is or, as a folder, leads to.

    None: some other file.

    Raises:
        InputError: a folder that leads to none.
    """
    if Path(path).is_dir():
        return _in_folder(Path(path))
    prefix = checkpoints.prefix_of(path)
    if prefix == Path(path) and prefix.is_file():  # its own, whatever checkpoint has the same name
        return None
    return prefix if Path(f"{prefix}.index").is_file() else None


def _in_folder(folder: Path) -> Path:
    """The checkpoint that the folder's `checkpoint` file names, or else its only one.

    The file may have been written on another machine, so the last part of the name counts.
    """
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except checkpoints.TENSORFLOW_ERRORS:  # no text
        state = None
    named = state.model_checkpoint_path if state else ""
    there = checkpoints.prefixes_in(folder)
    for prefix in (folder / re.split(r"[/\\]", named)[-1], Path(named)):
        if named and checkpoints.file_of(prefix, ".index").is_file():
            return prefix
    if len(there) == 1:
        return there[0]
    kind = folder_kind(folder)
    if kind:
        advice = f"it looks like {kind.name}; {kind.to_convert}"
    else:
        names = [prefix.name for prefix in there] or [file.name for file in folder.iterdir()]
        advice = f"name one of its files: {', '.join(sorted(names)[:_SHOWN]) or 'nothing'}"
    problem = f"{folder}: no TensorFlow checkpoint in this folder"
    if there:
        problem = f"{folder}: which of its checkpoints is the latest is not recorded"
    raise InputError(f"{problem}; {advice}", looks_like=kind and kind.name)


def _read_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    shapes = checkpoints.stored_shapes(prefix)
    if "backbone/conv1/weight" in shapes:
        problem = f"{prefix}: is a checkpoint of this toolkit"
        raise InputError(f"{problem}; --to_pytorch makes a PyTorch file of it")
    weights = []
    for name, shape in shapes.items():
        is_slot = name.rpartition("/")[0] in shapes  # of the optimiser, for a variable
        if shape and not is_slot:
            weights.append(name)
    state_dict = {}
    for name, value in checkpoints.read(prefix, weights).items():
        if value.dtype.kind == "f" or value.dtype == tf.bfloat16.as_numpy_dtype:
            ranked = value.ndim in (1, 2, 4)
            state_dict[name] = to_torch_layout(value) if ranked else value.astype(np.float32)
    return state_dict


def write(path: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Write a PyTorch file of {key: tensor}.

    Raises:
        CheckError: it could not be written (disk full).
    """
    try:
        with path.open("wb") as stream:  # by its name alone, PyTorch would not tell why it failed
            torch.save(dict(state_dict), stream)
    except (OSError, RuntimeError) as error:
        raise not_written(path.name, error) from None
