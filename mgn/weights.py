"""PyTorch weights to variables: names by rule, layouts by rank, strict checks, assignment by feed."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.errors import CheckError
from mgn.families import BODIES, recognise
from mgn.network import HEADS, mgn


def variable_shapes(num_classes: int, reduction: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every variable of the network, from the network's own code."""
    with tf.Graph().as_default():
        mgn(tf.placeholder(tf.float32, [None, 96, 32, 3]), num_classes, training=False, reduction=reduction)
        return {v.op.name: tuple(v.shape.as_list()) for v in tf.global_variables()}


def options_of(state_dict: Mapping[str, np.ndarray]) -> dict:
    """The options that PyTorch weights tell: {"reduction", "num_classes"} (pooling they do not tell)."""
    head = HEADS[0]
    classifier = state_dict.get(f"{head.classifier}.bias")
    has_slopes = f"{head.reduction}.2.weight" in state_dict
    return {
        "reduction": "prelu" if has_slopes else "relu",
        "num_classes": 1 if classifier is None else len(classifier),
    }


def from_pytorch(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn a bare PyTorch state dict into float32 {variable name: array in TensorFlow's layout}.

    Args:
        state_dict: {key: array}, of one of `families.FAMILIES`; a ResNet-50's layers go into all three
            branches. Counters `num_batches_tracked` are passed over.

    Raises:
        InputError: another network's weights.
        CheckError: a key is missing or left over, or a shape is not the network's; all are named.
    """
    family = recognise(state_dict)
    given = {key: np.asarray(v) for key, v in state_dict.items() if not key.endswith("num_batches_tracked")}
    shapes = variable_shapes(**options_of(given))
    wanted = {name: family.key_of(name) for name in shapes if family.key_of(name) is not None}
    missing = sorted({key for key in wanted.values() if key not in given})
    extra = sorted(key for key in set(given) - set(wanted.values()) if not key.startswith(family.unused))
    if missing or extra:
        raise CheckError(
            f"not a whole {family.name} checkpoint: {_listed('missing', missing, 'left over', extra)}"
        )
    wrong = [f"{k} {given[k].shape}" for n, k in wanted.items() if given[k].shape != torch_shape(shapes[n])]
    if wrong:
        raise CheckError(f"{len(wrong)} weights of another shape than the network's: {', '.join(wrong[:10])}")
    return {name: to_tf_layout(given[key]) for name, key in wanted.items()}


_TO_TF = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # axes by rank: OIHW -> HWIO, OI -> IO, vectors as they are
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


def to_tf_layout(value: np.ndarray) -> np.ndarray:
    """A PyTorch weight in TensorFlow's layout; float32, contiguous."""
    return np.ascontiguousarray(value.transpose(_TO_TF[value.ndim]), np.float32)


def to_torch_layout(value: np.ndarray) -> np.ndarray:
    """The way back."""
    return np.ascontiguousarray(value.transpose(_TO_TORCH[value.ndim]), np.float32)


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch of a variable's shape."""
    return tuple(shape[axis] for axis in _TO_TORCH[len(shape)])


def _listed(name: str, values: list[str], other_name: str, other_values: list[str]) -> str:
    parts = [f"{len(v)} {n} ({', '.join(v)})" for n, v in ((name, values), (other_name, other_values)) if v]
    return "; ".join(parts)


def model_variables() -> list[tf.Variable]:
    """The current graph's variables of the network (no optimiser slots, no step), in their order."""
    scopes = {*BODIES, *(h.reduction for h in HEADS), *(h.classifier for h in HEADS)}
    return [v for v in tf.global_variables() if v.op.name.split("/")[0] in scopes and not _is_slot(v)]


def _is_slot(variable: tf.Variable) -> bool:
    return variable.op.name.rsplit("/", 1)[-1] not in ("weight", "bias", "running_mean", "running_var")


def assign(session: tf.Session, arrays: Mapping[str, np.ndarray]) -> None:
    """Set every variable of the network, by feed through the initialisers: the graph gains no operation.

    Args:
        session: of a graph that holds the network.
        arrays: {variable name: float32}, exactly the network's variables.

    Raises:
        CheckError: a name is missing or left over, or a shape differs; all are named.
    """
    with session.graph.as_default():
        variables = {v.op.name: v for v in model_variables()}
    missing, extra = sorted(set(variables) - set(arrays)), sorted(set(arrays) - set(variables))
    if missing or extra:
        raise CheckError(_listed("variables without a value", missing, "values without a variable", extra))
    assign_some(session, variables.values(), arrays)


def assign_some(
    session: tf.Session, variables: Iterable[tf.Variable], arrays: Mapping[str, np.ndarray]
) -> None:
    """Set these variables from `arrays`, which has a value for each.

    Raises:
        CheckError: a shape differs.
    """
    variables = list(variables)
    for v in variables:
        if tuple(v.shape.as_list()) != np.shape(arrays[v.op.name]):
            raise CheckError(
                f"{v.op.name}: shape {np.shape(arrays[v.op.name])}, the network has {tuple(v.shape)}"
            )
    values = {v.initializer.inputs[1]: arrays[v.op.name] for v in variables}
    session.run([v.initializer for v in variables], values)
