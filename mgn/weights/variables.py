"""The network's variables: their names and shapes, and their assignment by feed."""

import functools
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.options import BODIES
from mgn.config.variants import NetworkOptions
from mgn.network import BRANCHES, HEADS
from mgn.network.architecture import EXTRA_BN, inference_network
from mgn.network.layers import GEM
from mgn.network.replicas import name_of
from mgn.system.errors import CheckError
from mgn.system.session import new_graph

_LEAVES = ("weight", "bias", "running_mean", "running_var", "p")  # last part of a variable's name
_AT_ONCE = 50  # variables a run: what is fed is copied, and a whole network is 280 MB


@functools.cache  # a graph takes a second
def variable_shapes(options: NetworkOptions) -> dict[str, tuple[int, ...]]:
    """Name and shape of every variable of a network, from its own code; not to be changed."""
    with new_graph().as_default():
        images = tf.placeholder(tf.float32, [None, 96, 32, 3])
        inference_network(images, options, classifiers=True)
        return {v.op.name: tuple(v.shape.as_list()) for v in tf.global_variables()}


def model_variables() -> list[tf.Variable]:
    """The network's variables in the current graph, in their order; no slots, no step."""
    scopes = {*BODIES, *(h.reduction for h in HEADS), *(h.classifier for h in HEADS)}
    scopes |= {GEM, *(EXTRA_BN.format(branch.name) for branch in BRANCHES)}
    found = []
    for variable in tf.global_variables():
        parts = name_of(variable).split("/")
        if parts[0] in scopes and parts[-1] in _LEAVES:
            found.append(variable)
    return found


def assign(session: tf.Session, arrays: Mapping[str, np.ndarray]) -> None:
    """Set every variable of the network by feed: the graph gains no operation.

    Args:
        session: of a graph that holds the network.
        arrays: {variable name: float32}, exactly the network's variables.

    Raises:
        CheckError: a name is missing or left over, or a shape differs; all are named.
    """
    with session.graph.as_default():
        variables = {v.op.name: v for v in model_variables()}
    missing = sorted(set(variables) - set(arrays))
    extra = sorted(set(arrays) - set(variables))
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
        shape = np.shape(arrays[v.op.name])
        if tuple(v.shape.as_list()) != shape:
            raise CheckError(f"{v.op.name}: shape {shape}, the network has {tuple(v.shape)}")
    for start in range(0, len(variables), _AT_ONCE):
        some = variables[start : start + _AT_ONCE]
        values = {v.initializer.inputs[1]: arrays[v.op.name] for v in some}
        session.run([v.initializer for v in some], values)
