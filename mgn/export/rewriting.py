"""A frozen network in which units are replaced by convolutions of whole numbers, of any runtime."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.export.folding import constant
from mgn.export.pooling import POOLS
from mgn.export.quantising import Kernel, Quantised
from mgn.export.units import Unit
from mgn.inference.graph import NETWORK_OUTPUT


class Rewriting(ABC):
    """The graph that is made: a map's whole numbers have its name and `/whole` behind it.

    What a runtime has for whole numbers is in the classes below this one.
    """

    def __init__(self, network: tf.GraphDef, units: Sequence[Unit], quantised: Quantised):
        """Replace units.

        Args:
            network: folded, float32.
            units: of the network, in order; those without a kernel in `quantised` stay, as the rest
                of the network does.
            quantised: see `quantising.quantise`.
        """
        self.graph = tf.GraphDef(versions=network.versions)
        self.tensors = quantised.tensors
        replaced = [unit for unit in units if unit.name in quantised.kernels]
        self._convolved = {unit.result for unit in replaced}  # maps made as whole numbers
        self._changed: set[str] = set()  # maps that have nodes to the other kind of number
        self._widened: dict[str, str] = {}  # map -> its whole numbers times their range
        gone = frozenset().union(*(unit.nodes for unit in replaced))
        for node in network.node:
            if node.name not in gone:
                self._keep(node)
        for unit in replaced:
            self.convolve(unit, quantised.kernels[unit.name])

    @abstractmethod
    def convolve(self, unit: Unit, kernel: Kernel) -> None:
        """Add a unit; its result is named `UNIT'S RESULT/whole`."""

    @abstractmethod
    def round(self, name: str, given: str, tensor: str) -> None:
        """Add a node of this name: the whole numbers of a map, `given` with its channels scaled."""

    @abstractmethod
    def widen(self, whole: str) -> str:
        """The name of a node: these whole numbers times their range."""

    def done(self) -> tf.GraphDef:
        """The graph, without what nothing takes."""
        return tf.graph_util.extract_sub_graph(self.graph, [NETWORK_OUTPUT])

    def whole(self, tensor: str) -> str:
        """The whole numbers of a map; rounded here, if they are not made so."""
        name = f"{tensor}/whole"
        if tensor in self._convolved or name in self._changed:
            return name
        self._changed.add(name)
        about = self.tensors[tensor]
        moved = tensor
        if about.offset.any():
            offset = self.constant(f"{name}/offset", about.offset)
            moved = self.node(f"{name}/moved", "AddV2", [tensor, offset], T=tf.float32).name
        scale = self.constant(f"{name}/scale", 1 / about.scale)
        scaled = self.node(f"{name}/scaled", "Mul", [moved, scale], T=tf.float32).name
        self.round(name, scaled, tensor)
        return name

    def range_of(self, name: str, tensor: str) -> tuple[str, str]:
        """What 0 and 255 stand for, for a node of this name."""
        least = self.constant(f"{name}/min", np.zeros([]))
        largest = self.constant(f"{name}/max", np.array(self.tensors[tensor].largest))
        return least, largest

    def constant(self, name: str, value: np.ndarray, dtype: tf.DType = tf.float32) -> str:
        """Add an array; returns its name."""
        self.graph.node.append(constant(name, value, dtype))
        return name

    def node(self, name: str, op: str, inputs: Sequence[str], **types: tf.DType) -> tf.NodeDef:
        """Add an operation."""
        node = self.graph.node.add(name=name, op=op, input=inputs)
        for attribute, dtype in types.items():
            node.attr[attribute].type = dtype.as_datatype_enum
        return node

    def _keep(self, node: tf.NodeDef) -> None:
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
        return tensor in self._convolved and not self.tensors[tensor].offset.any()

    def _pool(self, node: tf.NodeDef) -> None:
        """Pool a map before its channels are scaled: so many numbers fewer have to be."""
        (tensor,) = node.input
        pool = self.graph.node.add()
        pool.CopyFrom(node)
        pool.name = f"{node.name}/unscaled"
        pool.input[:] = [self._unscaled(tensor)]
        scale = self.constant(f"{node.name}/scale", self.tensors[tensor].scale)
        self.node(node.name, "Mul", [pool.name, scale], T=tf.float32)

    def _in_float(self, tensor: str) -> str:
        """The map that whole numbers mean."""
        name = f"{tensor}/float"
        if name in self._changed:
            return name
        self._changed.add(name)
        about = self.tensors[tensor]
        scale = self.constant(f"{name}/scale", about.scale)
        moved = f"{name}/moved" if about.offset.any() else name
        self.node(moved, "Mul", [self._unscaled(tensor), scale], T=tf.float32)
        if about.offset.any():
            offset = self.constant(f"{name}/offset", about.offset)
            self.node(name, "Sub", [moved, offset], T=tf.float32)
        return name

    def _unscaled(self, tensor: str) -> str:
        """A map's whole numbers times its range, before its channels are scaled."""
        if tensor not in self._widened:
            self._widened[tensor] = self.widen(f"{tensor}/whole")
        return self._widened[tensor]
