"""The convolutions of a folded network, each with what is computed together with it."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.export.folding import value_of

_LAYER = re.compile(r"(^|/)layer[1-4]/")  # the residual blocks: not the stem, not the heads


class Unit(NamedTuple):
    """A convolution with its bias, and the sum and the ReLU behind it, if there are any.

    Tensors have the names of nodes. A unit without ReLU makes a shortcut: the summand of another.
    """

    name: str  # of the convolution
    kernel: np.ndarray  # float32 [h, w, in, out]
    bias: np.ndarray  # float32 [out]
    constants: tuple[str, str]  # tensors of both
    strides: tuple[int, ...]
    padding: str  # "SAME" or "VALID"
    zeros: tuple[int, ...]  # around the map: top, bottom, left, right
    given: str  # tensor that is convolved
    summand: str | None  # tensor that is added
    total: str  # tensor before the ReLU
    result: str  # tensor that comes out
    nodes: frozenset[str]  # all that the unit stands for

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors that it takes."""
        return (self.given, self.summand) if self.summand else (self.given,)

    @property
    def relu(self) -> bool:
        """Whether it ends in a ReLU."""
        return self.result != self.total


def units_in(network: tf.GraphDef) -> list[Unit]:
    """Find the units in the residual blocks of a folded network, each behind what it takes.

    Left out is a convolution that something else than a sum or a ReLU follows, as IBN-a's split.
    """
    nodes = {node.name: node for node in network.node}
    readers: dict[str, list[tf.NodeDef]] = {name: [] for name in nodes}
    for node in network.node:
        for name in node.input:
            readers[name.split(":")[0]].append(node)
    found = []
    for node in network.node:
        if node.op == "Conv2D" and _LAYER.search(node.name):
            found += _unit(node, nodes, readers)
    sums = {unit.summand for unit in found}
    used = [unit for unit in found if unit.relu or unit.result in sums]
    return list(_in_order(used))


def _unit(convolution: tf.NodeDef, nodes: dict, readers: dict) -> list[Unit]:
    """Follow a convolution to what comes behind it; none, if that is something else."""
    (biased,) = readers[convolution.name]
    behind = readers[biased.name]
    if biased.op != "BiasAdd" or len(behind) != 1:
        return []
    taken = {convolution.name, biased.name}
    given, zeros = convolution.input[0], (0, 0, 0, 0)
    if nodes[given].op == "Pad":
        taken.add(given)
        amounts = value_of(nodes[nodes[given].input[1]])
        zeros = tuple(amounts[1:3].ravel().tolist())
        given = nodes[given].input[0]
    # A sum belongs to the convolution that it names first; to the other it is a shortcut.
    (last,) = behind
    summand, total = None, biased.name
    if last.op == "AddV2" and last.input[0] == biased.name:
        summand, total = last.input[1], last.name
        taken.add(last.name)
        (last,) = readers[last.name]
    if last.op not in ("Relu", "AddV2"):
        return []
    result = last.name if last.op == "Relu" else total
    unit = Unit(
        name=convolution.name,
        kernel=value_of(nodes[convolution.input[1]]),
        bias=value_of(nodes[biased.input[1]]),
        constants=(convolution.input[1], biased.input[1]),
        strides=tuple(convolution.attr["strides"].list.i),
        padding=convolution.attr["padding"].s.decode(),
        zeros=zeros,
        given=given,
        summand=summand,
        total=total,
        result=result,
        nodes=frozenset(taken | {result}),
    )
    return [unit]


def _in_order(units: list[Unit]) -> Iterator[Unit]:
    """Yield each unit behind those that make what it takes."""
    waiting = {unit.result: unit for unit in units}

    def ready(unit: Unit) -> Iterator[Unit]:
        for name in unit.inputs:
            if name in waiting:
                yield from ready(waiting.pop(name))
        yield unit

    while waiting:
        yield from ready(waiting.pop(next(iter(waiting))))


def scale_groups(units: list[Unit]) -> dict[str, str]:
    """{tensor: the first tensor of its group}: what is added together is scaled alike."""
    first: dict[str, str] = {}
    for unit in units:
        for name in unit.inputs:
            first.setdefault(name, name)
        first[unit.result] = first[unit.summand] if unit.summand else unit.result
    return first
