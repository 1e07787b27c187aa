"""The frozen network with integer convolutions, and float32 around them."""

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.export.folding import constant
from mgn.export.pooling import POOLS
from mgn.export.quantising import Kernel, Quantised, Tensor
from mgn.export.units import Unit
from mgn.inference.graph import NETWORK_OUTPUT
from mgn.inference.integers import CONVOLUTION

_SUM = f"{CONVOLUTION}SumAndReluAndRequantize"
_PLAIN = f"{CONVOLUTION}AndReluAndRequantize"
_SUMMAND = 9  # which input of `_SUM` it is
_TYPES = {"Tinput": tf.quint8, "Tfilter": tf.qint8, "Tbias": tf.float32, "out_type": tf.quint8}


def with_integers(network: tf.GraphDef, units: Sequence[Unit], quantised: Quantised) -> tf.GraphDef:
    """Replace units by convolutions of whole numbers; the rest of the network stays float32.

    Args:
        network: folded, float32.
        units: of the network, in order; those without a kernel in `quantised` stay too.
        quantised: see `quantising.quantise`.
    """
    replaced = [unit for unit in units if unit.name in quantised.kernels]
    gone = frozenset().union(*(unit.nodes for unit in replaced))
    made = _Graph(network.versions, quantised.tensors, {unit.result for unit in replaced})
    for node in network.node:
        if node.name not in gone:
            made.keep(node)
    for unit in replaced:
        made.convolve(unit, quantised.kernels[unit.name])
    for source in shared_summands(made.graph):
        _copy_for_each(made.graph, source)
    return tf.graph_util.extract_sub_graph(made.graph, [NETWORK_OUTPUT])


class _Graph:
    """The graph that is made: a map's whole numbers have its name and `/whole` behind it."""

    def __init__(self, versions: object, tensors: dict[str, Tensor], convolved: set[str]):
        self.graph = tf.GraphDef(versions=versions)
        self._tensors = tensors
        self._convolved = convolved  # maps that are made as whole numbers
        self._changed: set[str] = set()  # maps that have nodes to the other kind of number

    def keep(self, node: tf.NodeDef) -> None:
        """Add a node as it is, but for the maps that it takes."""
        if node.op in POOLS.values() and self._is_only_scaled(node.input[0]):
            self._pool(node)
            return
        kept = self.graph.node.add()
        kept.CopyFrom(node)
        for i, name in enumerate(node.input):
            if name in self._convolved:
                kept.input[i] = self._in_float(name)

    def _is_only_scaled(self, tensor: str) -> bool:
        """Whether a map is its whole numbers times a scale of each channel."""
        return tensor in self._convolved and not self._tensors[tensor].offset.any()

    def _pool(self, node: tf.NodeDef) -> None:
        """Pool a map before its channels are scaled: so many numbers fewer have to be."""
        (tensor,) = node.input
        pool = self.graph.node.add()
        pool.CopyFrom(node)
        pool.name = f"{node.name}/unscaled"
        pool.input[:] = [self._dequantised(tensor)]
        scale = self._constant(f"{node.name}/scale", self._tensors[tensor].scale)
        self._node(node.name, "Mul", [pool.name, scale], T=tf.float32)

    def convolve(self, unit: Unit, kernel: Kernel) -> None:
        """Add a unit."""
        name = f"{unit.result}/whole"
        given = self._whole(unit.given)
        inputs = [
            given,
            self._constant(f"{name}/kernel", kernel.values, tf.qint8),
            self._constant(f"{name}/bias", kernel.bias),
            *(f"{given}:1", f"{given}:2"),
            self._constant(f"{name}/kernel_min", -kernel.largest),
            self._constant(f"{name}/kernel_max", kernel.largest),
            *self._range(name, unit.result),
        ]
        types = dict(_TYPES)
        if unit.summand:
            summand = self._whole(unit.summand)
            inputs += [summand, f"{summand}:1", f"{summand}:2"]
            types["Tsummand"] = tf.quint8
        node = self._node(name, _SUM if unit.summand else _PLAIN, inputs, **types)
        node.attr["strides"].list.i[:] = unit.strides
        node.attr["dilations"].list.i[:] = [1] * 4
        node.attr["padding"].s = unit.padding.encode()
        if any(unit.zeros):
            node.attr["padding_list"].list.i[:] = [0, 0, *unit.zeros, 0, 0]

    def _whole(self, tensor: str) -> str:
        """The whole numbers of a map; rounded here, if they are not made so."""
        name = f"{tensor}/whole"
        if tensor in self._convolved or name in self._changed:
            return name
        self._changed.add(name)
        about = self._tensors[tensor]
        moved = tensor
        if about.offset.any():
            offset = self._constant(f"{name}/offset", about.offset)
            moved = self._node(f"{name}/moved", "AddV2", [tensor, offset], T=tf.float32).name
        scale = self._constant(f"{name}/scale", 1 / about.scale)
        scaled = self._node(f"{name}/scaled", "Mul", [moved, scale], T=tf.float32).name
        inputs = [scaled, *self._range(name, tensor)]
        node = self._node(name, "QuantizeV2", inputs, T=tf.quint8, dtype=tf.float32)
        node.attr["mode"].s = b"SCALED"
        node.attr["round_mode"].s = b"HALF_TO_EVEN"
        node.attr["ensure_minimum_range"].f = 0  # else a range below 0.01 is widened to that
        return name

    def _in_float(self, tensor: str) -> str:
        """The map that whole numbers mean."""
        name = f"{tensor}/float"
        if name in self._changed:
            return name
        self._changed.add(name)
        about = self._tensors[tensor]
        scale = self._constant(f"{name}/scale", about.scale)
        moved = f"{name}/moved" if about.offset.any() else name
        self._node(moved, "Mul", [self._dequantised(tensor), scale], T=tf.float32)
        if about.offset.any():
            offset = self._constant(f"{name}/offset", about.offset)
            self._node(name, "Sub", [moved, offset], T=tf.float32)
        return name

    def _dequantised(self, tensor: str) -> str:
        """A map's whole numbers times its range, before its channels are scaled."""
        name = f"{tensor}/unscaled"
        if name not in self._changed:
            self._changed.add(name)
            whole = f"{tensor}/whole"
            inputs = [whole, f"{whole}:1", f"{whole}:2"]
            node = self._node(name, "Dequantize", inputs, T=tf.quint8, dtype=tf.float32)
            node.attr["mode"].s = b"SCALED"
        return name

    def _range(self, name: str, tensor: str) -> tuple[str, str]:
        """What 0 and 255 stand for."""
        least = self._constant(f"{name}/min", np.zeros([]))
        largest = self._constant(f"{name}/max", np.array(self._tensors[tensor].largest))
        return least, largest

    def _constant(self, name: str, value: np.ndarray, dtype: tf.DType = tf.float32) -> str:
        self.graph.node.append(constant(name, value, dtype))
        return name

    def _node(self, name: str, op: str, inputs: list[str], **types: tf.DType) -> tf.NodeDef:
        node = self.graph.node.add(name=name, op=op, input=inputs)
        for attribute, dtype in types.items():
            node.attr[attribute].type = dtype.as_datatype_enum
        return node


def shared_summands(graph: tf.GraphDef) -> list[str]:
    """Maps that a sum would write over while somebody else may still read them.

    The kernel of a sum puts its result in the place of the summand, and ends the process if the
    summand has another reader by then. A reader that the sum itself waits for is done.
    """
    nodes = {node.name: node for node in graph.node}
    readers: dict[str, list[str]] = {}
    sums: dict[str, list[str]] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            readers.setdefault(name, []).append(node.name)
            if node.op == _SUM and position == _SUMMAND:
                sums.setdefault(name, []).append(node.name)
    shared = []
    for source, adding in sums.items():
        waited_for = _behind(nodes, adding[0])
        others = [name for name in readers[source] if name != adding[0]]
        if len(adding) > 1 or not waited_for.issuperset(others):
            shared.append(source)
    return shared


def _behind(nodes: dict[str, tf.NodeDef], name: str) -> set[str]:
    """Every node that must be done before this one."""
    done, waiting = set(), [name]
    while waiting:
        for given in nodes[waiting.pop()].input:
            source = given.lstrip("^").split(":")[0]
            if source not in done:
                done.add(source)
                waiting.append(source)
    return done


def _copy_for_each(graph: tf.GraphDef, source: str) -> None:
    """Give each sum that adds this map a copy of its own.

    A copy is the largest of one value. TensorFlow makes one operation of several that are alike in
    everything; the attribute `_for` makes them unlike.
    """
    for node in list(graph.node):
        if node.op == _SUM and node.input[_SUMMAND] == source:
            name = f"{node.name}/summand"
            inputs = [source, f"{source}:1", f"{source}:2"]
            copy = graph.node.add(name=name, op="QuantizedMaxPool", input=inputs)
            copy.attr["T"].type = tf.quint8.as_datatype_enum
            copy.attr["ksize"].list.i[:] = [1] * 4
            copy.attr["strides"].list.i[:] = [1] * 4
            copy.attr["padding"].s = b"VALID"
            copy.attr["_for"].s = node.name.encode()
            node.input[_SUMMAND:] = [name, f"{name}:1", f"{name}:2"]
