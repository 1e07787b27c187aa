"""Files of weights, in and out: PyTorch's, safetensors, TensorFlow checkpoints; runs no code."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import tensorflow.compat.v1 as tf
import torch

from mgn.conversion.filekinds import file_kind, folder_kind
from mgn.system.errors import InputError
from mgn.system.files import not_written
from mgn.weights import checkpoints
from mgn.weights.families import to_torch_layout

_CONTAINERS = ("state_dict", "model", "net", "model_state_dict")
_DEPTH = 4  # of containers in containers
_FULL = 0.5  # of a network's tensors: so many beside it are a second network, such as an average
_PREFIXES = ("module.", "model.", "net.", "backbone.")
_QUERY_ENCODER = "encoder_q."  # the network that MoCo trains (arXiv:1911.05722)
_NEARLY = 0.9  # of all keys; beside a wrapped network there may be a counter, or a loss's centres
_SCALAR = np._core.multiarray.scalar
_HARMLESS = [  # what training programs leave beside weights, torchreid for one: data, no code
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2
    _SCALAR,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    argparse.Namespace,
]


def read(path: Path) -> dict[str, np.ndarray]:
    """Read weights to a bare {key: array}, in PyTorch's layout.

    State dicts may lie under `state_dict`, `model`, `net` or `model_state_dict`, and all keys may
    begin with `module.`, `model.`, `net.` or `backbone.`, in any nesting. Of MoCo's two encoders
    the one of queries is bare then, beside the keys of the other. float16 and bfloat16 become
    float32.

    Args:
        path: of a PyTorch file in either of its formats, a safetensors file, or a TensorFlow
            checkpoint (prefix, one of its files, or a folder with a `checkpoint` file). Of the last
            the optimiser's slots and scalars are not read.

    Raises:
        InputError: none of these (with what it is, if that can be told), truncated, a pickled
            module, no tensors in it, or two networks.
    """
    prefix = checkpoint_at(path)
    if prefix:
        return _read_checkpoint(prefix)
    loaded = _load(Path(path))
    for _ in range(_DEPTH):
        loaded = _inner(path, loaded)
    held = loaded if isinstance(loaded, Mapping) else {}
    tensors = {}
    for key, value in held.items():
        if isinstance(key, str) and isinstance(value, torch.Tensor):
            tensors[key] = value
    if not tensors:
        there = ", ".join(map(str, list(held)[:5])) or "nothing"
        wanted = ", ".join(_CONTAINERS)
        raise InputError(f"{path}: no weights in it, bare or in {wanted}; it has {there}")
    bare = _without_prefixes(tensors)
    return {key: _to_numpy(f"{path}: {key}", value) for key, value in bare.items()}


def _inner(path: Path, loaded: object) -> object:
    """The container that holds the weights, one level down; `loaded` itself if there is none."""
    if not isinstance(loaded, Mapping):
        return loaded
    counts = {name: _tensors_in(v) for name, v in loaded.items() if isinstance(v, Mapping)}
    taken = next((name for name in _CONTAINERS if counts.get(name)), None)
    if taken is None or loaded[taken] is loaded:
        return loaded

    # With a second network beside it, the file does not say which one is meant.
    counts["the file itself"] = sum(isinstance(value, torch.Tensor) for value in loaded.values())
    full = [str(name) for name, count in counts.items() if count >= _FULL * counts[taken]]
    if len(full) > 1:
        problem = f"{path}: holds more than one network, in {' and '.join(full)}"
        advice = "by itself: torch.save(torch.load(FILE, weights_only=True)[NAME], ...)"
        raise InputError(f"{problem}; save the one that you mean {advice}", networks=full)
    return loaded[taken]


def _tensors_in(value: object, depth: int = _DEPTH) -> int:
    """How many tensors lie under names in it; an optimiser's lie under numbers."""
    if isinstance(value, torch.Tensor):
        return 1
    named = value.items() if isinstance(value, Mapping) and depth else ()
    return sum(_tensors_in(inner, depth - 1) for key, inner in named if isinstance(key, str))


def _without_prefixes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _PREFIXES:
        wrapped = sum(key.startswith(prefix) for key in tensors)
        if wrapped > _NEARLY * len(tensors):
            bare = {key.removeprefix(prefix): value for key, value in tensors.items()}
            return _without_prefixes(bare)
    return {key.removeprefix(_QUERY_ENCODER): value for key, value in tensors.items()}


def _load(path: Path) -> object:
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
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
        if kind:
            raise InputError(f"{unreadable}; it looks like {kind}", looks_like=kind) from None
        if pickled and ("weights_only" in str(error) or "Unsupported" in str(error)):
            problem = "holds more than weights (a pickled module?), which could run code"
            advice = "at its origin, save it again with torch.save(model.state_dict(), ...)"
            raise InputError(f"{path}: {problem}; {advice}") from None
        damaged = pickled or safe
        why = ": truncated or damaged" if damaged else ", nor anything else that is known"
        raise InputError(f"{unreadable}{why} ({type(error).__name__})") from None


def _to_numpy(where: str, value: torch.Tensor) -> np.ndarray:
    try:
        value = value.detach().to_dense() if value.is_sparse else value.detach()
        if value.is_complex():
            raise TypeError("complex")
        return value.float().numpy() if value.is_floating_point() else value.numpy()
    except (RuntimeError, TypeError, NotImplementedError, AttributeError):
        kind = f"{value.dtype}, {value.layout}, on {value.device}"
        problem = f"a tensor that is no plain array of real numbers ({kind})"
        raise InputError(f"{where}: {problem}") from None


def checkpoint_at(path: Path) -> Path | None:
    """Prefix of the TensorFlow checkpoint that `path` is or, as a folder, leads to.

    None: some other file.

    Raises:
        InputError: a folder that leads to none.
    """
    if Path(path).is_dir():
        latest = tf.train.latest_checkpoint(str(path))
        if latest is None:
            kind = folder_kind(Path(path))
            advice = f"it looks like {kind}" if kind else "name a file"
            problem = f"{path}: a folder without a TensorFlow checkpoint; {advice}"
            raise InputError(problem, looks_like=kind)
        return Path(latest)
    prefix = checkpoints.prefix_of(path)
    if prefix == Path(path) and prefix.is_file():  # its own, whatever checkpoint has the same name
        return None
    return prefix if Path(f"{prefix}.index").is_file() else None


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
