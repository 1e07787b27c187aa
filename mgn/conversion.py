"""A PyTorch checkpoint file to a TensorFlow checkpoint, proven by a picture through both networks."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
import torch

from mgn import checkpoints, weights
from mgn.config import NetworkOptions
from mgn.errors import CheckError, InputError
from mgn.families import Family, mgn_pytorch_key, recognise
from mgn.network import HEADS, mgn
from mgn.session import new_session
from mgn.torch_mgn import TorchMGN

_CONTAINERS = ("state_dict", "model", "net", "model_state_dict")
_PREFIXES = ("module.", "model.", "net.")
_TOLERANCE = 1e-4  # largest difference over largest value
log = logging.getLogger(__name__)


class Conversion(NamedTuple):
    """What was done: shown to the user, and stored with the checkpoint."""

    family: str
    kind: str
    options: NetworkOptions
    coverage: list[tuple[str, int, int]]  # (part of the network, tensors, values)
    difference: float  # largest, over the largest value


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read a PyTorch file to a bare {key: array}, without running code from it.

    State dicts may lie under `state_dict`, `model`, `net` or `model_state_dict`, and keys may carry
    `module.`, `model.` or `net.` before them.

    Raises:
        InputError: not a PyTorch file, truncated, a pickled module, or no tensors in it.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # pickle, zip and runtime errors alike
        # A zip of pickles, or a pickle: the two formats of torch.save.
        pickled = Path(path).read_bytes()[:2].startswith((b"PK", b"\x80"))
        if pickled and ("weights_only" in str(error) or "Unsupported" in str(error)):
            raise InputError(
                f"{path}: holds more than weights (a pickled module?), which could run code; at its origin,"
                " save it again with torch.save(model.state_dict(), ...)"
            ) from None
        raise InputError(f"{path}: not a readable PyTorch checkpoint ({type(error).__name__})") from None
    while isinstance(loaded, Mapping):
        inner = next((loaded[name] for name in _CONTAINERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    items = loaded.items() if isinstance(loaded, Mapping) else ()
    tensors = {k: v for k, v in items if isinstance(k, str) and isinstance(v, torch.Tensor)}
    if not tensors:
        raise InputError(f"{path}: no weights in it")
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return {key: _to_numpy(value) for key, value in tensors.items()}


def _to_numpy(value: torch.Tensor) -> np.ndarray:
    value = value.detach().to_dense() if value.is_sparse else value.detach()
    return value.float().numpy() if value.is_floating_point() else value.numpy()


def convert(path: Path, prefix: Path, pool: str | None = None, overwrite: bool = False) -> Conversion:
    """Convert a PyTorch checkpoint and put it in place at `prefix`, with its `.json`.

    Args:
        path: of one of `families.FAMILIES`.
        prefix: of the TensorFlow checkpoint to make.
        pool: "avg" or "max"; weights do not tell. None: what the family's authors trained with.
        overwrite: replace what is at `prefix`.

    Raises:
        InputError: not such a file, or `prefix` exists.
        CheckError: missing, left-over or wrongly shaped weights, or the networks differ; nothing is written.
    """
    checkpoints.refuse_existing_checkpoint(prefix, overwrite)
    state_dict = read_state_dict(path)
    family = recognise(state_dict)
    arrays = weights.from_pytorch(state_dict)
    found = (
        weights.options_of(state_dict) if family.kind == "mgn" else {"num_classes": 0, "reduction": "relu"}
    )
    options = NetworkOptions(pool=pool or family.pool, **found)
    session, variables = _session_with(arrays, options)
    with session:
        difference = _prove(session, state_dict, family, options)
        with session.graph.as_default():
            saver = checkpoints.new_saver(variables)
        source = {"file": Path(path).name, "sha256": checkpoints.sha256(path), "family": family.name}
        description = {**checkpoints.describe(options, family.kind), "source": source}
        checkpoints.save(session, saver, prefix, description, overwrite)
    return Conversion(family.name, family.kind, options, _coverage(arrays), difference)


def _session_with(
    arrays: Mapping[str, np.ndarray], options: NetworkOptions
) -> tuple[tf.Session, list[tf.Variable]]:
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, options.height, options.width, 3], name="images")
        outputs = mgn(images, max(options.num_classes, 1), False, options.pool, options.reduction)
        for head, feature, logits in zip(HEADS, outputs.features, outputs.logits, strict=True):
            tf.identity(feature, f"feature_{head.name}")
            tf.identity(logits, f"logits_{head.name}")
        variables = [v for v in weights.model_variables() if v.op.name in arrays]
        others = [v for v in weights.model_variables() if v.op.name not in arrays]
    session = new_session(graph)
    weights.assign_some(session, variables, arrays)
    weights.assign_some(session, others, _stand_ins(others))
    return session, variables


def _stand_ins(variables: list[tf.Variable]) -> dict[str, np.ndarray]:
    """Values for the heads that a backbone lacks, so that its proof can go through a whole network."""
    rng = np.random.default_rng(0)
    return {v.op.name: rng.uniform(0.01, 0.03, v.shape.as_list()).astype(np.float32) for v in variables}


def _prove(session: tf.Session, state_dict: Mapping, family: Family, options: NetworkOptions) -> float:
    """Largest difference of any head's feature or logits between the networks, over its largest value."""
    rng = np.random.default_rng(0)
    picture = rng.standard_normal((1, options.height, options.width, 3)).astype(np.float32)
    names = [f"{kind}_{head.name}:0" for kind in ("feature", "logits") for head in HEADS]
    got = session.run(names, {"images:0": picture})
    network = TorchMGN(max(options.num_classes, 1), options.pool, options.reduction).eval()
    network.load_state_dict(_torch_weights(session, state_dict, family), strict=True)
    with torch.no_grad():
        _, features, logits = network(torch.from_numpy(picture.transpose(0, 3, 1, 2).copy()))
    differences = {
        name: float(np.abs(a - b.numpy()).max() / np.abs(b.numpy()).max())
        for name, a, b in zip(names, got, [*features, *logits], strict=True)
    }
    worst = max(differences, key=lambda name: np.nan_to_num(differences[name], nan=np.inf))
    if not differences[worst] <= _TOLERANCE:
        raise CheckError(
            f"{worst} differs from PyTorch's by {differences[worst]:.1e} of its largest value; not kept"
        )
    return differences[worst]


def _torch_weights(session: tf.Session, state_dict: Mapping, family: Family) -> dict[str, torch.Tensor]:
    """State dict for `TorchMGN`: the file's own arrays, never those that went through TensorFlow's layout."""
    given = {}
    with session.graph.as_default():
        variables = weights.model_variables()
    for variable in variables:
        key = family.key_of(variable.op.name)
        value = state_dict[key] if key else weights.to_torch_layout(session.run(variable))
        name = mgn_pytorch_key(variable.op.name)
        given[name] = torch.from_numpy(np.array(value))
        if name.endswith("running_var"):
            given[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    return given


def _coverage(arrays: Mapping[str, np.ndarray]) -> list[tuple[str, int, int]]:
    parts = [name.split("/")[0] for name in arrays]
    tensors, values = Counter(parts), Counter()
    for part, array in zip(parts, arrays.values(), strict=True):
        values[part] += array.size
    return [(part, tensors[part], values[part]) for part in tensors]


def coverage_table(conversion: Conversion) -> str:
    """The parts of the network with how many tensors and values came in."""
    rows = [
        *conversion.coverage,
        ("total", *(sum(column) for column in list(zip(*conversion.coverage, strict=True))[1:])),
    ]
    return "\n".join(
        [f"{'part':<16}{'tensors':>9}{'values':>13}"] + [f"{p:<16}{t:>9}{v:>13,}" for p, t, v in rows]
    )
