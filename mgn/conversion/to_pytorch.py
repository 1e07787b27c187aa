"""The way back: a checkpoint of this toolkit to a PyTorch file as MGN-pytorch writes it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mgn.conversion import parity, torchfiles
from mgn.system.errors import CheckError, InputError
from mgn.system.files import atomic_write
from mgn.system.session import new_session
from mgn.weights import checkpoints
from mgn.weights.coverage import check_finite, not_finite
from mgn.weights.families import mgn_pytorch_key, to_torch_layout


class Written(NamedTuple):
    """What was written: shown to the user."""

    checkpoint: checkpoints.Checkpoint
    tensors: int
    differences: dict[str, parity.Difference]


def convert(path: Path, pt_path: Path, overwrite: bool = False, **options: object) -> Written:
    """Write a checkpoint's weights as MGN-pytorch's state dict (PReLU: lwplw's), and prove them.

    Values are kept bit for bit. Counters of batches, which a checkpoint does not have, are 0;
    PyTorch uses them only where batch norm has no momentum.

    Args:
        path: a train_dir, a checkpoint, or one of its files.
        pt_path: of the PyTorch file to make.
        overwrite: replace what is at `pt_path`.
        options: `pool`, `height`, `width`, for a checkpoint without `.json`.

    Raises:
        InputError: no whole network there, or `pt_path` exists.
        CheckError: a weight is NaN or infinite, the file could not be written or reads back
            otherwise, or the networks differ.
    """
    found = checkpoints.find(path, **options)
    found.check_whole()
    if checkpoints.prefix_of(pt_path).resolve() == found.prefix.resolve():
        raise InputError(f"{pt_path}: is a file of the checkpoint itself; name another to make")
    graph, variables = parity.build_graph(found.options)
    with (
        new_session(graph, rewrite=False) as session,
        atomic_write(pt_path, overwrite) as temporary,
    ):
        checkpoints.restore(session, found, variables)
        names = {found.name_of(v.op.name): v.op.name for v in variables}
        values = checkpoints.read(found.prefix, list(names))
        check_finite(not_finite(values))
        # Popped, so that 280 MB are there once, not twice.
        state_dict = {}
        for name in list(values):
            state_dict[mgn_pytorch_key(names[name])] = to_torch_layout(values.pop(name))
        torchfiles.write(temporary, _with_counters(state_dict))
        back = torchfiles.read(temporary)
        changed = []
        for key in list(state_dict):
            if _bits(back[key]) != _bits(state_dict.pop(key)):
                changed.append(key)
        if changed:
            named = ", ".join(changed[:5])
            raise CheckError(f"{len(changed)} weights read back otherwise: {named}; not kept")
        return Written(found, len(back), parity.compare(session, back, found.options))


def _bits(value: np.ndarray) -> bytes:
    return np.ascontiguousarray(value).tobytes()


def _with_counters(state_dict: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """With a counter behind each batch norm's variance, as PyTorch has it."""
    tensors = {}
    for key, value in state_dict.items():
        tensors[key] = torch.from_numpy(value)
        if key.endswith(".running_var"):
            tensors[key.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    return tensors
