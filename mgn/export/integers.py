"""The frozen network with TensorFlow's integer convolutions, and float32 around them."""

from collections.abc import Sequence

import tensorflow.compat.v1 as tf

from mgn.export.quantising import Kernel, Quantised
from mgn.export.rewriting import Rewriting
from mgn.export.units import Unit
from mgn.inference.integers import CONVOLUTION

_SUM = f"{CONVOLUTION}SumAndReluAndRequantize"
_PLAIN = f"{CONVOLUTION}AndReluAndRequantize"
_SUMMAND = 9  # which input of `_SUM` it is
_TYPES = {"Tinput": tf.quint8, "Tfilter": tf.qint8, "Tbias": tf.float32, "out_type": tf.quint8}


def with_integers(network: tf.GraphDef, units: Sequence[Unit], quantised: Quantised) -> tf.GraphDef:
    """Replace units by convolutions of whole numbers; the rest of the network stays float32.

    For the arguments see `Rewriting`.
    """
    made = _Integers(network, units, quantised)
    for source in shared_summands(made.graph):
        _copy_for_each(made.graph, source)
    return made.done()


class _Integers(Rewriting):
    """By oneDNN's kernels in TensorFlow, which have their ranges as two more inputs and outputs."""

    def convolve(self, unit: Unit, kernel: Kernel) -> None:
        name = f"{unit.result}/whole"
        given = self.whole(unit.given)
        inputs = [
            given,
            self.constant(f"{name}/kernel", kernel.values, tf.qint8),
            self.constant(f"{name}/bias", kernel.bias),
            *(f"{given}:1", f"{given}:2"),
            self.constant(f"{name}/kernel_min", -kernel.largest),
            self.constant(f"{name}/kernel_max", kernel.largest),
            *self.range_of(name, unit.result),
        ]
        types = dict(_TYPES)
        if unit.summand:
            summand = self.whole(unit.summand)
            inputs += [summand, f"{summand}:1", f"{summand}:2"]
            types["Tsummand"] = tf.quint8
        node = self.node(name, _SUM if unit.summand else _PLAIN, inputs, **types)
        node.attr["strides"].list.i[:] = unit.strides
        node.attr["dilations"].list.i[:] = [1] * 4
        node.attr["padding"].s = unit.padding.encode()
        if any(unit.zeros):
            node.attr["padding_list"].list.i[:] = [0, 0, *unit.zeros, 0, 0]

    def round(self, name: str, given: str, tensor: str) -> None:
        inputs = [given, *self.range_of(name, tensor)]
        node = self.node(name, "QuantizeV2", inputs, T=tf.quint8, dtype=tf.float32)
        node.attr["mode"].s = b"SCALED"
        node.attr["round_mode"].s = b"HALF_TO_EVEN"
        node.attr["ensure_minimum_range"].f = 0  # else a range below 0.01 is widened to that

    def widen(self, whole: str) -> str:
        name = f"{whole}/unscaled"
        inputs = [whole, f"{whole}:1", f"{whole}:2"]
        node = self.node(name, "Dequantize", inputs, T=tf.quint8, dtype=tf.float32)
        node.attr["mode"].s = b"SCALED"
        return name


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
