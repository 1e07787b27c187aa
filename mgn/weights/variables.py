"""The network's variables: their names and shapes, and their assignment by feed."""

import functools
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.network import HEADS, mgn
from mgn.network.architecture import BODIES
from mgn.network.replicas import name_of
from mgn.system.errors import CheckError

_AT_ONCE = 50  # variables a run: what is fed is copied, and a whole network is 280 MB


@functools.cache  # a graph takes a second
def variable_shapes(num_classes: int, reduction: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every variable of the network, from the network's own code; not to be changed."""
    with tf.Graph().as_default():
        mgn(
            tf.placeholder(tf.float32, [None, 96, 32, 3]),
            num_classes,
            training=False,
            reduction=reduction,
        )
        return {v.op.name: tuple(v.shape.as_list()) for v in tf.global_variables()}


def model_variables() -> list[tf.Variable]:
    """The current graph's variables of the network (no optimiser slots, no step), in their order."""
    scopes = {*BODIES, *(h.reduction for h in HEADS), *(h.classifier for h in HEADS)}
    return [
        v for v in tf.global_variables() if name_of(v).split("/")[0] in scopes and not _is_slot(v)
    ]


def _is_slot(variable: tf.Variable) -> bool:
    return name_of(variable).rsplit("/", 1)[-1] not in (
        "weight",
        "bias",
        "running_mean",
        "running_var",
    )


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
    if missing:
        raise CheckError(f"{len(missing)} variables without a value ({', '.join(missing)})")
    if extra:
        raise CheckError(f"{len(extra)} values without a variable ({', '.join(extra)})")
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
    for start in range(0, len(variables), _AT_ONCE):
        some = variables[start : start + _AT_ONCE]
        values = {v.initializer.inputs[1]: arrays[v.op.name] for v in some}
        session.run([v.initializer for v in some], values)
