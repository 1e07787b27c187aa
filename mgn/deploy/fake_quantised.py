"""A network in eight bits as OpenVINO reads it: in float32, with every rounding written down.

OpenVINO finds the convolutions between two roundings, and multiplies whole numbers there.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.deploy.source import Source, network
from mgn.export.quantising import Kernel, quantise
from mgn.export.rewriting import Rewriting
from mgn.export.units import Unit, units_in
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT
from mgn.system.session import new_graph

_BITS = 8


def fake_quantised(
    source: Source, prepared: np.ndarray, keep_float: int = 0
) -> tuple[tf.GraphDef, list[str]]:
    """The network of a plain export, rounded as the same images have `int8` exports rounded.

    Args:
        source: the export.
        prepared: float32 [N, height, width, 3], normalised: the images that choose ranges.
        keep_float: convolutions that stay in float32, those that lose most.

    Returns:
        the graph, from `images` to `embedding`; and the names of the units left in float32.

    Raises:
        CheckError: the network makes numbers of these images that are not finite.
    """
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, *source.size, 3], name=NETWORK_INPUT)
        tf.identity(network(source, images), name=NETWORK_OUTPUT)
    plain = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [NETWORK_OUTPUT])
    units = units_in(plain)
    chosen = quantise(plain, units, prepared, keep_float)
    kept = sorted(unit.name for unit in units if unit.name not in chosen.kernels)
    return _FakeQuantised(plain, units, chosen).done(), kept


class _FakeQuantised(Rewriting):
    """By float32 operations, with a rounding to 256 values behind each unit."""

    def convolve(self, unit: Unit, kernel: Kernel) -> None:
        name = f"{unit.result}/whole"
        given = self._padded(name, self.whole(unit.given), unit.zeros)
        convolved = self.node(f"{name}/conv", "Conv2D", [given, self._kernel(name, kernel)])
        convolved.attr["T"].type = tf.float32.as_datatype_enum
        convolved.attr["strides"].list.i[:] = unit.strides
        convolved.attr["padding"].s = unit.padding.encode()
        bias = self.constant(f"{name}/bias", kernel.bias)
        total = self.node(f"{name}/biased", "BiasAdd", [convolved.name, bias], T=tf.float32)
        if unit.summand:
            inputs = [total.name, self.whole(unit.summand)]
            total = self.node(f"{name}/sum", "AddV2", inputs, T=tf.float32)
        # A shortcut's offset makes its map 0 or more, so that a ReLU is right there too.
        positive = self.node(f"{name}/relu", "Relu", [total.name], T=tf.float32)
        self.round(name, positive.name, unit.result)

    def round(self, name: str, given: str, tensor: str) -> None:
        node = self.node(name, "FakeQuantWithMinMaxVars", [given, *self.range_of(name, tensor)])
        node.attr["num_bits"].i = _BITS

    def widen(self, whole: str) -> str:
        return whole  # as they are in float32, with their range

    def _kernel(self, name: str, kernel: Kernel) -> str:
        values = kernel.values * (kernel.largest / np.float32(2 ** (_BITS - 1) - 1))
        inputs = [
            self.constant(f"{name}/kernel/values", values),
            self.constant(f"{name}/kernel/min", -kernel.largest),
            self.constant(f"{name}/kernel/max", kernel.largest),
        ]
        node = self.node(f"{name}/kernel", "FakeQuantWithMinMaxVarsPerChannel", inputs)
        node.attr["num_bits"].i = _BITS
        node.attr["narrow_range"].b = True  # of -127 to 127
        return node.name

    def _padded(self, name: str, given: str, zeros: Sequence[int]) -> str:
        if not any(zeros):
            return given
        top, bottom, left, right = zeros
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]])
        inputs = [given, self.constant(f"{name}/pads", amounts, tf.int32)]
        return self.node(f"{name}/padded", "Pad", inputs, T=tf.float32, Tpaddings=tf.int32).name
