"""The way back: a checkpoint of this toolkit to a PyTorch file as its authors' code writes it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mgn.config import NetworkOptions
from mgn.conversion import parity, roundtrip, torchfiles
from mgn.network import HEADS
from mgn.system.errors import CheckError, InputError
from mgn.system.files import atomic_write
from mgn.system.session import new_session
from mgn.weights import checkpoints
from mgn.weights.coverage import check_finite, not_finite
from mgn.weights.families import PIXELS, Family, family_of, to_torch_layout
from mgn.weights.naming import mgn_pytorch_key

_CLASSIFIERS = {head.classifier for head in HEADS}  # scopes of variables


class Written(NamedTuple):
    """What was written: shown to the user."""

    checkpoint: checkpoints.Checkpoint
    family: Family
    tensors: int
    dropped: list[str]  # variables that its files do not have: classifiers
    flags: dict[str, object]  # what has to be said to convert the file again
    differences: dict[str, parity.Difference]


def convert(path: Path, pt_path: Path, overwrite: bool = False, **options: object) -> Written:
    """Write a checkpoint's weights as the state dict of its variant's family, and prove them.

    Values are kept bit for bit, and the file is the same network when it is converted again.
    Counters of batches, which a checkpoint does not have, are 0; PyTorch uses them only where
    batch norm has no momentum. fast-reid's classifiers are cosines without a bias, and
    MGN-pytorch's have one, so those of the other kind are left out.

    Args:
        path: a train_dir, a checkpoint, or one of its files.
        pt_path: of the PyTorch file to make.
        overwrite: replace what is at `pt_path`.
        options: of the network, for a checkpoint without `.json`.

    Raises:
        InputError: no whole network there, `pt_path` exists, or the family's files have no place
            for an option of the network.
        CheckError: a weight is NaN or infinite, the file could not be written or reads back
            otherwise, or the networks differ.
    """
    found = checkpoints.find(path, **options)
    found.check_whole()
    if checkpoints.prefix_of(pt_path).resolve() == found.prefix.resolve():
        raise InputError(f"{pt_path}: is a file of the checkpoint itself; name another file")
    graph, variables = parity.build_graph(found.options)
    with (
        new_session(graph, rewrite=False) as session,
        atomic_write(pt_path, overwrite) as temporary,
    ):
        checkpoints.restore(session, found, variables)
        stored = {v.op.name: found.name_of(v.op.name) for v in variables}
        values = checkpoints.read(found.prefix, list(stored.values()))
        check_finite(not_finite(values))
        family = family_of(found.options.variant)
        kept, dropped = {}, []
        for name in stored:
            key = family.key(name, family.order)
            if key is None or (found.options.classifier == "cosine" and _is_classifier(name)):
                dropped.append(name)
            else:
                kept[name] = key
        # Popped, so that 280 MB are there once, not twice.
        state_dict = {}
        for name, key in kept.items():
            state_dict[key] = to_torch_layout(values.pop(stored[name]))
        torchfiles.write(temporary, _as_written(state_dict, family, found.options))
        back = torchfiles.read(temporary)
        changed = []
        for key in list(state_dict):
            if _bits(back[key]) != _bits(state_dict.pop(key)):
                changed.append(key)
        if changed:
            named = ", ".join(changed[:5])
            problem = f"{len(changed)} weights differ when read back: {named}"
            raise CheckError(f"{pt_path}: {problem}; nothing was written; check the disk")
        shapes = {v.op.name: tuple(v.shape.as_list()) for v in variables if v.op.name in kept}
        flags = roundtrip.check(back, kept, shapes, found.options, family)
        given = {mgn_pytorch_key(name): back[key] for name, key in kept.items()}
        for name in dropped:
            given[mgn_pytorch_key(name)] = to_torch_layout(values[stored[name]])
        differences = parity.compare(session, given, found.options)
        return Written(found, family, len(back), dropped, flags, differences)


def _is_classifier(variable: str) -> bool:
    return variable.split("/")[0] in _CLASSIFIERS


def _bits(value: np.ndarray) -> bytes:
    return np.ascontiguousarray(value).tobytes()


def _as_written(
    state_dict: dict[str, np.ndarray], family: Family, options: NetworkOptions
) -> dict[str, torch.Tensor]:
    """With what else the family's files have: counters, copies, mean and deviation of images."""
    tensors = {}
    for key, value in state_dict.items():
        tensors[key] = torch.from_numpy(value)
        if key.endswith(".running_var"):  # PyTorch has a counter behind each
            tensors[key.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    if family.copies and family.copies[0] in tensors:
        for key in family.copies:
            tensors[key] = tensors[family.copies[0]].clone()
    if family.pixels:
        for key, values in zip(PIXELS, (options.mean, options.std), strict=True):
            tensors[key] = torch.tensor(values).reshape(1, 3, 1, 1)
    return tensors
